"""The plan: typed steps with the origin of every value, or a question, or a refusal."""

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

__all__ = ["History", "Origin", "Plan", "Planner", "Ran", "Step"]

Origin = Literal["you", "last run", "default"]


@dataclass(frozen=True)
class Step:
    """One tool call. `args` holds every effective value, `origin` where each came from.

    `reuse` is true for a step whose tool, arguments and inputs are those of a step that has run already.
    """

    tool: str
    args: dict[str, Any]
    origin: dict[str, Origin]
    reuse: bool = False


@dataclass(frozen=True)
class Plan:
    """The answer to one request.

    Exactly one of two forms: `steps` to run, or no steps and a `reply` (a question, a refusal, help). A plan may
    carry a reply beside its steps, such as a remark on a translated value. `changed` tells a follow-up's
    differences to the last plan, one short phrase each; `problems` what would stop the run on this machine now.
    """

    request: str
    steps: tuple[Step, ...] = ()
    reply: str | None = None
    changed: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    # What a question keeps in mind: the request as understood so far, which an answer completes. Opaque to all
    # but the planner that wrote it; plain JSON values.
    pending: dict[str, Any] | None = None
    # Whether this is an earlier plan again, as `undo` asked.
    undone: bool = False
    # `chat` marks small talk and help, which are answered and done (exit status 0).
    kind: Literal["run", "question", "refusal", "chat"] = "run"
    # The frame that the steps were made of, as plain JSON values.
    frame: dict[str, Any] | None = field(default=None, compare=False, repr=False)

    @property
    def hash(self) -> str:
        """16 hex digits over the steps with all their arguments: plans with one hash do the same.

        >>> Plan("prepare it", (Step("prepare_dataset", {"source": "rows.jsonl"}, {}),)).hash
        'ce27e6c0cfabcecc'
        """
        steps = [[step.tool, step.args, step.reuse] for step in self.steps]
        return hashlib.sha256(json.dumps(steps, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """The object that `tunesmith plan --json` prints."""
        origin: dict[str, Origin] = {}
        seen: dict[str, int] = {}
        for step in self.steps:
            seen[step.tool] = number = seen.get(step.tool, 0) + 1
            label = step.tool if number == 1 else f"{step.tool}[{number}]"
            origin.update({f"{label}.{name}": where for name, where in step.origin.items()})
        return {
            "steps": [{"tool": step.tool, "args": step.args, "reuse": step.reuse} for step in self.steps],
            "reply": self.reply,
            "changed": list(self.changed),
            "problems": list(self.problems),
            "origin": origin,
        }


@dataclass(frozen=True)
class Ran:
    """An earlier request of this working folder: its plan, and which of its steps are done (by position).

    `finished` counts the leading steps that completed; in `tunesmith plan --requests` all of them. A plan that was
    only shown has not `begun`, and its output paths are free for the next.
    """

    plan: Plan
    finished: int
    begun: bool = True


@dataclass(frozen=True)
class History:
    """What ran before, oldest first, and which output paths are taken on disk or by earlier plans."""

    ran: tuple[Ran, ...] = ()
    # Paths, relative to the working folder, that a new step must not write to. Consulted beside the disk.
    taken: frozenset[str] = field(default_factory=frozenset)

    @property
    def last(self) -> Plan | None:
        """The last plan that had steps."""
        return next((ran.plan for ran in reversed(self.ran) if ran.plan.steps), None)

    @property
    def before_last(self) -> Plan | None:
        """The plan with steps that the last one came from: an `undo` after an `undo` goes further back.

        >>> from dataclasses import replace
        >>> one, two, three = (Plan(text, (Step("run_eval", {}, {}),)) for text in ("one", "two", "three"))
        >>> back = replace(two, undone=True)
        >>> History(tuple(Ran(plan, 0) for plan in (one, two, three, back))).before_last.request
        'one'
        """
        planned: list[Plan] = []
        for ran in self.ran:
            if ran.plan.undone:
                planned = planned[:-2]
            if ran.plan.steps:
                planned.append(ran.plan)
        return planned[-2] if len(planned) > 1 else None

    @property
    def pending(self) -> Plan | None:
        """The question that waits for an answer: the very last plan, if it asked one."""
        plan = self.ran[-1].plan if self.ran else None
        return plan if plan is not None and plan.pending is not None else None


class Planner(Protocol):
    """Makes a plan from a request, the contract and what ran before. It never reads data."""

    def plan(self, text: str, history: History) -> Plan:
        """Answer one request: a plan, a question or a refusal; never an exception for any text."""
        ...
