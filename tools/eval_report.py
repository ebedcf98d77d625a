"""The report of an evaluation: both models side by side, with intervals, verdicts and remarks."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from . import eval_statistics as statistics
from .artifacts import free_path, new_file
from .base import Result

if TYPE_CHECKING:
    from .eval_scoring import Metric, Scored

__all__ = [
    "TABLE_COLUMNS",
    "EvalReport",
    "Interval",
    "MetricRow",
    "compare",
    "remarks_on",
    "table_rows",
    "write_report",
]

TABLE_COLUMNS = ("metric", "base", "tuned", "difference", "chance", "verdict")
_ENOUGH_TO_BE_CONSTANT = 5


class Interval(BaseModel):
    """A value and its 95 % interval; an end is None where the items are too few to bound it."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    value: float
    low: float | None
    high: float | None


class MetricRow(BaseModel):
    """One metric over the same items for both models. `base` and `difference` are None where there is no base."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    metric: str
    n: int = Field(description="items that both models have a value for")
    share: bool = Field(description="whether values lie between 0 and 1 and read as percentages")
    higher_is_better: bool
    chance: float | None
    tuned: Interval
    base: Interval | None
    difference: Interval | None
    verdict: statistics.Verdict


class EvalReport(Result):
    gguf_file: str
    eval_set: str
    n: int
    items_in_set: int = Field(description="how many items there are without `limit`")
    metrics: list[MetricRow]
    base_model: str | None
    base_remark: str | None = Field(description="why there is no base column, where there is none")
    remarks: list[str]
    report: str = Field(description="the JSON report beside the GGUF")
    seconds: float

    def summary(self) -> str:
        parts = []
        for row in self.metrics:
            text = f"{row.metric} {_number(row.tuned.value, row.share)}"
            if row.base is not None:
                text += f" (base {_number(row.base.value, row.share)}: {row.verdict})"
            parts.append(text)
        return f"{self.n} items of {self.eval_set}: {', '.join(parts)}" + "".join(
            f"\n{remark}" for remark in self.remarks[:1]
        )


def table_rows(report: EvalReport) -> list[tuple[str, ...]]:
    """The report as text cells, one row per metric, in the order of `TABLE_COLUMNS`."""
    return [
        (
            row.metric,
            _cell(row.base, row.share),
            _cell(row.tuned, row.share),
            _cell(row.difference, row.share, sign="+"),
            "" if row.chance is None else _number(row.chance, row.share),
            row.verdict,
        )
        for row in report.metrics
    ]


def _cell(interval: Interval | None, share: bool, sign: Literal["", "+"] = "") -> str:
    if interval is None:
        return ""
    if interval.low is None or interval.high is None:
        return _number(interval.value, share, sign)
    return (
        f"{_number(interval.value, share, sign)} [{_number(interval.low, share, sign)}, "
        f"{_number(interval.high, share, sign)}]"
    )


def _number(value: float, share: bool, sign: Literal["", "+"] = "") -> str:
    """
    >>> _number(0.96666, True), _number(12.3456, False), _number(0.5, True, "+")
    ('96.7 %', '12.35', '+50.0 %')
    """
    if share:
        return f"{100 * value:{sign}.1f} %"
    return f"{value:{sign}.3g}" if abs(value) >= 1000 else f"{value:{sign}.2f}"


def compare(tuned: "Scored", base: "Scored | None") -> list[MetricRow]:
    """Each metric for both models, over the items that have a value from both."""
    rows = []
    others = {metric.name: metric for metric in base.metrics} if base else {}
    for metric in tuned.metrics:
        other = others.get(metric.name)
        kept = [
            i
            for i, value in enumerate(metric.values)
            if value is not None and (other is None or other.values[i] is not None)
        ]
        if kept:
            rows.append(_row(_only(metric, kept), other and _only(other, kept)))
    return rows


def _only(metric: "Metric", kept: Sequence[int]) -> "Metric":
    from .eval_scoring import Metric

    counts = None if metric.counts is None else [metric.counts[i] for i in kept]
    return Metric(
        metric.name,
        [metric.values[i] for i in kept],
        metric.kind,
        counts,
        metric.chance,
        metric.higher_is_better,
        metric.bounded,
        metric.aggregate,
    )


def _row(tuned: "Metric", base: "Metric | None") -> MetricRow:
    binary = tuned.kind == "mean" and all(v in (0, 1) for m in (tuned, base) if m for v in m.values)
    value = _estimate(tuned, binary)
    difference: Interval | None = None
    verdict: statistics.Verdict = "unknown base"
    if base is not None:
        gap = _difference(tuned, base, binary)
        difference = _interval(gap)
        verdict = statistics.paired_verdict(gap, tuned.values, base.values, higher_is_better=tuned.higher_is_better)
    return MetricRow(
        metric=tuned.name,
        n=len(tuned.values),
        share=tuned.bounded,
        higher_is_better=tuned.higher_is_better,
        chance=tuned.chance,
        tuned=_interval(value),
        base=None if base is None else _interval(_estimate(base, binary)),
        difference=difference,
        verdict=verdict,
    )


def _estimate(metric: "Metric", binary: bool) -> statistics.Estimate:
    if metric.kind == "perplexity":
        return statistics.perplexity(metric.values, metric.counts or [])
    if metric.kind == "corpus" and metric.aggregate is not None:
        return statistics.corpus(metric.values, metric.aggregate)
    if binary:
        return statistics.proportion(metric.values)
    low, high = (0.0, 1.0) if metric.bounded else (-math.inf, math.inf)
    return statistics.mean(metric.values, low=low, high=high)


def _difference(tuned: "Metric", base: "Metric", binary: bool) -> statistics.Estimate:
    if tuned.kind == "perplexity":
        return statistics.perplexity_difference(tuned.values, base.values, tuned.counts or [], base.counts or [])
    if tuned.kind == "corpus" and tuned.aggregate is not None:
        return statistics.corpus_difference(tuned.values, base.values, tuned.aggregate)
    if binary:
        return statistics.proportion_difference(tuned.values, base.values)
    return statistics.mean_difference(tuned.values, base.values)


def _interval(estimate: statistics.Estimate) -> Interval:
    low, high = (end if math.isfinite(end) else None for end in (estimate.low, estimate.high))
    return Interval(value=estimate.value, low=low, high=high)


def remarks_on(
    tuned: "Scored", base: "Scored | None", rows: Sequence[MetricRow], limit: int | None, total: int
) -> list[str]:
    """What a reader must know before trusting the numbers."""
    remarks = []
    if limit is not None and limit < total:
        remarks.append(f"first {len(tuned.ids)} of {total} items: a quick look, not a score")
    model = "the model" if base is None else "the tuned model"
    for name, scored in ((model, tuned), ("the base", base)):
        if scored is None:
            continue
        remarks += [f"{name}: {remark}" for remark in scored.remarks]
        answers = [json.dumps(answer) for answer in scored.answers if answer is not None]
        if len(answers) >= _ENOUGH_TO_BE_CONSTANT and len(set(answers)) == 1:
            remarks.append(f"{name} gives the same answer to every item: {answers[0][:80]}")
    for row in rows:
        for name, interval in ((model, row.tuned), ("the base", row.base)):
            if row.chance is None or interval is None or interval.low is None or interval.high is None:
                continue
            if interval.low <= row.chance <= interval.high:
                value, chance = _number(interval.value, row.share), _number(row.chance, row.share)
                remarks.append(f"{row.metric} of {name} ({value}) can't be told from chance ({chance})")
    return remarks


def write_report(
    gguf_file: Path,
    set_name: str,
    facts: dict[str, Any],
    rows: Sequence[MetricRow],
    tuned: "Scored",
    base: "Scored | None",
) -> Path:
    """Write `<stem>.eval-<set>.json` beside the GGUF file, under the first free name, and return its path.

    At its top are `n`, `tuned`, `base`, `difference`, `chance` and `verdict` (the last five by metric); at its end
    `rows`, one line for each item, from which every number can be computed again.
    """
    document = {
        **facts,
        "tuned": {row.metric: row.tuned.model_dump() for row in rows},
        "base": None if base is None else {row.metric: row.base and row.base.model_dump() for row in rows},
        "difference": None
        if base is None
        else {row.metric: row.difference and row.difference.model_dump() for row in rows},
        "chance": {row.metric: row.chance for row in rows},
        "verdict": {row.metric: row.verdict for row in rows},
    }
    lines = []
    for i, name in enumerate(tuned.ids):
        item = {"id": name, "prompt": tuned.prompts[i], "tuned": _of_item(tuned, i)}
        if base is not None:
            item["base"] = _of_item(base, i)
        lines.append(json.dumps(item, ensure_ascii=False))
    head = json.dumps(document, indent=2, ensure_ascii=False).removesuffix("\n}")
    path = free_path(gguf_file.with_name(f"{gguf_file.stem}.eval-{set_name}.json"))
    with new_file(path) as partial:
        partial.write_text(f'{head},\n  "rows": [\n    ' + ",\n    ".join(lines) + "\n  ]\n}\n", encoding="utf-8")
    return path


def _of_item(scored: "Scored", i: int) -> dict[str, Any]:
    values: dict[str, Any] = {"answer": scored.answers[i]}
    for metric in scored.metrics:
        values[metric.name] = metric.values[i]
        if metric.counts is not None:
            values[f"{metric.name}_tokens"] = metric.counts[i]
    return values
