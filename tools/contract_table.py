"""The tool table of agents.md: which tools are offered, how their parameters begin, what a language model is told.

Everything that offers tools to somebody reads it, the adapters for other frameworks included: a row that is deleted
withdraws its tool everywhere. The rest of the contract is the agent's matter.
"""

import functools
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from .registry import TOOLS, Tool

__all__ = [
    "CONTRACT_FILE",
    "ContractError",
    "ContractTool",
    "contract_tools",
    "read_sections",
    "read_table",
    "read_tools",
]

CONTRACT_FILE = Path(__file__).resolve().parents[1] / "agents.md"

Problem = Callable[[int, str], None]
"""Is told a line's number and what is wrong there."""


class ContractError(Exception):
    """The contract and the code disagree; one line per disagreement."""


@dataclass(frozen=True)
class ContractTool:
    """One row of the tool table: `parameters` maps the leading parameters' names to `str`, `int`, ..."""

    name: str
    parameters: dict[str, str]
    description: str
    line: int


@functools.cache
def contract_tools() -> dict[str, ContractTool]:
    """The tools that the project's own contract offers, in its order, checked against the code once a process.

    Raises:
        ContractError: with every disagreement between the table and the code.
    """
    problems: list[str] = []
    sections = read_sections(CONTRACT_FILE.read_text(encoding="utf-8"))
    tools = read_tools(sections, TOOLS, lambda line, what: problems.append(f"{CONTRACT_FILE.name}:{line}: {what}"))
    if problems:
        raise ContractError("\n".join(problems))
    return tools


def read_tools(
    sections: dict[str, list[tuple[int, str]]], implementations: dict[str, Tool], problem: Problem
) -> dict[str, ContractTool]:
    """The rows of the tool table that agree with the code; every disagreement is told to `problem`."""
    tools: dict[str, ContractTool] = {}
    rows = read_table(sections.get("Tools", []))
    for line, cells in rows:
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
    if not rows:
        problem(1, "there is no tool table under a heading `## Tools`; restore it")
    return tools


def read_sections(text: str) -> dict[str, list[tuple[int, str]]]:
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


def read_table(lines: list[tuple[int, str]]) -> list[tuple[int, list[str]]]:
    """The body rows of the first Markdown table, as (line, cells)."""
    rows = [(number, line) for number, line in lines if line.lstrip().startswith("|")]
    return [
        (number, [cell.strip().replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))])
        for number, line in rows[2:]
    ]


def _tool_row(line: int, cells: list[str], problem: Problem) -> ContractTool | None:
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


def _check_signature(row: ContractTool, tool: Tool, problem: Problem) -> None:
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
