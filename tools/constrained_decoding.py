"""A GGUF model that goes on with a prompt greedily, in the words of a grammar and no others."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .base import BadRequest, ToolFailed
from .llama_cpp import LlamaContext, LlamaModel, cpu_threads
from .token_grammar import GrammarMatcher, GrammarVocabulary

if TYPE_CHECKING:
    import numpy as np

__all__ = ["ConstrainedModel", "Continuation"]

_PIECE = 256  # prompt tokens that are computed at once
_MOST_TOKENS = 200  # of one continuation


@dataclass(frozen=True)
class Continuation:
    """What a model wrote.

    Attributes:
        text: allowed by the grammar, from its beginning to its end.
        certainty: the probability of this text among those that the grammar allows, as the model sees it: the
            product over its choices, 0 to 1.
        choices: tokens that were chosen; all others were forced by the grammar.
    """

    text: str
    certainty: float
    choices: int


class ConstrainedModel:
    """A model in memory, with an adapter, that answers prompts under grammars. Threads take turns.

    What two prompts in a row have in common at their beginning is computed once.

    Args:
        gguf: the model.
        adapter: a LoRA adapter in GGUF, or None for the bare model.
        end: the special token, as written, that ends an answer.
        n_ctx: tokens of a prompt and its answer together.
        threads: cores to use; half of those that the process may use where None. llama.cpp's threads wait for each
            other after every tensor, so that one busy core holds up all: beside one computing process an answer took
            1.8 s on both of two cores and 0.65 s on one.
    """

    def __init__(
        self, gguf: Path, adapter: Path | None, *, end: str, n_ctx: int = 2048, threads: int | None = None
    ) -> None:
        self._turn = threading.Lock()
        self._model = LlamaModel(gguf)
        ends = self._model.tokenize(end, parse_special=True)
        if len(ends) != 1:
            raise BadRequest(f"`{end}` is no special token of `{gguf}`")
        self._end = ends[0]
        self._vocabulary = GrammarVocabulary(self._model, self._end)
        self._context = LlamaContext(
            self._model, n_ctx=n_ctx, n_batch=_PIECE, threads=threads or max(1, cpu_threads() // 2)
        )
        if adapter is not None:
            self._context.use_adapter(adapter)
        self._held: list[int] = []

    def close(self) -> None:
        """Free the memory. May be called twice."""
        self._model.close()

    def tokenize(self, parts: Sequence[tuple[str, bool]]) -> list[int]:
        """Tokens of a prompt in parts: text, and whether special tokens written in it are special.

        A user's own words are a part of their own, in which `<|im_end|>` is nothing but these ten characters.
        """
        return [token for text, special in parts for token in self._model.tokenize(text, parse_special=special)]

    def write(self, prompt: Sequence[int], grammar: str) -> Continuation:
        """The most likely continuation, token by token, that the grammar allows.

        Raises:
            BadRequest: the prompt is too long for the context.
            ToolFailed: LLGuidance refuses the grammar, or the answer has no end.
        """
        import numpy as np

        if len(prompt) + _MOST_TOKENS > self._context.n_ctx_seq:
            raise BadRequest(f"{len(prompt)} tokens are too many for a context of {self._context.n_ctx_seq}")
        with self._turn:
            matcher = GrammarMatcher(self._vocabulary, grammar)
            written: list[int] = []
            waiting = [*self._shared(prompt), *self._follow(matcher, written)]
            certainty, choices = 1.0, 0
            while not matcher.over:
                if len(written) > _MOST_TOKENS:
                    raise ToolFailed(f"an answer of more than {_MOST_TOKENS} tokens")
                logits_V = self._decode(waiting)
                allowed = np.flatnonzero(matcher.allowed())
                scores = logits_V[allowed].astype(np.float64)
                best = int(scores.argmax())
                certainty /= float(np.exp(scores - scores[best]).sum())
                choices += 1
                if (token := int(allowed[best])) == self._end:
                    break
                matcher.accept([token])
                written.append(token)
                waiting = [token, *self._follow(matcher, written)]
            return Continuation(self._model.detokenize(written), certainty, choices)

    def _shared(self, prompt: Sequence[int]) -> list[int]:
        """Forget what the last prompt had beyond the beginning of this one; returns what is left to compute."""
        common = 0
        while common < min(len(self._held), len(prompt) - 1) and self._held[common] == prompt[common]:
            common += 1
        self._context.seq_rm(0, common)
        self._held = self._held[:common]
        return list(prompt[common:])

    @staticmethod
    def _follow(matcher: GrammarMatcher, written: list[int]) -> list[int]:
        """Take the tokens to which there is no alternative; they are computed together with the one before."""
        forced = matcher.forced()
        if forced:
            matcher.accept(forced)
            written += forced
        return forced

    def _decode(self, tokens: list[int]) -> "np.ndarray":
        """logits_V after the last of these tokens, which are remembered."""
        start = len(self._held)
        wanted = [False] * (len(tokens) - 1) + [True]
        try:
            logits_NV = self._context.decode(tokens, range(start, start + len(tokens)), [0] * len(tokens), wanted)
        except BaseException:
            self._held = []
            self._context.clear()
            raise
        self._held += tokens
        return logits_NV[0]
