"""The probe: which steps come first, what they tell, and when a training asks. The training itself: finetune tests."""

import random
from pathlib import Path

import pytest
from tunesmith.tools import probe as probe_module
from tunesmith.tools.base import on_event
from tunesmith.tools.batch_order import PROBE_STEPS, batch_order, steps_per_epoch
from tunesmith.tools.control_file import ControlFile, GoOn, Save, Stop, request
from tunesmith.tools.probe import PROBE_VARIABLE, Probe


@pytest.mark.parametrize("seed", range(5))
def test_the_two_longest_batches_come_first_and_every_epoch_keeps_its_rows(seed: int) -> None:
    lengths = [random.Random(seed).randint(5, 400) for _ in range(101)]
    order = batch_order(lengths, 8, epochs=3, seed=seed)
    longest = [max(lengths[row] for row in batch) for batch in order[: steps_per_epoch(101, 8)]]
    assert longest[:PROBE_STEPS] == sorted(longest, reverse=True)[:PROBE_STEPS]
    for epoch in range(3):
        steps = order[13 * epoch : 13 * (epoch + 1)]
        assert sorted(row for batch in steps for row in batch) == list(range(101))


@pytest.mark.parametrize(("rows", "steps"), [(1, None), (3, None), (8, 1), (8, 2), (100, 300)])
def test_short_runs_have_an_order_too(rows: int, steps: int | None) -> None:
    assert len(batch_order([7] * rows, 4, epochs=1, seed=0, max_steps=steps)) == (steps or -(-rows // 4))


def asked(expected: float, seconds: list[float]) -> tuple[bool, dict[str, object]]:
    events: list[dict[str, object]] = []
    on_event(events.append)
    waits = Probe([100, 100, *[50] * 20], expected, cuda=False).tell(seconds)
    on_event(None)
    return waits, events[0]


def test_a_run_asks_where_it_more_than_doubles_and_only_there() -> None:
    assert asked(float("inf"), [9.0, 1.0])[0] is False
    waits, event = asked(11.0, [2.0, 1.0])  # 3 s, and 1,000 tokens at 100 in a second
    assert (waits, event["seconds"], "expected_seconds" in event) == (False, 13.0, False)
    waits, event = asked(6.0, [2.0, 1.0])
    assert (waits, event["expected_seconds"], "free_gib" in event) == (True, 6.0, False)


def test_a_run_asks_where_its_next_large_step_does_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probe_module, "headroom", lambda *, cuda: (3.0, 2.0))
    waits, event = asked(float("inf"), [2.0, 1.0])
    assert waits is True
    assert (event["more_gib"], event["free_gib"]) == (3.0, 2.0)


def test_a_probe_is_made_only_for_who_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PROBE_VARIABLE, raising=False)
    assert Probe.asked_for([1], cuda=False) is None
    monkeypatch.setenv(PROBE_VARIABLE, "12.5")
    assert Probe.asked_for([1], cuda=False) == Probe([1], 12.5, cuda=False)


def test_only_a_stop_or_a_go_on_that_is_new_is_the_word_that_is_waited_for(tmp_path: Path) -> None:
    request(tmp_path, GoOn())
    control = ControlFile(tmp_path, 0)
    assert control.has_word()
    control.due(1)
    assert not control.has_word()
    request(tmp_path, Save())
    with (tmp_path / "control.jsonl").open("a") as stream:
        stream.write('{"op": "stop"')  # not complete yet
    assert not control.has_word()
    with (tmp_path / "control.jsonl").open("a") as stream:
        stream.write("}\n")
    assert control.has_word()
    assert control.due(2) == [Save(), Stop()]
