"""What a plan is said to take: nothing before anything ran, then in proportion to what ran."""

import json
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import records
from tunesmith.agent.estimate import estimate, took
from tunesmith.agent.plan import Plan, Step

TRAINED = {
    "checkpoint_dir": "runs/one",
    "base_model": "smollm2-135m",
    "steps": 68,
    "first_loss": 2.0,
    "final_loss": 0.2,
    "seconds": 100.0,
    "tokens_per_second": 300.0,
    "peak_memory_gib": 2.25,
    "trained_rows": 270,
    "dropped_rows": 0,
    "resumed_from_step": None,
}


@pytest.fixture(autouse=True)
def data(workdir: Path) -> None:
    """A prepared dataset, as its metadata tells it."""
    folder = workdir / "data" / "train"
    folder.mkdir(parents=True)
    (folder / "metadata.json").write_text(json.dumps({"rows": 270, "characters": {"total": 50_000}}))


def train(**changes: Any) -> Step:
    args = {
        "base_model": "smollm2-135m",
        "dataset": "data/train",
        "epochs": 2,
        "learning_rate": 1e-3,
        "lora_r": 16,
        "quant": "16bit",
        "method": "sft",
        "batch_size": 8,
        "max_seq_length": 2048,
        "output_dir": "runs/one",
        **changes,
    }
    return Step("finetune_unsloth", args, {})


def export(**changes: Any) -> Step:
    args = {"checkpoint_dir": "runs/one", "quantization": "q4_k_m", "output_file": "models/one.gguf", **changes}
    return Step("export_gguf", args, {})


def ran(*steps: Step) -> records.Record:
    """A record in which these steps took 120 s (a training, 100 of them training) and 10 s."""
    record = records.new_record(Plan("earlier", steps))
    for step in record.steps:
        training = step.tool == "finetune_unsloth"
        step.state, step.seconds, step.result = "done", 120.0 if training else 10.0, TRAINED if training else {"x": 1}
    record.state = "done"
    records.save(record)
    return record


def test_before_anything_ran_no_time_is_told_and_memory_is_a_lower_bound() -> None:
    plan = Plan("train", (train(), export()))
    told = estimate(plan).told(plan)
    assert estimate(plan).total is None
    assert told.startswith("estimate: at least 0.3 GiB of memory, about 0.37 GB of disk")
    assert told.endswith("the time is told once something like it has run here")


@pytest.mark.parametrize(
    ("step", "seconds"),
    [
        (train(), 120),
        (train(epochs=4), 220),
        (train(max_steps=34), 120 - 100 + 100 * 34 * 8 / 270 / 2),
        (train(base_model="smollm2-360m"), 20 + 100 * 361_821_120 / 134_515_008),
        (train(quant="4bit"), None),
        (train(dataset="data/other"), None),
        (export(), 10),
        (export(checkpoint_dir="smollm2-360m"), 10 * 361_821_120 / 134_515_008),
    ],
)
def test_time_goes_with_the_work_of_the_newest_call_that_is_alike(step: Step, seconds: float | None) -> None:
    ran(train(), export())
    found = estimate(Plan("again", (train(), step))).seconds[1]
    assert found == (pytest.approx(seconds) if seconds is not None else None)


def test_what_is_not_run_again_takes_nothing_and_what_is_unknown_is_named() -> None:
    ran(train())
    evaluation = Step("run_eval", {"gguf_file": "models/one.gguf", "eval_set": "hellaswag", "limit": 10}, {})
    plan = Plan("more", (Step("finetune_unsloth", train().args, {}, reuse=True), train(epochs=1), evaluation))
    expected = estimate(plan)
    assert expected.seconds == (0, 70, None)
    assert "about 1:10 without run_eval (nothing here to go by yet), about 2.2 GiB of memory" in expected.told(plan)


def test_after_the_run_the_estimate_stands_beside_the_truth() -> None:
    record = ran(train())
    assert took(record) == "took: 2:00, 2.2 GiB of memory"
    record.estimate = estimate(Plan("again", (train(epochs=4),))).model_dump(mode="json")
    assert took(record) == "took: 2:00 (estimated 3:40), 2.2 GiB of memory (estimated 2.2)"
