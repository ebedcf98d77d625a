"""The texts on which the forms of a model are compared: fixed ones of our own, and rows held out from training."""

from collections.abc import Sequence
from typing import Any

from .base import BadRequest, MissingExtra, ToolFailed
from .chat_rendering import ChatRenderer
from .next_tokens import Probe, wanted_positions

__all__ = ["CHATS", "TEXTS", "make_probes"]

TEXTS = {
    "English": "The lighthouse keeper wrote down the weather every evening, and after thirty years he noticed that the "
    "storms arrived on the same day as the first swallows.",
    "German": "Wer zu spät zum Bahnhof kommt, muss auf den nächsten Zug warten, auch wenn es regnet und das Café schon "
    "geschlossen ist.",
    "Spanish": "La panadera abrió la ventana, miró la calle vacía y decidió que aquel día haría el doble de pan.",
    "Russian": "Утром над рекой стоял туман, и лодки возвращались медленно.",
    "Chinese": "下雨的时候，孩子们在图书馆里看书。",
    "Arabic": "القطار يصل إلى المدينة في الساعة السابعة.",
    "Python": "def mean(values):\n    total = 0.0\n    for value in values:\n        total += value\n"
    "    return total / len(values) if values else None\n",
    "JSON": '{"id": 417, "name": "Ada", "tags": ["urgent", "billing"], "paid": false, "amount": 12.50}',
    "arithmetic": "12 + 30 = 42, 42 * 2 = 84, and 84 / 7 = 12.",
}
"""Name -> text. Written for this purpose; of the public domain."""

CHATS: dict[str, list[dict[str, Any]]] = {
    "chat": [
        {"role": "user", "content": "Name three planets that are larger than the Earth."},
        {"role": "assistant", "content": "Jupiter, Saturn and Neptune are larger than the Earth."},
    ],
    "longer chat": [
        {"role": "system", "content": "You answer in one short sentence."},
        {"role": "user", "content": "Why does bread rise?"},
        {"role": "assistant", "content": "Yeast makes gas that the dough holds back."},
        {"role": "user", "content": "And without yeast?"},
        {"role": "assistant", "content": "Then it stays flat, like a cracker."},
    ],
}
"""Name -> conversation, written in the model's own template."""

_TEXT_TOKENS = 24
_CHAT_TOKENS = 56
_HELDOUT_ROWS = 2
_HELDOUT_TOKENS = 72
_LOGITS = 20_000_000
"""Most logits that one form of the model gives: 80 MB as float32, 400 positions of a 50,000-word vocabulary."""


def make_probes(tokenizer: Any, vocabulary: int, heldout: str | None) -> tuple[list[Probe], list[str]]:
    """The probes as a model's tokenizer writes them, and remarks on what could not be taken.

    Args:
        tokenizer: of transformers.
        vocabulary: logits of one position; of a large one fewer positions are compared.
        heldout: folder of the held-out rows, where known.
    """
    texts = [tokenizer.encode(text)[:_TEXT_TOKENS] for text in TEXTS.values()]
    remarks = []
    try:
        renderer = ChatRenderer(tokenizer)
        chats = [renderer.render(messages) for messages in CHATS.values()]
        texts += [tokenizer.encode(text, add_special_tokens=False)[:_CHAT_TOKENS] for text in chats]
    except BadRequest as error:
        remarks.append(f"no chat is among the probes: {error}")
    if heldout is not None:
        try:
            texts += _heldout(heldout, tokenizer)
        except (BadRequest, MissingExtra, ToolFailed) as error:
            remarks.append(f"no held-out rows are among the probes: {error}")
    texts = [tokens for tokens in texts if tokens]
    positions = wanted_positions([len(tokens) for tokens in texts], max(1, _LOGITS // vocabulary))
    return [Probe(tuple(tokens), where) for tokens, where in zip(texts, positions, strict=True)], remarks


def _heldout(folder: str, tokenizer: Any) -> Sequence[list[int]]:
    """The first held-out rows as training would read them."""
    from .dataset_folder import read_card, read_rows
    from .training_rows import conversation_rows, preference_rows, text_rows

    kind = read_card(folder)["kind"]
    rows = read_rows(folder)[:_HELDOUT_ROWS]
    if kind == "preference":
        pairs = preference_rows(rows, tokenizer, _HELDOUT_TOKENS).rows
        return [(pair.prompt_ids + pair.chosen_ids)[:_HELDOUT_TOKENS] for pair in pairs]
    made = (text_rows if kind == "text" else conversation_rows)(rows, tokenizer, _HELDOUT_TOKENS).rows
    return [row.input_ids for row in made[:_HELDOUT_ROWS]]
