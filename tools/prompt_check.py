"""Prompt equivalence: training, transformers, llama.cpp and Ollama read one conversation as the same token ids.

Four conversations are written by each side with its own means: training by training_rows.py, transformers by the
tokenizer's template, llama.cpp by the template and vocabulary in the GGUF file, Ollama by the Modelfile's Go template.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .base import BadRequest, ToolFailed
from .chat_rendering import ChatRenderer
from .chat_template import Chat, render_chats
from .fidelity_report import PromptCheck
from .go_template import GoTemplateError, UnknownInGoTemplate
from .llama_cpp import LlamaModel
from .ollama_prompt import Modelfile, ollama_prompt, read_modelfile
from .training_rows import IGNORED, TokenRow, conversation_rows

__all__ = ["CONVERSATIONS", "check_prompts"]

_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Current weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Žilina"}}}
_QUESTION = {"role": "user", "content": "What's 2 + 2, and why?"}

CONVERSATIONS: dict[str, tuple[list[dict[str, Any]], list[dict[str, Any]] | None]] = {
    "single turn": ([_QUESTION, {"role": "assistant", "content": "4, because two pairs are four."}], None),
    "several turns": (
        [
            _QUESTION,
            {"role": "assistant", "content": "4.\n\n  Anything else?"},
            {"role": "user", "content": "Größe — 大小 😀?\n{{ .Role }} <b>bold</b>"},
            {"role": "assistant", "content": 'Size: "大小" 😀.'},
        ],
        None,
    ),
    "system message": (
        [{"role": "system", "content": "Be brief."}, _QUESTION, {"role": "assistant", "content": "4."}],
        None,
    ),
    "tools": (
        [
            {"role": "user", "content": "Do I need an umbrella in Žilina?"},
            {"role": "assistant", "content": "", "tool_calls": [_CALL]},
            {"role": "tool", "name": "get_weather", "content": '{"rain": true}'},
            {"role": "assistant", "content": "Yes, it rains."},
        ],
        [_WEATHER],
    ),
}
"""Name -> messages that end with an answer, and the tools on offer."""

_MAX_TOKENS = 4096


class _Different(Exception):
    """Two sides differ; says how."""


@dataclass
class _Conversation:
    """One conversation while it is checked."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None
    sides: list[str]
    remarks: list[str]


def check_prompts(
    tokenizer: Any, *, model: LlamaModel | None = None, modelfile: str | None = None, trained: bool = True
) -> list[PromptCheck]:
    """Compare the sides, conversation by conversation.

    Args:
        tokenizer: the checkpoint's, of transformers.
        model: the GGUF file; its vocabulary suffices. Without it llama.cpp and Ollama are left out.
        modelfile: text of the Modelfile beside it.
        trained: whether training made the checkpoint; otherwise there are no rows that it was trained on.
    """
    parsed = read_modelfile(modelfile) if modelfile is not None and model is not None else None
    sides = _Sides(tokenizer, model, parsed, trained)
    return [_check(name, sides) for name in CONVERSATIONS]


def _check(name: str, sides: "_Sides") -> PromptCheck:
    chat = _Conversation(*CONVERSATIONS[name], sides=[], remarks=[])
    verdict: Literal["same", "different", "not checked"] = "same"
    try:
        sides.compare(chat)
    except _Different as error:
        verdict = "different"
        chat.remarks.insert(0, str(error))
    except (BadRequest, ToolFailed) as error:
        verdict = "not checked"
        chat.remarks.insert(0, str(error))
    if verdict == "same" and len(chat.sides) < 2:
        verdict = "not checked"
    return PromptCheck(conversation=name, verdict=verdict, sides=chat.sides, reason="; ".join(chat.remarks))


