"""Read agents.md and hold it against the code.

The contract is the single place that says which tools exist, how their parameters begin, and what a language
model is told about them. Every disagreement with the code is reported, each as `agents.md:LINE: ...`.
"""

import ast
import functools
import re
from dataclasses import dataclass
from typing import Any

from tunesmith.tools.base import BadRequest
from tunesmith.tools.contract_table import (
    CONTRACT_FILE,
    ContractError,
    ContractTool,
    read_sections,
    read_table,
    read_tools,
)
from tunesmith.tools.registry import TOOLS, Tool

__all__ = [
    "CONTRACT_FILE",
    "Contract",
    "ContractError",
    "ContractTool",
    "ExampleCall",
    "ExamplePrompt",
    "load",
    "parse",
]


@dataclass(frozen=True)
class ExampleCall:
    """One example call, as arguments by name."""

    tool: str
    args: dict[str, Any]
    line: int


@dataclass(frozen=True)
class ExamplePrompt:
    """One example conversation: `turns` of the user, `steps` that the last of them must run."""

    turns: tuple[str, ...]
    steps: tuple[str, ...]
    line: int


@dataclass(frozen=True)
class Contract:
    """What agents.md says, in its order."""

    tools: dict[str, ContractTool]
    calls: tuple[ExampleCall, ...]
    prompts: tuple[ExamplePrompt, ...]


@functools.cache
def load() -> Contract:
    """The project's own contract, parsed and checked once a process.

    Raises:
        ContractError: with every disagreement between agents.md and the code.
    """
    return parse(CONTRACT_FILE.read_text(encoding="utf-8"), TOOLS)


def parse(text: str, implementations: dict[str, Tool], *, name: str = "agents.md") -> Contract:
    """Parse a contract and check it against the tools in code.

    Raises:
        ContractError: with every disagreement, each as `NAME:LINE: what is wrong; what to do`.
    """
    problems: list[str] = []

    def problem(line: int, what: str) -> None:
        problems.append(f"{name}:{line}: {what}")

    sections = read_sections(text)
    tools = read_tools(sections, implementations, problem)
    calls = _calls(sections.get("Calls", []), tools, implementations, problem)
    prompts = _prompts(sections.get("Example prompts", []), implementations, problem)
    if problems:
        raise ContractError("\n".join(problems))
    known = tuple(prompt for prompt in prompts if all(step in tools for step in prompt.steps))
    return Contract(tools, calls, known)


def _calls(
    lines: list[tuple[int, str]], tools: dict[str, ContractTool], implementations: dict[str, Tool], problem: Any
) -> tuple[ExampleCall, ...]:
    """The calls in the section's code block; those of a withdrawn tool are passed over."""
    calls, fenced = [], False
    for number, line in lines:
        if line.startswith("```"):
            fenced = not fenced
            continue
        if not fenced or not line.strip():
            continue
        try:
            node = ast.parse(line.strip(), mode="eval").body
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                raise ValueError("it is not a call of a tool")
            tool_name = node.func.id
            if tool_name not in tools:
                if tool_name not in implementations:
                    raise ValueError(f"`{tool_name}` is not in the tool table")
                continue
            tool = implementations[tool_name]
            values = [ast.literal_eval(argument) for argument in node.args]
            if len(values) > len(tool.input.model_fields):
                raise ValueError(f"`{tool_name}` takes at most {len(tool.input.model_fields)} arguments")
            args = dict(zip(tool.input.model_fields, values, strict=False))
            args.update({str(word.arg): ast.literal_eval(word.value) for word in node.keywords})
            tool.validate(args)
        except (SyntaxError, ValueError, BadRequest) as error:
            problem(number, f"this example does not validate: {error}")
            continue
        calls.append(ExampleCall(tool_name, args, number))
    return tuple(calls)


def _prompts(lines: list[tuple[int, str]], implementations: dict[str, Tool], problem: Any) -> tuple[ExamplePrompt, ...]:
    """The rows of the prompt table. A follow-up, marked by an arrow, is read after the last row without one."""
    prompts: list[ExamplePrompt] = []
    opening: str | None = None
    for number, cells in read_table(lines):
        steps = tuple(re.findall(r"`([^`]*)`", cells[-1]))
        unknown = [step for step in steps if step not in implementations]
        if len(cells) != 2 or not steps or unknown:
            problem(number, f"a prompt row is `| prompt | tools |` with known tools; {unknown or cells} is not")
            continue
        text = cells[0]
        if text.startswith("↳"):
            if opening is None:
                problem(number, "a follow-up needs a prompt above it")
                continue
            prompts.append(ExamplePrompt((opening, text.removeprefix("↳").strip()), steps, number))
        else:
            opening = text
            prompts.append(ExamplePrompt((text,), steps, number))
    return tuple(prompts)
