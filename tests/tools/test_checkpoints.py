"""Checkpoints, the state in them, and the operations for a running training: no model, no unsloth."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from tunesmith.tools.artifacts import write_metadata
from tunesmith.tools.base import BadRequest, ToolFailed, on_event
from tunesmith.tools.checkpoints import newest_checkpoint, write_checkpoint
from tunesmith.tools.control_file import ControlFile, GoOn, Save, SetValue, Stop, operations, request
from tunesmith.tools.run_folder import claim_run_folder, default_run_folder
from tunesmith.tools.training_loop import Progress, StepKeeper, read_metrics
from tunesmith.tools.training_state import capture, restore, set_learning_rate


@pytest.fixture
def notes() -> Any:
    texts: list[str] = []
    on_event(lambda event: texts.append(event.get("text", "")))
    yield texts
    on_event(None)


class Small:
    """A linear model with optimizer and a falling schedule, trained on noise."""

    def __init__(self) -> None:
        torch.manual_seed(1)
        self.model = torch.nn.Linear(4, 3)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.1)
        self.scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, lambda step: 1 - step / 20)

    def train(self, steps: int) -> list[float]:
        losses = []
        for _ in range(steps):
            loss = (self.model(torch.randn(8, 4)) - 1).square().mean()
            loss.backward()
            self.optimizer.step()
            self.scheduler.step()
            self.optimizer.zero_grad()
            losses.append(loss.item())
        return losses


def test_a_restored_state_goes_on_exactly_as_the_first_one_did(tmp_path: Path) -> None:
    first = Small()
    first.train(5)
    write_checkpoint(tmp_path, capture(5, first.model, first.optimizer, first.scheduler, {"seconds": 1.5}))
    expected = first.train(5)
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.state["extra"] == {"seconds": 1.5}
    second = Small()
    restore(checkpoint, second.model, second.optimizer, second.scheduler)
    assert second.train(5) == expected


def test_a_checkpoint_of_another_model_is_refused(tmp_path: Path) -> None:
    first = Small()
    first.train(1)
    checkpoint = capture(1, first.model, first.optimizer, first.scheduler, {})
    other = torch.nn.Sequential(torch.nn.Linear(4, 3))
    with pytest.raises(ValueError, match="other weights"):
        restore(checkpoint, other, first.optimizer, first.scheduler)


def saved(folder: Path, *steps: int) -> None:
    small = Small()
    small.train(1)
    for step in steps:
        write_checkpoint(folder, capture(step, small.model, small.optimizer, small.scheduler, {}))


def test_only_the_last_two_checkpoints_are_kept(tmp_path: Path) -> None:
    saved(tmp_path, 2, 4, 6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000004", "step-000006"]


@pytest.mark.parametrize("damage", ["truncated", "flipped", "missing", "no manifest", "renamed"])
def test_a_damaged_checkpoint_is_passed_over_with_a_note(tmp_path: Path, notes: list[str], damage: str) -> None:
    saved(tmp_path, 2, 4)
    newest = tmp_path / "step-000004"
    weights = newest / "model.safetensors"
    if damage == "truncated":
        weights.write_bytes(weights.read_bytes()[:-5])
    elif damage == "flipped":
        weights.write_bytes(weights.read_bytes()[:-1] + b"\x55")
    elif damage == "missing":
        weights.unlink()
    elif damage == "no manifest":
        (newest / "manifest.json").unlink()
    else:
        newest.rename(tmp_path / "step-000009")
    checkpoint = newest_checkpoint(tmp_path)
    assert checkpoint is not None
    assert checkpoint.step == 2
    assert "is damaged" in notes[0]


def test_what_an_interrupted_save_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / "step-000004.partial").mkdir()
    assert newest_checkpoint(tmp_path) is None
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_holds_no_pickle(tmp_path: Path) -> None:
    saved(tmp_path, 1)
    names = {path.name for path in (tmp_path / "step-000001").iterdir()}
    assert names == {"model.safetensors", "optimizer.safetensors", "state.json", "manifest.json"}


def test_a_new_learning_rate_keeps_the_course_of_the_schedule() -> None:
    small = Small()
    small.train(10)
    set_learning_rate(0.02, small.optimizer, small.scheduler)
    assert small.optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 0.5)
    small.train(5)
    assert small.optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * 0.25)


def test_operations_are_applied_once_and_values_again_after_a_resume(tmp_path: Path) -> None:
    (tmp_path / "control.jsonl").write_text(
        '{"op": "set", "parameter": "learning_rate", "value": 0.01}\n{"op": "stop"}\n{"op": "st'
    )
    control = ControlFile(tmp_path, 0)
    assert [type(operation) for operation in control.due(7)] == [SetValue, Stop]
    assert control.due(8) == []
    after = ControlFile(tmp_path, 5)
    assert after.due(6) == []
    assert [type(operation) for operation in after.due(7)] == [SetValue]
    assert ControlFile(tmp_path, 7).due(7) == []
    assert len(after.applied) == 2


def test_a_stop_waits_for_the_end_of_its_epoch_through_a_crash_and_comes_once(tmp_path: Path) -> None:
    request(tmp_path, Stop(after="epoch"))
    control = ControlFile(tmp_path, 0, steps_per_epoch=10)
    assert [control.due(step) for step in range(11, 20)] == [[]] * 9
    assert control.applied[0]["until"] == 20
    resumed = ControlFile(tmp_path, 15, steps_per_epoch=10)
    assert [type(operation) for step in range(16, 21) for operation in resumed.due(step)] == [Stop]
    assert ControlFile(tmp_path, 20, steps_per_epoch=10).due(21) == []


def test_a_stop_can_name_its_step_and_be_taken_back_before(tmp_path: Path) -> None:
    request(tmp_path, Stop(number=4))
    control = ControlFile(tmp_path, 0)
    assert control.due(1) == []
    request(tmp_path, GoOn())
    assert control.due(2) == [GoOn()]
    assert control.due(4) == []
    assert ControlFile(tmp_path, 3).due(4) == []
    request(tmp_path, Stop(number=2))
    assert [type(operation) for operation in control.due(5)] == [Stop], "a step that is over already stops at once"


def test_an_operation_is_asked_for_on_a_line_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "control.jsonl").write_text('{"op": "st')
    request(tmp_path, SetValue(value=0.01))
    request(tmp_path, Save())
    assert operations(tmp_path) == [SetValue(value=0.01), Save()]
    assert operations(tmp_path / "elsewhere") == []


@pytest.mark.parametrize(
    "line", ['{"op": "set", "parameter": "seed", "value": 1}', '{"op": "set"}', "[]", '{"op": "rm"}']
)
def test_an_unknown_operation_is_recorded_and_passed_over(tmp_path: Path, notes: list[str], line: str) -> None:
    (tmp_path / "control.jsonl").write_text(line + "\n")
    control = ControlFile(tmp_path, 0)
    assert control.due(1) == []
    assert "problem" in control.applied[0]
    assert "passed over" in notes[0]


def keeper(folder: Path) -> tuple[StepKeeper, Small]:
    small = Small()
    small.train(1)
    progress = Progress(tokens=[10] * 4, steps_per_epoch=4)
    return StepKeeper(progress, folder, ControlFile(folder, 0), None, []), small


def end_step(steps: StepKeeper, small: Small, **logs: float) -> None:
    given = {"loss": 1.0, "grad_norm": 1.0, "learning_rate": 0.1, **logs}
    steps.end(given, small.model, small.optimizer, small.scheduler)


@pytest.mark.parametrize("broken", [{"loss": math.nan}, {"loss": math.inf}, {"grad_norm": math.inf}])
def test_what_is_not_finite_stops_the_run_and_the_last_good_checkpoint_stays(
    tmp_path: Path, broken: dict[str, float]
) -> None:
    (tmp_path / "control.jsonl").write_text('{"op": "save"}\n')
    steps, small = keeper(tmp_path)
    end_step(steps, small)
    with pytest.raises(ToolFailed, match=r"in step 2 of 4; the checkpoint of step 1 is kept"):
        end_step(steps, small, **broken)
    checkpoint = newest_checkpoint(tmp_path / "checkpoints")
    assert checkpoint is not None
    assert checkpoint.step == 1
    assert len(read_metrics(tmp_path)) == 1


def test_gradients_that_are_not_finite_never_reach_the_weights(tmp_path: Path) -> None:
    steps, small = keeper(tmp_path)
    small.model.weight.grad = torch.full_like(small.model.weight, math.nan)
    with pytest.raises(ToolFailed, match="gradients stopped being finite"):
        steps.check_gradients(small.model)


def test_metrics_behind_the_checkpoint_are_cut_off(tmp_path: Path) -> None:
    lines = [json.dumps({"step": step, "loss": 1.0}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    assert [line["step"] for line in read_metrics(tmp_path, upto_step=2)] == [1, 2]
    assert [line["step"] for line in read_metrics(tmp_path)] == [1, 2]


IDENTITY = {"arguments": {"epochs": 1, "seed": 1}, "base_sha256": "a"}


def test_a_folder_of_somebody_else_is_not_written_to(workdir: Path) -> None:
    (workdir / "mine").mkdir()
    (workdir / "mine/notes.txt").write_text("x")
    with pytest.raises(BadRequest, match="no run of this tool"), claim_run_folder(Path("mine"), IDENTITY):
        pass
    with pytest.raises(BadRequest, match="is a file"), claim_run_folder(Path("mine/notes.txt"), IDENTITY):
        pass


def test_an_unfinished_run_is_claimed_again_only_with_the_same_identity(workdir: Path) -> None:
    for _ in range(2):
        with claim_run_folder(Path("runs/x"), IDENTITY):
            pass
    other = {"arguments": {"epochs": 2, "seed": 1}, "base_sha256": "a"}
    with pytest.raises(BadRequest, match="another `epochs`"), claim_run_folder(Path("runs/x"), other):
        pass
    write_metadata(Path("runs/x"), {})
    with pytest.raises(BadRequest, match="is finished"), claim_run_folder(Path("runs/x"), IDENTITY):
        pass


def test_the_default_folder_is_the_next_free_one_or_the_unfinished_run(workdir: Path) -> None:
    assert default_run_folder("unsloth/Gemma-3-270m-it", IDENTITY) == Path("runs/gemma-3-270m-it")
    first = default_run_folder("smollm2-135m", IDENTITY)
    with claim_run_folder(first, IDENTITY):
        pass
    assert default_run_folder("smollm2-135m", IDENTITY) == first
    assert default_run_folder("smollm2-135m", {**IDENTITY, "base_sha256": "b"}) == Path("runs/smollm2-135m-2")
    write_metadata(first, {})
    assert default_run_folder("smollm2-135m", IDENTITY) == Path("runs/smollm2-135m-2")
