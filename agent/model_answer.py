"""What a chat model answers for one message: a frame in the form that structured output of every provider takes."""

import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tunesmith.tools.registry import TOOLS

from .contract import load
from .frame import Frame, Intent
from .grounding import Grounds

__all__ = ["PARAMETERS", "ReadRequest", "SaidValue", "frame_of"]

PARAMETERS = tuple(f"{tool}.{name}" for tool in load().tools for name in TOOLS[tool].input.model_fields)
"""Every parameter of the contract's tools, as a model names it."""

_LONGEST_REPLY = 600  # characters
_MOST_PROBLEMS = 10
_TOOL: dict[str, Any] = {"items": {"type": "string", "enum": list(load().tools)}}


class SaidValue(BaseModel):
    """One parameter that the message speaks of."""

    model_config = ConfigDict(extra="forbid")
    parameter: str = Field(json_schema_extra={"enum": list(PARAMETERS)})
    change: Literal["set", "times", "plus", "default", "remove"] = Field(
        description="set: to these values; times, plus: relative to the last plan's; default: take the value back; "
        "remove: these values of the last plan go"
    )
    values: list[str] = Field(
        description="copied from the message, numbers too; true or false for a switch; several make several steps"
    )
    beside: bool = Field(description="whether they make further steps beside the last plan's")


class ReadRequest(BaseModel):
    """One message, read."""

    model_config = ConfigDict(extra="forbid")
    intent: Intent
    tools: list[str] = Field(description="tools asked for", json_schema_extra=_TOOL)
    unwanted: list[str] = Field(description="tools that the person does not want", json_schema_extra=_TOOL)
    values: list[SaidValue]
    reply: str | None = Field(description="a question, a refusal or a short answer; null where there is work to plan")


def frame_of(answer: str, grounds: Grounds) -> tuple[Frame | None, list[str]]:
    """The frame that an answer stands for, or None and what is wrong with it, a sentence each for the model."""
    try:
        read = ReadRequest.model_validate_json(_object_in(answer))
    except ValidationError as error:
        details = error.errors()[:_MOST_PROBLEMS]
        return None, [f"{'.'.join(map(str, one['loc'])) or 'the answer'}: {one['msg']}" for one in details]
    offered = load().tools
    problems = [f"`{tool}` is no tool" for tool in (*read.tools, *read.unwanted) if tool not in offered]
    problems += [f"`{said.parameter}` is no parameter" for said in read.values if said.parameter not in PARAMETERS]
    if read.reply is None and read.intent in ("chat", "refuse"):
        problems.append(f"the intent `{read.intent}` needs a reply")
    values: dict[str, list[Any]] = {}
    without: dict[str, list[Any]] = {}
    for said in [] if problems else read.values:
        try:
            found = _typed(said, grounds)
        except ValueError as error:
            problems.append(str(error))
        else:
            (without if said.change == "remove" else values).setdefault(said.parameter, []).extend(found)
    if problems:
        return None, problems[:_MOST_PROBLEMS]
    frame = Frame(
        intent=read.intent,
        want=tuple(dict.fromkeys(read.tools)),
        drop=tuple(dict.fromkeys(read.unwanted)),
        values=values,
        without=without,
        more=tuple(dict.fromkeys(said.parameter for said in read.values if said.beside)),
        reply=_plain(read.reply),
    )
    return frame, []


def _typed(said: SaidValue, grounds: Grounds) -> list[Any]:
    """The values of one parameter as a frame has them.

    Raises:
        ValueError: one of them is not the person's, or of another kind.
    """
    if said.change == "default":
        return [{"default": True}]
    relative = said.change in ("times", "plus")
    if not said.values or (relative and len(said.values) != 1):
        number = "one number" if relative else "at least one value"
        raise ValueError(f"`{said.parameter}` with `{said.change}` has {number}; leave out what the person did not say")
    found = [grounds.read(said.parameter, value, relative=relative) for value in said.values]
    if relative:
        return [{said.change: found[0]}]
    tool, name = said.parameter.split(".")
    several = "tuple" in str(TOOLS[tool].input.model_fields[name].annotation)  # a list of layers is one value
    return [found] if several else found


def _object_in(answer: str) -> str:
    """The JSON object in an answer, which may stand among other words or in a code fence."""
    begin, end = answer.find("{"), answer.rfind("}")
    try:
        json.loads(answer[begin : end + 1])
    except ValueError:
        return answer
    return answer[begin : end + 1]


def _plain(reply: str | None) -> str | None:
    """A model's words as one short line without control characters; None for none."""
    text = "".join(character if character.isprintable() else " " for character in reply or "")
    return " ".join(text.split())[:_LONGEST_REPLY] or None
