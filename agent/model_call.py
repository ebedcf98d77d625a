"""One question to a chat model, in a process of its own that can be ended: `python -m tunesmith.agent.model_call`.

A server may answer never, or without end. Here that costs a process, which its parent ends at its deadline and whose
memory is limited, and a chat that has asked a model once does not carry CrewAI about.

The protocol: one JSON object on stdin (the fields of `ask_model` in model_planner.py), one on stdout: `answer`, or
`missing` (what has to be installed), or `away` (why there is no answer).
"""

import json
import os
import resource
import sys
from typing import Any

from .model_answer import ReadRequest

__all__ = ["ask", "main"]

_MOST_MEMORY = 4 * 2**30  # bytes; CrewAI with a provider's SDK takes a tenth of it
_EXTRAS = {"anthropic": ("anthropic", "anthropic"), "gemini": ("google.genai", "gemini")}  # provider: module, extra


def main() -> int:
    """Ask, and print what came of it; always 0 unless the process itself is broken."""
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY, _MOST_MEMORY))
    talk = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no answer
    answer = ask(asked)
    with os.fdopen(talk, "w", encoding="utf-8") as out:
        json.dump(answer, out)
    return 0


def ask(asked: dict[str, Any]) -> dict[str, str]:
    """Put the question; `answer`, `missing` or `away`, whatever the provider does."""
    from tunesmith.tools.base import MissingExtra, require_extra

    provider = str(asked["model"]).partition("/")[0]
    try:
        # Without these two settings CrewAI asks its maker's server for newer versions.
        os.environ["CREWAI_DISABLE_VERSION_CHECK"] = "true"
        os.environ.setdefault("CREWAI_DISABLE_TELEMETRY", "true")
        require_extra("crew", "crewai")
        if provider in _EXTRAS:
            module, extra = _EXTRAS[provider]
            require_extra(extra, module.partition(".")[0])  # a parent that is not there can't be looked into
            require_extra(extra, module)
        from crewai import LLM

        settings: dict[str, Any] = {"response_format": ReadRequest, "temperature": 0}
        if asked.get("base_url"):
            settings["base_url"] = asked["base_url"]
        if provider != "gemini":
            settings.update(timeout=asked["timeout_seconds"], max_retries=0)
        answer = LLM(model=asked["model"], **settings).call(asked["messages"])
    except MissingExtra as error:
        return {"missing": str(error)}
    except Exception as error:  # noqa: BLE001  # the end of a process: whatever a provider raises is told
        return {"away": f"{type(error).__name__}: {error}"[:300]}
    return {"answer": answer.model_dump_json() if isinstance(answer, ReadRequest) else str(answer)}


if __name__ == "__main__":
    sys.exit(main())
