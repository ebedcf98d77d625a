"""Real training of a tiny model, in processes of its own: unsloth patches whatever it finds in a process."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.artifacts import file_sha256, is_complete
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.finetune_unsloth import FinetuneUnslothInput, finetune_unsloth
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, prepare_dataset
from tunesmith.tools.process import run_tool

HELPER = Path(__file__).resolve().parents[1] / "finetune_calls.py"
STEPS = 10


def write_rows(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Prepared data sets: `sft`, `dpo`, `text`, and `late`, where every answer begins behind a long question."""
    root = tmp_path_factory.mktemp("data")
    colours = ["red", "green", "blue", "white"]
    sft = [
        {"instruction": f"Say the colour of item {n}" + " please" * (n % 7), "output": f"It is {colours[n % 4]}."}
        for n in range(48)
    ]
    dpo = [
        {
            "prompt": f"What colour is item {n}?",
            "chosen": f"It is {colours[n % 4]}.",
            "rejected": "I would rather not say anything about it.",
        }
        for n in range(24)
    ]
    late = [{"instruction": f"Item {n}: " + "why " * 60, "output": "Because."} for n in range(12)]
    text = [{"text": f"Item {n} is {colours[n % 4]}. " * 12} for n in range(12)]
    for name, rows in {"sft": sft, "dpo": dpo, "late": late, "text": text}.items():
        source = write_rows(root / f"{name}.jsonl", rows)
        prepare_dataset(PrepareDatasetInput(source=source, output_dir=str(root / name)))
    return root


def call(data: Path, model: Path, name: str, **changes: Any) -> dict[str, Any]:
    return {
        "base_model": str(model),
        "dataset": str(data / "sft/train"),
        "learning_rate": 0.01,
        "lora_r": 4,
        "batch_size": 4,
        "max_steps": STEPS,
        "seed": 3,
        "output_dir": str(data / "runs" / name),
        **changes,
    }


@pytest.fixture(scope="module")
def answers(data: Path, tiny_llama: Path) -> dict[str, dict[str, Any]]:
    """What a series of calls in one process answered, by name."""
    broken = data / "broken-base"
    shutil.copytree(tiny_llama, broken)
    plant_nan(broken / "model.safetensors")
    for name, lines in {
        "stopped": '{"op": "save"}\n{"op": "stop"}\n',
        "slower": 'nonsense\n{"op": "set", "parameter": "learning_rate", "value": 0.001}\n',
    }.items():
        (data / "runs" / name).mkdir(parents=True)
        (data / "runs" / name / "control.jsonl").write_text(lines)
    calls = {
        "plain": call(data, tiny_llama, "plain"),
        "taken": call(data, tiny_llama, "plain"),
        "stopped": call(data, tiny_llama, "stopped"),
        "resumed": call(data, tiny_llama, "stopped"),
        "slower": call(data, tiny_llama, "slower"),
        "4bit": call(data, tiny_llama, "4bit", quant="q4_k_m", max_steps=2),
        "8bit": call(data, tiny_llama, "8bit", quant="q8_0", max_steps=6),
        "full": call(data, tiny_llama, "full", lora_r=0, learning_rate=0.001),
        "dpo": call(data, tiny_llama, "dpo", method="dpo", dataset=str(data / "dpo/train"), max_steps=12),
        "text": call(data, tiny_llama, "text", dataset=str(data / "text/train"), max_seq_length=32, max_steps=4),
        "late": call(data, tiny_llama, "late", dataset=str(data / "late/train"), max_seq_length=24),
        "nan": call(data, broken, "nan"),
        "no such layer": call(data, tiny_llama, "layer", target_modules=["q_proj", "w_proj"]),
        "probed": call(data, tiny_llama, "probed"),
        "asked": call(data, tiny_llama, "asked"),
        "refused": call(data, tiny_llama, "refused"),
    }
    probes = {
        "probed": {"expected_seconds": "inf"},
        "asked": {"expected_seconds": 0.001, "answer": "go on"},
        "refused": {"expected_seconds": 0.001, "answer": "stop"},
    }
    process = subprocess.run(
        [sys.executable, "-P", str(HELPER)],
        input=json.dumps([{"args": args, **probes.get(name, {})} for name, args in calls.items()]),
        capture_output=True,
        text=True,
        timeout=400,
        cwd=data,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-3000:]
    return dict(zip(calls, json.loads(process.stdout), strict=True))


