"""The crew: driven by the embedded planner, and by models that do not keep to their task."""

import asyncio
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from injections import INJECTIONS
from pydantic import PrivateAttr
from silent_host import silent_source
from tunesmith.agent.cli import main
from tunesmith.agent.contract import load
from tunesmith.agent.crew import STAGES, TerminalApproval, approval_by, build_crew
from tunesmith.agent.crew_command import run_crew_script
from tunesmith.agent.crew_work import PlannedWork, PreparedData, named_plan
from tunesmith.agent.session import Session
from tunesmith.tools.adapters.crewai import ToolProgressEvent
from tunesmith.tools.base import BadRequest, ToolFailed

# isort: split
from crewai import BaseLLM, Crew
from crewai.events.event_bus import crewai_event_bus
from crewai_core.project import get_project_id

REQUEST = "prepare rows.jsonl for training"


@pytest.fixture
def folder(workdir: Path) -> Path:
    lines = (json.dumps({"prompt": f"{n} + {n}?", "completion": str(2 * n)}) for n in range(60))
    (workdir / "rows.jsonl").write_text("".join(line + "\n" for line in lines))
    return workdir


def kickoff(crew: Crew, request: str = REQUEST) -> Any:
    return crew.kickoff(inputs={"request": request})


def planned(output: Any) -> PlannedWork:
    found = output.tasks_output[0].pydantic
    assert isinstance(found, PlannedWork)
    return found


def states() -> list[str]:
    return [record.state for record in Session().runs()]


class Scripted(BaseLLM):
    """A model that follows a script for each task: tool calls as (name, arguments), or a text to end with."""

    _scripts: dict[str, list[Any]] = PrivateAttr()
    _hash: str = PrivateAttr(default="")

    def __init__(self, **scripts: list[Any]) -> None:
        super().__init__(model="scripted")
        self._scripts = scripts

    def supports_function_calling(self) -> bool:
        return True

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        return 0

    def call(self, messages: Any, *_: Any, from_task: Any = None, **__: Any) -> Any:
        last = messages[-1]
        if last.get("role") == "tool" and last["content"].startswith('{"plan_hash'):
            self._hash = str(json.loads(last["content"])["plan_hash"])
        script = self._scripts[from_task.name]
        turn = script.pop(0) if len(script) > 1 else script[0]
        if isinstance(turn, str):
            return turn.replace("{hash}", self._hash)
        name, arguments = turn
        return [{"id": "1", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}]


PLANNED = [("plan", {"request": REQUEST}), '{"plan_hash": "{hash}"}']


def test_the_crew_is_five_agents_with_their_tools_and_typed_tasks(folder: Path) -> None:
    crew = build_crew()
    assert isinstance(crew, Crew)
    assert [task.name for task in crew.tasks] == ["plan", *STAGES]
    assert {tool.name for agent in crew.agents for tool in agent.tools or []} == {"plan", *load().tools}
    assert all(task.output_pydantic is not None for task in crew.tasks)
    assert crew.tasks[0].human_input is True
    assert "`run_eval`" in crew.tasks[0].description
    assert not any(task.human_input for task in build_crew(human_input=False).tasks)


def test_a_request_becomes_a_plan_typed_results_a_record_and_events(folder: Path) -> None:
    heard: list[str] = []
    watched: list[str] = []
    with crewai_event_bus.scoped_handlers():

        @crewai_event_bus.on(ToolProgressEvent)
        def listen(_: Any, event: ToolProgressEvent) -> None:
            heard.append(f"{event.tool} {event.kind}")

        output = kickoff(build_crew(human_input=False, watch=lambda _, __, event: watched.append(event["event"])))
        crewai_event_bus.flush()
    assert "prepare_dataset sample" in heard
    assert (watched[0], watched[-1]) == ("start", "done")
    (step,) = planned(output).steps
    plain = Session(folder).ask("prepare rows.jsonl for training as data-3/")
    assert (step.tool, step.args["source"]) == (plain.steps[0].tool, "rows.jsonl")
    (prepared,) = output.pydantic.datasets
    assert isinstance(output.pydantic, PreparedData)
    assert prepared.rows == 40
    assert json.loads(output.raw)["datasets"][0]["sha256"] == prepared.sha256
    assert [task.raw for task in output.tasks_output[2:]] == ["", "", ""]  # nothing to train, export or measure
    (record,) = Session().runs()
    assert record.state == "done"
    assert record.results == [prepared]


def test_the_next_request_of_the_folder_knows_the_last_and_does_nothing_twice(folder: Path) -> None:
    told: list[str] = []
    crew = build_crew(human_input=False, watch=lambda _, __, event: told.append(event["event"]))
    kickoff(crew)
    told.clear()
    assert kickoff(crew).pydantic.datasets[0].rows == 40
    assert told == ["reuse"]
    (step,) = planned(kickoff(crew, "with seed 7")).steps
    assert (step.args["source"], step.args["seed"]) == ("rows.jsonl", 7)
    assert states() == ["done", "done", "done"]


