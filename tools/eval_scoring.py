"""Put items to one model: what it answers, and one value per item for each metric."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from .chat_template import Chat, render_chats
from .eval_answers import exact_match, same_final_answer, token_f1
from .eval_items import Answer, Choice, Item, Preference, Text
from .llama_answers import Prompt, greedy_answers
from .llama_scorer import LlamaScorer, Request, Score

__all__ = ["Metric", "Progress", "Scored", "chat_texts", "fingerprint", "score_items"]

_LEAST_TOKENS, _MOST_TOKENS = 64, 512

Progress = Callable[[float], None]
"""Told how many items' work is done since the last call; an item's work may come in fractions."""


@dataclass(frozen=True)
class Metric:
    """One metric of one model.

    Attributes:
        kind: `mean` of `values`; `perplexity`: exp(-sum(values) / sum(counts)); `corpus`: `aggregate(values)`.
        values: one for each item; None where the item was left out.
        counts: tokens (or words) of each item, of a perplexity.
        chance: what guessing gives.
        bounded: whether values lie on [0, 1].
    """

    name: str
    values: list[Any]
    kind: Literal["mean", "perplexity", "corpus"] = "mean"
    counts: list[int] | None = None
    chance: float | None = None
    higher_is_better: bool = True
    bounded: bool = True
    aggregate: Callable[[list[Any]], float] | None = None


@dataclass(frozen=True)
class Scored:
    """What one model made of the items.

    `ids`, `prompts` (fingerprints) and `answers` have one entry for each item; `remarks` are sentences about the
    whole, such as how many items were left out.
    """

    ids: list[str]
    prompts: list[str]
    answers: list[Any]
    metrics: list[Metric]
    remarks: list[str]


def fingerprint(text: str) -> str:
    """Sixteen hex digits that stand for a prompt in a report: the start of its sha256."""
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()[:16]


def score_items(scorer: LlamaScorer, items: Sequence[Item], progress: Progress) -> Scored:
    """Score items, all of one form. Items too long for the model are left out and counted."""
    first = items[0]
    if isinstance(first, Choice):
        return _score_choices(scorer, [item for item in items if isinstance(item, Choice)], progress)
    if isinstance(first, Text):
        return _score_texts(scorer, [item for item in items if isinstance(item, Text)], progress)
    if isinstance(first, Preference):
        return _score_preferences(scorer, [item for item in items if isinstance(item, Preference)], progress)
    return _score_answers(scorer, [item for item in items if isinstance(item, Answer)], progress)


def _score_choices(scorer: LlamaScorer, items: list[Choice], progress: Progress) -> Scored:
    """Accuracy by the sum of a choice's log-probabilities, and by that sum per character: lm-eval's acc, acc_norm."""
    requests = [[scorer.encode_request(item.query, " " + choice.lstrip()) for choice in item.choices] for item in items]
    fits = [all(map(scorer.fits, group)) for group in requests]
    scores = _log_likelihoods(scorer, requests, fits, progress)
    chosen: list[int | None] = []
    plain: list[float | None] = []
    normed: list[float | None] = []
    for item, group in zip(items, scores, strict=True):
        if group is None:
            chosen.append(None)
            plain.append(None)
            normed.append(None)
            continue
        sums = [score.log_probability for score in group]
        per_character = [value / len(choice) for value, choice in zip(sums, item.choices, strict=True)]
        chosen.append(per_character.index(max(per_character)))
        plain.append(float(sums.index(max(sums)) == item.gold))
        normed.append(float(chosen[-1] == item.gold))
    chance = sum(1 / len(item.choices) for item in items) / len(items)
    return Scored(
        [item.id for item in items],
        [fingerprint(item.query) for item in items],
        chosen,
        [Metric("accuracy", plain, chance=chance), Metric("accuracy_normalised", normed, chance=chance)],
        _left_out(scorer, fits),
    )


def _score_texts(scorer: LlamaScorer, items: list[Text], progress: Progress) -> Scored:
    """Perplexity. A text longer than the model's context is cut into pieces of that length."""
    requests = []
    for item in items:
        tokens = scorer.encode(item.text)
        if tokens[:1] != (scorer.start,):
            tokens = (scorer.start, *tokens)
        size = scorer.max_tokens
        # Each piece is predicted from the last token of the one before.
        requests.append(
            [Request(tokens[i : i + 1], tokens[i + 1 : i + 1 + size]) for i in range(0, len(tokens) - 1, size)]
        )
    scores = _log_likelihoods(scorer, requests, [True] * len(items), progress)
    return Scored(
        [item.id for item in items],
        [fingerprint(item.text) for item in items],
        [None] * len(items),
        [_perplexity(scores)],
        [],
    )


def _score_preferences(scorer: LlamaScorer, items: list[Preference], progress: Progress) -> Scored:
    """The share of pairs whose chosen answer has the higher mean log-probability per token."""
    chats = []
    for item in items:
        chats.append(Chat(item.prompt, item.tools, add_generation_prompt=True))
        chats += [Chat((*item.prompt, *answer), item.tools) for answer in (item.chosen, item.rejected)]
    texts = chat_texts(scorer, chats)
    requests = [
        [_answer_request(scorer, texts[3 * i], texts[3 * i + side]) for side in (1, 2)] for i in range(len(items))
    ]
    fits = [all(map(scorer.fits, pair)) for pair in requests]
    values: list[float | None] = []
    for pair in _log_likelihoods(scorer, requests, fits, progress):
        if pair is None:
            values.append(None)
            continue
        chosen, rejected = (score.log_probability / max(1, score.tokens) for score in pair)
        values.append(0.5 if chosen == rejected else float(chosen > rejected))
    return Scored(
        [item.id for item in items],
        [fingerprint(text) for text in texts[::3]],
        [None if value is None else ["rejected", "tie", "chosen"][int(2 * value)] for value in values],
        [Metric("prefers_chosen", values, chance=0.5)],
        _left_out(scorer, fits),
    )


