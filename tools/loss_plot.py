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
    figure = Figure(figsize=(8, 4.5), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    window = max(1, len(steps) // 20)
    few = len(steps) < 30
    thin: dict[str, Any] = {"alpha": 0.3 if window > 1 else 1.0, "linewidth": 1, "marker": "." if few else None}
    axes.plot(steps, losses, color=_BLUE, label="loss of each step", **thin)
    if window > 1:
        axes.plot(steps, _running_mean(losses, window), color=_BLUE, linewidth=2, label=f"mean of {window} steps")
    axes.set_xlabel("step")
    axes.set_ylabel("loss (nats per token)")
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=_GREY, alpha=0.25)
    rates = axes.twinx()
    rates.plot(
        steps,
        [line["learning_rate"] for line in metrics],
        color=_GREY,
        linestyle="--",
        linewidth=1,
        label="learning rate (right)",
    )
    rates.set_ylim(bottom=0)
    rates.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    rates.tick_params(axis="y", colors=_GREY)
    handles = [*axes.get_lines(), *rates.get_lines()]
    axes.legend(handles, [str(line.get_label()) for line in handles], frameon=False, loc="upper right")
    axes.set_title(title, loc="left", fontsize=11)
    for part in (axes, rates):
        part.spines["top"].set_visible(False)
    with new_file(path, replace=True) as partial:
        figure.savefig(partial, format="png")


def _running_mean(values: Sequence[float], window: int) -> list[float]:
    """The mean of each value and up to `window - 1` before it.

    >>> _running_mean([4.0, 2.0, 3.0], 2)
    [4.0, 3.0, 2.5]
    """
    parts = (values[max(0, end - window) : end] for end in range(1, len(values) + 1))
    return [sum(part) / len(part) for part in parts]
