"""Evaluation speed and agreement, beside lm-eval's `hf` back end and one-at-a-time decoding in llama.cpp.

Four parts on SmolLM2-135M-Instruct, untuned, all in one run; each side is a process of its own that loads the model,
scores a few items to warm up, and then is timed:

- zero-shot: HellaSwag, items/s, beside `hf` with its default batch (1; target 5 times) and its best one (3 times)
- few-shot: 10 examples, the same for all items (`sampler: first_n`, 10 times) or drawn anew for each (3 times)
- answers: grade-school arithmetic, greedy, beside llama.cpp's server with one slot (3 times)
- agreement: the same choice as `hf` (99.5 % of 1,000 items), log-probabilities within 0.02 nats per token

`hf` computes in float32 and reads the same GGUF file (`pretrained=DIR,gguf_file=F`, an explicit tokenizer). Items are
taken at even distances from the whole file, examples for few-shot from the rows between them.

    python benchmarks/evaluation.py --data DIR [--quantization f16] [--parts zero-shot few-shot answers agreement]
        [--zero-shot N] [--few-shot N] [--answers N] [--agreement N] [--json FILE]

`--data` holds hellaswag_2000.jsonl (rows with query, choices, gold) and gsm8k_test_400.jsonl (question, answer).
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from measure import print_table
from tunesmith.tools.base_models import fetch_base_model
from tunesmith.tools.chat_template import Chat, render_chats
from tunesmith.tools.llama_cpp import LlamaModel
from tunesmith.tools.process import run_tool

PARTS = ("zero-shot", "few-shot", "answers", "agreement")
BATCHES = (1, 4, 16)
EXAMPLES = 10
ANSWER_TOKENS = 256


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with the two .jsonl files")
    parser.add_argument("--quantization", default="f16", help="GGUF type of the speed parts; agreement is on f16")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--zero-shot", type=int, default=100, metavar="N", help="items; default 100")
    parser.add_argument("--few-shot", type=int, default=12, metavar="N", help="items of each sampler; default 12")
    parser.add_argument("--answers", type=int, default=32, metavar="N", help="questions; default 32")
    parser.add_argument("--agreement", type=int, default=1000, metavar="N", help="items; default 1000")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    items = read(options.data / "hellaswag_2000.jsonl")
    work = Path(tempfile.mkdtemp(prefix="evaluation-"))
    tokenizer = str(fetch_base_model("smollm2-135m"))
    files = {name: export(work, name) for name in {options.quantization, "f16"}}
    speed_file = files[options.quantization]
    report: dict[str, Any] = {"quantization": options.quantization, "items": {}}
    rows: list[tuple[str, str, str, str]] = []

    if "zero-shot" in options.parts:
        folder = task_folder(work / "zero-shot", spread(items, options.zero_shot))
        runs = [{"folder": folder, "limit": options.zero_shot, "batch": batch} for batch in BATCHES]
        mine = side("ours", {"gguf": speed_file, "runs": runs[:1]})[0]
        theirs = side("hf", {"gguf": speed_file, "tokenizer": tokenizer, "runs": runs})
        best = min(theirs, key=lambda run: run["seconds"])
        report["zero-shot"] = {"ours": speed(mine), "hf": {run["batch"]: speed(run) for run in theirs}}
        for name, run, target in (("its default batch (1)", theirs[0], 5), (f"its best ({best['batch']})", best, 3)):
            rows.append(
                (f"HellaSwag zero-shot, `hf` with {name}", pair(mine, run), ratio(mine, run), f"at least {target}")
            )
    if "few-shot" in options.parts:
        for sampler, target in (("first_n", 10), ("default", 3)):
            folder = task_folder(work / sampler, spread(items, options.few_shot), items[1::2], sampler)
            runs = [{"folder": folder, "limit": options.few_shot, "batch": batch} for batch in BATCHES[:2]]
            mine = side("ours", {"gguf": speed_file, "runs": runs[:1]})[0]
            theirs = side("hf", {"gguf": speed_file, "tokenizer": tokenizer, "runs": runs})
            report[f"few-shot {sampler}"] = {"ours": speed(mine), "hf": {run["batch"]: speed(run) for run in theirs}}
            for run in theirs:
                name = f"HellaSwag {EXAMPLES}-shot, sampler {sampler}, `hf` with batch {run['batch']}"
                rows.append((name, pair(mine, run), ratio(mine, run), f"at least {target}"))
    if "answers" in options.parts:
        questions = spread(read(options.data / "gsm8k_test_400.jsonl"), options.answers)
        request = {"gguf": speed_file, "prompts": prompts(speed_file, questions), "max_tokens": ANSWER_TOKENS}
        mine, single = side("together", request), side("one_at_a_time", request)
        report["answers"] = {"ours": token_speed(mine), "llama.cpp": token_speed(single)}
        report["answers"]["same"] = sum(a == b for a, b in zip(mine["texts"], single["texts"], strict=True))
        rows.append(
            (
                "greedy answers, tokens/s, llama.cpp one at a time",
                f"{token_speed(mine):.0f} / {token_speed(single):.0f}",
                f"{token_speed(mine) / token_speed(single):.2f} times",
                "at least 3",
            )
        )
    if "agreement" in options.parts:
        folder = task_folder(work / "agreement", spread(items, options.agreement))
        run = {"folder": folder, "limit": options.agreement, "batch": 4}
        mine = side("ours", {"gguf": files["f16"], "runs": [run]})[0]
        (other,) = side("hf", {"gguf": files["f16"], "tokenizer": tokenizer, "runs": [run]})
        report["agreement"] = agreement(mine, other)
        same, apart = report["agreement"]["same_choice"], report["agreement"]["nats_per_token"]
        rows.append((f"same choice as `hf`, {options.agreement} items", f"{same:.2%}", "", "at least 99.5 %"))
        rows.append(("difference of log-probabilities per token, mean", f"{apart:.4f} nats", "", "at most 0.02"))
    print_table(rows, ("What", "ours / peer", "ratio", "target"), report)
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def spread(rows: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """`count` rows at even distances, from those with an even number where that is enough."""
    rows = rows[::2] if count <= len(rows) // 2 else rows
    return [rows[i * len(rows) // count] for i in range(min(count, len(rows)))]


def export(work: Path, quantization: str) -> str:
    path = work / f"model-{quantization}" / "model.gguf"
    run_tool("export_gguf", {"checkpoint_dir": "smollm2-135m", "quantization": quantization, "output_file": str(path)})
    return str(path)


def task_folder(
    folder: Path, items: list[dict[str, Any]], examples: list[dict[str, Any]] | None = None, sampler: str = ""
) -> str:
    """A folder with one lm-eval task over local rows, as HellaSwag's own task asks it."""
    folder.mkdir()
    lines = ["task: local_hellaswag", "dataset_path: json", "dataset_kwargs:", "  data_files:"]
    for split, rows in (("validation", items), ("train", examples)):
        if rows is not None:
            path = folder / f"{split}.jsonl"
            path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
            lines.append(f"    {split}: {path.resolve()}")
    lines += ["validation_split: validation", "output_type: multiple_choice", 'doc_to_text: "{{query}}"']
    lines += ['doc_to_target: "{{gold}}"', "doc_to_choice: choices", "metric_list:", "  - metric: acc"]
    if examples is not None:
        lines += ["training_split: train", "fewshot_split: train", f"num_fewshot: {EXAMPLES}"]
        lines += ["fewshot_config:", f"  sampler: {sampler}"]
    (folder / "task.yaml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(folder)


def prompts(gguf: str, questions: list[dict[str, Any]]) -> list[list[int]]:
    """Each question as a user's message, as token ids."""
    with LlamaModel(gguf, vocab_only=True) as model:
        texts = render_chats(
            model.chat_template or "",
            [Chat([{"role": "user", "content": row["question"]}], add_generation_prompt=True) for row in questions],
        )
        return [model.tokenize(text, parse_special=True) for text in texts]


def side(name: str, request: dict[str, Any]) -> Any:
    """Run one side in a process of its own."""
    print(f"{name} ...", file=sys.stderr, flush=True)
    done = subprocess.run(
        [sys.executable, "-P", str(Path(__file__).with_name("evaluation_side.py")), name],
        input=json.dumps(request),
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"the side `{name}` failed")
    return json.loads(done.stdout)


def speed(run: dict[str, Any]) -> float:
    """Items per second."""
    return float(run["items"] / run["seconds"])


def token_speed(run: dict[str, Any]) -> float:
    """Written tokens per second, the time for reading the prompts included."""
    return float(sum(run["tokens"]) / run["seconds"])


def pair(mine: dict[str, Any], other: dict[str, Any]) -> str:
    return f"{speed(mine):.2f} / {speed(other):.2f} items/s"


def ratio(mine: dict[str, Any], other: dict[str, Any]) -> str:
    return f"{speed(mine) / speed(other):.2f} times"


def agreement(mine: dict[str, Any], other: dict[str, Any]) -> dict[str, float]:
    """The share of items with the same most probable choice, and the mean distance of log-probabilities per token."""
    same, distances = 0, []
    for a, b, tokens in zip(mine["log_probabilities"], other["log_probabilities"], mine["tokens"], strict=True):
        same += a.index(max(a)) == b.index(max(b))
        distances += [abs(x - y) / n for x, y, n in zip(a, b, tokens, strict=True)]
    return {
        "same_choice": same / len(mine["log_probabilities"]),
        "nats_per_token": sum(distances) / len(distances),
        "largest_nats_per_token": max(distances),
    }


if __name__ == "__main__":
    main()
