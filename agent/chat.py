"""A conversation at the prompt: each line is a request, a follow-up or an answer."""

import sys

from .contract import load
from .session import Session

__all__ = ["chat"]

_WELCOME = "Say what to train, such as: fine-tune smollm2-135m on examples/tickets.jsonl and export q4_k_m"


def chat(*, assume_yes: bool = False) -> int:
    """Read requests line by line until the end of input; returns the exit status.

    On a terminal a failed request does not end the chat. In a pipe the first status that is not 0 is returned at
    the end, so that a script notices.
    """
    from .cli import DONE, FAILED, REFUSED, answer, consoles

    load()
    talk, _ = consoles()
    session = Session()
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  # its import gives input() history and line editing

        talk.print(_WELCOME, markup=False)
        talk.print("Ctrl-C stops a step and keeps its state, Ctrl-D leaves.", style="dim", markup=False)
    from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed

    worst = DONE
    while True:
        try:
            text = input("tunesmith> " if interactive else "").strip()
        except EOFError:
            return DONE if interactive else worst
        except KeyboardInterrupt:
            talk.print()
            continue
        if text in ("exit", "quit", "/exit", "/quit"):
            return DONE if interactive else worst
        if not text:
            continue
        try:
            status = answer(session, session.ask(text), assume_yes=assume_yes)
        except KeyboardInterrupt:
            talk.print("\ninterrupted; the state is kept\nhint: tunesmith resume", markup=False)
            status = FAILED
        except (BadRequest, MissingExtra) as error:
            talk.print(f"error: {error}", markup=False, soft_wrap=True)
            status = REFUSED
        except ToolFailed as error:
            talk.print(f"error: {error}", markup=False, soft_wrap=True)
            status = FAILED
        worst = worst or status