def _score_answers(scorer: LlamaScorer, items: list[Answer], progress: Progress) -> Scored:
    """Greedy answers against the references, and the perplexity of the references' tokens, their end included."""
    chats = []
    for item in items:
        chats.append(Chat(item.prompt, item.tools, add_generation_prompt=True))
        chats.append(Chat((*item.prompt, item.reference), item.tools))
    texts = chat_texts(scorer, chats)
    requests = [_answer_request(scorer, texts[2 * i], texts[2 * i + 1]) for i in range(len(items))]
    budgets = [min(_MOST_TOKENS, max(_LEAST_TOKENS, 2 * len(request.continuation))) for request in requests]
    fits = [
        scorer.fits(request) and len(request.context) + budget <= scorer.max_tokens
        for request, budget in zip(requests, budgets, strict=True)
    ]
    done = iter(
        greedy_answers(
            scorer,
            [
                Prompt(request.context, budget, reference=request.continuation)
                for request, budget, fit in zip(requests, budgets, fits, strict=True)
                if fit
            ],
            progress,
        )
    )
    answers = [next(done) if fit else None for fit in fits]
    scores = [None if answer is None or answer.score is None else [answer.score] for answer in answers]
    references = [_reference_text(scorer, item, request) for item, request in zip(items, requests, strict=True)]

    cut = sum(not answer.finished for answer in answers if answer is not None)

    def values(judge: Callable[[str, str], float]) -> list[float | None]:
        pairs = zip(answers, references, strict=True)
        return [None if answer is None else judge(answer.text, reference) for answer, reference in pairs]

    if all(item.final is not None for item in items):
        references = [item.final or "" for item in items]
        metrics = [Metric("final_answer", values(same_final_answer))]
    else:
        metrics = [
            Metric("exact_match", values(exact_match)),
            Metric("token_f1", values(token_f1)),
        ]
    return Scored(
        [item.id for item in items],
        [fingerprint(text) for text in texts[::2]],
        [None if answer is None else answer.text for answer in answers],
        [*metrics, _perplexity(scores)],
        [
            *_left_out(scorer, fits),
            *([f"{cut} of {sum(fits)} answers were cut at their length limit"] if cut else []),
        ],
    )


def chat_texts(scorer: LlamaScorer, chats: Sequence[Chat]) -> list[str]:
    """Chats as text in the file's own template. One without messages, where the assistant speaks first, is empty."""
    model = scorer.model
    bos, eos = (
        "" if token is None else model.token_bytes(token).decode(errors="replace") for token in (model.bos, model.eos)
    )
    texts = iter(
        render_chats(model.chat_template or "", [c for c in chats if c.messages], bos_token=bos, eos_token=eos)
    )
    return [next(texts) if chat.messages else "" for chat in chats]


def _answer_request(scorer: LlamaScorer, prompt: str, whole: str) -> Request:
    """The assistant's tokens up to the end of its turn, after the prompt for them."""
    length = next(
        (i for i, (a, b) in enumerate(zip(prompt, whole, strict=False)) if a != b), min(len(prompt), len(whole))
    )
    context = scorer.encode(prompt[:length]) or (scorer.start,)
    tokens = scorer.encode(whole)
    if tokens[: len(context)] == context:
        rest = tokens[len(context) :]
    else:  # a token spans the seam: the model reads the prompt first, on its own
        rest = tuple(scorer.model.tokenize(whole[length:], parse_special=True))
    end = next((i for i, token in enumerate(rest) if scorer.model.is_eog(token)), None)
    if end is not None:
        return Request(context, rest[: end + 1])
    return Request(context, rest if scorer.model.eos is None else (*rest, scorer.model.eos))


def _reference_text(scorer: LlamaScorer, item: Answer, request: Request) -> str:
    """What an answer must equal: the reference's words, or the tokens that a template makes of its tool calls."""
    content = item.reference.get("content")
    if isinstance(content, str) and content and not item.reference.get("tool_calls"):
        return content
    model = scorer.model
    pieces = [model.token_bytes(token, special=False) for token in request.continuation if not model.is_eog(token)]
    return b"".join(pieces).decode(errors="replace")


def _log_likelihoods(
    scorer: LlamaScorer, requests: Sequence[Sequence[Request]], fits: Sequence[bool], progress: Progress
) -> list[list[Score] | None]:
    """The scores of each item's requests; None for an item that does not fit."""
    sizes = [len(group) for group, fit in zip(requests, fits, strict=True) if fit for _ in group]
    done = 0

    def on_done(count: int) -> None:
        nonlocal done
        progress(sum(1 / size for size in sizes[done : done + count]))
        done += count

    flat = iter(
        scorer.log_likelihoods(
            [request for group, fit in zip(requests, fits, strict=True) if fit for request in group], on_done
        )
    )
    return [[next(flat) for _ in group] if fit else None for group, fit in zip(requests, fits, strict=True)]


def _perplexity(scores: Sequence[Sequence[Score] | None]) -> Metric:
    sums = [None if group is None else sum(score.log_probability for score in group) for group in scores]
    counts = [0 if group is None else sum(score.tokens for score in group) for group in scores]
    return Metric("perplexity", sums, kind="perplexity", counts=counts, higher_is_better=False, bounded=False)


def _left_out(scorer: LlamaScorer, fits: Sequence[bool]) -> list[str]:
    count = len(fits) - sum(fits)
    long = f"{count} of {len(fits)} items are longer than the {scorer.max_tokens} tokens that the model can see"
    return [f"{long} and were left out"] if count else []
