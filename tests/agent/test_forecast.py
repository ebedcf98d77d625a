"""The preview says what each export will weigh, and says nothing where that is not known."""

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from tunesmith.agent.forecast import export_bytes, models_of
from tunesmith.agent.plan import Plan, Step
from tunesmith.agent.preview import show_plan
from tunesmith.tools.size_forecast import forecast_bytes


def _step(tool: str, **args: Any) -> Step:
    return Step(tool, args, {})


TRAIN = _step("finetune_unsloth", base_model="gemma3-270m", dataset="data/train", output_dir="runs/x")
MERGE = _step("export_safetensors", checkpoint_dir="runs/x", output_dir="models/merged")


def _export(checkpoint: str, kind: str = "q4_k_m", **more: Any) -> Step:
    return _step("export_gguf", checkpoint_dir=checkpoint, quantization=kind, output_file="models/x.gguf", **more)


def _shown(*steps: Step) -> str:
    text = io.StringIO()
    show_plan(Plan("", steps), Console(file=text, width=160))
    return text.getvalue()


@pytest.mark.parametrize("checkpoint", ["somebody/model", "runs/none", "./gone"])
def test_a_model_that_nobody_knows_is_shown_without_a_size(checkpoint: str, workdir: Path) -> None:
    assert "about" not in _shown(_export(checkpoint))


def test_a_step_that_writes_no_gguf_has_no_size() -> None:
    assert export_bytes(TRAIN, {}) is None


def test_a_checkpoint_that_the_plan_makes_has_the_shapes_of_its_base(workdir: Path) -> None:
    models = models_of(Plan("", (TRAIN, MERGE)))
    expected = forecast_bytes("gemma3-270m", "q4_k_m")
    assert expected is not None
    assert export_bytes(_export("runs/x"), models) == export_bytes(_export("models/merged"), models) == expected


def test_the_preview_names_the_size_of_each_export(workdir: Path) -> None:
    shown = _shown(TRAIN, _export("runs/x"), _export("runs/x", "f16"), _export("llama3.1-8b"))
    assert "2. export_gguf  (about 253 MB)" in shown
    assert "3. export_gguf  (about 543 MB)" in shown
    assert "4. export_gguf  (about 4.92 GB)" in shown
    assert "1. finetune_unsloth\n" in shown.replace(" \n", "\n")


def test_an_export_that_is_done_is_shown_without_a_forecast(workdir: Path) -> None:
    done = Step("export_gguf", {"checkpoint_dir": "gemma3-270m", "quantization": "q8_0"}, {}, reuse=True)
    assert "about" not in _shown(done)
