"""Tunesmith as a CrewAI crew: a planner, a data engineer, a trainer, an exporter and an evaluator.

    from tunesmith.agent.crew import build_crew

    output = build_crew().kickoff(inputs={"request": "Fine-tune smollm2-135m on examples/tickets.jsonl"})

The planner's task ends with an approved plan; each later task runs its steps and gives its typed results, or is
skipped where the plan has none. Without a model the embedded planner drives all of them. A model of any size or
honesty may drive them instead: what runs is the approved plan, and what a task gives is what the record holds.
"""

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pydantic import BaseModel, PrivateAttr
from tunesmith.tools.adapters.crewai import crew_tools  # before crewai: it turns CrewAI's telemetry off
from tunesmith.tools.base import BadRequest
from tunesmith.tools.process import Interrupt

# isort: split
from crewai import Agent, BaseLLM, Crew, Process, Task, TaskOutput
from crewai.agents.parser import AgentFinish
from crewai.core.providers.human_input import (
    HumanInputProvider,
    SyncHumanInputProvider,
    reset_provider,
    set_provider,
)
from crewai.tasks.conditional_task import ConditionalTask
from crewai.tools import BaseTool
from crewai.tools.tool_failure import ToolFailure, ToolFailureReason
from crewai.utilities.i18n import I18N_DEFAULT

from .contract import load
from .crew_work import (
    STAGES,
    CrewWork,
    EvaluatedFiles,
    ExportedFiles,
    PlannedWork,
    PreparedData,
    TrainedModels,
    named_plan,
)
from .mcp_requests import OWN_TOOLS
from .plan import Plan
from .session import Session

if TYPE_CHECKING:
    from .executor import Watcher

__all__ = ["EmbeddedModel", "TerminalApproval", "approval_by", "build_crew"]

PLAN = "plan"
_OUTPUTS: dict[str, type[BaseModel]] = {
    "data": PreparedData,
    "training": TrainedModels,
    "export": ExportedFiles,
    "evaluation": EvaluatedFiles,
}
_MOST_CALLS = 200  # of one task; a plan may have many exports
_YES, _NO = ("y", "yes"), ("", "n", "no")
_TEXTS = Path(__file__).resolve().parents[1] / "prompts" / "crew.yaml"


def build_crew(
    llm: "BaseLLM | str | None" = None,
    *,
    session: Session | None = None,
    human_input: bool = True,
    on_plan: Callable[[Plan], None] | None = None,
    watch: "Watcher | None" = None,
    interrupt: Interrupt | None = None,
    verbose: bool = False,
) -> Crew:
    """A crew whose `kickoff(inputs={"request": ...})` does what the request says. One request at a time.

    Args:
        llm: any CrewAI model, or its name; the embedded planner by default, which needs no key and no network.
        session: where paths begin, records are kept and earlier requests are remembered; the current folder by default.
        human_input: whether a person approves the plan. Without, it runs as planned.
        on_plan: is told each plan before it is approved; prints it on stderr by default, if a person is asked.
        watch: is told what happens in the run, as `Session.run` tells it. CrewAI's event bus has progress as well.
        interrupt: ends the step that is going on, from another thread.
    """
    work = CrewWork(session or Session(), watch, interrupt)
    model = EmbeddedModel(work) if llm is None else llm
    texts = _texts()

    def agent(name: str, tools: list[BaseTool]) -> Agent:
        return Agent(
            role=texts[name]["role"],
            goal=texts[name]["goal"],
            backstory=texts[name]["backstory"],
            llm=model,
            tools=tools,
            max_iter=_MOST_CALLS,
            verbose=verbose,
        )

    if on_plan is None and human_input:
        on_plan = _print_plan
    offered = "\n".join(f"- `{row.name}`: {row.description}" for row in load().tools.values())
    planning = Task(
        name=PLAN,
        description=f"{texts[PLAN]['description']}\n{offered}",
        expected_output=texts[PLAN]["expected_output"],
        agent=agent(PLAN, [PlanTool(work, on_plan)]),
        output_pydantic=PlannedWork,
        guardrail=_planned(work),
        human_input=human_input,
    )
    tools = {tool.name: tool for tool in crew_tools(runner=work.run)}
    stages = [
        ConditionalTask(
            name=stage,
            condition=_has_steps(work, stage),
            description=texts[stage]["description"],
            expected_output=texts[stage]["expected_output"],
            agent=agent(stage, [tools[name] for name in names if name in tools]),
            context=[planning],
            output_pydantic=_OUTPUTS[stage],
            guardrail=_worked(work, stage),
        )
        for stage, names in STAGES.items()
    ]
    crew = Crew(
        name="tunesmith",
        agents=[cast(Agent, task.agent) for task in (planning, *stages)],
        tasks=[planning, *stages],
        process=Process.sequential,
        cache=False,
        memory=False,
        verbose=verbose,
    )

    def begin(inputs: dict[str, Any] | None) -> dict[str, Any]:
        if not isinstance(request := (inputs or {}).get("request"), str) or not request.strip():
            raise BadRequest('the crew needs a request: kickoff(inputs={"request": "..."})')
        work.begin(request)
        return dict(inputs or {})

    crew.before_kickoff_callbacks.append(begin)
    return crew


