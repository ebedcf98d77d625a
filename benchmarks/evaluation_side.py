"""One side of evaluation.py, in a process of its own: what it is asked stands on stdin, what it measured on stdout.

`ours` and `hf` score lm-eval tasks of a folder, `ours` through Tunesmith's scorer, `hf` through lm-eval's own back
end on the same GGUF file in float32. `together` and `one_at_a_time` answer prompts greedily, the first as run_eval
does it, the second with llama.cpp's server, one slot, one request after the other.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP = 2  # items that are scored before the clock starts


def scored(lm: Any, folder: str, limit: int) -> dict[str, Any]:
    """Score the first items of a folder's only task: seconds, and each item's log-probabilities by choice."""
    from lm_eval.evaluator import evaluate
    from tunesmith.tools.lm_eval_tasks import load_tasks

    tasks = load_tasks(folder, Path(folder))

    def run(count: int) -> tuple[float, dict[str, Any]]:
        for task in tasks.loaded["tasks"].values():
            task.set_fewshot_seed(seed=1234)
        began = time.monotonic()
        results = evaluate(lm, tasks.loaded, limit=count, bootstrap_iters=0, log_samples=True)
        return time.monotonic() - began, results

    run(WARM_UP)
    seconds, results = run(limit)
    (samples,) = results["samples"].values()
    rows = {row["doc_id"]: row for row in samples}
    return {
        "seconds": seconds,
        "items": len(rows),
        "log_probabilities": [[float(response[0]) for response in rows[i]["filtered_resps"]] for i in sorted(rows)],
        "requests": [rows[i]["arguments"] for i in sorted(rows)],
    }


def ours(request: dict[str, Any]) -> list[dict[str, Any]]:
    from tunesmith.tools.llama_scorer import LlamaScorer
    from tunesmith.tools.lm_eval_model import TaskRequests, language_model

    with LlamaScorer(Path(request["gguf"])) as scorer:
        runs = [
            {**run, **scored(language_model(TaskRequests(scorer)), run["folder"], run["limit"])}
            for run in request["runs"]
        ]
        for run in runs:
            run["tokens"] = [
                [len(scorer.encode_request(*pair).continuation) for pair in item] for item in run.pop("requests")
            ]
    return runs


def hf(request: dict[str, Any]) -> list[dict[str, Any]]:
    from lm_eval.models.huggingface import HFLM

    gguf = Path(request["gguf"]).resolve()
    lm = HFLM(
        pretrained=str(gguf.parent),
        gguf_file=gguf.name,
        tokenizer=request["tokenizer"],
        device="cpu",
        dtype="float32",
        batch_size=1,
    )
    runs = []
    for run in request["runs"]:
        lm.batch_size_per_gpu = run["batch"]
        runs.append({**run, **scored(lm, run["folder"], run["limit"])})
        runs[-1].pop("requests")
        print(f"hf, batch {run['batch']}: {run['limit']} items in {runs[-1]['seconds']:.0f} s", file=sys.stderr)
    return runs


def together(request: dict[str, Any]) -> dict[str, Any]:
    from tunesmith.tools.llama_answers import Prompt, greedy_answers
    from tunesmith.tools.llama_scorer import LlamaScorer

    with LlamaScorer(Path(request["gguf"])) as scorer:
        prompts = [Prompt(tuple(tokens), request["max_tokens"]) for tokens in request["prompts"]]
        greedy_answers(scorer, [Prompt(prompt.tokens, 8) for prompt in prompts[:WARM_UP]])
        began = time.monotonic()
        answers = greedy_answers(scorer, prompts)
        seconds = time.monotonic() - began
    return {"seconds": seconds, "tokens": [a.tokens for a in answers], "texts": [a.text for a in answers]}


def one_at_a_time(request: dict[str, Any]) -> dict[str, Any]:
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = request["gguf"]
    params.n_parallel = 1
    params.n_ctx = max(map(len, request["prompts"])) + request["max_tokens"] + 8
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = len(os.sched_getaffinity(0))
    params.cache_ram_mib = 0  # else the prompts of the warm-up would be remembered
    server = xllamacpp.Server(params)

    def answer(tokens: list[int], most: int) -> dict[str, Any]:
        result = server.handle_completions(
            {"prompt": tokens, "n_predict": most, "temperature": 0, "samplers": ["temperature"]}
        )
        return json.loads(result) if isinstance(result, str) else result

    for tokens in request["prompts"][:WARM_UP]:
        answer(tokens, 8)
    began = time.monotonic()
    answers = [answer(tokens, request["max_tokens"]) for tokens in request["prompts"]]
    seconds = time.monotonic() - began
    return {
        "seconds": seconds,
        "tokens": [a["usage"]["completion_tokens"] for a in answers],
        "texts": [a["choices"][0]["text"] for a in answers],
    }


def main() -> None:
    request = json.load(sys.stdin)
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print must not end up in the answer
    sides = {"ours": ours, "hf": hf, "together": together, "one_at_a_time": one_at_a_time}
    json.dump(sides[sys.argv[1]](request), output)
    output.close()


if __name__ == "__main__":
    main()
