"""Render the part of Go's text/template that Modelfiles use, as Go renders it, and refuse the rest.

Known: text with trim markers, comments, fields, variables, strings, whole numbers, parentheses, pipelines, `if`,
`else if`, `else`, `range` with up to two variables, `end`, and the functions in `FUNCTIONS` of go_parser.py. Semantics:
https://pkg.go.dev/text/template.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from .go_parser import Branch, GoTemplateError, Pipe, Token, UnknownInGoTemplate, parse_go_template

__all__ = ["GoTemplateError", "UnknownInGoTemplate", "render_go_template"]


def render_go_template(template: str, data: Mapping[str, Any]) -> str:
    """The text that the template writes for `data`: a mapping of strings, numbers, truth values, lists and mappings.

    Raises:
        UnknownInGoTemplate: an action, function or field that is not known here.
        GoTemplateError: a template that Go would refuse.

    >>> render_go_template("{{ range $i, $m := .Messages }}{{ if $i }}, {{ end }}{{ $m.Role }}{{- end }}.",
    ... {"Messages": [{"Role": "user"}, {"Role": "assistant"}]})
    'user, assistant.'
    """
    nodes = parse_go_template(template)
    out: list[str] = []
    _run(nodes, data, _Scope({"$": data}), out)
    return "".join(out)


class _Scope:
    """Variables of a block; an assignment changes the variable where it was declared."""

    def __init__(self, values: dict[str, Any], outer: "_Scope | None" = None) -> None:
        self.values = values
        self._outer = outer

    def find(self, name: str) -> dict[str, Any]:
        if name in self.values:
            return self.values
        if self._outer is None:
            raise GoTemplateError(f"the variable `{name}` is not declared")
        return self._outer.find(name)

    def inner(self) -> "_Scope":
        return _Scope({}, self)


def _run(nodes: Sequence[Any], dot: Any, scope: _Scope, out: list[str]) -> None:
    for node in nodes:
        if isinstance(node, str):
            out.append(node)
        elif isinstance(node, Branch):
            _run_branch(node, dot, scope.inner(), out)
        else:
            value = _value(node, dot, scope)
            for name in node.declared:
                scope.values[name] = value
            if node.assigned is not None:
                scope.find(node.assigned)[node.assigned] = value
            elif not node.declared:
                out.append(_printed(value))


def _run_branch(node: Branch, dot: Any, scope: _Scope, out: list[str]) -> None:
    value = _value(node.pipe, dot, scope)
    if not node.loop:
        scope.values.update(dict.fromkeys(node.pipe.declared, value))
        _run(node.body if value else node.otherwise, dot, scope.inner(), out)
        return
    if value is not None and (isinstance(value, str | Mapping) or not isinstance(value, Sequence)):
        raise UnknownInGoTemplate(f"`range` over {value!r:.40} is not known")
    for index, item in enumerate(value or ()):
        each = scope.inner()
        each.values.update(zip(node.pipe.declared, (index, item)[2 - len(node.pipe.declared) :], strict=True))
        _run(node.body, item, each, out)
    if not value:
        _run(node.otherwise, dot, scope.inner(), out)


def _value(pipe: Pipe, dot: Any, scope: _Scope) -> Any:
    value: Any = None
    for number, command in enumerate(pipe.commands):
        piped = (lambda value=value: value,) if number else ()
        operands = [_operand(operand, dot, scope) for operand in command]
        head = command[0]
        if isinstance(head, Token) and head.kind == "word" and head.text not in ("true", "false", "nil"):
            value = _call(head.text, [*operands[1:], *piped])
        elif len(command) > 1 or piped:
            raise GoTemplateError("a value that is no function is given arguments")
        else:
            value = operands[0]()
    return value


def _operand(operand: Any, dot: Any, scope: _Scope) -> Callable[[], Any]:
    """The operand's value, computed when it is asked for: `and` and `or` do not look at what they do not need."""
    if isinstance(operand, Pipe):
        return lambda: _value(operand, dot, scope)
    kind, text = operand.kind, operand.text
    if kind == "field":
        return lambda: _field(dot, text.split(".")[1:])
    if kind == "variable":
        name, *fields = text.split(".")
        return lambda: _field(scope.find(name)[name], fields)
    if kind == "number":
        return lambda: int(text)
    if kind == "string":
        return lambda: _unquoted(text)
    return lambda: {"true": True, "false": False}.get(text)


def _unquoted(text: str) -> str:
    if text.startswith("`"):
        return text[1:-1]
    try:
        return str(json.loads(text))  # Go's escapes \n \t \" \\ \uXXXX are JSON's too
    except ValueError as error:
        raise UnknownInGoTemplate(f"the escape in {text} is not known") from error


def _field(value: Any, names: Sequence[str]) -> Any:
    for name in filter(None, names):
        if not isinstance(value, Mapping) or name not in value:
            raise UnknownInGoTemplate(f"the field `.{name}` is not known")
        value = value[name]
    return value


def _call(name: str, operands: Sequence[Callable[[], Any]]) -> Any:
    if name in ("and", "or"):
        if not operands:
            raise GoTemplateError(f"`{name}` needs an argument")
        value: Any = None
        for operand in operands:
            value = operand()
            if bool(value) == (name == "or"):
                break
        return value
    values = [operand() for operand in operands]
    try:
        return _FUNCTIONS[name](*values)
    except (TypeError, IndexError) as error:
        raise GoTemplateError(f"`{name}` cannot take {', '.join(f'{value!r:.40}' for value in values)}") from error


def _equal(first: Any, *others: Any) -> bool:
    if not others:
        raise TypeError("nothing to compare with")
    if any(type(first) is not type(other) for other in others):
        raise TypeError("values of different types")
    return first in others


def _slice(value: Any, start: int = 0, end: int | None = None) -> Any:
    items = value.encode() if isinstance(value, str) else value  # Go counts bytes
    end = len(items) if end is None else end
    if not isinstance(items, bytes | list | tuple) or not 0 <= start <= end <= len(items):
        raise IndexError
    part = items[start:end]
    return part.decode(errors="replace") if isinstance(part, bytes) else part


def _index(value: Any, at: int) -> Any:
    if isinstance(value, str) or not isinstance(value, Sequence) or not 0 <= at < len(value):
        raise IndexError
    return value[at]


def _length(value: Any) -> int:
    return len(value.encode() if isinstance(value, str) else value)


_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "eq": _equal,
    "index": _index,
    "len": _length,
    "ne": lambda first, second: not _equal(first, second),
    "not": lambda value: not value,
    "slice": _slice,
}
"""Those of `FUNCTIONS` but `and` and `or`, which do not always look at all their arguments."""


def _printed(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    raise UnknownInGoTemplate(f"how Go prints {value!r:.40} is not known")
