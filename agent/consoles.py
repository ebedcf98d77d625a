"""Where talk, progress and results are written, and what may not be written there."""

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

__all__ = ["consoles", "harmless"]

_PIPE_WIDTH = 160


def harmless(text: str) -> str:
    """Text without the characters that drive a terminal or turn its reading round, wherever it comes from.

    >>> harmless("red \\x1b[31m bell \\x07 \\u202eback")
    'red �[31m bell � �back'
    """
    return "".join(character if character.isprintable() or character in "\n\t" else "�" for character in text)


class _Harmless(Console):
    """A console on which every text is made harmless, in tables too; rich's own colours pass."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)


def consoles() -> tuple[Console, Console]:
    """Where talk and progress go, and where results go. In a pipe lines are not folded to a terminal's 80 columns."""

    def console(*, stderr: bool) -> Console:
        terminal = (sys.stderr if stderr else sys.stdout).isatty()
        return _Harmless(stderr=stderr, highlight=False, width=None if terminal else _PIPE_WIDTH)

    return console(stderr=True), console(stderr=False)
