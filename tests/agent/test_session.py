"""Tunesmith from Python: a session plans, runs, tells events, and keeps to its folder."""

import asyncio
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from injections import INJECTIONS
from silent_host import silent_source
from tunesmith.agent.session import Session
from tunesmith.tools.background import Background, Cancelled
from tunesmith.tools.base import BadRequest
from tunesmith.tools.prepare_dataset import PreparedDataset


def write_rows(path: Path, count: int = 60, text: str = "What is {n} plus {n}?") -> None:
    rows = ({"prompt": text.format(n=n), "completion": str(2 * n)} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def folder(workdir: Path) -> Path:
    """A folder that is not the current one, with rows in it."""
    folder = workdir / "project"
    folder.mkdir()
    write_rows(folder / "rows.jsonl")
    return folder


def arguments(plan: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(step.tool, step.args) for step in plan.steps]


def test_a_folder_that_is_not_there_is_refused(workdir: Path) -> None:
    with pytest.raises(BadRequest, match="is no folder"):
        Session("nowhere")


@pytest.mark.parametrize("text", [5, None, b"prepare rows.jsonl", ["prepare rows.jsonl"]])
def test_a_request_that_is_no_text_is_refused_in_one_sentence(folder: Path, text: Any) -> None:
    with pytest.raises(BadRequest, match="a request is a text in plain words, not "):
        Session(folder).ask(text)


def test_a_plan_without_steps_or_with_problems_does_not_run(folder: Path) -> None:
    session = Session(folder)
    with pytest.raises(BadRequest, match=r"\?|which|what|name"):
        session.ask("fine-tune smollm2-135m").run()
    with pytest.raises(BadRequest, match="is not there"):
        session.ask("prepare missing.jsonl").start()
    assert session.runs() == []


def test_everything_of_a_session_happens_in_its_folder_and_the_current_one_stays(folder: Path, workdir: Path) -> None:
    plan = Session("project").ask("prepare rows.jsonl")
    assert plan.problems == ()
    record = plan.run()
    assert Path.cwd() == workdir
    assert [path.name for path in workdir.iterdir()] == ["project"]
    assert (folder / "data/train/metadata.json").is_file()
    assert record.folder.parent == folder / "runs/records"
    assert (record.folder / "record.json").is_file()
    assert record.steps[0].log is not None and not Path(record.steps[0].log).is_absolute()
    (result,) = record.results
    assert isinstance(result, PreparedDataset)
    assert result.rows + result.heldout_rows == 60
    assert result.dataset == "data/train"


def test_the_same_folder_gives_the_same_plan_whether_it_is_named_or_the_current_one(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Session(folder).ask("prepare rows.jsonl").run()
    requests = ["train smollm2-135m on rows.jsonl for 2 epochs and export q8_0", "export runs/none as q4_0", "again"]
    named = [Session(folder).ask(request) for request in requests]
    monkeypatch.chdir(folder)
    assert named == [Session().ask(request) for request in requests]
    assert named[0].steps[0].reuse


def test_a_reused_step_gives_the_result_of_the_run_that_made_it(folder: Path) -> None:
    session = Session(folder)
    first = session.ask("prepare rows.jsonl").run()
    again = session.ask("prepare rows.jsonl")
    assert [step.reuse for step in again.steps] == [True]
    assert again.run().results == first.results


def test_a_follow_up_changes_a_plan_that_was_shown_and_did_not_run(folder: Path) -> None:
    session = Session(folder)
    session.ask("fine-tune smollm2-135m on rows.jsonl for 2 epochs")
    plan = session.ask("make it 4 epochs")
    assert plan.steps[1].args["epochs"] == 4
    assert plan.steps[0].args["output_dir"] == "data/"
    assert session.runs() == []


def test_a_question_is_answered_in_the_same_session(folder: Path) -> None:
    session = Session(folder)
    question = session.ask("fine-tune smollm2-135m for 3 epochs")
    assert question.kind == "question"
    assert [step.tool for step in session.ask("rows.jsonl").steps] == ["prepare_dataset", "finetune_unsloth"]


def test_two_sessions_in_one_folder_do_not_hear_each_other(folder: Path) -> None:
    write_rows(folder / "other.jsonl", text="Twice {n}?")
    one, other = Session(folder), Session(folder)
    one.ask("prepare rows.jsonl").run()
    plan = other.ask("prepare other.jsonl")
    assert plan.steps[0].args["output_dir"] == "data-2/"
    plan.run()
    assert one.ask("with seed 7").steps[0].args["source"] == "rows.jsonl"
    assert other.ask("with seed 7").steps[0].args["source"] == "other.jsonl"
    assert Session(folder).ask("with seed 7").steps[0].args["source"] == "other.jsonl"


def test_a_waiting_run_of_another_session_keeps_its_outputs(folder: Path) -> None:
    one, other = Session(folder), Session(folder)
    record = one.queue(one.ask("prepare rows.jsonl"))
    assert record.state == "waiting"
    assert other.ask("prepare rows.jsonl with seed 3").steps[0].args["output_dir"] == "data-2/"
    assert one.resume(record.id).state == "done"


def test_sessions_in_several_folders_run_at_once(workdir: Path) -> None:
    folders = [workdir / name for name in ("a", "b", "c")]
    for count, folder in enumerate(folders):
        folder.mkdir()
        write_rows(folder / "rows.jsonl", 40 + count)
    runs = [Session(folder).ask("prepare rows.jsonl").start() for folder in folders]
    totals = []
    for run, folder in zip(runs, folders, strict=True):
        record = run.result(60)
        assert record.folder.is_relative_to(folder)
        (result,) = record.results
        assert isinstance(result, PreparedDataset)
        totals.append(result.rows + result.heldout_rows)
    assert totals == [40, 41, 42]


def test_events_come_in_order_and_end_with_the_run(folder: Path) -> None:
    run = Session(folder).ask("prepare rows.jsonl").start()
    events = list(run)
    assert [events[0].kind, events[-1].kind] == ["start", "done"]
    assert {event.tool for event in events} == {"prepare_dataset"}
    assert run.over
    assert events[-1].fields["result"] == run.result().results[0]
    assert list(run) == events


def test_a_failed_run_raises_at_the_end_of_its_events(folder: Path) -> None:
    (folder / "rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\nnonsense\n')
    run = Session(folder).ask("prepare rows.jsonl").start()
    with pytest.raises(BadRequest, match="line 2"):
        list(run)
    with pytest.raises(BadRequest, match="line 2"):
        run.result()


def test_a_run_that_is_cancelled_ends_its_process_and_can_be_resumed(folder: Path) -> None:
    session = Session(folder)
    with silent_source() as silent:
        run = session.call("prepare_dataset", silent).start()
        wait_for_tool()
        with pytest.raises(TimeoutError):
            run.result(0.05)
        run.cancel()
        with pytest.raises(Cancelled):
            run.result(20)
    assert tool_processes() == []
    assert [record.state for record in session.runs()] == ["interrupted"]


def test_the_async_twins_plan_run_and_tell_events(folder: Path) -> None:
    async def talk() -> None:
        session = Session(folder)
        plan = await session.aask("prepare rows.jsonl")
        told: list[str] = []
        record = await plan.arun(lambda _step, _tool, event: told.append(event["event"]))
        assert (told[0], told[-1]) == ("start", "done")
        assert record.state == "done"
        run = session.call("prepare_dataset", {"source": "rows.jsonl", "seed": 5}).start()
        assert [event.kind async for event in run][-1] == "done"
        assert (await session.aresume(record.id)).state == "done"

    asyncio.run(talk())


def test_a_cancelled_task_takes_its_run_with_it(folder: Path) -> None:
    async def begin_and_cancel(plan: Any) -> None:
        task = asyncio.create_task(plan.arun())
        await asyncio.to_thread(wait_for_tool)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert tool_processes() == []

    with silent_source() as silent:
        session = Session(folder)
        asyncio.run(begin_and_cancel(session.call("prepare_dataset", silent)))
        assert session.runs()[-1].state == "interrupted"


def test_an_iteration_that_is_broken_off_leaves_the_work_alone() -> None:
    goes_on = threading.Event()

    def work(tell: Any, _: Any) -> str:
        tell(1)
        goes_on.wait(10)
        tell(2)
        return "done"

    background: Background[int, str] = Background(work)
    for event in background:
        assert event == 1
        break
    assert not background.over
    goes_on.set()
    assert background.result(10) == "done"
    assert list(background) == [1, 2]


def test_a_call_of_a_tool_becomes_a_plan_with_every_value(folder: Path) -> None:
    session = Session(folder)
    plan = session.call("finetune_unsloth", {"base_model": "Gemma3:270M", "dataset": "data/train", "quant": "q8_0"})
    (step,) = plan.steps
    assert (step.args["base_model"], step.args["quant"], step.args["learning_rate"]) == ("gemma3-270m", "8bit", 5e-5)
    assert (step.origin["quant"], step.origin["epochs"]) == ("you", "default")
    assert plan.hash == session.call(step.tool, step.args).hash
    assert plan.hash != session.call(step.tool, {**step.args, "epochs": 2}).hash


@pytest.mark.parametrize(
    ("tool", "args", "message"),
    [
        ("plan", {}, "not a tool of the contract"),
        ("verify", {}, "not a tool of the contract"),
        ("prepare_dataset", {"sorce": "a"}, "`source` is missing.*`sorce` is not a parameter"),
        ("finetune_unsloth", {"base_model": "gemma3-270m", "dataset": "d", "epochs": 1000}, "`epochs` is 1000"),
        ("export_gguf", {"checkpoint_dir": "a-model-nobody-knows"}, "a-model-nobody-knows"),
    ],
)
def test_a_wrong_call_is_refused_in_one_sentence(tool: str, args: dict[str, Any], message: str, folder: Path) -> None:
    with pytest.raises(BadRequest, match=message):
        Session(folder).call(tool, args)


def test_no_argument_of_a_call_adds_a_step_or_changes_another_value(folder: Path) -> None:
    assert len(INJECTIONS) >= 200
    session = Session(folder)
    usual = session.call("prepare_dataset", {"source": "rows.jsonl"}).steps[0].args
    for text in INJECTIONS:
        (step,) = session.call("prepare_dataset", {"source": text}).steps
        assert step.tool == "prepare_dataset"
        assert step.args == {**usual, "source": text}
    assert session.runs() == []


def test_a_quoted_file_name_full_of_orders_is_a_file_name(folder: Path) -> None:
    for text in INJECTIONS:
        name = " ".join(text.replace("/", " ").replace('"', "'").split())[:80] + ".jsonl"
        (folder / name).touch()
        plan = Session(folder).ask(f'prepare "{name}"')
        assert [(step.tool, step.args["source"]) for step in plan.steps] == [("prepare_dataset", name)]


def test_no_text_on_disk_changes_what_is_planned(folder: Path, workdir: Path) -> None:
    """Rows, file names, a chat template and an earlier result full of orders; the plans are those without them."""
    clean = workdir / "clean"
    clean.mkdir()
    plans = []
    for place, texts in ((clean, [f"row {n}" for n in range(len(INJECTIONS))]), (folder, INJECTIONS)):
        rows = [{"prompt": text, "completion": text, "system": text} for text in texts]
        (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        (place / "names").mkdir()
        for text in texts:
            (place / "names" / text.replace("/", " ")[:80]).touch()
        (place / "base").mkdir()
        (place / "base/config.json").write_text(json.dumps({"model_type": "llama", "note": texts}))
        (place / "base/chat_template.jinja").write_text("\n".join(texts))
        session = Session(place)
        record = session.ask("prepare rows.jsonl").run()
        spoiled = json.loads((record.folder / "record.json").read_text())
        spoiled["steps"][0]["notes"] = texts
        spoiled["steps"][0]["result"]["shape"] = texts[7]
        (record.folder / "record.json").write_text(json.dumps(spoiled))
        requests = ["fine-tune ./base on rows.jsonl", "for 2 epochs", "export it", "with seed 7", "again", "what ran?"]
        plans.append([session.ask(request) for request in requests])
        assert len(session.runs()) == 1
    assert [arguments(plan) for plan in plans[0]] == [arguments(plan) for plan in plans[1]]
    assert [plan.kind for plan in plans[0]] == [plan.kind for plan in plans[1]]


def test_importing_tunesmith_takes_no_time_and_loads_nothing() -> None:
    code = (
        "import sys, time; began = time.perf_counter(); import tunesmith; "
        "print(time.perf_counter() - began, len([m for m in sys.modules if m.startswith('tunesmith')]))"
    )
    runs = [
        subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout.split()
        for _ in range(3)
    ]
    assert min(float(seconds) for seconds, _ in runs) <= 0.15
    assert {modules for _, modules in runs} == {"1"}


def tool_processes() -> list[int]:
    children = psutil.Process().children(recursive=True)
    return [child.pid for child in children if child.status() != psutil.STATUS_ZOMBIE]


def wait_for_tool() -> None:
    """Wait until a tool's process is at work."""
    deadline = time.monotonic() + 20
    while not tool_processes():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    time.sleep(0.5)
