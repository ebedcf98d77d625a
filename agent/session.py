"""A conversation in one working folder: request to plan, plan to run, run to record."""

from dataclasses import replace
from typing import TYPE_CHECKING

from tunesmith.tools.base import BadRequest

from . import records
from .check import problems
from .plan import Plan, Planner
from .planner import RulesPlanner
from .records import Record

if TYPE_CHECKING:
    from tunesmith.tools.process import Interrupt

    from .executor import Watcher

__all__ = ["Session"]


class Session:
    """Requests of one working folder, the current one. What earlier processes did there is remembered.

    A request is planned with `ask`; nothing runs before `run`.
    """

    def __init__(self, planner: Planner | None = None) -> None:
        self._planner = planner or RulesPlanner()

    def ask(self, text: str) -> Plan:
        """The plan for a request, with the problems that this machine would have with it; records nothing."""
        plan = self._planner.plan(text, records.history())
        return replace(plan, problems=problems(plan)) if plan.steps else plan

    def note(self, plan: Plan, *, dry_run: bool = False) -> Record:
        """Record a plan that is shown and not run, so that the next request can answer it or change it."""
        return records.new_record(plan, dry_run=dry_run)

    def decline(self, plan: Plan) -> Record:
        """Record a plan that was shown and not wanted."""
        record = records.new_record(plan)
        record.state = "declined"
        records.save(record)
        return record

    def run(self, plan: Plan, watch: "Watcher | None" = None, interrupt: "Interrupt | None" = None) -> Record:
        """Run a plan to its end, and keep its record.

        Raises:
            BadRequest: the plan has no steps, or problems.
            BadRequest, MissingExtra, ToolFailed, KeyboardInterrupt: as `execute` raises them.
        """
        if not plan.steps:
            raise BadRequest(plan.reply or "there is nothing to run")
        if plan.problems:
            raise BadRequest("; ".join(plan.problems))
        from .executor import execute

        return execute(records.new_record(plan), watch or _unwatched, interrupt)

    def resume(
        self, record_id: str | None = None, watch: "Watcher | None" = None, interrupt: "Interrupt | None" = None
    ) -> Record:
        """Go on with an unfinished run: the newest, or the one whose id begins with `record_id`."""
        from .executor import execute

        record = records.find(record_id, unfinished=record_id is None)
        if not record.steps:
            raise BadRequest(f"`{record.id}` has no steps to run")
        return execute(record, watch or _unwatched, interrupt)


def _unwatched(*_: object) -> None:
    """Watch nothing."""
