"""One request at the command line: show its plan, ask, run it, and tell what it took."""

import sys
from typing import TYPE_CHECKING

from tunesmith.tools.base import BadRequest, ToolFailed

from . import records
from .cli import DECLINED, DONE, REFUSED
from .consoles import consoles
from .estimate import estimate, took
from .plan import Plan
from .preview import show_plan
from .progress import ProgressDisplay
from .records import Record
from .session import Session

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["AtTerminal", "answer", "run_recorded"]


class AtTerminal:
    """Asks at the terminal whether a training that turns out larger than was said shall go on.

    Attributes:
        declined: whether the answer was no.
    """

    def __init__(self) -> None:
        self.declined = False

    def __call__(self, _: str) -> bool:
        consoles()[0].print("go on with it? \\[y/N] ", end="")
        self.declined = not _yes()
        return not self.declined

    @classmethod
    def unless(cls, assume_yes: bool) -> "AtTerminal | None":
        """One who asks; None where `-y` answered beforehand, or where there is no terminal."""
        return None if assume_yes or not sys.stdin.isatty() else cls()


def answer(session: Session, plan: Plan, *, assume_yes: bool, dry_run: bool = False) -> int:
    """Show a plan, ask, run it; returns the exit status."""
    talk, output = consoles()
    if not plan.steps:
        session.note(plan)
        # A chat's answer is its result; a question or a refusal is talk.
        (output if plan.kind == "chat" else talk).print(plan.reply, markup=False, soft_wrap=True)
        return DONE if plan.kind == "chat" else REFUSED
    show_plan(plan, talk)
    if dry_run:
        record = session.note(plan, dry_run=True)
        output.print(str(record.folder / "record.json"), markup=False, soft_wrap=True)
        return DONE
    if plan.problems:
        session.note(plan)
        talk.print("nothing was run", markup=False)
        return REFUSED
    if all(step.reuse for step in plan.steps):
        talk.print("everything in this plan is done already; nothing to run", markup=False)
        session.run(plan)
        return DONE
    talk.print(estimate(plan).told(plan), style="dim", markup=False, soft_wrap=True)
    if not assume_yes and not _confirmed(talk):
        session.decline(plan)
        return DECLINED
    return run_recorded(session, session.note(plan))


def run_recorded(session: Session, record: Record) -> int:
    """Run a record to its end, with its progress on stderr; returns the exit status.

    Raises:
        ToolFailed: a step failed, whoever is to blame: a tool that refuses its arguments in the middle of a run, too.
        BadRequest, MissingExtra, KeyboardInterrupt: as `execute` raises them.
    """
    talk, output = consoles()
    try:
        with ProgressDisplay(talk, output) as display:
            record = session.resume(record.id, display)
    except BadRequest as error:
        if records.find(record.id).state == "failed":
            raise ToolFailed(str(error)) from error
        raise
    except ToolFailed:
        if isinstance(session.confirm, AtTerminal) and session.confirm.declined:
            talk.print("stopped; the state is kept\nhint: tunesmith resume goes on from there", markup=False)
            return DECLINED
        raise
    if text := took(record):
        talk.print(text, style="dim", markup=False, soft_wrap=True)
    output.print(f"record: {record.folder / 'record.json'}", markup=False, soft_wrap=True)
    return DONE


def _confirmed(talk: "Console") -> bool:
    """Ask whether to run the plan; without a terminal the answer is no, with a hint."""
    if not sys.stdin.isatty():
        talk.print("not run: there is no terminal to ask at\nhint: pass -y to run without the question", markup=False)
        return False
    talk.print("run this plan? \\[y/N] ", end="")
    return _yes()


def _yes() -> bool:
    try:
        return input().strip().lower() in ("y", "yes")
    except EOFError:
        return False
