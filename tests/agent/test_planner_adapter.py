"""The adapter alone is exported where someone asks for it by name, and never because LoRA is how to train."""

import pytest
from tunesmith.agent.plan import History, Plan
from tunesmith.agent.planner import RulesPlanner


def _exports(text: str) -> list[tuple[str, str]]:
    plan: Plan = RulesPlanner(look_at_disk=False).plan(text, History())
    return [
        (str(step.args["quantization"]), str(step.args["output_file"]))
        for step in plan.steps
        if step.tool == "export_gguf"
    ]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("fine-tune smollm2-135m on data.jsonl with LoRA r 16 and export q4_k_m", "q4_k_m"),
        ("fine-tune smollm2-135m on data.jsonl with LoRA, gguf q8_0", "q8_0"),
        ("train a lora on data.jsonl with smollm2-135m, then export a gguf", "q4_k_m"),
        ("use lora rank 8 on smollm2-135m with data.jsonl and export as gguf f16", "f16"),
    ],
)
def test_lora_as_a_way_to_train_is_no_type_of_file(text: str, kind: str) -> None:
    assert _exports(text) == [(kind, "models/smollm2-135m-finetuned.gguf")]


@pytest.mark.parametrize(
    "text",
    ["export runs/bikes as gguf lora", "export runs/bikes as a gguf adapter", "export runs/bikes, quantization lora"],
)
def test_an_adapter_asked_for_by_name_is_exported_alone(text: str) -> None:
    assert _exports(text) == [("lora", "models/bikes-lora.gguf")]