def plant_nan(weights: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(weights)
    tensors["model.norm.weight"] = tensors["model.norm.weight"] * float("nan")
    save_file(tensors, weights, metadata={"format": "pt"})


def metrics(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_rows_of_another_method_are_refused(data: Path, tiny_llama: Path) -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"method": "dpo"}, "`method` sft"),
        ({"dataset": str(data / "dpo/train")}, "`method` dpo"),
    ]
    for changes, needed in cases:
        with pytest.raises(BadRequest, match=needed):
            finetune_unsloth(FinetuneUnslothInput(**call(data, tiny_llama, "x", **changes)))


def test_a_folder_that_is_no_prepared_dataset_is_refused(workdir: Path, tiny_llama: Path) -> None:
    with pytest.raises(BadRequest, match="prepare_dataset"):
        finetune_unsloth(FinetuneUnslothInput(base_model=str(tiny_llama), dataset="nowhere/train"))


def test_a_finished_run_is_never_overwritten(answers: dict[str, Any]) -> None:
    assert answers["taken"]["error"] == "BadRequest"
    assert "exists already and is finished" in answers["taken"]["text"]


def test_a_training_whose_rows_lost_every_answer_to_truncation_stops_and_says_why(
    answers: dict[str, Any], data: Path
) -> None:
    assert answers["late"]["error"] == "ToolFailed"
    assert "raise `max_seq_length`" in answers["late"]["text"]
    assert not is_complete(data / "runs/late")


def test_a_loss_that_is_not_finite_stops_the_run(answers: dict[str, Any], data: Path) -> None:
    assert answers["nan"]["error"] == "ToolFailed"
    assert "stopped being finite in step 1" in answers["nan"]["text"]
    assert "lower `learning_rate`" in answers["nan"]["text"]
    assert not is_complete(data / "runs/nan")


def test_layers_that_the_model_does_not_have_are_named(answers: dict[str, Any]) -> None:
    assert answers["no such layer"]["error"] == "BadRequest"
    assert "`w_proj`" in answers["no such layer"]["text"]
    assert "down_proj, gate_proj" in answers["no such layer"]["text"]


