"""Useful (unpadded) tokens per second of training, beside plain TRL and PEFT on the same rows.

Both sides train SmolLM2-135M-Instruct for one pass with LoRA (r 16, alpha 16, all linear layers), batch 4, 512
tokens, loss on the answers, everything else TRL's defaults, one after the other in processes of their own. The first
two steps of each warm it up and do not count. Afterwards one program measures the loss of both adapters on 100 rows
that neither has seen.

The peer has an environment of its own, since TRL 1.15 does not train on a CPU: trl 1.16.0, transformers 5.23.0, peft
0.21.2, torch 2.13.0, without triton. It is made with uv where it is missing.

    python benchmarks/training_speed.py --data DIR [--peer-env DIR] [--rows N] [--json FILE]

`--data` holds alpaca_en_demo.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

from tunesmith.tools.base_models import fetch_base_model
from tunesmith.tools.process import run_tool

HELDOUT = 100
BATCH, LENGTH, RANK = 4, 512, 16
WARM_UP = 2
# SFTConfig's defaults, as the peer reports them.
LEARNING_RATE, WEIGHT_DECAY, WARMUP_STEPS = 2e-5, 0.0, 0
PEER_PACKAGES = ("trl==1.16.0", "transformers==5.23.0", "peft==0.21.2", "torch==2.13.0")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="folder with alpaca_en_demo.json")
    parser.add_argument("--peer-env", type=Path, help="virtual environment of the peer; made if missing")
    parser.add_argument("--rows", type=int, help="train on the first N rows only")
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    rows = json.loads((options.data / "alpaca_en_demo.json").read_text(encoding="utf-8"))
    train, heldout = rows[:-HELDOUT], rows[-HELDOUT:]
    train = train[: options.rows]
    work = Path(tempfile.mkdtemp(prefix="training-speed-"))
    python = peer_python((options.peer_env or work / "peer-env").resolve())
    os.chdir(work)
    base = fetch_base_model("smollm2-135m")
    ours, peer = run_ours(train), run_peer(python, base, train)
    if peer["settings"]["learning_rate"] != LEARNING_RATE or peer["settings"]["weight_decay"] != WEIGHT_DECAY:
        sys.exit(f"the peer's defaults differ from ours: {peer['settings']}")
    losses = heldout_losses(base, heldout, [ours["adapter"], peer["adapter"]])
    report = {
        "rows": len(train),
        "steps": {"ours": len(ours["steps"]), "peer": len(peer["steps"])},
        "tokens_per_second": {"ours": speed(ours["steps"]), "peer": speed(peer["steps"])},
        "heldout_loss": {"base": losses[0], "ours": losses[1], "peer": losses[2]},
        "peak_memory_gib": {"ours": ours["peak_memory_gib"], "peer": peer["peak_memory_gib"]},
        "peer_settings": peer["settings"],
        "peer_versions": peer["versions"],
    }
    report["speed_ratio"] = report["tokens_per_second"]["ours"] / report["tokens_per_second"]["peer"]
    report["loss_difference"] = losses[1] / losses[2] - 1
    print(table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n")


def peer_python(folder: Path) -> str:
    """The peer's interpreter; its environment is made if missing."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--python", "3.11", str(folder)], check=True)
        subprocess.run([*uv, "pip", "install", "--python", str(python), *PEER_PACKAGES], check=True)
        subprocess.run([*uv, "pip", "uninstall", "--python", str(python), "triton"], check=True)
    return str(python)


def prompt_of(row: dict[str, str]) -> str:
    return row["instruction"] + (f"\n\n{row['input']}" if row.get("input") else "")


