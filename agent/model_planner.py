"""A chat model as the planner: it reads the message as a frame, and the embedded planner's code makes the plan.

    TUNESMITH_MODEL=openai/gpt-4.1-mini tunesmith plan "..."

The model is told the contract, the last plan and the message. It sees no data, no file and no result. What it answers
is checked like any frame, its strings and numbers must come from the message, the session or the catalogue, and it is
shown its own errors at most twice. Where it is away or does not come to an answer, the embedded planner reads the
message, and the plan says so.
"""

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tunesmith.tools.base import BadRequest, MissingExtra
from tunesmith.tools.catalogue import BASE_MODELS, DATASETS, QUANTIZATIONS
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.workplace import on_disk

from .compose import compose
from .contract import load
from .embedded_planner import EmbeddedPlanner
from .frame import Frame
from .phrases import EVAL_SETS
from .plan import History, Plan

__all__ = ["BASE_URL_VARIABLE", "MODEL_VARIABLE", "TIMEOUT_VARIABLE", "ModelPlanner", "planner_of"]

MODEL_VARIABLE, BASE_URL_VARIABLE = "TUNESMITH_MODEL", "TUNESMITH_MODEL_URL"
TIMEOUT_VARIABLE = "TUNESMITH_MODEL_SECONDS"
PROVIDERS = ("openai", "anthropic", "gemini", "ollama")
REPAIRS = 2
"""How often a model is shown what was wrong with its answer."""

_SECONDS = 60.0  # for the whole reading of a message, all rounds together
_MOST_ANSWER = 100_000  # characters; a frame has a few hundred
_PROMPT = Path(__file__).resolve().parents[1] / "prompts" / "read_request.md"


def planner_of(environment: Mapping[str, str]) -> "ModelPlanner":
    """The planner that environment variables name: model, address and seconds.

    Raises:
        BadRequest: they name no model that can be asked, or no number of seconds.
    """
    model = environment.get(MODEL_VARIABLE, "").strip()
    try:
        seconds = float(environment.get(TIMEOUT_VARIABLE) or _SECONDS)
    except ValueError as error:
        raise BadRequest(f"`{TIMEOUT_VARIABLE}` is {environment[TIMEOUT_VARIABLE]!r}; it is a number") from error
    return ModelPlanner(model, base_url=environment.get(BASE_URL_VARIABLE) or None, timeout_seconds=seconds)


class ModelPlanner:
    """Reads a message with a chat model through CrewAI. Implements `Planner`.

    Args:
        model: `openai/...`, `anthropic/...`, `gemini/...` or `ollama/...`; keys come from the provider's own
            variables, such as `OPENAI_API_KEY`.
        base_url: address of a server that speaks the OpenAI protocol; `openai/...` models alone.
        timeout_seconds: for one message, all rounds together.

    Raises:
        BadRequest: no such provider, or an address for one that has its own.
    """

    def __init__(self, model: str, *, base_url: str | None = None, timeout_seconds: float = _SECONDS) -> None:
        provider, _, name = model.partition("/")
        if provider not in PROVIDERS or not name:
            raise BadRequest(f"`{model}` names no chat model; write one of {', '.join(f'{p}/NAME' for p in PROVIDERS)}")
        if base_url is not None and provider not in ("openai", "ollama"):
            raise BadRequest(f"`{provider}` has an address of its own; name the model `openai/{name}` for `{base_url}`")
        self._model, self._base_url, self._timeout = model, base_url, timeout_seconds
        self._embedded = EmbeddedPlanner()

    def plan(self, text: str, history: History) -> Plan:
        """Answer one message. Whatever the model does, this ends in time and gives a plan, a question or a refusal.

        Raises:
            MissingExtra: what the provider needs is not installed.
        """
        frame, reason = self._read(text, history)
        if frame is not None:
            waiting = history.pending
            answers = waiting is not None and frame.intent in ("new", "change")
            return compose(frame, history, f"{waiting.request}\n{text}" if answers and waiting else text, on_disk)
        plan = self._embedded.plan(text, history)
        remark = f"{self._model} {reason}; the embedded planner read this."
        return replace(plan, reply=f"{plan.reply}\n{remark}" if plan.reply else remark)

    def _read(self, text: str, history: History) -> tuple[Frame | None, str]:
        """The frame for a message, or None and why there is none."""
        from .grounding import Grounds
        from .model_answer import frame_of

        deadline = time.monotonic() + self._timeout
        grounds = Grounds(text, history)
        messages = _messages(text, history)
        for _ in range(1 + REPAIRS):
            left = deadline - time.monotonic()
            answer = self._ask(messages, left) if left > 0 else {"away": "gave no answer in time"}
            if "missing" in answer:
                raise MissingExtra(answer["missing"])
            if "answer" not in answer:
                return None, answer["away"]
            said = answer["answer"][:_MOST_ANSWER]
            frame, problems = frame_of(said, grounds)
            if frame is not None:
                return frame, ""
            shown = "\n".join(f"- {problem}" for problem in problems)
            messages = [
                *messages,
                {"role": "assistant", "content": said[:4000]},
                {
                    "role": "user",
                    "content": f"That answer can't be used:\n{shown}\nAnswer again with the whole object.",
                },
            ]
        return None, "gave no answer that can be used"

    def _ask(self, messages: list[dict[str, str]], seconds: float) -> dict[str, str]:
        """One question in a process of its own, ended at its deadline; see model_call.py."""
        asked = {
            "model": self._model,
            "base_url": self._base_url,
            "messages": messages,
            "timeout_seconds": seconds,
        }
        try:
            done = subprocess.run(
                [sys.executable, "-P", "-m", "tunesmith.agent.model_call"],
                input=json.dumps(asked),
                capture_output=True,
                text=True,
                encoding="utf-8",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return {"away": f"gave no answer in {self._timeout:g} s"}
        try:
            answer: dict[str, str] = json.loads(done.stdout)
        except ValueError:
            return {"away": "could not be asked"}
        return {"away": f"is away ({answer['away']})"} if "away" in answer else answer


def _messages(text: str, history: History) -> list[dict[str, str]]:
    """What a model is told: the rules, the contract with every parameter, the session, the message."""
    rules = f"{_PROMPT.read_text(encoding='utf-8').strip()}\n\n{_contract()}"
    return [{"role": "system", "content": rules}, {"role": "user", "content": f"{_session(history)}Message:\n{text}"}]


def _contract() -> str:
    lines = ["The contract's tools and their parameters:"]
    for row in load().tools.values():
        lines.append(f"- `{row.name}`: {row.description}")
        fields = TOOLS[row.name].input.model_json_schema()["properties"]
        lines += [f"  - `{row.name}.{name}`: {field.get('description', '')}" for name, field in fields.items()]
    lines.append(f"Base models known by name: {', '.join(BASE_MODELS)}. Data sets: {', '.join(DATASETS)}.")
    lines.append(f"GGUF types: {', '.join(QUANTIZATIONS)}. Evaluation sets: {', '.join(EVAL_SETS)}.")
    return "\n".join(lines)


def _session(history: History) -> str:
    """The last plan and the open question, as data."""
    parts = []
    if history.last is not None:
        steps: list[dict[str, Any]] = [{"tool": step.tool, "args": step.args} for step in history.last.steps]
        parts.append(f"The last plan:\n{json.dumps(steps, ensure_ascii=False)}")
    if (waiting := history.pending) is not None and waiting.pending is not None:
        parts.append(f"The open question: {waiting.reply}\nUnderstood so far: {json.dumps(waiting.pending['frame'])}")
    return "\n\n".join([*parts, ""]) if parts else ""
