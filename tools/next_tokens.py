"""Next-token distributions of one model in several forms, and how far two of them lie apart.

transformers (with peft for an adapter that is not merged) computes in float32 on the CPU; a GGUF file is computed by
llama.cpp. Both see the same token ids.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .llama_cpp import LlamaContext, LlamaModel

if TYPE_CHECKING:
    import numpy as np

__all__ = ["Divergence", "Probe", "compare", "gguf_logits", "torch_logits", "wanted_positions"]

_ROWS = 16  # compared at once: small enough for a processor's cache


@dataclass(frozen=True)
class Probe:
    """One text as token ids; the distributions after the tokens at `positions` are compared."""

    tokens: tuple[int, ...]
    positions: tuple[int, ...]


@dataclass(frozen=True)
class Divergence:
    """How far the distributions Q lie from the distributions P, over N positions.

    Attributes:
        mean_kl: mean of KL(P || Q), in nats.
        max_kl: the largest.
        agreement: share of positions where both have the same most probable token.
        finite: whether all logits are finite numbers; where not, the other values are infinite and 0.
    """

    mean_kl: float
    max_kl: float
    agreement: float
    finite: bool = True


def wanted_positions(lengths: Sequence[int], limit: int) -> list[tuple[int, ...]]:
    """Positions of texts of these lengths, all of them or evenly spread ones, `limit` at most.

    >>> wanted_positions([3, 4], 100)
    [(0, 1, 2), (0, 1, 2, 3)]
    >>> wanted_positions([3, 4], 3)
    [(2,), (2,)]
    """
    step = max(1, -(-sum(lengths) // limit))
    found, start = [], 0
    for length in lengths:
        found.append(tuple(at for at in range(length) if (start + at) % step == step - 1))
        start += length
    return found


def torch_logits(model: Any, probes: Sequence[Probe]) -> "np.ndarray[Any, Any]":
    """logits_NV, float32, of a transformers model at the probes' positions, in order."""
    import numpy as np
    import torch

    rows: list[np.ndarray[Any, Any]] = []
    with torch.inference_mode():
        for probe in probes:
            if probe.positions:
                # Only the rows that are wanted go through the output layer.
                keep = torch.tensor(probe.positions)
                logits_NV = model(torch.tensor([probe.tokens]), logits_to_keep=keep, use_cache=False).logits[0]
                rows.append(logits_NV.float().numpy())
    joined: np.ndarray[Any, Any] = np.concatenate(rows)
    return joined


def gguf_logits(path: Path, probes: Sequence[Probe]) -> "np.ndarray[Any, Any]":
    """logits_NV, float32, of a GGUF file at the probes' positions, in order.

    Raises:
        BadRequest, ToolFailed: the file cannot be loaded or computed; says why.
        ValueError: a token that the file's vocabulary does not have.
    """
    import numpy as np

    longest = max(len(probe.tokens) for probe in probes)
    rows: list[np.ndarray[Any, Any]] = []
    with LlamaModel(path) as model, LlamaContext(model, n_ctx=longest, n_batch=min(longest, 512)) as context:
        for probe in probes:
            if not probe.positions:
                continue
            length = len(probe.tokens)
            wanted: np.ndarray[Any, Any] = np.zeros(length, dtype=np.bool_)
            wanted[list(probe.positions)] = True
            context.clear()
            rows.append(context.decode(probe.tokens, range(length), [0] * length, wanted))
    joined: np.ndarray[Any, Any] = np.concatenate(rows)
    return joined


def compare(p_NV: "np.ndarray[Any, Any]", q_NV: "np.ndarray[Any, Any]") -> Divergence:
    """KL(P || Q) and agreement of two arrays of logits, float32; the vocabulary of one may be padded."""
    import numpy as np

    size = min(p_NV.shape[1], q_NV.shape[1])
    kl: list[float] = []
    same = 0
    for start in range(0, len(p_NV), _ROWS):
        p, q = (_log_softmax(logits[start : start + _ROWS, :size]) for logits in (p_NV, q_NV))
        if not (np.isfinite(p).all() and np.isfinite(q).all()):
            return Divergence(float("inf"), float("inf"), 0.0, finite=False)
        same += int((p.argmax(axis=1) == q.argmax(axis=1)).sum())
        kl += (np.exp(p) * (p - q)).sum(axis=1).tolist()
    positive = [max(value, 0.0) for value in kl]  # rounding can leave a tiny negative sum
    return Divergence(sum(positive) / len(kl), max(positive), same / len(kl))


def _log_softmax(logits_NV: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    shifted: np.ndarray[Any, Any] = logits_NV - logits_NV.max(axis=1, keepdims=True)
    shifted -= np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return shifted
