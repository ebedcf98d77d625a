"""Live progress of a run on stderr: one moving line on a terminal, a line now and then in a pipe."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .preview import show_result

__all__ = ["ProgressDisplay"]

_PLAIN_SECONDS = 10.0  # in a pipe, at most one line in this time


class ProgressDisplay:
    """Watches a run (see `Watcher` in executor.py). Use as a context manager, so that the terminal is left tidy.

    Talk and progress go to `console`, a step's result to `output`.
    """

    def __init__(self, console: Console, output: Console) -> None:
        self._console = console
        self._output = output
        self._bar: Progress | None = None
        self._task: Any = None
        self._last_line = 0.0

    def __enter__(self) -> "ProgressDisplay":
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def __call__(self, position: int, tool: str, event: dict[str, Any]) -> None:
        kind = event["event"]
        if kind == "start":
            self._console.print(f"{position + 1}. {tool} ...", style="bold", markup=False)
            self._last_line = 0.0
        elif kind == "reuse":
            self._console.print(f"{position + 1}. {tool}: done already, not run again", style="dim", markup=False)
        elif kind == "note":
            self._console.print(
                f"   {event['text']}", markup=False, highlight=False, soft_wrap=not self._console.is_terminal
            )
        elif kind == "sample":
            self._sample(event)
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
        done, total = int(event["done"]), int(event["total"])
        if self._console.is_terminal:
            if self._bar is None:
                columns = (
                    TextColumn("   {task.description}"),
                    BarColumn(bar_width=24),
                    TextColumn("{task.fields[figures]}"),
                )
                self._bar = Progress(*columns, console=self._console, transient=True)
                self._task = self._bar.add_task("", total=total, figures="")
                self._bar.start()
            description = f"{event.get('unit', 'step')} {done}/{total}"
            self._bar.update(self._task, completed=done, total=total, description=description, figures=_figures(event))
            if done >= total:
                self._end_bar()
            return
        now = time.monotonic()
        if done >= total or now - self._last_line >= _PLAIN_SECONDS:
            self._last_line = now
            line = f"   {event.get('unit', 'step')} {done}/{total}  {_figures(event)}"
            self._console.print(line.rstrip(), markup=False, highlight=False, soft_wrap=not self._console.is_terminal)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


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
        minutes, seconds = divmod(int(event["seconds_left"]), 60)
        parts.append(f"{minutes}:{seconds:02d} left")
    return "  ".join(parts)
