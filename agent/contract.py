"""Read agents.md and hold it against the code.

The contract is the single place that says which tools exist, how their parameters begin, and what a language
model is told about them. Every disagreement with the code is reported, each as `agents.md:LINE: ...`.
"""

import ast
import functools
import re
import types
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from tunesmith.tools.base import BadRequest
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

CONTRACT_FILE = Path(__file__).resolve().parents[1] / "agents.md"


class ContractError(Exception):
    """The contract and the code disagree; one line per disagreement."""


@dataclass(frozen=True)
class ContractTool:
    """One row of the tool table: `parameters` maps the leading parameters' names to `str`, `int`, ..."""

    name: str
    parameters: dict[str, str]
    description: str
    line: int


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

    sections = _sections(text)
    tools: dict[str, ContractTool] = {}
    for line, cells in _table(sections.get("Tools", [])):
        row = _tool_row(line, cells, problem)
        if row is None:
            continue
        if row.name in tools:
            problem(line, f"`{row.name}` has a row already, in line {tools[row.name].line}; delete one")
        elif row.name not in implementations:
            problem(line, f"`{row.name}` has no implementation; add tools/{row.name}.py or delete the row")
        else:
            tools[row.name] = row
            _check_signature(row, implementations[row.name], problem)
    if not tools and not problems:
        problem(1, "there is no tool table under a heading `## Tools`; restore it")
    calls = _calls(sections.get("Calls", []), tools, implementations, problem)
    prompts = _prompts(sections.get("Example prompts", []), implementations, problem)
    if problems:
        raise ContractError("\n".join(problems))
    known = tuple(prompt for prompt in prompts if all(step in tools for step in prompt.steps))
    return Contract(tools, calls, known)


def _sections(text: str) -> dict[str, list[tuple[int, str]]]:
    """Heading of level 2 -> its numbered lines, headings inside code fences not counted."""
    sections: dict[str, list[tuple[int, str]]] = {}
    current: list[tuple[int, str]] = []
    fenced = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        if line.startswith("## ") and not fenced:
            current = sections.setdefault(line[3:].strip(), [])
        else:
            current.append((number, line))
    return sections


def _table(lines: list[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The body rows of the first Markdown table, as (line, cells)."""
    rows = [(number, line) for number, line in lines if line.lstrip().startswith("|")]
    return [
        (number, [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        for number, line in rows[2:]
    ]


def _tool_row(line: int, cells: list[str], problem: Any) -> ContractTool | None:
    if len(cells) != 3:
        problem(line, f"a tool row has 3 cells (tool, parameters, description), this one {len(cells)}")
        return None
    name, parameters = cells[0].strip("`"), {}
    for part in re.findall(r"`([^`]*)`", cells[1]):
        match = re.fullmatch(r"(\w+)\s*:\s*(str|int|float|bool)", part)
        if match is None:
            problem(line, f"`{part}` is not a parameter; write `name: type` with str, int, float or bool")
            return None
        parameters[match.group(1)] = match.group(2)
    if not parameters or not cells[2]:
        problem(line, f"`{name}` needs at least one parameter and a description")
        return None
    return ContractTool(name, parameters, cells[2], line)


def _check_signature(row: ContractTool, tool: Tool, problem: Any) -> None:
    fields = tool.input.model_fields
    leading = list(fields)[: len(row.parameters)]
    if leading != list(row.parameters):
        problem(
            row.line,
            f"`{row.name}` begins with {', '.join(row.parameters)}; its code begins with {', '.join(leading)}",
        )
        return
    for name, written in row.parameters.items():
        if (actual := _contract_type(fields[name].annotation)) != written:
            problem(row.line, f"`{row.name}` has `{name}: {written}`; its code has {actual}")
    for name in list(fields)[len(leading) :]:
        if fields[name].is_required():
            problem(row.line, f"`{row.name}` needs `{name}` as well; give it a default or name it in the row")


def _contract_type(annotation: Any) -> str:
    """The contract's word for an annotation: Path, enums and Literals of strings are `str`, `X | None` is X."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _contract_type(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        kinds = {_contract_type(part) for part in get_args(annotation) if part is not type(None)}
        return kinds.pop() if len(kinds) == 1 else " | ".join(sorted(kinds))
    if origin is Literal:
        return "str" if all(isinstance(value, str) for value in get_args(annotation)) else "a mixed Literal"
    if isinstance(annotation, type):
        if issubclass(annotation, str | Path | Enum):
            return "str"
        return annotation.__name__
    return str(annotation)


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
    for number, cells in _table(lines):
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
