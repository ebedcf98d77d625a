"""The contract's tools for LangChain and LangGraph agents. Of LangChain it needs langchain-core alone.

    from tunesmith.tools.adapters.langchain import TunesmithToolkit

    agent = create_react_agent(model, TunesmithToolkit().get_tools())

A call does its work at once, in a process of its own, and ends with its process when the task that waits for it is
cancelled. The model gets the result's summary, the host the typed Result as the message's artifact, and callbacks
each event of progress as the custom event `tunesmith`. Wrong arguments come back to the model as an error in one
sentence, so that it can correct itself. A missing extra and failed work are exceptions: no model can repair them.
"""

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..base import BadRequest, Result, require_extra
from ..contract_table import ContractTool, contract_tools
from ..process import run_tool
from ..registry import TOOLS, explain
from ..workplace import working_in

try:
    from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
    from langchain_core.tools import BaseTool, BaseToolkit, StructuredTool, ToolException
except ImportError:
    require_extra("langchain", "langchain_core")
    raise

__all__ = ["PROGRESS", "TunesmithToolkit"]

PROGRESS = "tunesmith"
"""Name of the custom event that callbacks get; its data is the tool's name and the fields of `emit` in base.py."""


class TunesmithToolkit(BaseToolkit):
    """The tools of the contract, each a LangChain tool with the contract's name and description.

    Attributes:
        folder: where relative paths begin; the process's current folder by default.
    """

    folder: Path | None = None

    def get_tools(self) -> list[BaseTool]:
        """One tool for every row of the contract's table, in its order."""
        return [_tool(row, self.folder) for row in contract_tools().values()]


def _tool(row: ContractTool, folder: Path | None) -> BaseTool:
    tool = TOOLS[row.name]

    def call(**args: Any) -> tuple[str, Result]:
        def tell(event: dict[str, Any]) -> None:
            dispatch_custom_event(PROGRESS, {"tool": row.name, **event})

        try:
            with working_in(folder):
                result = run_tool(row.name, tool.given(args), on_event=tell)
        except BadRequest as error:
            raise ToolException(str(error)) from error
        return result.summary(), result

    async def acall(**args: Any) -> tuple[str, Result]:
        from ..background import Background

        async def tell(event: dict[str, Any]) -> None:
            await adispatch_custom_event(PROGRESS, {"tool": row.name, **event})

        try:
            with working_in(folder):
                arguments = tool.given(args)
                work: Background[dict[str, Any], Result] = Background(
                    lambda on_event, interrupt: run_tool(row.name, arguments, on_event=on_event, interrupt=interrupt)
                )
            result = await work.finish(tell)
        except BadRequest as error:
            raise ToolException(str(error)) from error
        return result.summary(), result

    def explained(error: Any) -> str:
        return explain(tool, error) if isinstance(error, ValidationError) else str(error)

    return StructuredTool.from_function(
        func=call,
        coroutine=acall,
        name=row.name,
        description=row.description,
        args_schema=tool.input,
        response_format="content_and_artifact",
        handle_tool_error=True,
        handle_validation_error=explained,
    )
