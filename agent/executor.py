"""Run a recorded plan: one process per step, stop at the first failure, go on where it stopped."""

import importlib.metadata
import os
import platform
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import free_path, read_json
from tunesmith.tools.base import BadRequest, MissingExtra, Result, ToolFailed
from tunesmith.tools.process import Interrupt, run_tool
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import here

from .records import RECORDS, Record, StepRecord, artifact, earlier_result, is_made, lock, now, save, step_key

__all__ = ["Watcher", "execute"]

Watcher = Callable[[int, str, dict[str, Any]], None]
"""Is told what happens: position of the step, its tool, an event (see `emit` in tools/base.py). Besides the
tools' own events there are `start`, `reuse`, `done` (with `result`, the typed Result, and `seconds`) and `failed`."""

_VERSIONED = (
    "tunesmith",
    "unsloth",
    "torch",
    "transformers",
    "trl",
    "peft",
    "datasets",
    "bitsandbytes",
    "gguf",
    "xllamacpp",
    "auto-round",
    "lm-eval",
)


def execute(record: Record, watch: Watcher, interrupt: Interrupt | None = None) -> Record:
    """Run the steps of `record` that are not done, in order, and record each as it ends.

    Args:
        watch: is told what happens.
        interrupt: stops the run from another thread, as Ctrl-C does from the terminal.

    Raises:
        BadRequest, MissingExtra, ToolFailed: the step that failed; the record is saved with its state before.
        KeyboardInterrupt: passed on after the state was saved; `tunesmith resume` goes on from there.
    """
    with lock(record) as descriptor:
        record.versions = _versions()
        record.machine = {
            "python": platform.python_version(),
            "system": f"{platform.system()} {platform.machine()}",
            "cores": os.cpu_count(),
        }
        record.state = "running"
        save(record)
        for position, step in enumerate(record.steps):
            _run_step(record, position, step, descriptor, watch, interrupt)
        record.state = "done"
        save(record)
    return record


def _run_step(
    record: Record, position: int, step: StepRecord, descriptor: int, watch: Watcher, interrupt: Interrupt | None
) -> None:
    result_file = record.folder / f"{position + 1}-{step.tool}.result.json"
    if step.state in ("running", "failed", "interrupted"):
        _adopt_or_clear(step, result_file)
    if step.state in ("done", "reused"):
        if not is_made(made := artifact(step.tool, step.args)):
            raise BadRequest(f"what `{step.tool}` made is gone or incomplete (`{made}`); ask for the work anew instead")
        step.key = step.key or step_key(step.tool, step.args)
        step.result = step.result or earlier_result(step)
        save(record)
        watch(position, step.tool, {"event": "reuse", "args": step.args})
        return

    log = record.folder / f"{position + 1}-{step.tool}.log"
    step.state, step.started, step.error = "running", now(), None
    step.log = str(RECORDS / record.id / log.name)
    step.key = step_key(step.tool, step.args)
    save(record)
    watch(position, step.tool, {"event": "start", "args": step.args})
    began = time.monotonic()

    def listen(event: dict[str, Any]) -> None:
        if event["event"] == "note":
            step.notes.append(event["text"])
        watch(position, step.tool, event)

    try:
        result = run_tool(
            step.tool,
            step.args,
            on_event=listen,
            log_file=log,
            result_file=result_file,
            keep_open=(descriptor,),
            interrupt=interrupt,
        )
    except (BadRequest, MissingExtra, ToolFailed) as error:
        step.state, step.error, record.state = "failed", str(error), "failed"
        raise
    except BaseException:
        step.state, record.state = "interrupted", "interrupted"
        raise
    else:
        step.state, step.result = "done", result.model_dump(mode="json")
        _keep_report(record, result)
    finally:
        step.seconds = round((step.seconds or 0) + time.monotonic() - began, 3)
        save(record)
    watch(position, step.tool, {"event": "done", "result": result, "seconds": step.seconds})


def _adopt_or_clear(step: StepRecord, result_file: Path) -> None:
    """Settle a step that did not come to its end in an earlier process.

    Where the tool wrote its result, the step is done. Otherwise a finished output without a result (the process
    died between the two) is moved aside, so that the step can run again; an unfinished run folder stays, for its
    tool goes on from the checkpoints in it.
    """
    made = artifact(step.tool, step.args)
    if result_file.is_file() and is_made(made):
        step.result = TOOLS[step.tool].result.model_validate(read_json(result_file)).model_dump(mode="json")
        step.state, step.error = "done", None
    elif made is not None and is_made(made):
        there = here(made)
        there.rename(free_path(there.with_name(f"{made.stem}-interrupted{made.suffix}")))


def _keep_report(record: Record, result: Result) -> None:
    """Copy an evaluation's report into the record's folder as eval-<set>.json."""
    report = getattr(result, "report", None)
    if report is not None:
        name = Path(report).name
        shutil.copyfile(here(report), free_path(record.folder / name[name.find("eval-") :]))


def _versions() -> dict[str, str]:
    versions = {}
    for name in _VERSIONED:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions
