"""Score a GGUF file on an evaluation set, beside the untuned base in the same type, with intervals."""

import importlib.metadata
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from .artifacts import file_sha256
from .base import BadRequest, ToolInput, emit, note, slug
from .eval_report import EvalReport, compare, remarks_on, write_report

if TYPE_CHECKING:
    from .eval_items import Item
    from .eval_scoring import Progress, Scored
    from .gguf_origin import Origin
    from .llama_scorer import LlamaScorer

__all__ = ["EvalReport", "RunEvalInput", "run_eval"]

HELDOUT = "heldout"
_SECONDS_BETWEEN_EVENTS = 0.5


class RunEvalInput(ToolInput):
    gguf_file: str = Field(min_length=1, description="the .gguf file to score")
    eval_set: str = Field(
        default=HELDOUT,
        min_length=1,
        description="heldout, an lm-eval task name, a folder of lm-eval YAML tasks, or a .jsonl file of items",
    )
    limit: int | None = Field(default=None, ge=1, description="score only the first items, for a quick look")
    data_dir: str | None = Field(
        default=None,
        min_length=1,
        description="folder with local copies of the datasets of lm-eval tasks, each as its repository on the hub",
    )
    chat_template: bool = Field(
        default=False, description="put the prompts of lm-eval tasks in the file's own chat template"
    )

    def reads(self) -> list[Path]:
        paths = (_path_of(self.eval_set), self.data_dir and Path(self.data_dir).expanduser())
        return [Path(self.gguf_file), *(path for path in paths if path)]

    def writes(self) -> list[Path]:
        return []  # the report takes the first free name beside the GGUF file


@dataclass(frozen=True)
class _EvalSet:
    """`n` items of `total` without the limit, a way to score them, and the packages that have a say in it."""

    n: int
    total: int
    score: "Callable[[LlamaScorer, Progress], Scored]"
    packages: tuple[str, ...] = ("tunesmith", "xllamacpp")


def run_eval(request: RunEvalInput) -> EvalReport:
    """Score the file and its untuned base on the same items, and write the report beside the file.

    Raises:
        BadRequest: the file or the set does not exist or can't be read; names what would work.
        MissingExtra: llama.cpp or lm-eval is not installed.
        ToolFailed: the set's data can't be reached, the canary failed, or a model computes no finite numbers.
    """
    from .gguf_origin import base_gguf, read_origin

    started = time.monotonic()
    gguf_file = Path(request.gguf_file)
    _check_gguf(gguf_file)
    origin = read_origin(gguf_file)
    items = _eval_set(request, origin)
    sha256 = file_sha256(gguf_file)
    files = {"tuned": {"file": str(gguf_file), "sha256": sha256}}
    base_file, base_remark = None, None
    try:
        base_file = base_gguf(gguf_file, origin, sha256)
        files["base"] = {"file": str(base_file), "sha256": file_sha256(base_file)}
    except LookupError as error:
        base_remark = str(error.args[0])
        note(f"`{gguf_file.name}` is scored alone: {base_remark}")
    progress = _Progress(items.n * (2 if base_file else 1))
    tuned = _score(gguf_file, items, progress)
    base = _score(base_file, items, progress) if base_file else None
    progress.end()
    if base is not None and base.ids != tuned.ids:
        raise AssertionError("both models must be asked the same items")
    rows = compare(tuned, base)
    if not rows:
        raise BadRequest(f"none of the {items.n} items fits into the context of `{gguf_file}`; use shorter ones")
    remarks = remarks_on(tuned, base, rows, request.limit, items.total)
    seconds = round(time.monotonic() - started, 2)
    facts = {
        "eval_set": request.eval_set,
        "n": len(tuned.ids),
        "items_in_set": items.total,
        "limit": request.limit,
        "chat_template": request.chat_template,
        "remarks": remarks,
        "base_model": origin.base_model if origin else None,
        "base_remark": base_remark,
        "files": files,
        "versions": {
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in items.packages},
        },
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "seconds": seconds,
    }
    name = HELDOUT if request.eval_set == HELDOUT else slug(request.eval_set.removesuffix(".jsonl"))
    report = write_report(gguf_file, name, facts, rows, tuned, base)
    return EvalReport(
        gguf_file=request.gguf_file,
        eval_set=request.eval_set,
        n=len(tuned.ids),
        items_in_set=items.total,
        metrics=rows,
        base_model=origin.base_model if origin else None,
        base_remark=base_remark,
        remarks=remarks,
        report=str(report),
        seconds=seconds,
    )


def _score(gguf_file: Path, items: _EvalSet, progress: "_Progress") -> "Scored":
    from .eval_canary import check_plumbing
    from .llama_scorer import LlamaScorer

    with LlamaScorer(gguf_file) as scorer:
        check_plumbing(scorer)
        return items.score(scorer, progress.advance)


