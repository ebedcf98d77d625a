"""Rows from JSON: one object a line, or one array of objects that is parsed item by item."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .base import BadRequest
from .raw_rows import MAX_ROW_BYTES, RawRow, decode, lines_of, refuse_binary

__all__ = ["read_json", "read_jsonl"]

_CHUNK = 1 << 20


def _kind_of(value: Any) -> str:
    kinds = {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")


def read_jsonl(path: Path, name: str) -> Iterator[RawRow]:
    """One JSON object a line; blank lines are passed over."""
    refuse_binary(path, name)
    for number, line in lines_of(path):
        place = f"`{name}` line {number}"
        try:
            text = decode(line).rstrip()
            if not text:
                continue
            value = json.loads(text)
        except json.JSONDecodeError as error:
            yield RawRow(place, {}, f"not JSON: {error.msg} at column {error.colno}")
        except RecursionError:
            yield RawRow(place, {}, "the JSON is nested too deeply")
        except ValueError as error:
            yield RawRow(place, {}, str(error))
        else:
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                yield RawRow(place, {}, f"it is {_kind_of(value)}, not an object with named columns")


def read_json(path: Path, name: str) -> Iterator[RawRow]:
    """An array of objects; a `.json` file of one object a line is read as JSON lines."""
    refuse_binary(path, name)
    with path.open("rb") as stream:
        head = stream.read(8192).removeprefix(b"\xef\xbb\xbf").lstrip()
    if head.startswith(b"{"):
        first = next((line for _, line in lines_of(path) if line is None or line.strip()), None)
        try:
            json.loads(decode(first))
        except ValueError:
            raise BadRequest(
                f"`{name}` holds one object, not an array of objects; write [{{...}}, {{...}}] or one object a line"
            ) from None
        yield from read_jsonl(path, name)
    elif not head.startswith(b"["):
        raise BadRequest(f"`{name}` is not an array of objects; write [{{...}}, {{...}}] or one object a line")
    else:
        yield from _json_array(path, name)


def _json_array(path: Path, name: str) -> Iterator[RawRow]:
    """Parse an array item by item. A syntax error ends it: where the next item starts is then unknown."""
    decoder = json.JSONDecoder()
    buffer, position, line, ended = "", 0, 1, False
    number, line_before = 0, 0

    def refuse(reason: str) -> BadRequest:
        return BadRequest(f"`{name}` line {line}: {reason}")

    with path.open(encoding="utf-8-sig", newline="") as stream:

        def more() -> None:
            """Drop what is parsed and read on."""
            nonlocal buffer, position, ended
            try:
                chunk = stream.read(_CHUNK)
            except UnicodeDecodeError as error:
                raise refuse("the file is not UTF-8 from here on or soon after; save it as UTF-8") from error
            ended = not chunk
            buffer, position = buffer[position:] + chunk, 0

        def skip_space() -> str:
            """Move to the next character that is not white space and return it, or "" at the end."""
            nonlocal position, line
            while True:
                while position < len(buffer) and buffer[position] in " \t\r\n":
                    line += buffer[position] == "\n"
                    position += 1
                if position < len(buffer):
                    return buffer[position]
                if ended:
                    return ""
                more()

        skip_space()
        position += 1  # the opening bracket
        expect_item = False  # after a comma there must be one
        while (character := skip_space()) != "]" or expect_item:
            if not character:
                raise refuse("the array is not closed; the file seems to be cut off")
            while True:
                try:
                    value, end = decoder.raw_decode(buffer, position)
                    # A number at the end of the buffer may go on in the next chunk.
                    if end < len(buffer) or ended:
                        break
                except json.JSONDecodeError as error:
                    # An item that goes on in the next chunk fails at the buffer's end, or as an unclosed string.
                    unfinished = error.msg.startswith("Unterminated") or error.pos > len(buffer) - 16
                    if ended or not unfinished:
                        line += buffer.count("\n", position, error.pos)
                        raise refuse(f"not JSON: {error.msg}") from error
                except ValueError as error:
                    raise refuse(str(error)) from error
                except RecursionError:
                    raise refuse("the JSON is nested too deeply") from None
                if len(buffer) - position > MAX_ROW_BYTES:
                    raise refuse(f"no valid item ends within {MAX_ROW_BYTES // 1_000_000} MB; check its brackets")
                more()
            number += 1
            place = f"`{name}` line {line}" + (f" row {number}" if line == line_before else "")
            line_before = line
            line += buffer.count("\n", position, end)
            position = end
            if isinstance(value, dict):
                yield RawRow(place, value)
            else:
                yield RawRow(place, {}, f"it is {_kind_of(value)}, not an object with named columns")
            expect_item = skip_space() == ","
            if expect_item:
                position += 1
            elif skip_space() != "]":
                raise refuse("not JSON: a comma or the closing bracket is missing")
        position += 1
        if skip_space():
            raise refuse("there is more text after the end of the array")
