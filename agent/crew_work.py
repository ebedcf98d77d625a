"""What a crew works on: one request, the plan that was approved, its steps, and what came of them.

A crew's agents talk to a language model, and a model may say anything. Here is what holds whatever it says: nothing
runs before a plan was approved, nothing runs but that plan's steps with that plan's values, each once, in order, and
what a task reports is what the record holds.
"""

import json
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, Field
from tunesmith.tools.base import BadRequest, Result, ToolFailed
from tunesmith.tools.export_gguf import GgufFile
from tunesmith.tools.export_safetensors import SafetensorsFolder
from tunesmith.tools.finetune_unsloth import TrainedModel
from tunesmith.tools.prepare_dataset import PreparedDataset
from tunesmith.tools.process import Interrupt
from tunesmith.tools.registry import TOOLS
from tunesmith.tools.run_eval import EvalReport

from .plan import Plan
from .records import Record
from .session import Session

if TYPE_CHECKING:
    from .executor import Watcher

__all__ = [
    "STAGES",
    "CrewWork",
    "EvaluatedFiles",
    "ExportedFiles",
    "PlannedWork",
    "PreparedData",
    "TrainedModels",
    "named_plan",
]

STAGES = {
    "data": ("prepare_dataset",),
    "training": ("finetune_unsloth",),
    "export": ("export_gguf", "export_safetensors"),
    "evaluation": ("run_eval",),
}
"""The tasks after the plan, in order, and the tools of each."""


class PlannedStep(BaseModel):
    """One call of the approved plan, with every effective value."""

    tool: str
    args: dict[str, Any]


class PlannedWork(BaseModel):
    """What the planner's task gives: the approved plan, or no steps and the reason."""

    request: str
    plan_hash: str | None = Field(default=None, description="hash of the plan, if it was approved")
    steps: list[PlannedStep] = Field(default=[], description="what will run")
    reply: str | None = Field(default=None, description="a question, a refusal, or a remark")
    problems: list[str] = Field(default=[], description="what would stop the run on this machine")


class PreparedData(BaseModel):
    """What the data task gives."""

    datasets: list[PreparedDataset] = []


class TrainedModels(BaseModel):
    """What the training task gives."""

    models: list[TrainedModel] = []


class ExportedFiles(BaseModel):
    """What the export task gives."""

    files: list[GgufFile] = []
    folders: list[SafetensorsFolder] = []


class EvaluatedFiles(BaseModel):
    """What the evaluation task gives."""

    reports: list[EvalReport] = []


_OUTPUTS: dict[str, Callable[[list[Result]], BaseModel]] = {
    "data": lambda results: PreparedData(datasets=results),  # type: ignore[arg-type]
    "training": lambda results: TrainedModels(models=results),  # type: ignore[arg-type]
    "export": lambda results: ExportedFiles(
        files=[one for one in results if isinstance(one, GgufFile)],
        folders=[one for one in results if isinstance(one, SafetensorsFolder)],
    ),
    "evaluation": lambda results: EvaluatedFiles(reports=results),  # type: ignore[arg-type]
}


