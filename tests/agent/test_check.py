"""What would stop a plan on this machine is named before anything runs, one sentence each."""

import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import check
from tunesmith.agent.plan import History, Plan, Ran, Step


def step(tool: str, **args: Any) -> Step:
    return Step(tool, args, dict.fromkeys(args, "you"))


def train(**more: Any) -> Step:
    args = {"base_model": "smollm2-135m", "dataset": "data/train", "output_dir": "runs/x", **more}
    return step("finetune_unsloth", **args)


PREPARE = step("prepare_dataset", source="rows.jsonl", output_dir="data/", split="train")


def test_what_an_earlier_step_writes_counts_as_being_there(workdir: Path) -> None:
    Path("rows.jsonl").write_text("{}\n")
    assert check.problems(Plan("", (PREPARE, train()))) == ()


def test_a_missing_source_dataset_and_file_are_each_named(workdir: Path) -> None:
    plan = Plan("", (PREPARE, train(dataset="other/train"), step("run_eval", gguf_file="models/x.gguf")))
    found = check.problems(plan)
    assert [problem.split("`")[1] for problem in found] == ["rows.jsonl", "other/train", "models/x.gguf"]


def test_what_a_run_of_the_history_wrote_counts_as_being_there(workdir: Path) -> None:
    history = History((Ran(Plan("", (PREPARE, train())), finished=2),))
    assert check.problems(Plan("", (step("export_gguf", checkpoint_dir="runs/x", quantization="q8_0"),)), history) == ()


def test_a_finished_output_is_never_overwritten(workdir: Path) -> None:
    Path("data/train").mkdir(parents=True)
    Path("runs/x").mkdir(parents=True)
    (Path("data/train") / "metadata.json").write_text("{}")
    (Path("runs/x") / "metadata.json").write_text("{}")
    (found,) = check.problems(Plan("", (train(),)))
    assert found == "finetune_unsloth: `runs/x` exists already and is never overwritten; name another"


def test_two_steps_that_write_the_same_file_are_refused(workdir: Path) -> None:
    Path("runs/x").mkdir(parents=True)
    (Path("runs/x") / "metadata.json").write_text("{}")
    export = step("export_gguf", checkpoint_dir="runs/x", quantization="q8_0", output_file="a.gguf")
    (found, *_) = check.problems(Plan("", (export, export)))
    assert "is written by an earlier step" in found


def test_a_model_that_cannot_fit_into_memory_is_named_with_what_would(
    workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "gpu_memory_bytes", lambda: 8 * 2**30)
    Path("data/train").mkdir(parents=True)
    (Path("data/train") / "metadata.json").write_text("{}")
    (found,) = check.problems(Plan("", (train(base_model="llama3.1-8b"),)))
    assert found == (
        "finetune_unsloth: `llama3.1-8b` needs at least 15.0 GiB to train this way and this machine has 8.0 GiB of GPU "
        "memory; load it in 4bit or use a smaller model"
    )
    assert check.problems(Plan("", (train(base_model="llama3.1-8b", quant="4bit"),))) == ()
    (full,) = check.problems(Plan("", (train(base_model="smollm2-1.7b", lora_r=0),)))
    assert "`smollm2-1.7b` needs at least" in full


def test_a_full_disk_is_named_with_what_is_needed(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(10**9, 10**9 - 1000, 1000))
    (found,) = check.problems(Plan("", (step("export_gguf", checkpoint_dir="gemma3-270m", quantization="q8_0"),)))
    assert "GiB of disk" in found


def test_steps_that_are_reused_need_nothing(workdir: Path) -> None:
    reused = Step(PREPARE.tool, PREPARE.args, PREPARE.origin, reuse=True)
    assert check.problems(Plan("", (reused, train()))) == ()
