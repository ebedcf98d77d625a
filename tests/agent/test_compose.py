"""From a frame to a plan: the path that a language model's frames take as well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import contract
from tunesmith.agent.compose import compose
from tunesmith.agent.frame import Frame
from tunesmith.agent.plan import History, Plan, Ran
from tunesmith.agent.planner import RulesPlanner
from tunesmith.tools.registry import TOOLS

TRAINING: dict[str, list[Any]] = {
    "finetune_unsloth.base_model": ["smollm2-135m"],
    "prepare_dataset.source": ["a.csv"],
}


def composed(frame: Frame, history: History | None = None, exists: Callable[[str], bool] = lambda path: False) -> Plan:
    return compose(frame, history or History(), "", exists)


def after(*plans: Plan, finished: int | None = None) -> History:
    return History(tuple(Ran(plan, len(plan.steps) if finished is None else finished) for plan in plans))


def arguments(plan: Plan, tool: str) -> dict[str, Any]:
    return next(step.args for step in plan.steps if step.tool == tool)


def test_every_effective_value_stands_in_the_arguments_with_its_origin() -> None:
    plan = composed(Frame(want=("finetune_unsloth", "export_gguf"), values=TRAINING))
    step = plan.steps[1]
    assert step.args["learning_rate"] == 1e-3
    assert step.args["lora_alpha"] == step.args["lora_r"] == 16
    assert (step.args["dataset"], step.args["output_dir"]) == ("data/train", "runs/smollm2-135m")
    assert (step.origin["base_model"], step.origin["learning_rate"]) == ("you", "default")
    assert arguments(plan, "export_gguf") == {
        "checkpoint_dir": "runs/smollm2-135m",
        "quantization": "q4_k_m",
        "output_file": "models/smollm2-135m-finetuned.gguf",
        "imatrix": False,
        "check_fidelity": True,
    }
    for step in plan.steps:
        assert list(step.origin) == list(step.args)
        TOOLS[step.tool].input.model_validate(step.args)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("finetune_unsloth.epochs", 0),
        ("finetune_unsloth.epochs", "many"),
        ("finetune_unsloth.epochs", {"times": 1000}),
        ("finetune_unsloth.base_model", "no-such-model"),
        ("finetune_unsloth.quant", "3bit"),
        ("finetune_unsloth.output_dir", "../outside"),
        ("prepare_dataset.split", "a/b"),
    ],
)
def test_a_value_that_the_tool_would_refuse_is_refused_whoever_filled_it_in(key: str, value: Any) -> None:
    plan = composed(Frame(want=("finetune_unsloth",), values=TRAINING | {key: [value]}))
    assert not plan.steps
    assert key.split(".")[1] in (plan.reply or "") or "no-such-model" in (plan.reply or "")
    assert plan.pending is not None


def test_outputs_overwrite_nothing_that_an_earlier_plan_or_the_disk_holds() -> None:
    frame = Frame(want=("finetune_unsloth", "export_gguf"), values=TRAINING)
    other = Frame(want=frame.want, values=TRAINING | {"prepare_dataset.source": ["b.csv"]})
    plan = composed(other, after(composed(frame)))
    assert arguments(plan, "prepare_dataset")["output_dir"] == "data-2/"
    assert arguments(plan, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m-2"
    assert arguments(plan, "finetune_unsloth")["dataset"] == "data-2/train"
    assert arguments(plan, "export_gguf")["output_file"] == "models/smollm2-135m-2-finetuned.gguf"
    plan = composed(frame, exists={"runs/smollm2-135m", "data/heldout"}.__contains__)
    assert arguments(plan, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m-2"
    assert arguments(plan, "prepare_dataset")["output_dir"] == "data-2/"
    plan = composed(frame, History(taken=frozenset({"runs/smollm2-135m"})))
    assert arguments(plan, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m-2"


def test_further_types_of_one_request_carry_their_type_in_the_name() -> None:
    types = {"export_gguf.quantization": ["q8_0", "f16"], "export_gguf.checkpoint_dir": ["qwen3-0.6b", "runs/x"]}
    plan = composed(Frame(want=("export_gguf",), values=types))
    assert {step.args["output_file"] for step in plan.steps} == {
        "models/qwen3-0.6b.gguf",
        "models/qwen3-0.6b-f16.gguf",
        "models/x-finetuned.gguf",
        "models/x-finetuned-f16.gguf",
    }
    named = {"export_gguf.quantization": ["q8_0", "f16"], "export_gguf.output_file": ["out/y.gguf"]}
    plan = composed(Frame(want=("export_gguf",), values=named | {"export_gguf.checkpoint_dir": ["runs/x"]}))
    assert [step.args["output_file"] for step in plan.steps] == ["out/y.gguf", "out/y-f16.gguf"]


def test_what_depended_on_a_default_follows_a_changed_model_and_what_was_said_stays() -> None:
    first = composed(Frame(want=("finetune_unsloth",), values=TRAINING | {"finetune_unsloth.epochs": [4]}))
    other = {"finetune_unsloth.base_model": ["gemma3-270m"]}
    step = composed(Frame("change", values=other), after(first)).steps[1]
    assert (step.args["learning_rate"], step.args["output_dir"]) == (5e-5, "runs/gemma3-270m")
    assert (step.args["epochs"], step.origin["epochs"]) == (4, "last run")
    said = composed(Frame(want=("finetune_unsloth",), values=TRAINING | {"finetune_unsloth.learning_rate": [3e-4]}))
    assert composed(Frame("change", values=other), after(said)).steps[1].args["learning_rate"] == 3e-4


def test_a_plan_that_did_not_run_is_changed_in_place() -> None:
    first = composed(Frame(want=("finetune_unsloth", "export_gguf"), values=TRAINING))
    more = Frame("change", values={"export_gguf.quantization": ["q8_0"]})
    plan = composed(more, after(first, finished=0))
    assert [step.reuse for step in plan.steps] == [False, False, False]
    assert arguments(plan, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m"
    plan = composed(more, after(first, finished=2))
    assert [step.reuse for step in plan.steps] == [True, True, False]


def test_again_finishes_what_was_left_and_repeats_what_was_done() -> None:
    first = composed(Frame(want=("finetune_unsloth", "export_gguf"), values=TRAINING))
    left = composed(Frame("repeat"), after(first, finished=1))
    assert [step.reuse for step in left.steps] == [True, False, False]
    assert arguments(left, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m"
    done = composed(Frame("repeat"), after(first))
    assert [step.reuse for step in done.steps] == [True, False, False]
    assert arguments(done, "finetune_unsloth")["output_dir"] == "runs/smollm2-135m-2"


def test_a_withdrawn_row_withdraws_the_tool(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = contract.load()
    left = {name: row for name, row in rows.tools.items() if name != "run_eval"}
    monkeypatch.setattr(contract, "load", lambda: contract.Contract(left, rows.calls, rows.prompts))
    plan = RulesPlanner(look_at_disk=False).plan("evaluate models/a.gguf on piqa", History())
    assert not plan.steps
    assert "`run_eval` is not offered here" in (plan.reply or "")


def test_a_complete_dataset_folder_is_used_and_a_raw_one_is_prepared(workdir: Path) -> None:
    for name in ("mine", "data/train"):
        (workdir / name).mkdir(parents=True)
    (workdir / "mine" / "metadata.json").write_text("{}")
    planner = RulesPlanner()
    assert [s.tool for s in planner.plan("train smollm2-135m on ./mine", History()).steps] == ["finetune_unsloth"]
    plan = planner.plan("train smollm2-135m on data/train", History())
    assert [step.tool for step in plan.steps] == ["prepare_dataset", "finetune_unsloth"]
    assert plan.steps[0].args["output_dir"] == "data-2/"
