"""The table of tools: name, Input, Result, function. Everything that offers tools to somebody reads it."""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from .base import BadRequest, Result, ToolInput
from .export_gguf import ExportGgufInput, GgufFile, export_gguf
from .export_safetensors import ExportSafetensorsInput, SafetensorsFolder, export_safetensors
from .finetune_unsloth import FinetuneUnslothInput, TrainedModel, finetune_unsloth
from .prepare_dataset import PrepareDatasetInput, PreparedDataset, prepare_dataset
from .run_eval import EvalReport, RunEvalInput, run_eval

__all__ = ["TOOLS", "VERIFY", "Tool", "explain", "find_tool"]


@dataclass(frozen=True)
class Tool:
    """One tool as code: its models and its function, which must run in the tool's own process."""

    input: type[ToolInput]
    result: type[Result]
    function: Callable[[Any], Result]

    @property
    def name(self) -> str:
        return self.function.__name__

    def validate(self, args: dict[str, Any]) -> ToolInput:
        """Check arguments against the Input model.

        Raises:
            BadRequest: one sentence that names every wrong argument and what would be right.
        """
        try:
            return self.input.model_validate(args)
        except ValidationError as error:
            raise BadRequest(explain(self, error)) from error

    def given(self, args: dict[str, Any]) -> dict[str, Any]:
        """Arguments as plain JSON values, checked, without those that were left out.

        Raises:
            BadRequest: as `validate`.
        """
        return self.validate(args).model_dump(mode="json", exclude_unset=True)

    def callable(self) -> Callable[..., Result]:
        """A function with the contract's positional signature that runs the tool in its own process."""
        fields = self.input.model_fields

        def call(*args: Any, **kwargs: Any) -> Result:
            from .process import run_tool

            return run_tool(self.name, dict(signature.bind(*args, **kwargs).arguments))

        signature = inspect.Signature(
            [
                inspect.Parameter(
                    name,
                    inspect.Parameter.POSITIONAL_OR_KEYWORD,
                    default=inspect.Parameter.empty if field.is_required() else field.default,
                    annotation=field.annotation,
                )
                for name, field in fields.items()
            ],
            return_annotation=self.result,
        )
        call.__name__ = call.__qualname__ = self.name
        call.__doc__ = (self.function.__doc__ or "").strip() + "\n\nRuns in a process of its own."
        call.__signature__ = signature  # type: ignore[attr-defined]  # inspect reads it; typeshed does not know it
        return call


def explain(tool: Tool, error: ValidationError) -> str:
    """A pydantic error as one sentence: every wrong argument, its value, what would be right."""
    problems = []
    for detail in error.errors():
        name = str(detail["loc"][0]) if detail["loc"] else "arguments"
        if detail["type"] == "extra_forbidden":
            problems.append(f"`{name}` is not a parameter; known are {', '.join(tool.input.model_fields)}")
        elif detail["type"] == "missing":
            problems.append(f"`{name}` is missing: {tool.input.model_fields[name].description}")
        else:
            message = detail["msg"].removeprefix("Value error, ").removeprefix("Input ")
            problems.append(f"`{name}` is {detail['input']!r}; it {message}")
    return f"{tool.name}: " + "; ".join(problems)


TOOLS: dict[str, Tool] = {
    tool.name: tool
    for tool in (
        Tool(PrepareDatasetInput, PreparedDataset, prepare_dataset),
        Tool(FinetuneUnslothInput, TrainedModel, finetune_unsloth),
        Tool(ExportGgufInput, GgufFile, export_gguf),
        Tool(ExportSafetensorsInput, SafetensorsFolder, export_safetensors),
        Tool(RunEvalInput, EvalReport, run_eval),
    )
}

VERIFY = "verify"
"""Run like a tool, but by the command line alone: no row of the contract, so nobody plans it."""


def find_tool(name: str) -> Tool:
    """The tool of that name, `verify` too. Raises KeyError."""
    if name == VERIFY:
        from .fidelity_report import Fidelity
        from .verify import VerifyInput, verify

        return Tool(VerifyInput, Fidelity, verify)
    return TOOLS[name]
