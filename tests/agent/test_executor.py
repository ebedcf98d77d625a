"""A run stops at the first failure, keeps what is done, and goes on where it stopped. Real tool processes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import records
from tunesmith.agent.executor import execute
from tunesmith.agent.plan import Plan, Step
from tunesmith.agent.session import Session
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.process import Interrupt

ROWS = [{"prompt": f"What is {n} plus {n}?", "completion": str(2 * n)} for n in range(60)]


def prepare(source: str, **more: Any) -> Step:
    args = {"source": source, "output_dir": "data/", "split": "train", **more}
    return Step("prepare_dataset", args, dict.fromkeys(args, "you"))


def plan_of(*steps: Step, request: str = "prepare rows.jsonl") -> Plan:
    return Plan(request, steps)


@pytest.fixture
def rows(workdir: Path) -> str:
    (workdir / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return "rows.jsonl"


def test_a_finished_run_is_recorded_with_results_versions_and_seconds(rows: str) -> None:
    events: list[tuple[int, str, str]] = []
    record = execute(
        records.new_record(plan_of(prepare(rows))),
        lambda position, tool, event: events.append((position, tool, event["event"])),
    )
    saved = json.loads((record.folder / "record.json").read_text())
    assert saved["state"] == "done"
    assert saved["steps"][0]["result"]["rows"] + saved["steps"][0]["result"]["heldout_rows"] == 60
    assert saved["steps"][0]["seconds"] > 0
    assert "pydantic" not in saved["versions"]
    assert saved["versions"]["tunesmith"]
    assert json.loads(Path("runs/records/latest.json").read_text()) == {"id": record.id}
    assert events[0] == (0, "prepare_dataset", "start")
    assert events[-1] == (0, "prepare_dataset", "done")


def test_a_run_stops_at_the_first_failure_and_says_why(rows: str) -> None:
    record = records.new_record(plan_of(prepare("missing.jsonl"), prepare(rows, output_dir="other/")))
    with pytest.raises(BadRequest, match=r"missing\.jsonl"):
        execute(record, lambda *_: None)
    assert [step.state for step in record.steps] == ["failed", "waiting"]
    assert record.state == "failed"
    assert record.steps[0].error is not None
    assert not Path("other").exists()
    assert not Path("data/train").exists()


def test_resume_runs_what_failed_and_nothing_that_was_done(rows: str) -> None:
    record = records.new_record(plan_of(prepare(rows), prepare("later.jsonl", output_dir="other/")))
    with pytest.raises(BadRequest):
        execute(record, lambda *_: None)
    first = record.steps[0].model_dump()
    Path("later.jsonl").write_text(Path(rows).read_text())
    again = execute(records.find(None, unfinished=True), lambda *_: None)
    assert again.id == record.id
    assert again.state == "done"
    assert again.steps[0].model_dump() == first


def test_a_step_whose_result_was_written_before_the_kill_is_not_run_again(rows: str) -> None:
    record = execute(records.new_record(plan_of(prepare(rows))), lambda *_: None)
    made = Path("data/train/metadata.json").stat().st_mtime_ns
    record.state, record.steps[0].state, record.steps[0].result = "running", "running", None
    records.save(record)
    again = execute(records.find(None, unfinished=True), lambda *_: None)
    assert again.steps[0].state == "done"
    assert again.steps[0].result is not None
    assert Path("data/train/metadata.json").stat().st_mtime_ns == made


def test_a_finished_output_without_a_result_is_kept_aside_and_made_again(rows: str) -> None:
    record = execute(records.new_record(plan_of(prepare(rows))), lambda *_: None)
    (record.folder / "1-prepare_dataset.result.json").unlink()
    record.state, record.steps[0].state, record.steps[0].result = "running", "running", None
    records.save(record)
    again = execute(records.find(None, unfinished=True), lambda *_: None)
    assert again.steps[0].state == "done"
    assert Path("data/train-interrupted/metadata.json").exists()
    assert Path("data/train/metadata.json").exists()


def test_a_reused_step_whose_output_is_gone_is_refused(rows: str) -> None:
    step = prepare(rows)
    reused = Step(step.tool, step.args, step.origin, reuse=True)
    with pytest.raises(BadRequest, match="is gone or incomplete"):
        execute(records.new_record(plan_of(reused)), lambda *_: None)


def test_finished_steps_count_until_their_input_or_output_changes(rows: str) -> None:
    execute(records.new_record(plan_of(prepare(rows))), lambda *_: None)
    assert records.history().ran[-1].finished == 1
    with Path(rows).open("a") as stream:
        stream.write(json.dumps(ROWS[0]) + "\n")
    assert records.history().ran[-1].finished == 0


def test_a_record_is_worked_on_by_one_process_at_a_time(rows: str) -> None:
    record = records.new_record(plan_of(prepare(rows)))
    with (
        records.lock(record),
        pytest.raises(BadRequest, match="at work in another process"),
        records.lock(record, patience_seconds=0.2),
    ):
        pass


def test_records_that_cannot_be_read_are_passed_over(rows: str) -> None:
    record = records.new_record(plan_of(prepare(rows)))
    broken = records.RECORDS / "00000000-broken"
    broken.mkdir()
    (broken / "record.json").write_text("{")
    assert [one.id for one in records.load_all()] == [record.id]


def test_another_thread_interrupts_a_run_which_can_be_resumed(rows: str) -> None:
    interrupt = Interrupt()
    record = records.new_record(plan_of(prepare(rows)))
    with pytest.raises(KeyboardInterrupt):
        execute(
            record, lambda _position, _tool, event: interrupt.ask() if event["event"] == "start" else None, interrupt
        )
    assert (record.state, record.steps[0].state) == ("interrupted", "interrupted")
    assert not Path("data/train").exists()
    assert execute(records.find(None, unfinished=True), lambda *_: None).state == "done"


def test_a_plan_that_was_only_shown_takes_no_names(rows: str) -> None:
    session = Session()
    session.note(session.ask("train smollm2-135m on rows.jsonl"))
    session.decline(session.ask("3 epochs"))
    plan = session.ask("4 epochs")
    assert plan.steps[1].args["output_dir"] == "runs/smollm2-135m"
    assert plan.changed == ("epochs 3 → 4",)


def test_an_unknown_or_ambiguous_id_is_refused(rows: str) -> None:
    first, _ = records.new_record(plan_of(prepare(rows))), records.new_record(plan_of(prepare(rows)))
    assert records.find(first.id).id == first.id
    with pytest.raises(BadRequest, match="2 runs have an id"):
        records.find("20")
    with pytest.raises(BadRequest, match="no run has an id"):
        records.find("1999")


def test_a_tool_process_ends_with_the_process_that_started_it(workdir: Path) -> None:
    """A SIGKILL to the chat leaves no tool at work, although this tool's input stays open."""
    read_end, write_end = os.pipe()
    code = (
        "import os, subprocess, sys\n"
        "tool = [sys.executable, '-P', '-m', 'tunesmith.tools', 'prepare_dataset']\n"
        "environment = {**os.environ, 'TUNESMITH_PARENT': str(os.getpid())}\n"
        f"subprocess.run(tool, env=environment, stdin={read_end})\n"
    )
    parent = subprocess.Popen([sys.executable, "-P", "-c", code], pass_fds=(read_end,))
    child = _wait_for_child(parent.pid)
    time.sleep(1)
    assert _is_alive(child)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    deadline = time.monotonic() + 10
    while _is_alive(child) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not _is_alive(child)
    os.close(read_end)
    os.close(write_end)


def test_a_bug_in_a_tool_process_is_a_failure_that_names_its_log(rows: str, tmp_path: Path) -> None:
    from tunesmith.tools.process import run_tool

    os.environ["TUNESMITH_CACHE"] = "/dev/null/nowhere"
    try:
        with pytest.raises(ToolFailed, match=r"log"):
            run_tool("export_gguf", {"checkpoint_dir": "smollm2-135m", "output_file": "x.gguf"})
    finally:
        del os.environ["TUNESMITH_CACHE"]


def _wait_for_child(pid: int) -> int:
    import psutil

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        children = psutil.Process(pid).children()
        if children:
            return int(children[0].pid)
        time.sleep(0.05)
    raise AssertionError("the tool process did not start")


def _is_alive(pid: int) -> bool:
    import psutil

    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
