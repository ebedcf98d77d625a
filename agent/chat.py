"""A conversation at the prompt: each line is a request, a follow-up or an answer."""

import os
import sys

from .contract import load
from .session import Session

__all__ = ["chat"]

_WELCOME = "Say what to train, such as: fine-tune smollm2-135m on examples/tickets.jsonl and export q4_k_m"


def chat(*, assume_yes: bool = False, recall: bool = False, probe: bool = True) -> int:
    """Read requests until the end of input; returns the exit status.

    On a terminal a failed request does not end the chat. In a pipe, where lines come in and go out plain, the first
    status that is not 0 is returned at the end, so that a script notices.

    Args:
        assume_yes: plans run without the question.
        recall: tell first where the last chat in this folder ended, and take it up there.
        probe: a training's first steps tell what all of it will take, see `Session`.
    """
    load()
    terminal = all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr))
    if terminal and os.environ.get("TERM", "dumb") != "dumb":
        from .terminal_chat import terminal_chat

        session = Session(probe=probe, confirm=None if assume_yes else _at_the_prompt)
        return terminal_chat(session, assume_yes=assume_yes, recall=recall, welcome=_WELCOME)
    return _plain_chat(assume_yes=assume_yes, recall=recall, probe=probe)


def _at_the_prompt(_: str) -> None:
    """A training that asks waits, and the next line that is a yes or a no answers it."""


def _plain_chat(*, assume_yes: bool, recall: bool, probe: bool) -> int:
    from .ask_and_run import AtTerminal
    from .cli import DONE, FAILED
    from .conversation import Conversation

    session = Session(probe=probe, confirm=AtTerminal.unless(assume_yes))
    conversation = Conversation(session, assume_yes=assume_yes, background=False)
    interactive = sys.stdin.isatty()
    if interactive:
        print(_WELCOME, file=sys.stderr)
    if recall:
        conversation.recall()
    worst = DONE
    while not conversation.over:
        try:
            text = input("tunesmith> " if interactive else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            print(file=sys.stderr)
            continue
        try:
            status = conversation.say(text)
        except KeyboardInterrupt:
            print("\ninterrupted; the state is kept\nhint: /resume goes on from there", file=sys.stderr)
            status = FAILED
        worst = worst or status
    return DONE if interactive else worst
