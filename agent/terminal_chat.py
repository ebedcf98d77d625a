"""The chat on a terminal: a line editor that stays usable while a run goes on above it."""

import asyncio
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from prompt_toolkit import PromptSession
from prompt_toolkit.application import get_app
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from tunesmith.tools.catalogue import BASE_MODELS, DATASETS, QUANTIZATIONS

from . import records
from .chat_commands import COMMANDS
from .cli import DONE
from .conversation import Conversation
from .session import Session

if TYPE_CHECKING:
    from prompt_toolkit.input import Input
    from prompt_toolkit.output import Output

__all__ = ["ChatCompleter", "chat_prompt", "terminal_chat"]

_PROMPT, _MORE = "› ", "· "
_REDRAW_SECONDS = 0.5
_KEYS = "Ctrl-C stops a step and keeps its state, Ctrl-D leaves, /help tells the rest."
_WITH_IDS = ("/show", "/resume")


def terminal_chat(session: Session, *, assume_yes: bool, recall: bool, welcome: str) -> int:
    """Talk until Ctrl-D or /quit; returns the exit status, which is 0 whatever single requests came to."""
    with patch_stdout(raw=True):  # first, since what is printed from a run's thread must pass through it
        conversation = Conversation(session, assume_yes=assume_yes, background=True)
        prompt = chat_prompt(conversation, _history())
        print(welcome)
        print(_KEYS)
        if recall:
            conversation.recall()
        try:
            asyncio.run(_talk(conversation, prompt))
        finally:
            conversation.close()
    return DONE


async def _talk(conversation: Conversation, prompt: PromptSession[str]) -> None:
    """Line after line in one event loop: with a loop each, what a run prints between two lines would be lost."""
    while not conversation.over:
        try:
            text = await prompt.prompt_async()
        except EOFError:
            text = "/quit"
        for number, line in enumerate(text.strip().splitlines()):
            print(f"\n{_PROMPT}{line}" if number == 0 else f"{_MORE}{line}")
        conversation.say(text)


def chat_prompt(
    conversation: Conversation, history: History, *, input: "Input | None" = None, output: "Output | None" = None
) -> PromptSession[str]:
    """The line editor of a conversation: its prompt, keys and completion.

    Args:
        input, output: where keys come from and the screen goes to; the terminal by default.
    """
    return PromptSession(
        lambda: _message(conversation),
        multiline=True,
        prompt_continuation=_MORE,
        history=history,
        auto_suggest=AutoSuggestFromHistory(),
        completer=ChatCompleter(),
        complete_while_typing=True,
        reserve_space_for_menu=len(COMMANDS),
        key_bindings=_keys(conversation),
        erase_when_done=True,  # what was said is printed once more, without what moved beside it
        refresh_interval=_REDRAW_SECONDS,
        input=input,
        output=output,
    )


def _message(conversation: Conversation) -> StyleAndTextTuples:
    if conversation.asking:
        return [("bold", "go on with it? "), ("", "[y]es, or [n]o: it stops, and its state is kept\n"), ("", _PROMPT)]
    if conversation.busy:
        width = get_app().output.get_size().columns
        return [("bold", conversation.status.line(width - 1)), ("", "\n"), ("", _PROMPT)]
    if conversation.offer is not None:
        return [("bold", "run this plan? "), ("", "[y]es, [n]o, or a change such as epochs=3\n"), ("", _PROMPT)]
    return [("", _PROMPT)]


def _keys(conversation: Conversation) -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    @keys.add("c-j")  # an Enter that was pressed while the last line was still being worked on
    def _(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter")
    def _(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    @keys.add("c-c")
    def _(event: KeyPressEvent) -> None:
        if event.current_buffer.text:
            event.current_buffer.reset()
        elif conversation.busy:
            conversation.stop()
        else:
            print("Ctrl-D leaves")

    return keys


def _history() -> History:
    """What this user said in any folder, kept readable for nobody else."""
    from platformdirs import user_state_path

    file = user_state_path("tunesmith", appauthor=False) / "history"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(file, os.O_CREAT | os.O_APPEND, 0o600))
    except OSError:
        return InMemoryHistory()
    return FileHistory(file)


class ChatCompleter(Completer):
    """Completes commands as they are typed, and on Tab run ids, models, data, types and paths."""

    def __init__(self) -> None:
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """The completions of the word before the cursor."""
        text = document.text_before_cursor
        if text.startswith("/") and not any(mark in text for mark in (" ", "\n")) and "/" not in text[1:]:
            for name, meaning in COMMANDS.items():
                if name.startswith(text):
                    yield Completion(name, start_position=-len(text), display_meta=meaning)
        if complete_event.text_inserted:
            return
        command, _, rest = text.partition(" ")
        word = document.get_word_before_cursor(WORD=True)
        if command in _WITH_IDS and " " not in rest:
            for record in reversed(records.load_all()):
                if record.id.startswith(word):
                    yield Completion(record.id, start_position=-len(word), display_meta=record.request)
            return
        names = BASE_MODELS if command == "/model" else [*BASE_MODELS, *DATASETS, *QUANTIZATIONS]
        for name in names if word else BASE_MODELS if command == "/model" else ():
            if name.startswith(word.lower()):
                yield Completion(name, start_position=-len(word))
        yield from self._paths.get_completions(Document(word), complete_event)
