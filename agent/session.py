"""A conversation in one working folder: request to plan, plan to run, run to record.

This is Tunesmith from Python; `docs/embed.md` shows it. The command line and every other surface use it as well.
"""

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tunesmith.tools.base import BadRequest
from tunesmith.tools.workplace import working_in

from . import records
from .check import problems
from .embedded_planner import EmbeddedPlanner
from .plan import History, Plan, Planner, Ran
from .records import Record, RecordState

if TYPE_CHECKING:
    from tunesmith.tools.background import Background
    from tunesmith.tools.process import Interrupt

    from .executor import Watcher
    from .probing import Confirm

    _Work = Callable[[Watcher, Interrupt], Record]

__all__ = ["Event", "Proposal", "Session"]

_REMEMBERED = 20  # plans that were shown and not run, to which a follow-up can refer


@dataclass(frozen=True)
class Event:
    """Something that happened in a run.

    Attributes:
        step: position of the step in the plan, from 0.
        kind: `start`, `note`, `step` (progress), `probe`, `sample`, `reuse`, `done`; see `Watcher` in executor.py.
        fields: what belongs to the kind, such as `text`, or `done` and `total`, or the typed `result`.
    """

    step: int
    tool: str
    kind: str
    fields: dict[str, Any]


@dataclass(frozen=True)
class Proposal(Plan):
    """A plan, and the session in which it can run."""

    session: "Session | None" = field(default=None, repr=False, compare=False)

    def run(self, watch: "Watcher | None" = None) -> Record:
        """Run it to its end; see `Session.run`."""
        return self._session().run(self, watch)

    async def arun(self, watch: "Watcher | None" = None) -> Record:
        """`run` for an event loop; see `Session.arun`."""
        return await self._session().arun(self, watch)

    def start(self) -> "Background[Event, Record]":
        """Begin the run in a thread of its own; see `Session.start`."""
        return self._session().start(self)

    def _session(self) -> "Session":
        assert self.session is not None
        return self.session


