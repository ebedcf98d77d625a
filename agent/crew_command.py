"""`tunesmith crew`, and the script that `crewai run` starts: a request done by a CrewAI crew."""

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from tunesmith.tools.base import BadRequest, ToolFailed, require_extra
from tunesmith.tools.process import Interrupt

__all__ = ["run_crew_command", "run_crew_script"]

_DESCRIPTION = """\
Do a request as a CrewAI crew: a planner, a data engineer, a trainer, an exporter and an evaluator. It makes what
`tunesmith "REQUEST"` makes, and keeps the same records. Needs no key: the embedded planner drives the crew, unless
--llm names a model of CrewAI's.
"""

_EPILOG = """\
example: tunesmith crew -y "Fine-tune smollm2-135m on examples/tickets.jsonl for 2 epochs and export q4_k_m"
From Python: tunesmith.agent.crew.build_crew; in a checkout of this project `crewai run` asks for the request.
"""


def run_crew_command(arguments: list[str]) -> int:
    """Do one request; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tunesmith crew",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("request", nargs="+", help="what to do, in plain words")
    parser.add_argument("-y", "--yes", action="store_true", help="run the plan without asking")
    parser.add_argument("--llm", metavar="MODEL", help="a model of CrewAI's, such as openai/gpt-4.1-mini")
    parser.add_argument("--verbose", action="store_true", help="show what the agents say to each other")
    options = parser.parse_args(arguments)

    def ask() -> str:
        if not sys.stdin.isatty():
            print("not run: there is no terminal to ask at\nhint: pass -y to run without the question", file=sys.stderr)
            return ""
        return _line("run this plan? [y/N, or what to change] ")

    return _run(" ".join(options.request), None if options.yes else ask, options.llm, options.verbose)


def run_crew_script() -> None:
    """What `crewai run` starts: the request and the answer are lines of the terminal, or of a pipe."""
    from .cli import guarded

    request = _line("request: ")
    sys.exit(guarded(lambda: _run(request, lambda: _line("run this plan? [y/N, or what to change] "))))


def _run(request: str, ask: Callable[[], str] | None, llm: str | None = None, verbose: bool = False) -> int:
    from .cli import DECLINED, DONE, REFUSED
    from .consoles import consoles
    from .contract import load
    from .estimate import estimate, took
    from .live_run import steer
    from .plan import Plan
    from .preview import show_plan

    load()
    require_extra("crew", "crewai")
    if not request.strip():
        raise BadRequest("there is no request; say what to do in plain words")
    talk, output = consoles()
    if (told := steer(request)) is not None:
        output.print(told, markup=False, soft_wrap=True)
        return DONE
    os.environ.setdefault("CREWAI_STORAGE_DIR", "tunesmith")  # else CrewAI keeps a data folder for each working folder
    from .crew import TerminalApproval, approval_by, build_crew
    from .progress import ProgressDisplay
    from .records import find

    shown: list[Plan] = []

    def show(plan: Plan) -> None:
        shown.append(plan)
        if plan.steps:
            show_plan(plan, talk)
        if plan.steps and not plan.problems:
            talk.print(estimate(plan).told(plan), style="dim", markup=False, soft_wrap=True)

    interrupt = Interrupt()
    with ProgressDisplay(talk, output) as display, _ended_by_ctrl_c(interrupt):
        crew = build_crew(
            llm, human_input=ask is not None, on_plan=show, watch=display, interrupt=interrupt, verbose=verbose
        )
        try:
            with contextlib.nullcontext() if ask is None else approval_by(TerminalApproval(ask)):
                done = crew.kickoff(inputs={"request": request})
        except BadRequest as error:
            if find(None).state == "failed":  # a tool that refuses its arguments in the middle of a run
                raise ToolFailed(str(error)) from error
            raise
    planned = done.tasks_output[0].pydantic
    plan = shown[-1]
    if planned.plan_hash is None:
        if plan.steps and not plan.problems:
            return DECLINED
        if plan.problems:
            talk.print("nothing was run", markup=False)
        else:
            (output if plan.kind == "chat" else talk).print(plan.reply, markup=False, soft_wrap=True)
        return DONE if plan.kind == "chat" else REFUSED
    record = find(None)
    talk.print(took(record), style="dim", markup=False, soft_wrap=True)
    output.print(f"record: {record.folder / 'record.json'}", markup=False, soft_wrap=True)
    return DONE


def _line(prompt: str) -> str:
    """One line of the terminal or the pipe; nothing at its end."""
    print(prompt, end="", file=sys.stderr, flush=True)
    try:
        return input()
    except EOFError:
        return ""


@contextlib.contextmanager
def _ended_by_ctrl_c(interrupt: Interrupt) -> Iterator[None]:
    """Let Ctrl-C end the tool at work first. CrewAI calls tools in threads of its own, which do not hear of it."""

    def end(*_: Any) -> None:
        interrupt.ask()
        raise KeyboardInterrupt

    before: Callable[[int, FrameType | None], Any] | int | None = signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
