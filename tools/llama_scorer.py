"""Score texts with a GGUF file: the log-likelihood of continuations after their contexts.

What requests begin with in common is computed once, be it few-shot examples, an item's context or the first words of
two choices. Several requests are computed together, each as a sequence of its own, and only the logits that a score
needs are computed and read.

The same requests give the same numbers. Other requests beside them move a log-probability by rounding, because
llama.cpp takes other kernels for other numbers of rows: by thousandths of a nat per token in 16-bit files, by some
hundredths in quantised ones, whose 8-bit activations magnify it.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .base import ToolFailed
from .llama_cpp import LlamaContext, LlamaModel, cpu_threads
from .llama_packs import Batch, lay_out, plan

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TOKENS_TOGETHER", "LlamaScorer", "Request", "Score", "log_probabilities", "score_of"]

TOKENS_TOGETHER = 512
"""Tokens computed in one go. More does not make a CPU faster, and each token then looks past more foreign ones."""

_SEQUENCES = 64
_LOGITS_BYTES = 128 * 1024**2


@dataclass(frozen=True)
class Request:
    """A continuation to score after a context, as token ids. The context is not empty."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


@dataclass(frozen=True)
class Score:
    """Sum of the natural logarithms of the probabilities of `tokens` tokens.

    The first `matched` of them are what greedy decoding would have written.
    """

    log_probability: float
    tokens: int
    matched: int