def test_a_run_folder_holds_everything_that_was_promised(answers: dict[str, Any], data: Path) -> None:
    folder = data / "runs/plain"
    assert answers["plain"]["result"]["steps"] == STEPS
    assert is_complete(folder)
    names = {path.name for path in folder.iterdir()}
    assert {
        "adapter_config.json",
        "adapter_model.safetensors",
        "chat_template.jinja",
        "loss.png",
        "metadata.json",
        "metrics.jsonl",
        "README.md",
        "tokenizer.json",
    } <= names
    assert "checkpoints" not in names
    metadata = json.loads((folder / "metadata.json").read_text())
    assert metadata["arguments"]["learning_rate"] == 0.01
    assert metadata["arguments"]["lora_alpha"] == 4
    assert metadata["versions"]["unsloth"]
    assert metadata["dataset_sha256"] == json.loads((data / "sft/train/metadata.json").read_text())["sha256"]
    assert metadata["seconds"] > 0
    assert metadata["peak_memory_gib"] > 0.1
    assert (folder / "loss.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    card = (folder / "README.md").read_text()
    assert str(data) not in card, "a card is published; it must not tell where files lie"
    assert str(data) not in (folder / "adapter_config.json").read_text()


def test_training_learns(answers: dict[str, Any]) -> None:
    for name in ("plain", "8bit", "full", "text"):
        result = answers[name]["result"]
        assert result["final_loss"] < result["first_loss"] - 0.05, name
    assert answers["4bit"]["result"]["steps"] == 2
    assert answers["dpo"]["result"]["first_loss"] == pytest.approx(math.log(2), abs=0.05)
    assert answers["dpo"]["result"]["final_loss"] < 0.6


def test_the_base_is_really_loaded_in_the_precision_that_was_asked_for(data: Path, answers: dict[str, Any]) -> None:
    for name in ("4bit", "8bit"):
        assert not [event for event in answers[name]["events"] if "16 bit" in event.get("text", "")]
        assert json.loads((data / f"runs/{name}/metadata.json").read_text())["arguments"]["quant"] == name


def test_full_fine_tuning_writes_a_whole_model_in_16_bit(data: Path, answers: dict[str, Any], tiny_llama: Path) -> None:
    from safetensors.numpy import load_file

    folder = data / "runs/full"
    assert answers["full"]["result"]["checkpoint_dir"] == str(folder)
    tuned, base = load_file(folder / "model.safetensors"), load_file(tiny_llama / "model.safetensors")
    assert tuned.keys() == base.keys()
    assert {str(tensor.dtype) for tensor in tuned.values()} == {"float16"}
    assert all((tuned[name] != base[name]).any() for name in base)


def test_each_step_reports_loss_speed_and_time_left(answers: dict[str, Any], data: Path) -> None:
    steps = [event for event in answers["plain"]["events"] if event["event"] == "step"]
    assert [event["done"] for event in steps] == list(range(1, STEPS + 1))
    assert {"total", "unit", "loss", "tokens_per_second", "seconds_left", "learning_rate"} <= steps[0].keys()
    assert steps[-1]["seconds_left"] == 0
    lines = metrics(data / "runs/plain")
    assert [line["step"] for line in lines] == list(range(1, STEPS + 1))
    assert {"epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds"} <= lines[0].keys()


def test_a_stopped_run_goes_on_from_its_checkpoint_and_ends_where_an_undisturbed_one_does(
    answers: dict[str, Any], data: Path
) -> None:
    assert answers["stopped"]["error"] == "ToolFailed"
    assert f"stopped after step 1 of {STEPS}" in answers["stopped"]["text"]
    assert answers["resumed"]["result"]["resumed_from_step"] == 1
    plain, resumed = metrics(data / "runs/plain"), metrics(data / "runs/stopped")
    assert [line["loss"] for line in resumed] == pytest.approx([line["loss"] for line in plain], rel=1e-3)
    assert [line["tokens"] for line in resumed] == [line["tokens"] for line in plain]
    control = json.loads((data / "runs/stopped/metadata.json").read_text())["control"]
    assert [entry["operation"]["op"] for entry in control] == ["save", "stop"]


def test_control_changes_the_learning_rate_and_passes_over_what_it_does_not_know(
    answers: dict[str, Any], data: Path
) -> None:
    rates = [line["learning_rate"] for line in metrics(data / "runs/slower")]
    plain = [line["learning_rate"] for line in metrics(data / "runs/plain")]
    assert rates[0] == plain[0]
    assert rates[1:] == pytest.approx([rate / 10 for rate in plain[1:]])
    control = json.loads((data / "runs/slower/metadata.json").read_text())["control"]
    assert "is not an operation" in control[0]["problem"]
    assert control[1]["operation"]["value"] == 0.001
    assert any("passed over" in event.get("text", "") for event in answers["slower"]["events"])


def test_the_first_steps_tell_of_the_rest_and_leave_the_result_as_it_is(answers: dict[str, Any], data: Path) -> None:
    assert not [event for event in answers["plain"]["events"] if event["event"] == "probe"]
    (probe,) = [event for event in answers["probed"]["events"] if event["event"] == "probe"]
    place = answers["probed"]["events"].index(probe)
    assert [event["done"] for event in answers["probed"]["events"][:place] if event["event"] == "step"] == [1, 2]
    took = sum(line["seconds"] for line in metrics(data / "runs/probed"))
    assert took / 4 < probe["seconds"] < took * 4
    assert probe["memory_gib"] > 0.1
    assert probe["asks"] is False
    lengths = [line["tokens"] for line in metrics(data / "runs/probed")]
    assert min(lengths[:2]) >= max(lengths[2:]), "they are the longest"
    adapters = {name: file_sha256(data / "runs" / name / "adapter_model.safetensors") for name in ("probed", "asked")}
    assert set(adapters.values()) == {file_sha256(data / "runs/plain/adapter_model.safetensors")}


def test_a_training_that_takes_longer_than_was_said_waits_for_a_word(answers: dict[str, Any], data: Path) -> None:
    for name in ("asked", "refused"):
        (probe,) = [event for event in answers[name]["events"] if event["event"] == "probe"]
        assert (probe["asks"], probe["expected_seconds"]) == (True, 0.0)
    (word,) = json.loads((data / "runs/asked/metadata.json").read_text())["control"]
    assert (word["step"], word["operation"]) == (2, {"op": "go on"})
    assert f"stopped after step 2 of {STEPS}" in answers["refused"]["text"]
    assert [path.name for path in (data / "runs/refused/checkpoints").iterdir()] == ["step-000002"]
    assert len(metrics(data / "runs/refused")) == 2


def test_an_interrupted_run_goes_on_past_a_damaged_checkpoint(
    data: Path, tiny_llama: Path, answers: dict[str, Any]
) -> None:
    folder = data / "runs/interrupted"
    folder.mkdir()
    (folder / "control.jsonl").write_text('{"op": "save"}\n')
    args = call(data, tiny_llama, "interrupted")
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.tools", "finetune_unsloth"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TUNESMITH_LOG": str(data / "interrupted.log")},
    )
    assert process.stdin and process.stderr
    process.stdin.write(json.dumps(args))
    process.stdin.close()
    for line in process.stderr:
        if json.loads(line).get("done") == 3:
            process.send_signal(signal.SIGTERM)
            break
    tail = process.stderr.read()
    assert process.wait(60) == 1
    assert "was interrupted" in tail
    process.stderr.close()
    saved = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert saved[0] == "step-000001"
    assert len(saved) == 2
    damaged = folder / "checkpoints" / saved[1] / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:-1] + b"\0")
    notes: list[str] = []
    result = run_tool("finetune_unsloth", args, on_event=lambda event: notes.append(event.get("text", "")))
    assert any(f"{saved[1]} is damaged" in text for text in notes)
    assert result.resumed_from_step == 1  # type: ignore[attr-defined]
    losses = [line["loss"] for line in metrics(folder)]
    assert losses == pytest.approx([line["loss"] for line in metrics(data / "runs/plain")], rel=1e-3)


