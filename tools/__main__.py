"""The inside of a tool process: `python -m tunesmith.tools NAME < args.json`. See process.py for the protocol."""

import json
import os
import signal
import sys
import tempfile
import threading
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

from .artifacts import write_json
from .base import BadRequest, MissingExtra, ToolFailed, on_event
from .process import LOG_VARIABLE, PARENT_VARIABLE, RESULT_VARIABLE
from .registry import TOOLS, VERIFY, find_tool


def _divert_output() -> tuple[TextIO, TextIO, Path]:
    """Keep the real stdout and stderr for the protocol; what libraries and C code print goes to the log."""
    named = os.environ.get(LOG_VARIABLE)
    if named:
        log = Path(named)
        log.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    else:
        descriptor, name = tempfile.mkstemp(prefix="tunesmith-", suffix=".log")
        log = Path(name)
    result = os.fdopen(os.dup(1), "w", encoding="utf-8")
    events = os.fdopen(os.dup(2), "w", encoding="utf-8", buffering=1)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)
    return result, events, log


def _end_with_parent() -> None:
    """Where a parent is named, end this process when it is gone: a killed chat leaves no training behind."""
    parent = os.environ.get(PARENT_VARIABLE)
    if parent is None:
        return

    def watch() -> None:
        while os.getppid() == int(parent):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, name="end-with-parent", daemon=True).start()


def _interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Run the tool named on the command line; returns the exit status."""
    names = sys.argv[1:]
    known = (*TOOLS, VERIFY)
    if len(names) != 1 or names[0] not in known:
        print(f"usage: python -m tunesmith.tools NAME < args.json; known names: {', '.join(known)}", file=sys.stderr)
        return 2
    tool = find_tool(names[0])
    result_stream, events, log = _divert_output()
    _end_with_parent()
    signal.signal(signal.SIGTERM, _interrupt)

    def send(event: dict[str, Any]) -> None:
        try:
            events.write(json.dumps(event, ensure_ascii=False) + "\n")
        except BrokenPipeError:
            on_event(None)  # whoever watched is gone; the work goes on

    on_event(send)
    try:
        try:
            args = json.load(sys.stdin)
        except ValueError as error:
            raise BadRequest(f"the arguments are not JSON: {error}") from error
        if not isinstance(args, dict):
            raise BadRequest("the arguments must be one JSON object")
        result = tool.function(tool.validate(args))
        if RESULT_VARIABLE in os.environ:
            write_json(Path(os.environ[RESULT_VARIABLE]), result.model_dump(mode="json"))
        result_stream.write(result.model_dump_json() + "\n")
        result_stream.close()
        return 0
    except (BadRequest, MissingExtra) as error:
        send({"event": "error", "kind": type(error).__name__, "text": str(error)})
        return 2
    except ToolFailed as error:
        send({"event": "error", "kind": "ToolFailed", "text": f"{error}; the log is `{log}`"})
        return 1
    except KeyboardInterrupt:
        send({"event": "error", "kind": "ToolFailed", "text": f"{tool.name} was interrupted"})
        return 1
    except Exception:  # noqa: BLE001  # the end of a process: a bug keeps its traceback, in the log
        traceback.print_exc()
        last = traceback.format_exc().strip().splitlines()[-1]
        send({"event": "error", "kind": "ToolFailed", "text": f"{tool.name} stopped on a bug: {last}; see `{log}`"})
        return 1


if __name__ == "__main__":
    sys.exit(main())
