"""Write the parameter tables in docs/tech_implementation.md from the tools' Input models.

Usage: python docs/parameters.py        (rewrites what stands between the markers)
"""

import types
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from tunesmith.tools.registry import TOOLS, Tool

PAGE = Path(__file__).resolve().parent / "tech_implementation.md"


def kind(annotation: Any) -> str:
    """An annotation in words: the choices of a Literal, the plain type of anything else."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return kind(parts[0])
    if origin in (Union, types.UnionType):
        return " or ".join(kind(part) for part in parts if part is not type(None))
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in parts)
    if origin is tuple:
        return f"list of {kind(parts[0])}"
    return {"str": "text", "int": "whole number", "float": "number", "bool": "yes or no"}[annotation.__name__]


def allowed(field: FieldInfo) -> str:
    """The type and range of a field as its metadata gives them."""
    limits = []
    for rule in field.metadata:
        for attribute, sign in (("gt", "> {}"), ("ge", ">= {}"), ("lt", "< {}"), ("le", "<= {}")):
            value = getattr(rule, attribute, None)
            if value is not None:
                limits.append(sign.format(f"{value:,}" if isinstance(value, int) else f"{value:g}"))
    return ", ".join([kind(field.annotation), *limits])


def default(field: FieldInfo) -> str:
    """The default as one would write it."""
    if field.is_required():
        return "required"
    if field.default is None:
        return ""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    if isinstance(field.default, tuple):
        return " ".join(field.default)
    return str(field.default)


def table(tool: Tool) -> str:
    """A tool's parameters as a Markdown table."""
    lines = ["| Parameter | Values | Default | Meaning |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {allowed(field)} | {default(field)} | {field.description} |"
        for name, field in tool.input.model_fields.items()
    ]
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with each tool's table between its markers made anew."""
    for name, tool in TOOLS.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end {name} -->"
        head, rest = text.split(start)
        text = head + start + table(tool) + "\n" + end + rest.split(end, 1)[1]
    return text


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