@pytest.mark.parametrize(
    ("request_", "reply"),
    [("fine-tune on rows.jsonl", "base model"), ("what is the weather in Rome", None), ("prepare nothing.jsonl", None)],
)
def test_a_question_a_refusal_or_a_problem_runs_nothing(request_: str, reply: str | None, folder: Path) -> None:
    output = kickoff(build_crew(human_input=False), request_)
    assert planned(output).plan_hash is None
    assert planned(output).steps == []
    assert reply is None or reply in str(planned(output).reply)
    assert planned(output).reply or planned(output).problems
    assert sorted(path.name for path in folder.iterdir()) == ["rows.jsonl", "runs"]
    assert not {"done", "waiting", "running"} & set(states())


def test_a_crew_without_a_request_says_what_is_missing(folder: Path) -> None:
    with pytest.raises(BadRequest, match="needs a request"):
        build_crew().kickoff()


def asked(answers: list[str]) -> TerminalApproval:
    left = iter(answers)
    return TerminalApproval(lambda: next(left))


@pytest.mark.parametrize(("answer", "expected"), [("y", "done"), ("n", "declined"), ("", "declined")])
def test_the_plan_waits_for_a_yes(answer: str, expected: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with approval_by(asked([answer])):
        output = kickoff(build_crew())
    assert "prepare_dataset" in capsys.readouterr().err  # it was shown
    assert states() == [expected]
    assert (planned(output).plan_hash is not None) is (expected == "done")
    assert (folder / "data").exists() is (expected == "done")


def test_an_answer_that_is_a_change_changes_the_plan_and_is_asked_about_again(folder: Path) -> None:
    with approval_by(asked(["with seed 9", "y"])):
        output = kickoff(build_crew())
    assert [step.args["seed"] for step in planned(output).steps] == [9]
    assert states() == ["done"]


def test_the_crew_works_in_an_event_loop_as_well(folder: Path) -> None:
    async def run() -> Any:
        with approval_by(asked(["with seed 9", "y"])):
            return await build_crew().akickoff(inputs={"request": REQUEST})

    assert [step.args["seed"] for step in planned(asyncio.run(run())).steps] == [9]
    assert states() == ["done"]


@pytest.mark.parametrize(("lines", "expected"), [("\n", "done"), ("no\n\n", "declined")])
def test_crewais_own_question_works_as_well(
    lines: str, expected: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enter accepts what is shown; a no withdraws the plan, so that the Enter after it accepts nothing."""
    left = iter(lines.split("\n"))
    monkeypatch.setattr("builtins.input", lambda *_: next(left))
    kickoff(build_crew())
    assert states() == [expected]


def test_failed_work_ends_the_crew_with_its_error_and_the_run_can_go_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setenv("TUNESMITH_CACHE", "/dev/null/nowhere")
        with pytest.raises(ToolFailed, match="log"):
            kickoff(build_crew(human_input=False), "export smollm2-135m as q8_0 and q4_0")
    (record,) = Session().runs()
    assert record.state == "failed"
    assert [step.state for step in record.steps] == ["failed", "waiting"]


def test_a_model_can_run_nothing_but_the_approved_plan(folder: Path) -> None:
    (folder / "other.jsonl").write_text((folder / "rows.jsonl").read_text())
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("prepare_dataset", {"source": "other.jsonl"}),
        ("prepare_dataset", {"source": "rows.jsonl", "output_dir": "elsewhere/"}),
        ("run_eval", {"gguf_file": "models/a.gguf", "eval_set": "piqa"}),
        ("plan", {"request": "prepare other.jsonl"}),
    ]
    right = ("prepare_dataset", {"source": "rows.jsonl"})
    model = Scripted(plan=[*PLANNED], data=[*wrong, right, right, *wrong, "all is done"])
    output = kickoff(build_crew(model, human_input=False))
    assert output.pydantic.datasets[0].rows == 40
    (record,) = Session().runs()
    assert [step.args["source"] for step in record.steps] == ["rows.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == ["data", "other.jsonl", "rows.jsonl", "runs"]
    failures = output.tasks_output[1].tool_failures
    assert [failure.tool_name for failure in failures][: len(wrong)] == [name for name, _ in wrong]


def test_what_a_model_claims_is_not_what_the_task_gives(folder: Path) -> None:
    claim = '{"datasets": [], "note": "I have trained it and it is excellent"}'
    model = Scripted(plan=[*PLANNED], data=[claim])
    with pytest.raises(Exception, match="`prepare_dataset` has not run yet"):
        kickoff(build_crew(model, human_input=False))
    assert states() == ["waiting"]  # `tunesmith resume` can still do it
    assert not (folder / "data").exists()


@pytest.mark.parametrize("end", ["approved!", '{"plan_hash": "0000000000000000"}', '{"plan_hash": null}', "{hash}"])
def test_a_plan_that_is_not_named_in_the_answer_is_not_approved(end: str, folder: Path) -> None:
    model = Scripted(plan=[PLANNED[0], end], data=["done"])
    assert planned(kickoff(build_crew(model, human_input=False))).plan_hash is None
    assert states() == ["declined"]


def test_no_text_adds_changes_or_launches_a_step(folder: Path) -> None:
    """Orders as rows, in a model's calls and in its answers, from a model that obeys each of them."""
    lines = [{"prompt": text, "completion": text} for text in INJECTIONS]
    (folder / "rows.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    orders = [("prepare_dataset", {"source": text}) for text in INJECTIONS]
    orders += [("prepare_dataset", {"source": "rows.jsonl", "output_dir": text}) for text in INJECTIONS]
    model = Scripted(plan=[*PLANNED], data=[("prepare_dataset", {"source": "rows.jsonl"}), *orders, INJECTIONS[0]])
    crew = build_crew(model, human_input=False)
    for agent in crew.agents:
        agent.max_iter = len(orders) + 10
    output = kickoff(crew)
    (record,) = Session().runs()
    assert [step.args["source"] for step in record.steps] == ["rows.jsonl"]
    assert sorted(path.name for path in folder.iterdir()) == ["data", "rows.jsonl", "runs"]
    assert len(output.tasks_output[1].tool_failures) == len(orders)
    assert not any(text in output.raw for text in INJECTIONS)
    assert not any(named_plan(text) for text in INJECTIONS)  # as an answer, none of them approves a plan


def test_the_command_asks_for_nothing_it_was_not_given(folder: Path) -> None:
    with socket.socket() as collector:  # a proxy that all of CrewAI's reports would go through
        collector.bind(("127.0.0.1", 0))
        collector.listen()
        collector.setblocking(False)
        proxy = f"http://127.0.0.1:{collector.getsockname()[1]}"
        proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), proxy)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("CREWAI", "OTEL"))}
        done = subprocess.run(
            [sys.executable, "-P", "-m", "tunesmith.agent.cli", "crew", "-y", REQUEST],
            input="",
            capture_output=True,
            text=True,
            env={**own, **proxies, "HOME": str(folder / "home")},
            timeout=120,
            check=False,
        )
        with pytest.raises(BlockingIOError):
            collector.accept()
    assert done.returncode == 0, done.stderr
    assert "record:" in done.stdout
    assert "crewai" not in (done.stdout + done.stderr).lower()


