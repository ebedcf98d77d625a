"""`tunesmith tools`: list the contract's tools, print their schemas, describe one, or run one with arguments."""

import argparse
import json
import sys
import types
from typing import Annotated, Any, Union, get_args, get_origin

from tunesmith.tools.base import BadRequest
from tunesmith.tools.process import run_tool
from tunesmith.tools.registry import TOOLS, Tool

from .contract import ContractTool, load

__all__ = ["run_tool_command"]

_BY_POSITION = "position:"  # keeps a value given by position apart from one given by name


def run_tool_command(arguments: list[str]) -> int:
    """List, describe or run; returns the exit status."""
    contract = load()
    if not arguments or arguments in (["-h"], ["--help"]):
        print("usage: tunesmith tools [NAME [VALUE ...] [--parameter VALUE ...]]")
        print("       tunesmith tools --openai | --json-schema    print them for another agent\n")
        for row in contract.tools.values():
            print(f"{row.name}\n    {row.description}")
        print("\nhint: `tunesmith tools NAME --help` lists its parameters, with values it runs", file=sys.stderr)
        return 0
    if arguments in (["--openai"], ["--json-schema"]):
        from .tool_schemas import openai_tools, tool_schemas

        schemas = openai_tools() if arguments == ["--openai"] else tool_schemas()
        print(json.dumps(schemas, indent=2, ensure_ascii=False))
        return 0
    name = arguments[0]
    if name not in contract.tools:
        raise BadRequest(f"`{name}` is not a tool of the contract; known are {', '.join(contract.tools)}")
    parser = _parser(contract.tools[name], TOOLS[name])
    if len(arguments) == 1:  # `--help` describes; a call without its arguments is a wrong one
        parser.print_help(sys.stderr)
        print(file=sys.stderr)
    given = {key: value for key, value in vars(parser.parse_args(arguments[1:])).items() if value is not None}
    as_json = given.pop("json", False)
    options: dict[str, Any] = {}
    for key, value in given.items():
        parameter = key.removeprefix(_BY_POSITION)
        if parameter in options:
            raise BadRequest(f"{name}: `{parameter}` is given twice, by position and by name")
        options[parameter] = value
    request = TOOLS[name].validate(options)

    from .consoles import consoles
    from .preview import show_result
    from .progress import ProgressDisplay

    talk, output = consoles()
    with ProgressDisplay(talk, output) as display:
        result = run_tool(name, request.model_dump(exclude_unset=True), on_event=lambda event: display(0, name, event))
    if as_json:
        print(json.dumps(result.model_dump(mode="json"), ensure_ascii=False))
    else:
        show_result(result, output)
    return 0


def _parser(row: ContractTool, tool: Tool) -> argparse.ArgumentParser:
    """Arguments made from the Input model: the contract's parameters by position or name, the others by name."""
    parser = argparse.ArgumentParser(prog=f"tunesmith tools {tool.name}", description=row.description)
    for name, field in tool.input.model_fields.items():
        kind, several = _kind(field.annotation)
        required = field.is_required()
        default = "" if required or field.default is None else f" (default {_shown(field.default)})"
        described = f"{field.description}{default}".replace("%", "%%")
        if name in row.parameters:
            parser.add_argument(_BY_POSITION + name, nargs="?", metavar=name, help=described)
        flags = dict.fromkeys((f"--{name.replace('_', '-')}", f"--{name}"))
        if name in row.parameters:
            parser.add_argument(*flags, dest=name, metavar="VALUE", help=argparse.SUPPRESS)
        elif kind is bool:
            parser.add_argument(*flags, dest=name, action=argparse.BooleanOptionalAction, default=None, help=described)
        else:
            parser.add_argument(*flags, dest=name, nargs="+" if several else None, metavar="VALUE", help=described)
    parser.add_argument("--json", action="store_true", default=None, help="print the result as JSON")
    return parser


def _kind(annotation: Any) -> tuple[Any, bool]:
    """The plain type behind an annotation, and whether it is a tuple of them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kind(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _kind(next(part for part in get_args(annotation) if part is not type(None)))
    if origin in (tuple, list):
        return str, True
    return annotation, False


def _shown(value: Any) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
