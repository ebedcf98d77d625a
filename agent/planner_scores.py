"""How often a trained planner reads wordings right that it has never seen: held-out lessons, by the plans they make."""

import itertools
import statistics
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from .frame import Frame
from .frame_text import read
from .lessons.rows import Lesson, alike, lessons
from .planner import plan_of

__all__ = ["HELD_OUT", "HELD_OUT_SEED", "score", "scores"]

HELD_OUT, HELD_OUT_SEED = 350, 1


def scores(adapter: Path) -> dict[str, Any]:
    """What the model with this adapter alone reaches on the held-out lessons.

    Raises:
        MissingExtra, BadRequest, ToolFailed: the model can't be loaded.
    """
    from tunesmith.tools.bundled_model import bundled_gguf

    from .frame_reader import FrameReader

    reader = FrameReader(bundled_gguf(), adapter)
    try:
        found = score(reader, itertools.islice(lessons(HELD_OUT_SEED, held=True), HELD_OUT))
        return {"seed": HELD_OUT_SEED, **found}
    finally:
        reader.close()


def score(reader: Any, held: Iterable[Lesson]) -> dict[str, Any]:
    """Shares of exact plans: of all lessons, of those that make no plan, by kind, and by language.

    A plan is exact when it has the steps and arguments that the lesson's own line makes. Where no plan is to be made,
    a question, a refusal or an answer is.

    Args:
        reader: has `read(text, history)` with a `frame`, as `frame_reader.FrameReader`.
    """
    results: list[tuple[Lesson, bool, bool]] = []
    seconds: list[float] = []
    for lesson in held:
        wanted = plan_of(read(lesson.line), lesson.text, lesson.history, _nothing)
        began = time.perf_counter()
        reading = reader.read(lesson.text, lesson.history)
        seconds.append(time.perf_counter() - began)
        frame = reading.frame if reading is not None else Frame()
        got = plan_of(frame, lesson.text, lesson.history, _nothing)
        results.append((lesson, alike(wanted, got), bool(wanted.steps)))
    return {
        "exact": _share(results),
        "no plan to make": _share([one for one in results if not one[2]]),
        "kinds": {kind: _share([one for one in results if one[0].kind == kind]) for kind in _kinds(results)},
        "languages": {
            name: _share([one for one in results if one[0].language == name]) for name in _languages(results)
        },
        "median_ms": round(1000 * statistics.median(seconds), 1) if seconds else None,
    }


def _nothing(path: str) -> bool:
    return False


def _kinds(results: list[tuple[Lesson, bool, bool]]) -> list[str]:
    return sorted({lesson.kind for lesson, *_ in results})


def _languages(results: list[tuple[Lesson, bool, bool]]) -> list[str]:
    return sorted({lesson.language for lesson, *_ in results})


def _share(results: list[tuple[Lesson, bool, bool]]) -> dict[str, int]:
    return {"right": sum(right for _, right, _ in results), "of": len(results)}