class Session:
    """Requests of one working folder. What earlier processes did there is remembered.

    A request is planned with `ask`; nothing runs before `run`. Sessions that talk in one folder at the same time do
    not hear each other: a follow-up refers to what was said before the session began, and in it.

    Args:
        folder: where relative paths begin and records are kept; the process's current folder by default. It is not
            made the current one, so that several sessions may work in several folders at once.
        planner: makes the plans; by default the embedded one, or the chat model that `TUNESMITH_MODEL` names.
        probe: the first two steps of a training, its longest, tell what all of it will take.
        confirm: is asked, with a sentence, where that is more than twice the estimate, or more memory than is free; the
            training waits for a yes or no. By default what takes longer goes on, and what does not fit is stopped.

    Raises:
        BadRequest: there is no such folder.
    """

    def __init__(
        self,
        folder: str | Path | None = None,
        *,
        planner: Planner | None = None,
        probe: bool = True,
        confirm: "Confirm | None" = None,
    ) -> None:
        self._folder = None if folder is None else Path(folder).expanduser().absolute()
        with working_in(self._folder):
            pass
        self._planner = planner or _configured_planner()
        self.probe, self.confirm = probe, confirm
        self._since = records.moment()
        self._own: set[str] = set()
        self._shown: list[Plan] = []
        self._heard: list[tuple[Plan, str, History]] = []  # plans, what was asked, and what went before

    def ask(self, text: str, *, taken: Collection[str] = ()) -> Proposal:
        """The plan for a request, with the problems that this machine would have with it; records nothing.

        Args:
            text: what to do, in plain words; bytes that were no text become question marks.
            taken: paths that the plan must not write to, beside those that exist.

        Raises:
            BadRequest: `text` is no text.
        """
        if not isinstance(text, str):
            raise BadRequest(f"a request is a text in plain words, not {text!r}")
        with working_in(self._folder):
            readable = text.encode("utf-8", "replace").decode("utf-8")
            history = self._history(taken)
            proposal = self._shown_plan(self._planner.plan(readable, history))
            self._heard = [*self._heard, (proposal, readable, history)][-_REMEMBERED:]
            return proposal

    def call(self, tool: str, args: Mapping[str, Any], *, taken: Collection[str] = ()) -> Proposal:
        """The plan for one call of one of the contract's tools: defaults and free paths for what `args` leaves out.

        Raises:
            BadRequest: no such tool, or wrong arguments; names every one.
        """
        from .single_call import plan_call

        with working_in(self._folder):
            return self._shown_plan(plan_call(tool, args, self._history(taken)))

    async def aask(self, text: str) -> Proposal:
        """`ask` for an event loop."""
        import asyncio

        return await asyncio.to_thread(self.ask, text)

    def note(self, plan: Plan, *, dry_run: bool = False) -> Record:
        """Record a plan that is shown and not run, so that the next request can answer it or change it."""
        with working_in(self._folder):
            return self._recorded(plan, dry_run=dry_run)

    def decline(self, plan: Plan) -> Record:
        """Record a plan that was shown and not wanted."""
        return self._noted_as("declined", plan)

    def queue(self, plan: Plan) -> Record:
        """Record a plan that will run when its turn comes, with `resume`; its outputs are taken from now on.

        Raises:
            BadRequest: the plan has no steps, or problems.
        """
        _refuse_unready(plan)
        self._learn(plan)
        return self._noted_as("waiting", plan)

    def run(self, plan: Plan, watch: "Watcher | None" = None, interrupt: "Interrupt | None" = None) -> Record:
        """Run a plan to its end, and keep its record.

        Raises:
            BadRequest: the plan has no steps, or problems.
            BadRequest, MissingExtra, ToolFailed, KeyboardInterrupt: as `execute` raises them.
        """
        _refuse_unready(plan)
        self._learn(plan)
        with working_in(self._folder):
            return self._execute(self._recorded(plan), watch, interrupt)

    async def arun(self, plan: Plan, watch: "Watcher | None" = None) -> Record:
        """`run` for an event loop, in which `watch` is called. A task that is cancelled takes its run with it.

        The step that runs is ended, with the time to save its state; `resume` goes on from there.
        """

        async def tell(event: Event) -> None:
            if watch is not None:
                watch(event.step, event.tool, {"event": event.kind, **event.fields})

        return await self.start(plan).finish(tell)

    def start(self, plan: Plan) -> "Background[Event, Record]":
        """Begin a run in a thread of its own: iterate over it for its events, ask it for its result, or cancel it.

        Raises:
            BadRequest: the plan has no steps, or problems.
        """
        _refuse_unready(plan)
        return self._begin(lambda watch, interrupt: self.run(plan, watch, interrupt))

    def resume(
        self,
        record_id: str | None = None,
        watch: "Watcher | None" = None,
        interrupt: "Interrupt | None" = None,
        *,
        only: int | None = None,
    ) -> Record:
        """Go on with an unfinished run: the newest, or the one whose id begins with `record_id`.

        Args:
            only: position of the one step to run now, for those who take a plan's steps one by one.
        """
        with working_in(self._folder):
            record = records.find(record_id, unfinished=record_id is None)
            if not record.steps:
                raise BadRequest(f"`{record.id}` has no steps to run")
            return self._execute(record, watch, interrupt, only=only)

    async def aresume(self, record_id: str | None = None) -> Record:
        """`resume` for an event loop; a task that is cancelled takes the run with it."""
        return await self._begin(lambda watch, interrupt: self.resume(record_id, watch, interrupt)).finish()

    def runs(self) -> list[Record]:
        """What was asked in this folder, oldest first."""
        with working_in(self._folder):
            return records.load_all()

    def find(self, record_id: str) -> Record:
        """The record whose id begins with `record_id`.

        Raises:
            BadRequest: there is none, or several.
        """
        with working_in(self._folder):
            return records.find(record_id)

    def mark_interrupted(self, record_id: str) -> None:
        """Record that a run which waited for its turn was called off; one that has begun says so itself."""
        with working_in(self._folder):
            record = records.find(record_id)
            if record.state == "waiting":
                record.state = "interrupted"
                records.save(record)

    def _learn(self, plan: Plan) -> None:
        """Keep what was asked for a plan that is accepted, where the user wants that."""
        heard = next(((text, before) for shown, text, before in self._heard if shown is plan), None)
        if heard is not None:
            from .learned import keep

            keep(plan, *heard)

    def _execute(
        self, record: Record, watch: "Watcher | None", interrupt: "Interrupt | None", *, only: int | None = None
    ) -> Record:
        from .executor import execute

        return execute(record, watch or _unwatched, interrupt, probe=self.probe, confirm=self.confirm, only=only)

    def _begin(self, work: "_Work") -> "Background[Event, Record]":
        from tunesmith.tools.background import Background

        return Background(
            lambda tell, interrupt: work(
                lambda step, tool, event: tell(Event(step, tool, event["event"], _without_kind(event))), interrupt
            )
        )

    def _history(self, taken: Collection[str]) -> History:
        history = records.history(self._since, self._own)
        shown = tuple(Ran(plan, finished=0, begun=False) for plan in self._shown)
        return replace(history, ran=history.ran + shown, taken=history.taken | frozenset(taken))

    def _shown_plan(self, plan: Plan) -> Proposal:
        values = {one.name: getattr(plan, one.name) for one in fields(Plan)}
        values["problems"] = problems(plan) if plan.steps else plan.problems
        proposal = Proposal(**values, session=self)
        if plan.kind != "chat":
            self._shown = [*self._shown, proposal][-_REMEMBERED:]
        return proposal

    def _recorded(self, plan: Plan, *, dry_run: bool = False) -> Record:
        """A record for a plan. What was shown up to it is no longer the last that was said."""
        position = next((n for n, shown in enumerate(self._shown) if shown is plan), len(self._shown))
        self._shown = self._shown[position + 1 :]
        from .estimate import estimate

        expected = estimate(plan).model_dump(mode="json") if plan.steps else None
        record = records.new_record(plan, dry_run=dry_run, estimate=expected)
        self._own.add(record.id)
        return record

    def _noted_as(self, state: RecordState, plan: Plan) -> Record:
        with working_in(self._folder):
            record = self._recorded(plan)
            record.state = state
            records.save(record)
            return record


def _configured_planner() -> Planner:
    if not os.environ.get("TUNESMITH_MODEL", "").strip():
        return EmbeddedPlanner()
    from .model_planner import planner_of

    return planner_of(os.environ)


def _refuse_unready(plan: Plan) -> None:
    if not plan.steps:
        raise BadRequest(plan.reply or "there is nothing to run")
    if plan.problems:
        raise BadRequest("; ".join(plan.problems))


def _without_kind(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "event"}


def _unwatched(*_: object) -> None:
    """Watch nothing."""
