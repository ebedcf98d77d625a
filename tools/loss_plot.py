"""The course of a training run as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .artifacts import new_file

__all__ = ["plot_loss"]

_BLUE, _GREY = "#1f5fa8", "#8a8f98"


def plot_loss(metrics: Sequence[dict[str, Any]], path: Path, title: str) -> None:
    """Draw loss (each step, and its running mean) and learning rate over the steps into a PNG.

    Args:
        metrics: the lines of metrics.jsonl.
        path: replaced if it exists.
        title: one line.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    steps = [line["step"] for line in metrics]
    losses = [line["loss"] for line in metrics]
    window = max(1, len(steps) // 20)
    thin: dict[str, Any] = {
        "alpha": 0.35 if window > 1 else 1.0,
        "linewidth": 1,
        "marker": "." if window == 1 else None,
    }
    figure = Figure(figsize=(8, 5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    upper.plot(steps, losses, color=_BLUE, label="each step", **thin)
    if window > 1:
        upper.plot(steps, _running_mean(losses, window), color=_BLUE, linewidth=2, label=f"mean of {window} steps")
        upper.legend(frameon=False, loc="upper right")
    upper.set_ylabel("loss")
    upper.set_title(title, loc="left", fontsize=11)
    lower.plot(steps, [line["learning_rate"] for line in metrics], color=_GREY, linewidth=1.5)
    lower.set_ylabel("learning rate")
    lower.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    lower.set_xlabel("step")
    lower.xaxis.set_major_locator(MaxNLocator(integer=True))
    for axes in (upper, lower):
        axes.set_ylim(bottom=0)
        axes.grid(color=_GREY, alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    with new_file(path, replace=True) as partial:
        figure.savefig(partial, format="png")


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and up to `window - 1` before it.

    >>> _running_mean([4.0, 2.0, 3.0], 2)
    [4.0, 3.0, 2.5]
    """
    parts = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
    return [sum(part) / len(part) for part in parts]
