"""Score a GGUF file on an evaluation set, beside the untuned base in the same type, with intervals."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from .base import Result, ToolInput

__all__ = ["EvalReport", "RunEvalInput", "run_eval"]


class RunEvalInput(ToolInput):
    gguf_file: str = Field(min_length=1, description="the .gguf file to score")
    eval_set: str = Field(
        default="heldout",
        min_length=1,
        description="heldout, an lm-eval task name, a folder of lm-eval YAML tasks, or a .jsonl file of items",
    )
    limit: int | None = Field(default=None, ge=1, description="score only the first items, for a quick look")

    def reads(self) -> list[Path]:
        return [Path(self.gguf_file)]

    def writes(self) -> list[Path]:
        return []


class Estimate(BaseModel):
    """A mean with its 95 % interval, in the unit of its metric."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    value: float
    low: float
    high: float


class MetricRow(BaseModel):
    """One metric over the same items for both models. `base` is None where the base is unknown."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)
    metric: str
    higher_is_better: bool
    chance: float | None
    tuned: Estimate
    base: Estimate | None
    difference: Estimate | None
    verdict: str = Field(description="better, worse, cannot tell, or unknown base")


class EvalReport(Result):
    gguf_file: str
    eval_set: str
    n: int
    limited: bool
    metrics: list[MetricRow]
    base_model: str | None
    base_remark: str | None = Field(description="why there is no base column, where there is none")
    report: str = Field(description="the JSON report beside the GGUF")
    seconds: float


def run_eval(request: RunEvalInput) -> EvalReport:
    raise NotImplementedError
