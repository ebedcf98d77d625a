"""A canary that runs before any item: if the plumbing between us and llama.cpp is broken, nothing is scored."""

import math

from .base import ToolFailed
from .llama_scorer import LlamaScorer, Request

__all__ = ["check_plumbing"]

_TEXT = "The first of May is a holiday: 1, 2, 3, 4, 5."
_TOLERANCE = 0.25
"""Nats per token between two ways to compute one text. Another batch means other kernels, whose rounding the 8-bit
activations of quantised files magnify to some hundredths; a wrong position or row is off by whole nats."""


def check_plumbing(scorer: LlamaScorer) -> None:
    """Compute what is known beforehand: one text must score the same in one piece and token by token, alone and
    beside others; logits must differ; BOS must stand where the file wants it, once.

    Raises:
        ToolFailed: says which of these does not hold.
    """
    tokens = scorer.encode(_TEXT)
    bos = scorer.model.bos
    wanted = 1 if bos is not None and scorer.model.add_bos else 0
    if bos is not None and tokens.count(bos) != wanted:
        raise ToolFailed(f"the canary failed: `{scorer.path}` puts {tokens.count(bos)} BOS before a text, not {wanted}")
    if wanted and bos is not None and scorer.encode(scorer.model.detokenize([bos], special=True) + _TEXT) != tokens:
        raise ToolFailed(f"the canary failed: a text of `{scorer.path}` that begins with BOS gets a second one")
    half = len(tokens) // 2
    whole, other = Request(tokens[:half], tokens[half:]), Request(tokens[:half], tokens[half:][::-1])
    foreign = Request(tokens[half:], tokens[:half])
    alone = scorer.log_likelihoods([whole])[0].log_probability
    # With two choices of one context and a foreign text computed beside it.
    beside = scorer.log_likelihoods([foreign, other, whole])[2].log_probability
    single = math.fsum(
        scorer.log_likelihoods([Request(tokens[:i], tokens[i : i + 1])])[0].log_probability
        for i in range(half, len(tokens))
    )
    count = len(tokens) - half
    for way, value in (("beside other texts", beside), ("token by token", single)):
        if abs(value - alone) > _TOLERANCE * count:
            raise ToolFailed(
                f"the canary failed: `{scorer.path}` gives a text of {count} tokens {alone:.2f} nats in one piece and "
                f"{value:.2f} {way}; nothing was scored"
            )
    if abs(alone + count * math.log(scorer.model.n_vocab)) < 1e-6 * count:
        raise ToolFailed(f"the canary failed: `{scorer.path}` gives every token the same probability")
