"""Run several finetune_unsloth calls in one process, which imports unsloth (17 s) once.

Reads a JSON list of argument objects from stdin; writes a JSON list of {"result"} or {"error", "text"}, each with
"events". What libraries print goes to stderr.
"""

import json
import os
import sys
from typing import Any

from tunesmith.tools.base import on_event
from tunesmith.tools.registry import TOOLS

TOOL = TOOLS["finetune_unsloth"]


def answer(args: dict[str, Any]) -> dict[str, Any]:
    events: list[dict[str, Any]] = []
    on_event(events.append)
    try:
        return {"result": TOOL.function(TOOL.validate(args)).model_dump(mode="json"), "events": events}
    except Exception as error:  # noqa: BLE001  # every answer is reported, and the next call made
        return {"error": type(error).__name__, "text": str(error), "events": events}


def main() -> None:
    results = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    json.dump([answer(args) for args in json.load(sys.stdin)], results)


if __name__ == "__main__":
    main()