class CrewWork:
    """One crew's work in one session. Calls may come from several threads; steps run one at a time.

    Args:
        watch: is told what happens in a run; see `Watcher` in executor.py.
        interrupt: ends the step that is going on, from another thread.
    """

    def __init__(self, session: Session, watch: "Watcher | None" = None, interrupt: Interrupt | None = None) -> None:
        self._session, self._watch, self._interrupt = session, watch, interrupt
        self._lock = threading.Lock()
        self.begin("")

    def begin(self, request: str) -> None:
        """Another request: nothing is planned and nothing approved."""
        self.request = request
        self.plan: Plan | None = None
        self.record: Record | None = None
        self.error: Exception | None = None
        self._done: set[int] = set()

    def propose(self, text: str) -> Plan:
        """Make a plan, or change the last; whatever was proposed before no longer counts.

        Raises:
            BadRequest: a plan was approved already.
        """
        if self.record is not None:
            raise BadRequest("a plan was approved and is at work; another request is another run of the crew")
        self.plan = self._session.ask(text)
        return self.plan

    @property
    def ready_hash(self) -> str | None:
        """The hash of the last plan, if it can run here."""
        plan = self.plan
        return plan.hash if plan is not None and plan.steps and not plan.problems else None

    def settle(self, answer: str) -> PlannedWork:
        """End the planning: the last plan is approved if `answer`, a JSON object, names it by its `plan_hash`.

        Raises:
            BadRequest: nothing was planned.
        """
        plan = self.plan
        if plan is None:
            raise BadRequest("nothing was planned; call `plan` with the request")
        ready = self.ready_hash
        if ready is not None and named_plan(answer) == ready:
            self.record = self._session.queue(plan)
        elif ready is not None:
            self._session.decline(plan)
        else:
            self._session.note(plan)
        approved = self.record is not None
        return PlannedWork(
            request=plan.request,
            plan_hash=plan.hash if approved else None,
            steps=[PlannedStep(tool=step.tool, args=step.args) for step in plan.steps] if approved else [],
            reply="the plan was not approved" if ready is not None and not approved else plan.reply,
            problems=list(plan.problems),
        )

    def next_step(self, stage: str) -> PlannedStep | None:
        """The stage's first step that has not run; None if all have, or one failed."""
        opened = [position for position in self._positions(stage) if position not in self._done]
        return None if self.error is not None or not opened else self._step(opened[0])

    def has(self, stage: str) -> bool:
        """Whether the approved plan has steps in this stage."""
        return bool(self._positions(stage))

    def run(
        self,
        name: str,
        args: Mapping[str, Any],
        *,
        on_event: Callable[[dict[str, Any]], None] | None = None,
        interrupt: Interrupt | None = None,
    ) -> Result:
        """Run the step of the approved plan that a call asks for; a step that has run gives its result again.

        A call may leave out what the plan says already. What it does say must be the plan's value or the default.

        Raises:
            BadRequest: no plan was approved, or the call is none of its open steps.
            BadRequest, MissingExtra, ToolFailed: the step failed, or one before it did.
        """
        with self._lock:
            position = self._called(name, args)
            assert self.record is not None
            if position not in self._done:
                self._run_step(position, on_event, interrupt or self._interrupt)
            step = self.record.steps[position]
            if step.result is None:
                raise ToolFailed(f"{name} was done in an earlier run whose record is gone; its result is not known")
            return TOOLS[name].result.model_validate(step.result)

    def output(self, stage: str) -> BaseModel:
        """The typed results of a stage whose steps have all run.

        Raises:
            BadRequest, MissingExtra, ToolFailed: the step that failed.
        """
        if self.error is not None:
            raise self.error
        assert self.record is not None
        steps = [self.record.steps[position] for position in self._positions(stage)]
        return _OUTPUTS[stage](
            [TOOLS[step.tool].result.model_validate(step.result) for step in steps if step.result is not None]
        )

    def _positions(self, stage: str) -> list[int]:
        steps = [] if self.record is None else self.record.steps
        return [position for position, step in enumerate(steps) if step.tool in STAGES[stage]]

    def _step(self, position: int) -> PlannedStep:
        assert self.record is not None
        step = self.record.steps[position]
        return PlannedStep(tool=step.tool, args=step.args)

    def _called(self, name: str, args: Mapping[str, Any]) -> int:
        """The position of the step that a call means: one that is open before one that has run."""
        if self.record is None:
            raise BadRequest("no plan was approved; nothing runs before")
        if self.error is not None:
            raise self.error
        fitting = [
            position
            for position, step in enumerate(self.record.steps)
            if step.tool == name and _agrees(args, step.tool, step.args)
        ]
        opened = [position for stage in STAGES for position in self._positions(stage) if position not in self._done]
        if not fitting:
            left = "; ".join(f"{step.tool}({json.dumps(step.args)})" for step in map(self._step, opened))
            raise BadRequest(f"this call of `{name}` is no step of the approved plan; open are: {left or 'none'}")
        position = next((one for one in fitting if one not in self._done), fitting[0])
        if position in opened[1:]:
            first = self._step(opened[0])
            raise BadRequest(f"before this comes `{first.tool}` with {json.dumps(first.args)}")
        return position

    def _run_step(
        self, position: int, on_event: Callable[[dict[str, Any]], None] | None, interrupt: Interrupt | None
    ) -> None:
        assert self.record is not None

        def watch(number: int, tool: str, event: dict[str, Any]) -> None:
            if self._watch is not None:
                self._watch(number, tool, event)
            if on_event is not None and event["event"] in ("note", "step", "sample"):
                on_event(event)

        try:
            self.record = self._session.resume(self.record.id, watch, interrupt, only=position)
        except Exception as error:
            self.error = error
            raise
        self._done.add(position)


def named_plan(answer: str) -> str | None:
    """The `plan_hash` of a JSON object, which may stand in other words."""
    try:
        found = json.loads(answer[answer.index("{") : answer.rindex("}") + 1])
    except ValueError:
        return None
    return found.get("plan_hash") if isinstance(found, dict) else None


def _agrees(given: Mapping[str, Any], tool: str, planned: Mapping[str, Any]) -> bool:
    """Whether a call's values are the plan's. A model that fills in every field gives defaults for what it left out.

    >>> _agrees({"source": "a.jsonl", "seed": 42}, "prepare_dataset", {"source": "a.jsonl", "seed": 7})
    True
    >>> _agrees({"source": "b.jsonl"}, "prepare_dataset", {"source": "a.jsonl"})
    False
    """
    fields = TOOLS[tool].input.model_fields
    full = TOOLS[tool].given(dict(planned))
    return all(value in (full.get(name), fields[name].default) for name, value in given.items())
