"""Live progress of a run on stderr: one moving line on a terminal, a line now and then in a pipe."""

import itertools
import threading
import time
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .live_run import clock
from .preview import show_result

__all__ = ["ProgressDisplay", "Status", "sparkline"]

_PLAIN_SECONDS = 10.0  # in a pipe, at most one line in this time
_BARS = "▁▂▃▄▅▆▇█"
_SPARK_WIDTH, _NARROWEST_SPARK = 24, 5


def sparkline(values: Sequence[float], width: int = _SPARK_WIDTH) -> str:
    """The course of some values in `width` characters at most, each the mean of its share of them.

    >>> sparkline([4, 3, 2, 1]), sparkline([2, 2]), sparkline([])
    ('█▆▃▁', '▁▁', '')
    """
    count = min(width, len(values))
    edges = [len(values) * i // count for i in range(count + 1)] if count else []
    means = [sum(values[a:b]) / (b - a) for a, b in itertools.pairwise(edges)]
    low, span = min(means, default=0), max(means, default=0) - min(means, default=0)
    return "".join(_BARS[round((mean - low) / span * (len(_BARS) - 1)) if span else 0] for mean in means)


class Status:
    """What a chat shows of a run beside the prompt: one line that moves. Written by one thread, read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._title = ""
        self._began = time.monotonic()
        self._event: dict[str, Any] = {}
        self._losses: list[float] = []

    def begin(self, title: str) -> None:
        """Another step begins."""
        with self._lock:
            self._title, self._began, self._event, self._losses = title, time.monotonic(), {}, []

    def advance(self, event: dict[str, Any]) -> None:
        """A `step` event of the tool."""
        with self._lock:
            self._event = event
            if "loss" in event:
                self._losses.append(float(event["loss"]))

    @property
    def place(self) -> str:
        """Which tool is at work and how far it is, in words; empty before the first begins."""
        with self._lock:
            event, tool = self._event, self._title.partition(" ")[2]
        return f"{tool} after {_count(event, ' of ')}" if event else tool

    def line(self, width: int) -> str:
        """The line, cut to `width` columns; what moves most stands first."""
        with self._lock:
            event, losses, spent = self._event, list(self._losses), time.monotonic() - self._began
            parts = [self._title]
        if event:
            parts += [_count(event), _figures(event)]
            room = width - len("  ".join(parts)) - 2
            if len(losses) > 1 and room >= _NARROWEST_SPARK:
                parts.insert(2, sparkline(losses, min(room, _SPARK_WIDTH)))
        else:
            parts.append(clock(spent))
        text = "  ".join(part for part in parts if part)
        return text if len(text) <= width else text[: width - 1] + "…"


class ProgressDisplay:
    """Watches a run (see `Watcher` in executor.py). Use as a context manager, so that the terminal is left tidy.

    Talk and progress go to `console`, a step's result to `output`. With a `status` what moves goes there, and only
    what stays is printed.
    """

    def __init__(self, console: Console, output: Console, status: Status | None = None) -> None:
        self._console = console
        self._output = output
        self._status = status
        self._bar: Progress | None = None
        self._task: Any = None
        self._losses: list[float] = []
        self._last_line = 0.0

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def __call__(self, position: int, tool: str, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self._console.print(f"{position + 1}. {tool} ...", style="bold", markup=False)
            self._last_line, self._losses = 0.0, []
            if self._status is not None:
                self._status.begin(f"{position + 1}. {tool}")
        elif kind == "reuse":
            self._console.print(f"{position + 1}. {tool}: done already, not run again", style="dim", markup=False)
        elif kind in ("note", "probe"):
            if event.get("asks"):
                self._end_bar()  # a question follows
            self._console.print(
                f"   {event['text']}", markup=False, highlight=False, soft_wrap=not self._console.is_terminal
            )
        elif kind == "sample":
            self._sample(event)
        elif kind == "step" and self._status is not None:
            self._status.advance(event)
        elif kind == "step":
            self._step(event)
        elif kind == "done":
            self._end_bar()
            show_result(event["result"], self._output)

    def _sample(self, event: dict[str, Any]) -> None:
        self._console.print(f"   {event['title']}", style="dim", markup=False)
        for label in ("before", "after"):
            text = " ".join(str(event[label]).split())
            room = max(self._console.width - 14, 40)
            shown = text if len(text) <= room else text[: room - 3] + "..."
            self._console.print(f"     {label:<6} {shown}", style="dim", markup=False, highlight=False)

    def _step(self, event: dict[str, Any]) -> None:
        done, total = int(event["done"]), event["total"]
        if self._console.is_terminal and total is not None:
            if self._bar is None:
                columns = (
                    TextColumn("   {task.description}"),
                    BarColumn(bar_width=16),
                    TextColumn("{task.fields[figures]}"),
                )
                self._bar = Progress(*columns, console=self._console, transient=True)
                self._task = self._bar.add_task("", total=total, figures="")
                self._bar.start()
            if "loss" in event:
                self._losses.append(float(event["loss"]))
            description = _count(event)
            figures = _figures(event)
            if len(self._losses) > 1 and self._console.width >= 100:
                figures = f"{sparkline(self._losses, _SPARK_WIDTH // 2)}  {figures}"
            self._bar.update(self._task, completed=done, total=total, description=description, figures=figures)
            if done >= total:
                self._end_bar()
            return
        now = time.monotonic()
        if done == total or now - self._last_line >= _PLAIN_SECONDS:
            self._last_line = now
            line = f"   {_count(event)}  {_figures(event)}"
            self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=not self._console.is_terminal)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def _count(event: dict[str, Any], link: str = "/") -> str:
    """How far a step event is: `step 3/40`, or `rows 2000` where nobody knows how many there are."""
    reached = f"{event.get('unit', 'step')} {event['done']}"
    return reached if event["total"] is None else f"{reached}{link}{event['total']}"


def _figures(event: dict[str, Any]) -> str:
    """The figures of a step event as people read them."""
    parts = []
    if "loss" in event:
        parts.append(f"loss {event['loss']:.3f}")
    if "tokens_per_second" in event:
        parts.append(f"{event['tokens_per_second']:.0f} tokens/s")
    if "items_per_second" in event:
        parts.append(f"{event['items_per_second']:.1f} items/s")
    if event.get("seconds_left") is not None:
        parts.append(f"{clock(event['seconds_left'])} left")
    return "  ".join(parts)