def test_the_command_says_how_it_ended(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["crew", REQUEST]) == 3  # no terminal, no -y
    assert "pass -y" in capsys.readouterr().err
    assert main(["crew", "-y", "fine-tune on rows.jsonl"]) == 2
    assert "base model" in capsys.readouterr().err
    assert main(["crew", "-y", "prepare nothing.jsonl"]) == 2
    assert "nothing was run" in capsys.readouterr().err
    assert main(["crew", "-y", " "]) == 2


@pytest.mark.parametrize(("lines", "status"), [(f"{REQUEST}\ny\n", 0), (f"{REQUEST}\n", 3), ("", 2)])
def test_the_script_of_crewai_run_takes_request_and_answer_as_lines(
    lines: str, status: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(lines))
    with pytest.raises(SystemExit) as ended:
        run_crew_script()
    assert ended.value.code == status
    assert (folder / "data/train/metadata.json").exists() is (status == 0)


def test_crewai_run_finds_the_project_and_its_script() -> None:
    root = Path(__file__).resolve().parents[2]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    assert project["tool"]["crewai"]["type"] == "crew"
    assert project["project"]["scripts"]["run_crew"] == f"{run_crew_script.__module__}:{run_crew_script.__name__}"
    assert get_project_id(root / "pyproject.toml")  # else `crewai run` writes one into the file


@pytest.mark.slow
def test_ctrl_c_ends_the_tool_that_is_at_work(folder: Path) -> None:
    with silent_source() as silent:
        request = f"prepare {silent['source']} with allow_private_hosts=true"
        crew = subprocess.Popen(
            [sys.executable, "-P", "-m", "tunesmith.agent.cli", "crew", "-y", request],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        deadline = time.monotonic() + 90
        while not Session().runs() or Session().runs()[0].state != "running":
            assert crew.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        time.sleep(2)
        began = time.monotonic()
        crew.send_signal(signal.SIGINT)
        _, talk = crew.communicate(timeout=60)
    assert crew.returncode == 130, talk
    assert time.monotonic() - began < 45
    assert "tunesmith resume" in talk
    assert states() == ["interrupted"]


@pytest.mark.slow
def test_the_crew_makes_what_the_plain_command_makes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    request = (
        "fine-tune smollm2-135m on rows.jsonl for 1 epoch with batch size 8, rank 4 and 128 tokens at most, "
        "export q4_k_m and evaluate it"
    )
    made = []
    for name, command in (("plain", ["-y", request]), ("crew", ["crew", "-y", request])):
        place = folder / name
        place.mkdir()
        (place / "rows.jsonl").write_text((folder / "rows.jsonl").read_text())
        monkeypatch.chdir(place)
        assert main(command) == 0
        (record,) = Session().runs()
        results = [result.model_dump(mode="json") for result in record.results]
        made.append([{key: value for key, value in result.items() if "sha256" in key} for result in results])
    assert made[0] == made[1]
    assert any(made[0])
