"""How far two forms of one model may lie apart before a link of the fidelity chain counts as broken."""

from dataclasses import dataclass

from .next_tokens import Divergence

__all__ = ["Judgement", "file_limit", "judge_change", "judge_same", "merge_limit"]


@dataclass(frozen=True)
class Judgement:
    """`limit` is the mean KL that a link may have; of a change, the largest KL that it must exceed.

    `by_rounding` is set where a link is broken by no more than rounding costs, because the fine-tune changed little.
    """

    sound: bool
    limit: float
    reason: str = ""
    by_rounding: bool = False


NO_CHANGE = 1e-6
"""Largest KL, at any position, of a fine-tune that changes nothing.

An adapter of zeros leaves every logit as it was, bit for bit: 0. Two epochs of LoRA on SmolLM2-135M: 26, mean 1.7.
"""

MERGE_LIMITS = {"F32": 1e-5, "F16": 1e-4, "BF16": 1e-3}
"""Mean KL that rounding the merged weights may cost, by the type in which the base is stored.

Measured for that LoRA merged into SmolLM2-135M in F16: mean 2.1e-6, largest 2.1e-5; the limit is 50 times as much. BF16
has three bits less: rounding all weights of that model to it costs 2.7e-4.
"""

FILE_LIMITS = {
    "f32": 1e-3,
    "f16": 1e-3,
    "bf16": 5e-3,
    **dict.fromkeys(("q8_0", "q6_k"), 0.1),
    **dict.fromkeys(("q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s"), 0.5),
}
"""Mean KL that a file may cost against the form it is made from.

Measured with llama.cpp on SmolLM2-135M, untuned: f32 against float32 in transformers 1.6e-6; against the f32 file f16
5e-6 and bf16 2.7e-4; against the f16 file q8_0 0.010, q6_k 0.026, q5_k_m 0.13, q5_k_s 0.15, q5_0 0.17, q4_k_m 0.10,
q4_k_s 0.12, q3_k_m 0.24, q4_0 0.52, q2_k 0.68. Small models suffer most. Damaged tensors that cost less are found by
their weights (weight_check.py).
"""

DESTROYED = 0.6
"""Mean KL above which a file of few bits is another model, whatever its type.

Of SmolLM2-135M q2_k (0.68) keeps the most probable word at 49 % of the positions, q4_0 (0.52) at 60 %, q4_k_m at 80 %.
"""

LOST_SHARE = 0.05
"""Share of the fine-tune's own KL that merging or converting may cost.

KL grows with the square of a change: a scale that is wrong by half costs a quarter, by a factor of two all of it.
"""

COMPUTED_ALIKE = 1e-5
"""Mean KL that two ways of computing one model may differ by, however little the fine-tune changed (see above)."""

NEARER = 0.5
"""A file that has less than this share of its distance to the tuned model to the untuned one holds the untuned one."""

_NOT_FINITE = "it computes logits that are not finite: weights are damaged"


def merge_limit(dtype: str) -> float:
    """Mean KL that merging into a base of this safetensors dtype may cost."""
    return MERGE_LIMITS[dtype]


def file_limit(quantization: str) -> float:
    """Mean KL that a file of this type may cost against the form that it is made from."""
    return FILE_LIMITS.get(quantization, DESTROYED)


def judge_change(found: Divergence) -> Judgement:
    """base -> adapter: the fine-tune must change the model, and leave it computable."""
    if not found.finite:
        return Judgement(False, NO_CHANGE, _NOT_FINITE)
    if found.max_kl <= NO_CHANGE:
        return Judgement(False, NO_CHANGE, "the fine-tune changes nothing: every distribution is the base's")
    return Judgement(True, NO_CHANGE)


def judge_same(found: Divergence, limit: float, *, effect: float | None, towards_base: Divergence | None) -> Judgement:
    """Any later link: both forms must be the same model.

    Args:
        limit: mean KL that the storage of the weights may cost.
        effect: mean KL that the fine-tune makes, where a link must not cost more than a share of it.
        towards_base: how far the later form lies from the untuned base, where that is known.
    """
    if not found.finite:
        return Judgement(False, limit, _NOT_FINITE)
    if towards_base is not None and towards_base.mean_kl < NEARER * found.mean_kl:
        return Judgement(
            False,
            limit,
            f"it lies nearer to the untuned base (mean KL {towards_base.mean_kl:.2g}): the fine-tune is lost",
        )
    share = None if effect is None else max(LOST_SHARE * effect, COMPUTED_ALIKE)
    if found.mean_kl > limit:
        return Judgement(False, limit, f"mean KL {found.mean_kl:.2g} is more than the {limit:g} that rounding explains")
    if share is not None and found.mean_kl > share:
        of = (
            f"{found.mean_kl / effect:.0%} of what the fine-tune changed"
            if effect
            else "more than the fine-tune changed"
        )
        return Judgement(False, share, f"rounding costs {of}", by_rounding=True)
    return Judgement(True, limit if share is None else min(limit, share))
