"""A canary that runs before any item: if the plumbing between us and llama.cpp is broken, nothing is scored.

The known answer is the definition itself: one text, one sequence, one token at a time, a softmax in float64. Whatever
a score or an answer is made of later (shared starts, many sequences, references on the way, lm-eval's requests, a
chat template) must come to the same.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from .base import ToolFailed
from .llama_answers import Prompt, greedy_answers
from .llama_cpp import LlamaContext
from .llama_scorer import LlamaScorer, Request

__all__ = ["check_plumbing", "check_task_requests"]

_TEXT = "The first of May is a holiday: 1, 2, 3, 4, 5."
_CUTS = (19, 30)  # characters of the text that serve as a context or a prompt
_TOLERANCE = 0.25
"""Nats per token between two ways to compute one text. Another batch means other kernels, whose rounding the 8-bit
activations of quantised files magnify to some hundredths; a wrong position or row is off by whole nats."""


@dataclass(frozen=True)
class _Known:
    """What the definition says of the canary's text.

    `log_probabilities[i]` is that of token i + 1; `best[i]` holds the texts of the tokens that may stand there if only
    the most probable one may, those that rounding can't tell from it included.
    """

    tokens: tuple[int, ...]
    log_probabilities: list[float]
    best: list[set[str]]

    def between(self, start: int, end: int) -> float:
        """Log-probability of the tokens from `start` to before `end`, after all before them."""
        return math.fsum(self.log_probabilities[start - 1 : end - 1])


def check_plumbing(scorer: LlamaScorer) -> None:
    """Compute what is known beforehand through everything that scores and answers are made of.

    Raises:
        ToolFailed: says what does not come out as it must.
    """
    tokens = scorer.encode(_TEXT)
    bos = scorer.model.bos
    wanted = 1 if bos is not None and scorer.model.add_bos else 0
    if bos is not None and tokens.count(bos) != wanted:
        raise ToolFailed(f"the canary failed: `{scorer.path}` puts {tokens.count(bos)} BOS before a text, not {wanted}")
    if wanted and bos is not None and scorer.encode(scorer.model.detokenize([bos], special=True) + _TEXT) != tokens:
        raise ToolFailed(f"the canary failed: a text of `{scorer.path}` that begins with BOS gets a second one")
    known = _known(scorer, tokens)
    third, half, end = len(tokens) // 3, len(tokens) // 2, len(tokens)
    # Two continuations of one context, a context that begins another, and a foreign text beside them.
    requests = [
        Request(tokens[half:], tokens[:half]),
        Request(tokens[:half], tokens[half:][::-1]),
        Request(tokens[:half], tokens[half:]),
        Request(tokens[:third], tokens[third:half]),
    ]
    ways = {
        "alone": scorer.log_likelihoods(requests[2:3]),
        "beside others": scorer.log_likelihoods(requests)[2:],
        "in pieces": scorer.log_likelihoods(requests, together=third)[2:],
    }
    for name, scores in ways.items():
        for score, (start, stop) in zip(scores, [(half, end), (third, half)], strict=False):
            _compare(scorer, f"scored {name}", score.log_probability, known.between(start, stop), stop - start)
    prompts = [
        Prompt(tokens[:half], 1),
        Prompt(tokens[:third], 1, reference=tokens[third:half]),
        Prompt(tokens[:third], 1),
    ]
    answers = greedy_answers(scorer, prompts)
    beside = greedy_answers(scorer, [Prompt(tokens[half:], 3), *prompts])[1:]
    for answer, place in zip([*answers, *beside], 2 * (half, third, third), strict=True):
        _expect(scorer, answer.text, known.best[place - 1])
    on_the_way = answers[1].score
    if on_the_way is not None:
        _compare(scorer, "scored as a reference", on_the_way.log_probability, known.between(third, half), half - third)


def check_task_requests(scorer: LlamaScorer, lm: Any) -> None:
    """Put the canary's text through the three kinds of request that lm-eval makes of its model `lm`.

    Raises:
        ToolFailed: says what does not come out as it must.
    """
    pairs = [(_TEXT[:cut], _TEXT[cut:]) for cut in _CUTS]
    known: list[_Known] = []

    def look_up(tokens: tuple[int, ...]) -> _Known:
        found = next((one for one in known if one.tokens[: len(tokens)] == tokens), None)
        if found is None:
            found = _known(scorer, tokens)
            known.append(found)
        return found

    encoded = [scorer.encode_request(*pair) for pair in pairs]
    for (value, _), request in zip(lm.loglikelihood(_instances(pairs)), encoded, strict=True):
        start, count = len(request.context), len(request.continuation)
        expected = look_up(request.context + request.continuation).between(start, start + count)
        _compare(scorer, "scored as a request of lm-eval", value, expected, count)
    options = {"until": [], "max_gen_toks": 1, "do_sample": False}
    contexts = [context for context, _ in pairs]
    answers = lm.generate_until(_instances([(context, options) for context in contexts]))
    for context, answer in zip(contexts, answers, strict=True):
        tokens = scorer.encode(context)
        _expect(scorer, answer, look_up(tokens).best[len(tokens) - 1])
    for text, value in zip(contexts, lm.loglikelihood_rolling(_instances([(text,) for text in contexts])), strict=True):
        tokens = scorer.encode(text)
        tokens = tokens if tokens[0] == scorer.start else (scorer.start, *tokens)
        _compare(scorer, "scored as running text", value, look_up(tokens).between(1, len(tokens)), len(tokens) - 1)
    bos = scorer.model.bos
    prompt = scorer.encode(lm.apply_chat_template([{"role": "user", "content": _TEXT}]))
    # Some models begin every turn with their BOS, so only the first tokens tell.
    begins = next((i for i, token in enumerate(prompt) if token != bos), len(prompt))
    if bos is not None and (begins > 1 or begins < scorer.model.add_bos):
        raise ToolFailed(f"the canary failed: a chat prompt of `{scorer.path}` begins with {begins} BOS, not one")


def _instances(arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
    return [SimpleNamespace(args=args, task_name="canary", doc_id=number) for number, args in enumerate(arguments)]


def _known(scorer: LlamaScorer, tokens: tuple[int, ...]) -> _Known:
    import numpy as np

    log_probabilities, best = [], []
    model = scorer.model
    with LlamaContext(model, n_ctx=len(tokens)) as context:
        for position, token in enumerate(tokens):
            logits_V: np.ndarray[Any, Any] = context.decode([token], [position], [0], [True])[0].astype(np.float64)
            if not np.isfinite(logits_V).all():
                raise ToolFailed(
                    f"the canary failed: `{scorer.path}` computes logits that are not finite numbers; export it again"
                )
            if logits_V.min() == logits_V.max():
                raise ToolFailed(f"the canary failed: `{scorer.path}` gives every token the same probability")
            if position + 1 < len(tokens):
                log_probabilities.append(float(logits_V[tokens[position + 1]] - np.logaddexp.reduce(logits_V)))
            close = np.flatnonzero(logits_V >= logits_V.max() - _TOLERANCE).tolist()
            best.append(
                {"" if model.is_eog(t) else model.token_bytes(t, special=False).decode(errors="replace") for t in close}
            )
    return _Known(tokens, log_probabilities, best)


def _compare(scorer: LlamaScorer, way: str, found: float, expected: float, count: int) -> None:
    if not abs(found - expected) <= _TOLERANCE * count:
        raise ToolFailed(
            f"the canary failed: a text of {count} tokens has {expected:.2f} nats in `{scorer.path}`, but {found:.2f} "
            f"{way}; nothing was scored"
        )


def _expect(scorer: LlamaScorer, answer: str, admissible: set[str]) -> None:
    if answer not in admissible:
        raise ToolFailed(
            f"the canary failed: `{scorer.path}` goes on with {answer!r} where {sorted(admissible)[0]!r} is the most "
            "probable; nothing was scored"
        )
