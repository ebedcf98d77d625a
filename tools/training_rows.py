"""Rows of a prepared dataset -> token ids, and which of them count in the loss.

Only what the assistant says is learned, its end-of-turn token included: each answer is found as the text that the
chat template adds after the prompt for it. The rest of a conversation is context, with the label -100.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .base import BadRequest, ToolFailed
from .chat_rendering import ChatRenderer

__all__ = ["IGNORED", "PairRow", "TokenRow", "TokenRows", "conversation_rows", "preference_rows", "text_rows"]

IGNORED = -100
"""The label of a token that does not count in the loss (torch's cross entropy leaves it out)."""

_BATCH = 1000


@dataclass(frozen=True)
class TokenRow:
    """One row of T tokens: `input_ids` and `labels`, both of length T."""

    input_ids: list[int]
    labels: list[int]

    @property
    def length(self) -> int:
        return len(self.input_ids)

    @property
    def tokens(self) -> int:
        """Tokens that the model reads for this row."""
        return self.length

    @property
    def start(self) -> int:
        """Where the first learned token stands; the length where there is none."""
        return next((index for index, label in enumerate(self.labels) if label != IGNORED), self.length)

    @property
    def supervised(self) -> int:
        """Tokens that are learned. The first is never predicted, whatever its label."""
        return sum(label != IGNORED for label in self.labels[1:])

    def columns(self) -> dict[str, list[int]]:
        """As the trainer's dataset wants it."""
        return {"input_ids": self.input_ids, "labels": self.labels}


@dataclass(frozen=True)
class PairRow:
    """One preference pair as token ids."""

    prompt_ids: list[int]
    chosen_ids: list[int]
    rejected_ids: list[int]

    @property
    def length(self) -> int:
        return len(self.prompt_ids) + max(len(self.chosen_ids), len(self.rejected_ids))

    @property
    def tokens(self) -> int:
        """Tokens that the model reads for this row: the prompt once with each answer."""
        return 2 * len(self.prompt_ids) + len(self.chosen_ids) + len(self.rejected_ids)

    @property
    def supervised(self) -> int:
        return len(self.chosen_ids) + len(self.rejected_ids)

    def columns(self) -> dict[str, list[int]]:
        """As the trainer's dataset wants it."""
        return {"prompt_ids": self.prompt_ids, "chosen_ids": self.chosen_ids, "rejected_ids": self.rejected_ids}


@dataclass
class TokenRows:
    """What a dataset became: `dropped` rows lost all that could be learned to truncation, `cut` ones a part."""

    rows: list[Any] = field(default_factory=list)
    dropped: int = 0
    cut: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def supervised(self) -> int:
        return sum(row.supervised for row in self.rows)

    def checked(self, max_seq_length: int) -> "TokenRows":
        """Itself, if there is anything to learn from.

        Raises:
            ToolFailed: every row was dropped; says why.
        """
        if not self.rows:
            raise ToolFailed(
                f"none of the {self.dropped} rows has a token to learn from within {max_seq_length} tokens: the "
                "answers begin later or are empty; raise `max_seq_length`"
            )
        return self


def text_rows(rows: Sequence[dict[str, Any]], tokenizer: Any, max_seq_length: int) -> TokenRows:
    """Raw text: every token is learned, and the end-of-text token after it. A longer text becomes several rows.

    Args:
        rows: dicts with `text`.
        tokenizer: of transformers.
        max_seq_length: in tokens.
    """
    result = TokenRows()
    end = [] if tokenizer.eos_token_id is None else [tokenizer.eos_token_id]
    for batch in _batches([str(row["text"]) for row in rows]):
        for ids in tokenizer(batch, add_special_tokens=True)["input_ids"]:
            whole = ids + (end if ids[-1:] != end else [])
            pieces = [whole[start : start + max_seq_length] for start in range(0, len(whole), max_seq_length)]
            rows_of_text = [TokenRow(piece, list(piece)) for piece in pieces if len(piece) > 1]
            result.dropped += not rows_of_text
            result.rows += rows_of_text
    return result


def conversation_rows(rows: Sequence[dict[str, Any]], tokenizer: Any, max_seq_length: int) -> TokenRows:
    """Conversations: what the assistant says is learned.

    A template that writes earlier answers differently once later ones follow (as some do with reasoning) has no
    single text in which every answer stands as it was said. Such a conversation becomes one row per answer.

    Args:
        rows: dicts with `messages` and, for some, `tools` (JSON text or a list).
        tokenizer: of transformers, with a fast implementation.
        max_seq_length: in tokens; what is longer is cut at its end.

    Raises:
        BadRequest: the template refuses a conversation; names the row.
    """
    renderer, labeller = ChatRenderer(tokenizer), _Labeller(tokenizer)
    result = TokenRows()
    samples: list[_Sample] = []
    split = 0
    for number, row in enumerate(rows, 1):
        try:
            found = _samples(renderer, row["messages"], _tools(row))
        except BadRequest as error:
            raise BadRequest(f"row {number}: {error}") from error
        split += len(found) > 1
        result.dropped += not found
        samples += found
    for whole in labeller.rows(samples):
        kept = TokenRow(whole.input_ids[:max_seq_length], whole.labels[:max_seq_length])
        if kept.supervised:
            result.rows.append(kept)
            result.cut += whole.length > max_seq_length
        else:
            result.dropped += 1
    result.notes = list(renderer.notes)
    if split:
        result.notes.append(f"{split} conversations are trained answer by answer, as their template requires")
    return result


def preference_rows(rows: Sequence[dict[str, Any]], tokenizer: Any, max_seq_length: int) -> TokenRows:
    """Preference pairs: a prompt, the better and the worse answer.

    Args:
        rows: dicts with `prompt`, `chosen` and `rejected`, each a list of messages.
        tokenizer: of transformers, with a fast implementation.
        max_seq_length: in tokens, prompt and answer together; what is longer is cut at its end.

    Raises:
        BadRequest: the template refuses a conversation; names the row.
    """
    renderer, labeller = ChatRenderer(tokenizer), _Labeller(tokenizer)
    result = TokenRows()
    samples = []
    for number, row in enumerate(rows, 1):
        prompt, tools = list(row["prompt"]), _tools(row)
        try:
            opening = renderer.render(prompt, tools=tools, generation_prompt=True)
            texts = [renderer.render([*prompt, *row[side]], tools=tools) for side in ("chosen", "rejected")]
        except BadRequest as error:
            raise BadRequest(f"row {number}: {error}") from error
        samples += [_Sample(text, [(len(_common_start(opening, text)), len(text))]) for text in texts]
    sides = iter(labeller.rows(samples))
    for chosen, rejected in zip(sides, sides, strict=True):
        # The prompt ends where the first of the two answers begins in tokens.
        start = min(row.start for row in (chosen, rejected))
        pair = PairRow(
            chosen.input_ids[:start],
            chosen.input_ids[start:max_seq_length],
            rejected.input_ids[start:max_seq_length],
        )
        if pair.chosen_ids and pair.rejected_ids and pair.chosen_ids != pair.rejected_ids:
            result.rows.append(pair)
            result.cut += max(chosen.length, rejected.length) > max_seq_length
        else:
            result.dropped += 1
    result.notes = list(renderer.notes)
    return result


@dataclass(frozen=True)
class _Sample:
    """A rendered text, and where in it the assistant speaks: (start, end) in characters."""

    text: str
    spans: list[tuple[int, int]]


def _tools(row: dict[str, Any]) -> list[Any] | None:
    tools = row.get("tools")
    return (json.loads(tools) if isinstance(tools, str) else tools) or None


def _batches(values: Sequence[Any]) -> Iterable[Sequence[Any]]:
    return (values[start : start + _BATCH] for start in range(0, len(values), _BATCH))


def _samples(renderer: ChatRenderer, messages: Sequence[dict[str, Any]], tools: list[Any] | None) -> list[_Sample]:
    """What to learn from one conversation: one text with all answers, or one text for each."""
    singles: list[_Sample] = []
    nested = True
    for number, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        prompt = renderer.render(messages[:number], tools=tools, generation_prompt=True) if number else ""
        text = renderer.render(messages[: number + 1], tools=tools)
        nested = nested and (not singles or text.startswith(singles[-1].text))
        # Where the template opens an answer otherwise than it prompts for one, the common start is the context.
        singles.append(_Sample(text, [(len(_common_start(prompt, text)), len(text))]))
    if nested and singles:
        return [_Sample(singles[-1].text, [single.spans[0] for single in singles])]
    return singles


def _common_start(left: str, right: str) -> str:
    """
    >>> _common_start("user: hi", "user: ho")
    'user: h'
    """
    different = (index for index, pair in enumerate(zip(left, right, strict=False)) if pair[0] != pair[1])
    return left[: next(different, min(len(left), len(right)))]


class _Labeller:
    """Turns samples into token rows with one tokenizer."""

    def __init__(self, tokenizer: Any) -> None:
        if not tokenizer.is_fast:
            raise BadRequest("the model's tokenizer has no fast implementation (tokenizer.json), which training needs")
        self._tokenizer = tokenizer
        added = tokenizer.get_added_vocab()
        self._special_texts = tuple(added)
        self._specials = {*tokenizer.all_special_ids, *added.values()}
        # What the tokenizer itself puts in front of every text, where it does: exactly one BOS in each row.
        bos = tokenizer.bos_token_id
        self._bos = bos if bos is not None and tokenizer("")["input_ids"][:1] == [bos] else None

    def rows(self, samples: Sequence[_Sample]) -> Iterable[TokenRow]:
        """The token row of each sample."""
        for batch in _batches(samples):
            encoded = self._tokenizer(
                [sample.text for sample in batch], add_special_tokens=False, return_offsets_mapping=True
            )
            for sample, ids, offsets in zip(batch, encoded["input_ids"], encoded["offset_mapping"], strict=True):
                yield self._row(sample, ids, offsets)

    def _row(self, sample: _Sample, ids: list[int], offsets: Sequence[tuple[int, int]]) -> TokenRow:
        """Labels by the spans of the answers; nothing is kept behind the last of them."""
        spans = [(start, self._end_of_answer(sample.text, start, end)) for start, end in sample.spans]
        labels = [IGNORED] * len(ids)
        length = position = 0
        for index, (start, end) in enumerate(offsets):
            while position < len(spans) - 1 and start >= spans[position][1]:
                position += 1
            if start < end and start < spans[position][1] and end > spans[position][0]:
                labels[index] = ids[index]
                length = index + 1
        ids, labels = ids[:length], labels[:length]
        eos = self._tokenizer.eos_token_id
        if ids and ids[-1] not in self._specials and eos is not None:
            # A template that leaves the last turn open: without an end the model would never learn to stop.
            ids, labels = [*ids, eos], [*labels, eos]
        if ids and self._bos is not None and ids[0] != self._bos:
            ids, labels = [self._bos, *ids], [IGNORED, *labels]
        return TokenRow(ids, labels)

    def _end_of_answer(self, text: str, start: int, end: int) -> int:
        """The end of an answer without the line break that a template writes after its end-of-turn token."""
        bare = text[start:end].rstrip()
        return start + len(bare) if bare.endswith(self._special_texts) else end