class LlamaScorer:
    """One GGUF file, loaded to score. Use it in a `with` block.

    Raises:
        BadRequest: the file is not a sound GGUF file.
        ToolFailed: llama.cpp can't load it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = LlamaModel(path)
        self._last: tuple[str, tuple[int, ...]] = ("", ())  # the choices of one item have the same context

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.model.close()

    @property
    def max_tokens(self) -> int:
        """The longest text, in tokens, that the model was made for; 2048 where the file does not say."""
        return self.model.n_ctx_train or 2048

    @property
    def start(self) -> int:
        """What stands before a text that has no context: the token for a text's begin, else for its end."""
        token = self.model.bos if self.model.bos is not None else self.model.eos
        if token is None:
            raise ToolFailed(f"`{self.path}` names neither a begin nor an end token, so a text has no start to score")
        return token

    def encode(self, text: str) -> tuple[int, ...]:
        """Token ids of a text, special tokens by their written form.

        BOS stands in front exactly once where the model wants it, whether the text has it already or not.
        """
        tokens = self.model.tokenize(text, parse_special=True)
        if self.model.add_bos and self.model.bos is not None and tokens[:1] != [self.model.bos]:
            tokens.insert(0, self.model.bos)
        return tuple(tokens)

    def encode_request(self, context: str, continuation: str) -> Request:
        """Context and continuation, cut where the context's own tokens end.

        White space at the end of the context counts to the continuation, as words carry their space in front; both
        are encoded in one piece, so that the seam is as in running text. An empty context is `start`.
        """
        stripped = context.rstrip()
        continuation = context[len(stripped) :] + continuation
        if not stripped:
            whole = self.encode(continuation)
            return Request((self.start,), whole[1:] if whole[:1] == (self.start,) else whole)
        if self._last[0] != stripped:
            self._last = stripped, self.encode(stripped)
        before = self._last[1]
        return Request(before, self.encode(stripped + continuation)[len(before) :])

    def fits(self, request: Request) -> bool:
        """Whether the model can see context and continuation as a whole; its last token is only predicted."""
        return len(request.context) + len(request.continuation) - 1 <= self.max_tokens

    def log_likelihoods(
        self,
        requests: Sequence[Request],
        on_done: Callable[[int], None] = lambda count: None,
        *,
        together: int = TOKENS_TOGETHER,
    ) -> list[Score]:
        """One score for each request, in order. `on_done` is told how many more are done, in an order of its own.

        About `together` tokens are computed in one go.

        Raises:
            ValueError: a context is empty, or a request does not fit the model.
            ToolFailed: a logit is not a finite number.
        """
        for request in requests:
            if not request.context or not self.fits(request):
                raise ValueError(f"a request needs 1 to {self.max_tokens} tokens of context and continuation")
        if not requests:
            return []
        sharing = not self.model.recurrent
        # The last token of a continuation is only predicted.
        texts = [request.context + request.continuation[:-1] for request in requests]
        packs = plan(
            texts,
            [len(request.context) - 1 for request in requests],
            tokens=together,
            sequences=_SEQUENCES,
            sharing=sharing,
        )
        scores: dict[int, Score] = {}
        with (
            ThreadPoolExecutor(cpu_threads()) as pool,
            LlamaContext(
                self.model,
                n_ctx=max(pack.cells for pack in packs),
                n_seq_max=1 + max(len(pack.members) for pack in packs),
                n_batch=TOKENS_TOGETHER,
            ) as context,
        ):
            # Sequence 0 holds what the next pack shares with this one, member i of a pack is sequence 1 + i.
            for pack, following in zip(packs, [*packs[1:], None], strict=True):
                batch = lay_out([texts[i] for i in pack.members], pack.shared, 1, sharing=sharing)
                for i, start in enumerate(batch.starts):
                    if start:
                        context.seq_cp(0, 1 + i, 0, start)
                # row: the place of a token whose logits are wanted; for each, what comes next in which requests.
                wanted: dict[int, list[tuple[int, int]]] = {}
                for place, start, i in zip(batch.places, batch.starts, pack.members, strict=True):
                    first = len(requests[i].context) - 1 - start
                    for offset, token in enumerate(requests[i].continuation):
                        wanted.setdefault(place[first + offset], []).append((i, token))
                found = self._next_tokens(context, batch, wanted, pool)
                for i in pack.members:
                    scores[i] = score_of(found.get(i, []))
                context.seq_rm(0)
                if following is not None and following.shared:
                    context.seq_cp(len(pack.members), 0, 0, following.shared)
                for i in range(len(pack.members)):
                    context.seq_rm(1 + i)
                on_done(len(pack.members))
        return [scores[i] for i in range(len(requests))]

    def _next_tokens(
        self, context: LlamaContext, batch: Batch, wanted: dict[int, list[tuple[int, int]]], pool: Executor
    ) -> dict[int, list[tuple[float, bool]]]:
        """By request, in the order of its tokens: each one's log-probability, and whether none is more probable."""
        rows = sorted(wanted)
        flags = [False] * len(batch.tokens)
        for row in rows:
            flags[row] = True
        found: dict[int, list[tuple[float, bool]]] = {}
        done = 0
        for logits_NV in context.decode_pieces(
            batch.tokens,
            batch.positions,
            batch.sequences,
            flags,
            most_rows=max(1, _LOGITS_BYTES // (4 * self.model.n_vocab)),
        ):
            asked = [
                (n, owner, token)
                for n, row in enumerate(rows[done : done + len(logits_NV)])
                for owner, token in wanted[row]
            ]
            done += len(logits_NV)
            values = log_probabilities(logits_NV, [n for n, _, _ in asked], [token for _, _, token in asked], pool)
            for (_, owner, _), value in zip(asked, values, strict=True):
                found.setdefault(owner, []).append(value)
        return found


def score_of(values: Sequence[tuple[float, bool]]) -> Score:
    """The score of a continuation from each token's log-probability and whether it is the most probable one."""
    matched = next((n for n, (_, is_best) in enumerate(values) if not is_best), len(values))
    return Score(math.fsum(value for value, _ in values), len(values), matched)


def log_probabilities(
    logits_NV: "np.ndarray", rows: Sequence[int], targets: Sequence[int], pool: Executor
) -> list[tuple[float, bool]]:
    """For each row and token: the natural logarithm of its probability, and whether no token is more probable.

    Raises:
        ToolFailed: a logit is not a finite number.
    """
    import numpy as np

    count = len(logits_NV)
    highest_N, log_sums_N = np.empty(count), np.empty(count)

    def fill(part: range) -> None:
        # Row by row: one row and its exponentials stay in the processor's cache.
        scratch_V = np.empty(logits_NV.shape[1], dtype=np.float32)
        with np.errstate(invalid="ignore"):
            for n in part:
                highest_N[n] = logits_NV[n].max()
                np.subtract(logits_NV[n], np.float32(highest_N[n]), out=scratch_V)
                log_sums_N[n] = np.log(np.exp(scratch_V, out=scratch_V).sum())

    step = -(-count // cpu_threads())
    list(pool.map(fill, [range(start, min(start + step, count)) for start in range(0, count, step)]))
    picked: np.ndarray[Any, Any] = logits_NV[rows, targets].astype(np.float64)
    with np.errstate(invalid="ignore"):
        values = picked - highest_N[rows] - log_sums_N[rows]
    if not np.isfinite(values).all():
        raise ToolFailed("the model computes logits that are not finite numbers; export it again")
    return list(zip(values.tolist(), (picked == highest_N[rows]).tolist(), strict=True))
