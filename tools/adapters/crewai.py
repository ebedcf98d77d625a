"""The contract's tools for CrewAI agents.

    from tunesmith.tools.adapters.crewai import crew_tools

    agent = Agent(role="Trainer", goal="...", backstory="...", tools=crew_tools())

A call does its work at once, in a process of its own. The model gets the result's summary, hooks and events the typed
Result. What goes wrong is a `ToolFailure` that says in one sentence what would be right, with the error's name as its
code: it is recorded as a failure, and CrewAI's `tool_failure_policy` decides what follows. Progress comes as
`ToolProgressEvent` on CrewAI's event bus.

CrewAI's telemetry, tracing and version check are off here unless the environment says otherwise
(`CREWAI_DISABLE_TELEMETRY=false`, `CREWAI_TRACING_ENABLED=true`, `CREWAI_DISABLE_VERSION_CHECK=false`).
"""

import os
from pathlib import Path
from typing import Any, Protocol

from pydantic import PrivateAttr

from ..base import BadRequest, MissingExtra, Result, ToolFailed, require_extra
from ..contract_table import ContractTool, contract_tools
from ..process import Interrupt, run_tool
from ..registry import TOOLS
from ..workplace import working_in

# CrewAI reads these when it is imported and at each run.
os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")
os.environ.setdefault("CREWAI_DISABLE_VERSION_CHECK", "true")

try:
    from crewai.events.base_events import BaseEvent
    from crewai.events.event_bus import crewai_event_bus
    from crewai.tools import BaseTool
    from crewai.tools.tool_failure import ToolFailure, ToolFailureReason
except ImportError:
    require_extra("crew", "crewai")
    raise

__all__ = ["Runner", "ToolProgressEvent", "TunesmithTool", "crew_tools"]


class Runner(Protocol):
    """Does the work of a call; `run_tool` of tools/process.py is one."""

    def __call__(
        self, name: str, args: dict[str, Any], *, on_event: Any = None, interrupt: Interrupt | None = None
    ) -> Result: ...


class ToolProgressEvent(BaseEvent):
    """Something that happened while a tool was at work: a kind and fields of `emit` in tools/base.py."""

    type: str = "tunesmith_tool_progress"
    tool: str
    kind: str
    fields: dict[str, Any]


class TunesmithTool(BaseTool):
    """One tool of the contract, with the contract's name and description and its Input model's arguments."""

    _folder: Path | None = PrivateAttr(default=None)
    _runner: Runner = PrivateAttr()  # with a function for a default it would be bound like a method

    def run(self, *_: Any, **args: Any) -> Result | ToolFailure:
        """Check the arguments and do the work. Arguments that are None count as left out."""
        return self._run(**args)

    async def arun(self, *_: Any, **args: Any) -> Result | ToolFailure:
        """`run` for an event loop: the tool's process ends with the task that waits for it."""
        return await self._arun(**args)

    def _run(self, **args: Any) -> Result | ToolFailure:
        try:
            with working_in(self._folder):
                return self._runner(self.name, self._given(args), on_event=self._tell)
        except (BadRequest, MissingExtra, ToolFailed) as error:
            return _failure(error)

    async def _arun(self, **args: Any) -> Result | ToolFailure:
        from ..background import Background

        async def tell(event: dict[str, Any]) -> None:
            self._tell(event)

        try:
            with working_in(self._folder):
                given = self._given(args)
                work: Background[dict[str, Any], Result] = Background(
                    lambda on_event, interrupt: self._runner(self.name, given, on_event=on_event, interrupt=interrupt)
                )
            return await work.finish(tell)
        except (BadRequest, MissingExtra, ToolFailed) as error:
            return _failure(error)

    def format_output_for_agent(self, raw_result: Any) -> str:
        """What the model reads: a result's summary, or what went wrong."""
        return (
            raw_result.summary() if isinstance(raw_result, Result) else str(super().format_output_for_agent(raw_result))
        )

    def _given(self, args: dict[str, Any]) -> dict[str, Any]:
        return TOOLS[self.name].given({name: value for name, value in args.items() if value is not None})

    def _tell(self, event: dict[str, Any]) -> None:
        fields = {name: value for name, value in event.items() if name != "event"}
        crewai_event_bus.emit(self, ToolProgressEvent(tool=self.name, kind=event["event"], fields=fields))


def crew_tools(folder: Path | None = None, *, runner: Runner = run_tool) -> list[TunesmithTool]:
    """One tool for every row of the contract's table, in its order.

    Args:
        folder: where relative paths begin; the process's current folder by default.
        runner: does the work of a call whose arguments are checked.
    """
    return [_tool(row, folder, runner) for row in contract_tools().values()]


def _tool(row: ContractTool, folder: Path | None, runner: Runner) -> TunesmithTool:
    tool = TOOLS[row.name]
    made = TunesmithTool(name=row.name, description=row.description, args_schema=tool.input, result_schema=tool.result)
    made._folder, made._runner = folder, runner
    return made


def _failure(error: Exception) -> ToolFailure:
    correctable = isinstance(error, BadRequest)
    return ToolFailure(
        message=str(error),
        code=type(error).__name__,
        reason=ToolFailureReason.INVALID_INPUT if correctable else ToolFailureReason.TOOL_REPORTED,
        retryable=correctable,
    )
