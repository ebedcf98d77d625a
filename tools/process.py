"""Run a tool in a process of its own.

The protocol: arguments as one JSON object on stdin, the result as one JSON object on stdout, progress as JSON
lines on stderr, exit status 0 done, 1 failed, 2 wrong arguments or a missing extra. The last stderr line of a
failed call is `{"event": "error", "kind": ..., "text": ...}`. What libraries print goes to a log file.
"""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from .base import BadRequest, MissingExtra, Result, ToolFailed
from .probe import PROBE_VARIABLE
from .registry import find_tool
from .workplace import here

__all__ = ["LOG_VARIABLE", "PARENT_VARIABLE", "RESULT_VARIABLE", "Interrupt", "run_tool"]

LOG_VARIABLE = "TUNESMITH_LOG"
"""Environment variable that names the file for everything that libraries print in a tool process."""

PARENT_VARIABLE = "TUNESMITH_PARENT"
"""Environment variable with the id of the process without which a tool process ends itself at once."""

RESULT_VARIABLE = "TUNESMITH_RESULT"
"""Environment variable that names a file for the result, written before the process takes its time to end."""

_ERRORS = {"BadRequest": BadRequest, "MissingExtra": MissingExtra, "ToolFailed": ToolFailed}


class Interrupt:
    """Ends a tool process from another thread, as Ctrl-C does from the terminal."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self.asked = False

    def ask(self) -> None:
        """Interrupt the process that runs, or the next one; returns at once."""
        with self._lock:
            self.asked = True
            if self._process is not None:
                threading.Thread(target=_stop, args=(self._process,), daemon=True).start()

    @contextlib.contextmanager
    def over(self, process: "subprocess.Popen[str]") -> Iterator[None]:
        """Answer for this process."""
        with self._lock:
            self._process = process
        if self.asked:
            self.ask()
        try:
            yield
        finally:
            with self._lock:
                self._process = None


def run_tool(
    name: str,
    args: Mapping[str, Any],
    *,
    on_event: Callable[[dict[str, Any]], None] | None = None,
    log_file: Path | None = None,
    result_file: Path | None = None,
    keep_open: tuple[int, ...] = (),
    interrupt: Interrupt | None = None,
    expected_seconds: float | None = None,
) -> Result:
    """Run one tool to its end and return its typed result.

    A KeyboardInterrupt is passed on to the process, which gets the time to save its state, and raised again. Another
    thread does the same with `interrupt`.

    Args:
        on_event: receives each progress event (see `emit` in base.py).
        log_file: what libraries print; a temporary file by default.
        result_file: where the process writes its result as soon as it has one, besides returning it.
        keep_open: file descriptors that the process inherits, such as a lock.
        expected_seconds: what the user expects of a training, inf for nothing. It then tells after its first steps
            what it will take, by an event `probe`; where that event `asks`, it waits for a stop or a go on in its
            control.jsonl. None for no probe.

    Raises:
        BadRequest, MissingExtra, ToolFailed: as the tool raised them.
        ToolFailed: the process died (a signal, no memory); names the log.
        KeyboardInterrupt: `interrupt` asked for it, and the process ended without a result.
    """
    interrupt = interrupt or Interrupt()
    tool = find_tool(name)
    tool.validate(dict(args))
    if log_file is None:
        descriptor, log_name = tempfile.mkstemp(prefix=f"tunesmith-{name}-", suffix=".log")
        os.close(descriptor)
        log_file = Path(log_name)
    environment = {**os.environ, LOG_VARIABLE: str(log_file.resolve()), PARENT_VARIABLE: str(os.getpid())}
    environment.pop(RESULT_VARIABLE, None)
    environment.pop(PROBE_VARIABLE, None)
    if expected_seconds is not None:
        environment[PROBE_VARIABLE] = repr(float(expected_seconds))
    if result_file is not None:
        environment[RESULT_VARIABLE] = str(result_file.resolve())
    failure: dict[str, Any] | None = None
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "tunesmith.tools", name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=here(),
        pass_fds=keep_open,
        text=True,
        encoding="utf-8",
        errors="replace",
        start_new_session=True,  # a Ctrl-C reaches the tool once, from here, not twice from the terminal
    ) as process:
        assert process.stdin and process.stdout and process.stderr
        try:
            with interrupt.over(process):
                with contextlib.suppress(BrokenPipeError):  # it died at start-up; its exit status tells
                    json.dump(dict(args), process.stdin)
                    process.stdin.close()
                for line in process.stderr:
                    event = _event(line)
                    if event is None:
                        with log_file.open("a", encoding="utf-8") as log:
                            log.write(line)
                    elif event["event"] == "error":
                        failure = event
                    elif on_event is not None:
                        on_event(event)
                output = process.stdout.read()
                status = process.wait()
        except BaseException:
            _stop(process)
            raise
    if status != 0 and interrupt.asked:
        raise KeyboardInterrupt
    if failure is not None:
        raise _ERRORS.get(failure["kind"], ToolFailed)(failure["text"])
    if status != 0:
        killed = "signal 9, as a system without memory sends it"
        reason = killed if status == -9 else f"signal {-status}" if status < 0 else f"exit status {status}"
        raise ToolFailed(f"{name} ended without a result ({reason}); see `{log_file}`")
    return tool.result.model_validate_json(output)


def _event(line: str) -> dict[str, Any] | None:
    """The progress event on a line of stderr, or None for anything else."""
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def _stop(process: subprocess.Popen[str], grace_seconds: float = 30) -> None:
    """End the process: politely first, so that it can save what it has."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(grace_seconds)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            process.kill()
            process.wait()