class EmbeddedModel(BaseLLM):
    """The embedded planner in a model's place: it asks for the plan, then for each of its steps, and says nothing else.

    It reads the request and what the person answered. The texts of tasks, tools and results it does not read.
    """

    _work: CrewWork = PrivateAttr()

    def __init__(self, work: CrewWork) -> None:
        super().__init__(model="embedded", provider="tunesmith")
        self._work = work

    def supports_function_calling(self) -> bool:
        return True

    def get_input_tokens_count(self, *_: Any, **__: Any) -> int:
        """Nothing that it is sent costs a token."""
        return 0

    def call(self, messages: Any, *_: Any, from_task: Task | None = None, **__: Any) -> Any:
        """The next tool call, as OpenAI writes it, or the final answer of the task."""
        stage = from_task.name if from_task is not None else None
        last = messages[-1] if isinstance(messages, list) and messages else {}
        if stage == PLAN:
            return self._planning(last)
        if stage not in STAGES:
            return "the embedded planner works in the crew of build_crew alone"
        step = self._work.next_step(stage)
        return "done" if step is None else _tool_call(step.tool, step.args)

    async def acall(self, messages: Any, *_: Any, from_task: Task | None = None, **__: Any) -> Any:
        return self.call(messages, from_task=from_task)

    def _planning(self, last: dict[str, Any]) -> Any:
        plan, said = self._work.plan, _feedback(last)
        if last.get("role") == "tool" and plan is not None:
            return json.dumps({"plan_hash": self._work.ready_hash, "reply": plan.reply}, ensure_ascii=False)
        if said is not None and said.strip().lower() in _NO:
            return _refused().text
        return _tool_call(PLAN, {"request": self._work.request if said is None else said})


class PlanTool(BaseTool):
    """Makes the plan that is to be approved."""

    name: str = PLAN
    description: str = OWN_TOOLS[PLAN][1]
    args_schema: type[BaseModel] = OWN_TOOLS[PLAN][0]
    _work: CrewWork = PrivateAttr()
    _on_plan: Callable[[Plan], None] | None = PrivateAttr()

    def __init__(self, work: CrewWork, on_plan: Callable[[Plan], None] | None) -> None:
        super().__init__()
        self._work, self._on_plan = work, on_plan

    def _run(self, request: str) -> str | ToolFailure:
        try:
            plan = self._work.propose(request)
        except BadRequest as error:
            return ToolFailure(message=str(error), code="BadRequest", reason=ToolFailureReason.INVALID_INPUT)
        if self._on_plan is not None:
            self._on_plan(plan)
        return json.dumps({"plan_hash": self._work.ready_hash, **plan.to_json()}, ensure_ascii=False)