def test_an_unfinished_run_with_other_arguments_keeps_its_folder(data: Path, tiny_llama: Path, answers: Any) -> None:
    assert answers["nan"]["error"]
    args = call(data, data / "broken-base", "nan", seed=4)
    with pytest.raises(BadRequest, match="unfinished run with another `seed`"):
        finetune_unsloth(FinetuneUnslothInput(**args))


@pytest.mark.slow
def test_a_killed_run_goes_on_from_its_first_checkpoint(data: Path, base_dir: Path) -> None:
    folder = data / "runs/killed"
    args = call(data, base_dir, "killed", base_model="smollm2-135m", max_steps=30)
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.tools", "finetune_unsloth"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdin
    process.stdin.write(json.dumps(args))
    process.stdin.close()
    deadline = time.monotonic() + 120
    while not list(folder.glob("checkpoints/step-??????")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.kill()
    process.wait()
    result = run_tool("finetune_unsloth", args)
    assert result.resumed_from_step > 0  # type: ignore[attr-defined]
    assert [line["step"] for line in metrics(folder)] == list(range(1, 31))


@pytest.mark.slow
def test_the_real_small_model_learns_the_colours(data: Path, base_dir: Path) -> None:
    result = run_tool("finetune_unsloth", call(data, base_dir, "real", base_model="smollm2-135m", max_steps=20))
    assert result.final_loss < 0.5  # type: ignore[attr-defined]


def test_a_process_that_dies_names_its_log(workdir: Path) -> None:
    with pytest.raises((BadRequest, ToolFailed)):
        run_tool("finetune_unsloth", {"base_model": "no-such-model", "dataset": "nowhere"})
