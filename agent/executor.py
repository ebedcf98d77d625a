"""Run a recorded plan: one process per step, stop at the first failure, go on where it stopped."""

import importlib.metadata
import math
import os
import platform
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import free_path, read_json
from tunesmith.tools.base import BadRequest, MissingExtra, Result, ToolFailed
from tunesmith.tools.control_file import STOPPED
from tunesmith.tools.process import Interrupt, run_tool
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import here

from .probing import Confirm, answer, told
from .records import RECORDS, Record, StepRecord, artifact, earlier_result, is_made, lock, now, save, step_key
from .speeds import remember
from .work import measured

__all__ = ["Watcher", "execute"]

Watcher = Callable[[int, str, dict[str, Any]], None]
"""Is told what happens: position of the step, its tool, an event (see `emit` in tools/base.py). Besides the
tools' own events there are `start`, `reuse` and `done` (with `result`, the typed Result, and `seconds`). The event
`probe` has a `text` for people."""

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


def execute(
    record: Record,
    watch: Watcher,
    interrupt: Interrupt | None = None,
    *,
    probe: bool = True,
    confirm: Confirm | None = None,
    only: int | None = None,
) -> Record:
    """Run the steps of `record` that are not done, in order, and record each as it ends.

    Args:
        watch: is told what happens.
        interrupt: stops the run from another thread, as Ctrl-C does from the terminal.
        probe: a training's first two steps tell what all of it will take.
        confirm: is asked where that is more than twice the estimate, or does not fit; see `answer` in probing.py.
        only: position of the one step to run now; the run goes on waiting for the others.

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
            if only in (None, position):
                _run_step(_Run(record, descriptor, watch, interrupt, probe, confirm), position, step)
        # The key of a step is known from the moment it was looked at.
        over = all(step.key is not None and step.state in ("done", "reused") for step in record.steps)
        record.state = "done" if over else "waiting"
        save(record)
    return record


@dataclass(frozen=True)
class _Run:
    record: Record
    lock: int
    watch: Watcher
    interrupt: Interrupt | None
    probe: bool
    confirm: Confirm | None

    def expected_seconds(self, position: int, tool: str) -> float | None:
        """What the user was told that a training takes, inf where that was not known; None for no probe."""
        if not self.probe or tool != "finetune_unsloth":
            return None
        estimated = (self.record.estimate or {}).get("seconds") or ()
        return estimated[position] if position < len(estimated) and estimated[position] else math.inf


def _run_step(run: _Run, position: int, step: StepRecord) -> None:
    record, watch = run.record, run.watch
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
        if event["event"] == "probe":
            event = {**event, "text": told(event)}
        if event["event"] in ("note", "probe"):
            step.notes.append(event["text"])
        watch(position, step.tool, event)
        if event["event"] == "probe" and (decided := answer(event, here(step.args["output_dir"]), run.confirm)):
            listen({"event": "note", "text": decided})

    try:
        result = run_tool(
            step.tool,
            step.args,
            on_event=listen,
            log_file=log,
            result_file=result_file,
            keep_open=(run.lock,),
            interrupt=run.interrupt,
            expected_seconds=run.expected_seconds(position, step.tool),
        )
    except (BadRequest, MissingExtra, ToolFailed) as error:
        step.state = record.state = "interrupted" if STOPPED in str(error) else "failed"
        step.error = str(error)
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
    if (speed := measured(step, record.plan())) is not None:
        remember(speed)
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