def _check_gguf(path: Path) -> None:
    from .gguf_header import read_header

    if path.is_dir():
        raise BadRequest(f"`{path}` is a folder; pass the .gguf file that export_gguf reported")
    if not path.exists():
        raise BadRequest(f"`{path}` does not exist; pass a .gguf file, such as the one that export_gguf reported")
    read_header(path)


def _path_of(eval_set: str) -> Path | None:
    """The file or folder that an evaluation set means, or None where it is a name."""
    path = Path(eval_set).expanduser()
    if eval_set.endswith(".jsonl") or path.is_absolute() or eval_set.startswith((".", "~")) or "/" in eval_set:
        return path
    return path if path.is_dir() and eval_set != HELDOUT and any(path.glob("*.yaml")) else None


def _eval_set(request: RunEvalInput, origin: "Origin | None") -> _EvalSet:
    """The items of the request, read and checked before any model is loaded."""
    path = _path_of(request.eval_set)
    own = request.eval_set == HELDOUT or (path is not None and path.suffix == ".jsonl")
    for name in ("data_dir", "chat_template"):
        if own and getattr(request, name):
            raise BadRequest(
                f"`{name}` is for lm-eval tasks, not for `{request.eval_set}`: its rows are at hand, and questions are "
                "always put in the file's chat template; leave it out"
            )
    if request.eval_set == HELDOUT:
        return _own_items(_heldout(Path(request.gguf_file), origin), request.limit)
    if path is not None and path.suffix == ".jsonl":
        from .eval_items import items_of_file

        return _own_items(items_of_file(path), request.limit)
    if path is not None and not path.is_dir():
        what = "is a file of no known form" if path.exists() else "does not exist"
        raise BadRequest(
            f"`{request.eval_set}` {what}; an evaluation set is heldout, an lm-eval task name, a folder of YAML tasks "
            "or a .jsonl file of items"
        )
    from .lm_eval_tasks import load_tasks

    data_dir = None if request.data_dir is None else Path(request.data_dir).expanduser()
    if data_dir is not None and not data_dir.is_dir():
        raise BadRequest(
            f"`data_dir` is `{data_dir}`, which is no folder; pass the one that holds the datasets' copies"
        )
    tasks = load_tasks(request.eval_set, path, data_dir)
    limit = request.limit

    def score(scorer: "LlamaScorer", progress: "Progress") -> "Scored":
        from .lm_eval_bridge import score_tasks

        return score_tasks(scorer, tasks, limit, progress, chat_template=request.chat_template)

    return _EvalSet(tasks.count(limit), tasks.count(None), score, (*_EvalSet.packages, "lm-eval"))


def _own_items(items: "list[Item]", limit: int | None) -> _EvalSet:
    kept = items[:limit]

    def score(scorer: "LlamaScorer", progress: "Progress") -> "Scored":
        from .eval_scoring import score_items

        return score_items(scorer, kept, progress)

    return _EvalSet(len(kept), len(items), score)


def _heldout(gguf_file: Path, origin: "Origin | None") -> "list[Item]":
    from .dataset_folder import read_rows
    from .eval_items import heldout_items

    beside = gguf_file.with_suffix(".json").name
    if origin is None:
        raise BadRequest(
            f"there is no `{beside}` beside `{gguf_file}` to tell its held-out rows; name a task or a .jsonl file"
        )
    if origin.heldout is None:
        raise BadRequest(f"`{beside}` names no held-out rows, as for a small dataset; name a task or a .jsonl file")
    if not Path(origin.heldout).is_dir():
        raise BadRequest(
            f"the held-out rows `{origin.heldout}` that `{beside}` names are gone; run prepare_dataset again, or name "
            "a task or a .jsonl file"
        )
    items, without = heldout_items(read_rows(origin.heldout))
    if without:
        note(f"{without} held-out rows have no assistant's turn and are left out")
    if not items:
        raise BadRequest(f"`{origin.heldout}` holds no row that can be scored; name a task or a .jsonl file")
    return items


class _Progress:
    """Turns fractions of items into events, two a second at most."""

    def __init__(self, total: int) -> None:
        self.total, self.done = total, 0.0
        self.started = self.told = time.monotonic()

    def advance(self, items: float) -> None:
        self.done = min(self.total, self.done + items)
        if time.monotonic() - self.told >= _SECONDS_BETWEEN_EVENTS:
            self._tell()

    def end(self) -> None:
        self.done = self.total
        self._tell()

    def _tell(self) -> None:
        self.told = time.monotonic()
        rate = self.done / max(1e-9, self.told - self.started)
        emit(
            "step",
            done=int(self.done),
            total=self.total,
            unit="items",
            items_per_second=round(rate, 2),
            seconds_left=round((self.total - self.done) / rate, 1) if rate else None,
        )