def run_ours(rows: list[dict[str, str]]) -> dict[str, Any]:
    messages = [
        {"messages": [{"role": "user", "content": prompt_of(row)}, {"role": "assistant", "content": row["output"]}]}
        for row in rows
    ]
    Path("rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in messages))
    run_tool("prepare_dataset", {"source": "rows.jsonl", "heldout_fraction": 0})
    times: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] == "step":
            times.append(time.monotonic())
            print(f"ours step {event['done']} of {event['total']}", file=sys.stderr, flush=True)

    result: Any = run_tool(
        "finetune_unsloth",
        {
            "base_model": "smollm2-135m",
            "dataset": "data/train",
            "learning_rate": LEARNING_RATE,
            "lora_r": RANK,
            "batch_size": BATCH,
            "max_seq_length": LENGTH,
            "warmup_steps": WARMUP_STEPS,
            "weight_decay": WEIGHT_DECAY,
            "output_dir": "runs/ours",
        },
        on_event=on_event,
    )
    lines = [json.loads(line) for line in Path("runs/ours/metrics.jsonl").read_text().splitlines()]
    # Wall time from step to step, checkpoints included.
    seconds = [lines[0]["seconds"], *(after - before for before, after in pairwise(times))]
    steps = [{"tokens": line["tokens"], "seconds": spent} for line, spent in zip(lines, seconds, strict=True)]
    return {"steps": steps, "adapter": "runs/ours", "peak_memory_gib": result.peak_memory_gib}


def run_peer(python: str, base: Path, rows: list[dict[str, str]]) -> dict[str, Any]:
    pairs = [
        {
            "prompt": [{"role": "user", "content": prompt_of(row)}],
            "completion": [{"role": "assistant", "content": row["output"]}],
        }
        for row in rows
    ]
    Path("pairs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in pairs))
    request = {
        "model": str(base),
        "rows": "pairs.jsonl",
        "adapter": "peer-adapter",
        "batch_size": BATCH,
        "max_length": LENGTH,
        "rank": RANK,
    }
    process = subprocess.Popen(
        [python, str(Path(__file__).with_name("training_speed_peer.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
    )
    output, _ = process.communicate(json.dumps(request))
    if process.returncode:
        sys.exit("the peer failed")
    return {**json.loads(output), "adapter": request["adapter"]}


def speed(steps: list[dict[str, float]]) -> float:
    """Useful tokens per second after the first steps."""
    counted = steps[WARM_UP:]
    return sum(step["tokens"] for step in counted) / sum(step["seconds"] for step in counted)


def heldout_losses(base: Path, rows: list[dict[str, str]], adapters: list[str]) -> list[float]:
    """Mean loss per token of the reference answers, in float32: of the base, then with each adapter."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # not timed, but minutes longer where anything else runs
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from tunesmith.tools.training_rows import conversation_rows

    tokenizer = AutoTokenizer.from_pretrained(base)
    messages = [
        {"messages": [{"role": "user", "content": prompt_of(row)}, {"role": "assistant", "content": row["output"]}]}
        for row in rows
    ]
    tokens = conversation_rows(messages, tokenizer, LENGTH).rows

    def mean_loss(model: Any) -> float:
        total, count = 0.0, 0
        with torch.inference_mode():
            for row in tokens:
                loss = model(input_ids=torch.tensor([row.input_ids]), labels=torch.tensor([row.labels])).loss
                total, count = total + float(loss) * row.supervised, count + row.supervised
        return total / count

    losses = [mean_loss(AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32))]
    for adapter in adapters:
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
        losses.append(mean_loss(PeftModel.from_pretrained(model, adapter)))
    return losses


def table(report: dict[str, Any]) -> str:
    speeds, losses, peaks = report["tokens_per_second"], report["heldout_loss"], report["peak_memory_gib"]
    return "\n".join(
        [
            f"{report['rows']} rows, {report['steps']['ours']} steps",
            "",
            "| | useful tokens/s | loss on 100 held-out rows | peak memory |",
            "|---|---|---|---|",
            f"| base | | {losses['base']:.4f} | |",
            f"| tunesmith | {speeds['ours']:.1f} | {losses['ours']:.4f} | {peaks['ours']:.2f} GiB |",
            f"| TRL + PEFT | {speeds['peer']:.1f} | {losses['peer']:.4f} | {peaks['peer']:.2f} GiB |",
            f"| ratio | {report['speed_ratio']:.2f} | {report['loss_difference']:+.2%} | |",
        ]
    )


if __name__ == "__main__":
    main()