class _Sides:
    """The means of each side to write a conversation as token ids."""

    def __init__(self, tokenizer: Any, model: LlamaModel | None, modelfile: Modelfile | None, trained: bool) -> None:
        self._tokenizer = tokenizer
        self._model = model
        self._modelfile = modelfile
        self._trained = trained
        bos = tokenizer.bos_token_id
        self._bos = bos if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else None
        self._texts: dict[str, str] = {}
        if model is not None and model.chat_template:
            with contextlib.suppress(ToolFailed):  # one that is refused: each is rendered by itself, and tells
                self._render_all(model)

    def _render_all(self, model: LlamaModel) -> None:
        """Render every conversation in one process; starting it takes longer than the rendering."""
        chats = []
        for messages, tools in CONVERSATIONS.values():
            chats += [Chat(messages, tools, False), Chat(messages[:-1], tools, True)]
            if self._modelfile is not None and tools is None:
                chats.append(Chat(self._with_system(messages[:-1]), None, True))
        for chat, text in zip(chats, self._render(model, chats), strict=True):
            self._texts[repr(chat)] = text

    @staticmethod
    def _render(model: LlamaModel, chats: Sequence[Chat]) -> list[str]:
        bos, eos = (
            "" if token is None else model.token_bytes(token).decode(errors="replace")
            for token in (model.bos, model.eos)
        )
        texts = render_chats(str(model.chat_template), chats, bos_token=bos, eos_token=eos)
        return [text.removeprefix(bos) if model.add_bos else text for text in texts]

    def _with_system(self, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """As Ollama does: the Modelfile's system message in front of a conversation without one."""
        if self._modelfile is None or not self._modelfile.system or messages[0]["role"] == "system":
            return messages
        return [{"role": "system", "content": self._modelfile.system}, *messages]

    def compare(self, chat: _Conversation) -> None:
        """Raises _Different at the first difference between two sides."""
        closed = self._transformers(chat, chat.messages, open_end=False)
        opened = self._transformers(chat, chat.messages[:-1], open_end=True)
        chat.sides.append("transformers")
        self._check_bos(closed)
        if self._trained:
            self._compare_training(chat, closed, opened)
        model = self._model
        if model is None:
            return
        if not model.chat_template:
            chat.remarks.append("the GGUF file has no chat template, so llama.cpp and Ollama pass bare prompts")
            return
        for messages, expected, open_end in ((chat.messages, closed, False), (chat.messages[:-1], opened, True)):
            self._same("llama.cpp", self._llama_cpp(model, messages, chat.tools, open_end), "transformers", expected)
        chat.sides.append("llama.cpp")
        if self._modelfile is not None:
            self._compare_ollama(model, self._modelfile, chat)

    def _transformers(self, chat: _Conversation, messages: list[dict[str, Any]], *, open_end: bool) -> list[int]:
        """Token ids by the tokenizer's own template. What that has no words for is put as for training, and said."""
        renderer = ChatRenderer(self._tokenizer)
        text = renderer.render(messages, tools=chat.tools, generation_prompt=open_end)
        chat.remarks += [remark for remark in renderer.notes if remark not in chat.remarks]
        if renderer.notes:
            ids = self._tokenizer.encode(text, add_special_tokens=False)
        else:
            ids = self._tokenizer.apply_chat_template(
                messages, tools=chat.tools, add_generation_prompt=open_end, tokenize=True, return_dict=False
            )
        return [self._bos, *ids] if self._bos is not None and ids[:1] != [self._bos] else list(ids)

    def _check_bos(self, ids: Sequence[int]) -> None:
        """What the tokenizer puts in front of a text must stand there once, also where the template writes it."""
        bos = self._tokenizer.bos_token_id
        if bos is not None and list(ids[:2]) == [bos, bos]:
            raise _Different(f"two BOS tokens ({bos}) stand at the start")

    def _compare_training(self, chat: _Conversation, closed: list[int], opened: list[int]) -> None:
        row = {"messages": chat.messages, "tools": chat.tools}
        rows: list[TokenRow] = conversation_rows([row], self._tokenizer, _MAX_TOKENS).rows
        if not rows:
            raise _Different("training finds nothing to learn in it")
        trained = rows[-1]  # of a conversation that is trained answer by answer, the last answer
        ids = trained.input_ids
        end = self._tokenizer.eos_token_id
        if ids != closed[: len(ids)] and ids[-1] == end and ids[:-1] == closed[: len(ids) - 1]:
            chat.remarks.append("the template leaves the last turn open; training ends it with the end-of-text token")
            ids = ids[:-1]
        self._same("training", ids, "transformers", closed[: len(ids)])
        rest = self._tokenizer.decode(closed[len(ids) :])
        if rest.strip():
            raise _Different(f"training leaves out {rest!r:.60} at the end, which transformers writes")
        learned = [label != IGNORED for label in trained.labels]
        start = max(at for at, mine in enumerate(learned) if mine and not (at and learned[at - 1]))
        if trained.input_ids[:start] == opened:
            pass
        elif trained.input_ids[: len(opened)] == opened:
            chat.remarks.append("the template opens an answer with more than it writes when it asks for one")
        else:
            self._same("training's prompt", trained.input_ids[:start], "transformers' prompt", opened)
        self._check_stop(trained.input_ids[-1])
        chat.sides.insert(0, "training")

    def _check_stop(self, last: int) -> None:
        """The token with which every trained answer ends must end llama.cpp's and Ollama's generation."""
        if self._model is None:
            return
        shown = f"{last} ({self._tokenizer.convert_ids_to_tokens(last)!r})"
        if not self._model.is_eog(last):
            raise _Different(f"trained answers end with token {shown}, which does not end a generation in llama.cpp")
        text = self._model.detokenize([last], special=True)
        if self._modelfile is not None and text not in self._modelfile.stop:
            raise _Different(f"trained answers end with token {shown}, which is no stop word of the Modelfile")

    def _llama_cpp(
        self, model: LlamaModel, messages: list[dict[str, Any]], tools: list[dict[str, Any]] | None, open_end: bool
    ) -> list[int]:
        chat = Chat(messages, tools, open_end)
        text = self._texts.get(repr(chat))
        return self._served(model, self._render(model, [chat])[0] if text is None else text)

    @staticmethod
    def _served(model: LlamaModel, text: str) -> list[int]:
        """As llama-server and Ollama read a prompt: special tokens by their written form, BOS where the file says."""
        return model.tokenize(text, add_special=True, parse_special=True)

    def _compare_ollama(self, model: LlamaModel, modelfile: Modelfile, chat: _Conversation) -> None:
        if chat.tools:
            chat.remarks.append("the Modelfile's template has no words for tools")
            return
        messages = chat.messages[:-1]
        try:
            text = ollama_prompt(modelfile, messages)
        except UnknownInGoTemplate as error:
            chat.remarks.append(f"the Modelfile's template is not compared: {error}")
            return
        except GoTemplateError as error:
            raise _Different(f"the Modelfile's template is broken: {error}") from error
        expected = self._llama_cpp(model, self._with_system(messages), None, True)
        self._same("Ollama", self._served(model, text), "llama.cpp", expected)
        chat.sides.append("Ollama")

    def _same(self, name: str, got: Sequence[int], other: str, expected: Sequence[int]) -> None:
        if list(got) == list(expected):
            return
        pairs = zip(got, expected, strict=False)
        at = next((at for at, (left, right) in enumerate(pairs) if left != right), min(len(got), len(expected)))
        before = self._tokenizer.decode(list(expected[max(0, at - 8) : at]))
        raise _Different(
            f"{name} and {other} differ at token {at}, after {before!r}: {name} has {self._named(got, at)}, "
            f"{other} {self._named(expected, at)}"
        )

    def _named(self, ids: Sequence[int], at: int) -> str:
        return f"{ids[at]} ({self._tokenizer.convert_ids_to_tokens(ids[at])!r})" if at < len(ids) else "no more"
