"""What is decided where a training's first steps ask: by a person, by nobody, or later."""

from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import records
from tunesmith.agent.executor import _Run
from tunesmith.agent.plan import Plan, Step
from tunesmith.agent.probing import answer, told
from tunesmith.tools.control_file import GoOn, Stop, operations

SLOW = {"seconds": 500.0, "memory_gib": 2.0, "asks": True, "expected_seconds": 80.0}
LARGE = {"seconds": 50.0, "memory_gib": 2.0, "asks": True, "more_gib": 3.0, "free_gib": 1.0}


@pytest.mark.parametrize(
    ("event", "said", "operation"),
    [
        (SLOW, "it goes on, as nobody is asked", GoOn()),
        (LARGE, "it is stopped, as nobody is asked; the state is kept", Stop()),
        ({**SLOW, **LARGE}, "it is stopped, as nobody is asked; the state is kept", Stop()),
    ],
)
def test_where_nobody_is_asked_time_goes_on_and_memory_stops(
    event: dict[str, Any], said: str, operation: GoOn | Stop, tmp_path: Path
) -> None:
    assert answer(event, tmp_path, None) == said
    assert operations(tmp_path) == [operation]


@pytest.mark.parametrize(("says", "expected"), [(True, [GoOn()]), (False, [Stop()]), (None, [])])
def test_a_person_decides_now_or_later(says: bool | None, expected: list[GoOn | Stop], tmp_path: Path) -> None:
    asked: list[str] = []

    def confirm(text: str) -> bool | None:
        asked.append(text)
        return says

    assert answer(LARGE, tmp_path, confirm) is None
    assert answer({**SLOW, "asks": False}, tmp_path, confirm) is None
    assert asked == [told(LARGE)]
    assert operations(tmp_path) == expected


def test_both_reasons_are_told_with_their_figures() -> None:
    text = told({**SLOW, **LARGE})
    assert "0:50 for all steps, 2.0 GiB of memory" in text
    assert "up to 3.0 GiB more and 1.0 GiB are free" in text
    assert "more than twice the 1:20 of the estimate" in text


def test_a_training_is_measured_by_what_its_user_was_told(workdir: Path) -> None:
    plan = Plan("train", (Step("prepare_dataset", {}, {}), Step("finetune_unsloth", {}, {})))

    def expected(seconds: list[float | None] | None, *, probe: bool = True) -> list[float | None]:
        estimate = {"seconds": seconds} if seconds is not None else None
        run = _Run(records.new_record(plan, estimate=estimate), 0, lambda *_: None, None, probe, None)
        return [run.expected_seconds(position, step.tool) for position, step in enumerate(plan.steps)]

    assert expected([1.0, 80.0]) == [None, 80.0]
    assert expected([1.0, None]) == expected(None) == [None, float("inf")]
    assert expected([1.0, 80.0], probe=False) == [None, None], "--no-probe"
