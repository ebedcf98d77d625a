"""Take a Go template apart: text, actions, pipelines, branches. What is not known is refused, never guessed."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["FUNCTIONS", "Branch", "GoTemplateError", "Pipe", "Token", "UnknownInGoTemplate", "parse_go_template"]

FUNCTIONS = ("and", "eq", "index", "len", "ne", "not", "or", "slice")
"""Go's functions that a template may call."""


class GoTemplateError(ValueError):
    """Go would refuse the template, at parsing or while it runs."""


class UnknownInGoTemplate(GoTemplateError):
    """Go may know this, we do not; nothing is guessed."""


def parse_go_template(template: str) -> tuple[Any, ...]:
    """The template as nodes in order: text, `Pipe` for an action, `Branch` for `if` and `range`.

    Raises:
        UnknownInGoTemplate: an action or function that is not known here.
        GoTemplateError: a template that Go would refuse.
    """
    return _Parser(template).parse()


_SPACE = " \t\r\n"
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<string>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
    | (?P<number>-?\d+(?![\w.]))
    | (?P<variable>\$\w*(?:\.\w+)*)
    | (?P<field>(?:\.[A-Za-z_]\w*)+|\.(?![\w.]))
    | (?P<word>[A-Za-z_]\w*)
    | (?P<mark>:=|[=|(),])
    )""",
    re.VERBOSE,
)


@dataclass(frozen=True)
class Token:
    """A word of an action: `kind` is string, number, variable, field, word or mark."""

    kind: str
    text: str


@dataclass(frozen=True)
class _Action:
    tokens: tuple[Token, ...]
    source: str


def _pieces(template: str) -> Iterator[str | _Action]:
    """Text and actions in order. `{{- ` takes the white space before it away, ` -}}` that behind it."""
    position, trim = 0, False
    while True:
        start = template.find("{{", position)
        text = template[position:] if start < 0 else template[position:start]
        if trim:
            text = text.lstrip(_SPACE)
        if start < 0:
            yield text
            return
        inside = start + 2
        trim_before = template.startswith("-", inside) and template[inside + 1 : inside + 2] in _SPACE
        yield text.rstrip(_SPACE) if trim_before else text
        if trim_before:
            inside += 1
        source, end = _inside(template, inside)
        trim = source.endswith("-") and source[-2:-1] in _SPACE
        source = (source[:-1] if trim else source).strip(_SPACE)
        position = end
        if not source.startswith("/*"):
            yield _Action(tuple(_tokens(source)), source)


def _inside(template: str, start: int) -> tuple[str, int]:
    """What stands between the braces, and where the text goes on; braces in strings and comments do not count."""
    position = start
    while position < len(template):
        rest = template[position:]
        if rest.startswith("}}"):
            return template[start:position], position + 2
        if match := re.match(r'/\*.*?\*/|"(?:[^"\\\n]|\\.)*"|`[^`]*`', rest, re.DOTALL):
            position += match.end()
        else:
            position += 1
    raise GoTemplateError("an action has no closing braces")


def _tokens(source: str) -> Iterator[Token]:
    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if not match:
            raise UnknownInGoTemplate(f"`{source[position:].strip()}` in `{{{{ {source} }}}}` is not known")
        position = match.end()
        kind = str(match.lastgroup)
        yield Token(kind, match.group(kind))


@dataclass(frozen=True)
class Pipe:
    """`declared` variables take the value of the pipeline, `assigned` ones that exist do; each command is a call."""

    declared: tuple[str, ...]
    assigned: str | None
    commands: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Branch:
    """`if` (with `loop` false) or `range`."""

    loop: bool
    pipe: Pipe
    body: tuple[Any, ...]
    otherwise: tuple[Any, ...]


class _Parser:
    def __init__(self, template: str) -> None:
        self._pieces = list(_pieces(template))
        self._at = 0

    def parse(self) -> tuple[Any, ...]:
        nodes, end = self._block()
        if end is not None:
            raise GoTemplateError(f"`{{{{ {end.source} }}}}` closes nothing")
        return nodes

    def _block(self) -> tuple[tuple[Any, ...], _Action | None]:
        """Nodes up to `else`, `end` or the end of the template."""
        nodes: list[Any] = []
        while self._at < len(self._pieces):
            piece = self._pieces[self._at]
            self._at += 1
            if isinstance(piece, str):
                nodes.append(piece)
                continue
            first = piece.tokens[0] if piece.tokens else None
            if first is None:
                raise GoTemplateError("an action is empty")
            word = first.text if first.kind == "word" else ""
            if word in ("else", "end"):
                return tuple(nodes), piece
            nodes.append(
                self._branch(piece, piece.tokens) if word in ("if", "range") else _pipe(piece.tokens, piece.source)
            )
        return tuple(nodes), None

    def _branch(self, action: _Action, tokens: tuple[Token, ...]) -> Branch:
        loop = tokens[0].text == "range"
        pipe = _pipe(tokens[1:], action.source, loop=loop)
        body, end = self._block()
        otherwise: tuple[Any, ...] = ()
        if end is not None and end.tokens[0].text == "else":
            if len(end.tokens) > 1:
                if end.tokens[1].text != "if" or loop:
                    raise UnknownInGoTemplate(f"`{{{{ {end.source} }}}}` is not known")
                return Branch(loop, pipe, body, (self._branch(end, end.tokens[1:]),))
            otherwise, end = self._block()
        if end is None or [token.text for token in end.tokens] != ["end"]:
            raise GoTemplateError(f"`{{{{ {action.source} }}}}` has no end")
        return Branch(loop, pipe, body, otherwise)


def _pipe(tokens: tuple[Token, ...], source: str, *, loop: bool = False) -> Pipe:
    declared: tuple[str, ...] = ()
    assigned = None
    marks = [token.text for token in tokens[:4]]
    plain = [token.text for token in tokens[:3] if token.kind == "variable" and "." not in token.text]
    if marks[1:2] == [":="] and plain[:1] == marks[:1]:
        declared, tokens = (marks[0],), tokens[2:]
    elif loop and marks[1:4:2] == [",", ":="] and plain == [marks[0], marks[2]]:
        declared, tokens = (marks[0], marks[2]), tokens[4:]
    elif marks[1:2] == ["="] and plain[:1] == marks[:1] and not loop:
        assigned, tokens = marks[0], tokens[2:]
    commands, rest = _commands(tokens, source)
    if rest:
        raise GoTemplateError(f"`{rest[0].text}` is too much in `{{{{ {source} }}}}`")
    return Pipe(declared, assigned, commands)


def _commands(tokens: tuple[Token, ...], source: str) -> tuple[tuple[tuple[Any, ...], ...], tuple[Token, ...]]:
    """Commands between `|`, each a tuple of operands, up to a closing parenthesis."""
    commands: list[tuple[Any, ...]] = []
    operands: list[Any] = []
    while True:
        token = tokens[0] if tokens else None
        if token is None or (token.text in ("|", ")") and token.kind == "mark"):
            if not operands:
                raise GoTemplateError(f"a value is missing in `{{{{ {source} }}}}`")
            commands.append(tuple(operands))
            operands = []
            if token is None or token.text == ")":
                return tuple(commands), tokens
        elif token.kind == "mark" and token.text == "(":
            inner, tokens = _commands(tokens[1:], source)
            if not tokens:
                raise GoTemplateError(f"a parenthesis stays open in `{{{{ {source} }}}}`")
            operands.append(Pipe((), None, inner))
        elif token.kind == "mark":
            raise GoTemplateError(f"`{token.text}` stands in a wrong place in `{{{{ {source} }}}}`")
        else:
            if token.kind == "word" and token.text not in (*FUNCTIONS, "true", "false", "nil"):
                raise UnknownInGoTemplate(f"the function or action `{token.text}` is not known")
            operands.append(token)
        tokens = tokens[1:]
