"""Score texts with a GGUF file: the log-likelihood of continuations after their contexts.

What requests share is computed once: the start that all of one call have in common (few-shot examples, a system
prompt), and the context that the choices of one item have in common. Several requests are computed together, each
as a sequence of its own, and only the logits that a score needs are read.

The same requests give the same numbers. Other requests beside them move a log-probability by rounding, because
llama.cpp takes other kernels for other numbers of rows: by thousandths of a nat per token in 16-bit files, by some
hundredths in quantised ones, whose 8-bit activations magnify it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from .base import ToolFailed
from .llama_cpp import LlamaContext, LlamaModel

if TYPE_CHECKING:
    import numpy as np

__all__ = ["TOKENS_TOGETHER", "LlamaScorer", "Request", "Score", "common_start", "extend"]

TOKENS_TOGETHER = 512
"""Tokens computed in one go. More does not make a CPU faster, and each token then looks past more foreign ones."""

_SEQUENCES = 64
_WORTH_SHARING = 8  # tokens; a shorter common start is computed with each request
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
        before = self.encode(stripped)
        return Request(before, self.encode(stripped + continuation)[len(before) :])

    def fits(self, request: Request) -> bool:
        """Whether the model can see context and continuation as a whole; its last token is only predicted."""
        return len(request.context) + len(request.continuation) - 1 <= self.max_tokens

    def log_likelihoods(
        self, requests: Sequence[Request], on_done: Callable[[int], None] = lambda count: None
    ) -> list[Score]:
        """One score for each request, in order. `on_done` is told how many more are done.

        Requests that follow each other with the same context share its computation.

        Raises:
            ValueError: a context is empty, or a request does not fit the model.
            ToolFailed: a logit is not a finite number.
        """
        for request in requests:
            if not request.context or not self.fits(request):
                raise ValueError(f"a request needs 1 to {self.max_tokens} tokens of context and continuation")
        if not requests:
            return []
        # A context's last token gives the first score, so it is never part of what all requests share.
        shared = common_start([request.context[:-1] for request in requests])
        packs = _pack(requests, shared)
        cells = shared + max(sum(_cells(requests, group, shared) for group in pack) for pack in packs)
        sequences = 1 + max(sum(map(len, pack)) for pack in packs)
        scores: list[Score] = []
        with LlamaContext(self.model, n_ctx=cells, n_seq_max=sequences, n_batch=TOKENS_TOGETHER) as context:
            if shared:
                extend(context, [(0, 0, requests[0].context[:shared])], logits=False)
            for pack in packs:
                done = self._score_pack(context, requests, pack, shared)
                scores += done
                on_done(len(done))
        return scores

    def _score_pack(
        self, context: LlamaContext, requests: Sequence[Request], pack: list[range], shared: int
    ) -> list[Score]:
        """Contexts first, one sequence for each; then the continuations, each in a sequence that branches off.

        The request at `pack[0].start + i` uses sequence 1 + i.
        """
        first = pack[0].start
        parts = []
        for group in pack:
            if shared:
                context.seq_cp(0, 1 + group.start - first)
            parts.append((1 + group.start - first, shared, requests[group.start].context[shared:]))
        ends_GV = extend(context, parts)
        count = pack[-1].stop - first
        members = [requests[first + i] for i in range(count)]
        for group in pack:
            for index in group[1:]:
                context.seq_cp(1 + group.start - first, 1 + index - first)
        # (request, row, target) of every score: first those that follow a context, then the others.
        heads = [
            (i, row, members[i].continuation[0])
            for row, group in enumerate(pack)
            for i in range(group.start - first, group.stop - first)
            if members[i].continuation
        ]
        values = _log_probabilities(ends_GV, [row for _, row, _ in heads], [target for _, _, target in heads])
        owners = [i for i, _, _ in heads]
        tails = [(i, offset) for i, member in enumerate(members) for offset in range(len(member.continuation) - 1)]
        rows = max(1, _LOGITS_BYTES // (4 * self.model.n_vocab))
        for start in range(0, len(tails), rows):
            piece = tails[start : start + rows]
            logits_NV = context.decode(
                [members[i].continuation[offset] for i, offset in piece],
                [len(members[i].context) + offset for i, offset in piece],
                [1 + i for i, _ in piece],
                [True] * len(piece),
            )
            targets = [members[i].continuation[offset + 1] for i, offset in piece]
            values += _log_probabilities(logits_NV, range(len(piece)), targets)
            owners += [i for i, _ in piece]
        for sequence in range(1, 1 + count):
            context.seq_rm(sequence)
        sums, matched, lost = [0.0] * count, [0] * count, [False] * count
        for i, (value, is_best) in zip(owners, values, strict=True):
            sums[i] += value
            lost[i] |= not is_best
            matched[i] += not lost[i]
        return [Score(sums[i], len(members[i].continuation), matched[i]) for i in range(count)]


def extend(
    context: LlamaContext, parts: Sequence[tuple[int, int, Sequence[int]]], *, logits: bool = True
) -> "np.ndarray":
    """Compute (sequence, position, tokens) parts together.

    Returns:
        logits_PV of the last token of each part, or no rows without `logits`.
    """
    tokens: list[int] = []
    positions: list[int] = []
    sequences: list[int] = []
    wanted: list[bool] = []
    for sequence, position, part in parts:
        tokens += part
        positions += range(position, position + len(part))
        sequences += [sequence] * len(part)
        wanted += [False] * (len(part) - 1) + [logits]
    return context.decode(tokens, positions, sequences, wanted)


def common_start(texts: Sequence[tuple[int, ...]]) -> int:
    """How many tokens all texts begin with, or 0 where sharing them saves nothing.

    >>> common_start([tuple(range(20)), tuple(range(12))]), common_start([(1, 2), (1, 3)])
    (12, 0)
    """
    low, high = min(texts), max(texts)
    length = next((i for i, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
    return length if len(texts) > 1 and length >= _WORTH_SHARING else 0


def _pack(requests: Sequence[Request], shared: int) -> list[list[range]]:
    """Requests as groups of one context, groups as packs that are computed together."""
    groups: list[range] = []
    for index, request in enumerate(requests):
        last = groups[-1] if groups else None
        if last and len(last) < _SEQUENCES and requests[last.start].context == request.context:
            groups[-1] = range(last.start, index + 1)
        else:
            groups.append(range(index, index + 1))
    packs: list[list[range]] = []
    tokens = sequences = 0
    for group in groups:
        size = _cells(requests, group, shared)
        if not packs or tokens + size > TOKENS_TOGETHER or sequences + len(group) > _SEQUENCES:
            packs.append([])
            tokens = sequences = 0
        packs[-1].append(group)
        tokens += size
        sequences += len(group)
    return packs


def _cells(requests: Sequence[Request], group: range, shared: int) -> int:
    """Tokens to compute for requests with one context, beyond what all share. The last ones are only predicted."""
    rest = sum(max(0, len(requests[index].continuation) - 1) for index in group)
    return len(requests[group.start].context) - shared + rest


def _log_probabilities(
    logits_NV: "np.ndarray", rows: Sequence[int], targets: Sequence[int]
) -> list[tuple[float, bool]]:
    """For each row and token: the natural logarithm of its probability, and whether no token is more probable."""
    import numpy as np

    highest_N = logits_NV.max(axis=1)
    shifted_NV = logits_NV - highest_N[:, None]
    picked = shifted_NV[rows, targets]
    log_sums_N = np.log(np.exp(shifted_NV, out=shifted_NV).sum(axis=1))
    values = picked - log_sums_N[rows]
    if not np.isfinite(values).all():
        raise ToolFailed("the model computes logits that are not finite numbers; export it again")
    return [(float(value), bool(shift == 0)) for value, shift in zip(values, picked, strict=True)]
