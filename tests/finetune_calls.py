"""Run several finetune_unsloth calls in one process, which imports unsloth (17 s) once.

Reads a JSON list of objects from stdin: `args`, and perhaps `expected_seconds` (for the probe) and the `answer` that is
given when it asks; writes a JSON list of {"result"} or {"error", "text"}, each with "events". What libraries print goes
to stderr.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

from tunesmith.tools.base import on_event
from tunesmith.tools.control_file import GoOn, Stop, request
from tunesmith.tools.probe import PROBE_VARIABLE
from tunesmith.tools.registry import TOOLS

TOOL = TOOLS["finetune_unsloth"]


def answer(call: dict[str, Any]) -> dict[str, Any]:
    args, events = call["args"], list[dict[str, Any]]()
    os.environ.pop(PROBE_VARIABLE, None)
    if "expected_seconds" in call:
        os.environ[PROBE_VARIABLE] = str(call["expected_seconds"])

    def listen(event: dict[str, Any]) -> None:
        events.append(event)
        if event["event"] == "probe" and event["asks"]:
            request(Path(args["output_dir"]), {"go on": GoOn(), "stop": Stop()}[call["answer"]])

    on_event(listen)
    try:
        return {"result": TOOL.function(TOOL.validate(args)).model_dump(mode="json"), "events": events}
    except Exception as error:  # noqa: BLE001  # every answer is reported, and the next call made
        return {"error": type(error).__name__, "text": str(error), "events": events}


def main() -> None:
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    json.dump([answer(call) for call in json.load(sys.stdin)], results)


if __name__ == "__main__":
    main()