class TerminalApproval(SyncHumanInputProvider):
    """Asks a person with one line: yes, no, or what to change. No answer is a no.

    CrewAI's own provider takes Enter for a yes and needs a yes in the end; set this one with `set_provider`.
    """

    def __init__(self, on_question: Callable[[], str]) -> None:
        self._ask, self._refused = on_question, False

    def handle_feedback(self, formatted_answer: AgentFinish, context: Any) -> AgentFinish:
        answer = formatted_answer
        while (change := self._change(answer, context)) is not None:
            context.messages.append(context._format_feedback_message(change))
            answer = context._invoke_loop()
        return _refused() if self._refused else answer

    async def handle_feedback_async(self, formatted_answer: AgentFinish, context: Any) -> AgentFinish:
        answer = formatted_answer
        while (change := await asyncio.to_thread(self._change, answer, context)) is not None:
            context.messages.append(context._format_feedback_message(change))
            answer = await context._ainvoke_loop()
        return _refused() if self._refused else answer

    def _change(self, answer: AgentFinish, context: Any) -> str | None:
        """What the person wants changed; None after a yes or a no, and where there is no plan to approve."""
        planned = named_plan(str(answer.output)) is not None  # a question or a refusal is not to be approved
        said = self._ask().strip() if planned else "yes"
        self._refused = said.lower() in _NO
        if self._refused or said.lower() in _YES:
            context.ask_for_human_input = False
            return None
        return said


def _refused() -> AgentFinish:
    text = json.dumps({"plan_hash": None, "reply": "not approved"})
    return AgentFinish(thought="", output=text, text=text)


@contextmanager
def approval_by(provider: HumanInputProvider) -> Iterator[None]:
    """Let `provider` ask for every human input of the crews that run meanwhile in this thread or task."""
    token = set_provider(provider)
    try:
        yield
    finally:
        reset_provider(token)


def _texts() -> dict[str, dict[str, str]]:
    import yaml

    return cast("dict[str, dict[str, str]]", yaml.safe_load(_TEXTS.read_text(encoding="utf-8")))


def _tool_call(name: str, arguments: dict[str, Any]) -> list[dict[str, Any]]:
    function = {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)}
    return [{"id": f"call_{name}", "type": "function", "function": function}]


def _feedback(message: dict[str, Any]) -> str | None:
    """What the person said, if this message is CrewAI's with their feedback."""
    before, _, after = I18N_DEFAULT.slice("feedback_instructions").partition("{feedback}")
    content = message.get("content")
    if message.get("role") != "user" or not isinstance(content, str) or not content.startswith(before):
        return None
    return content.removeprefix(before).removesuffix(after) if content.endswith(after) else None


def _print_plan(plan: Plan) -> None:
    from .consoles import consoles
    from .preview import show_plan

    show_plan(plan, consoles()[0])


def _has_steps(work: CrewWork, stage: str) -> Callable[[Any], bool]:
    return lambda _: work.has(stage)


def _planned(work: CrewWork) -> Callable[[TaskOutput], tuple[bool, Any]]:
    def check(output: TaskOutput) -> tuple[bool, Any]:
        try:
            return True, _with(output, work.settle(output.raw))
        except BadRequest as error:
            return False, str(error)

    return check


def _worked(work: CrewWork, stage: str) -> Callable[[TaskOutput], tuple[bool, Any]]:
    def check(output: TaskOutput) -> tuple[bool, Any]:
        if (left := work.next_step(stage)) is not None:
            return False, f"`{left.tool}` has not run yet; call it with {json.dumps(left.args, ensure_ascii=False)}"
        return True, _with(output, work.output(stage))

    return check


def _with(output: TaskOutput, result: BaseModel) -> TaskOutput:
    """The task's output with what the record holds instead of what the model said."""
    return output.model_copy(update={"pydantic": result, "raw": result.model_dump_json()})
