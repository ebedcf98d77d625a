"""The contract is read, held against the code, and its mistakes are named by line."""

import re

import pytest
from tunesmith.agent.contract import CONTRACT_FILE, ContractError, load, parse
from tunesmith.tools.registry import TOOLS

TEXT = CONTRACT_FILE.read_text(encoding="utf-8")
ROW = "| `export_safetensors` | `checkpoint_dir: str`, `output_dir: str` |"


def line_of(text: str, part: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if part in line)


def test_the_contract_names_every_tool_in_code_and_its_leading_parameters() -> None:
    contract = load()
    assert list(contract.tools) == list(TOOLS)
    assert list(contract.tools["finetune_unsloth"].parameters.items()) == [
        ("base_model", "str"),
        ("dataset", "str"),
        ("epochs", "int"),
        ("learning_rate", "float"),
        ("lora_r", "int"),
        ("quant", "str"),
    ]


def test_the_four_example_calls_are_there_as_arguments_by_name() -> None:
    calls = load().calls
    assert [call.tool for call in calls] == ["prepare_dataset", "finetune_unsloth", "export_gguf", "run_eval"]
    assert calls[1].args == {
        "base_model": "gemma3-270m",
        "dataset": "data/train",
        "epochs": 3,
        "learning_rate": 2e-5,
        "lora_r": 16,
        "quant": "q8_0",
    }


def test_a_row_without_code_is_named_by_its_line() -> None:
    text = TEXT.replace(ROW, ROW.replace("export_safetensors", "export_onnx"), 1)
    with pytest.raises(ContractError) as caught:
        parse(text, TOOLS)
    line = line_of(text, "| `export_onnx` |")
    assert f"agents.md:{line}: `export_onnx` has no implementation; add tools/export_onnx.py" in str(caught.value)


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("`epochs: int`", "`epochs: float`", "`finetune_unsloth` has `epochs: float`; its code has int"),
        ("`gguf_file: str`, `eval_set: str`", "`eval_set: str`, `gguf_file: str`", "its code begins with gguf_file"),
        ("`lora_r: int`", "`lora_r: list`", "`lora_r: list` is not a parameter"),
        ('run_eval("models/gemma3-270m-finetuned.gguf", "hellaswag")', "run_eval(5, 6)", "does not validate"),
        ('"q4_k_m", "models/', '"q9_z", "models/', "does not validate"),
        ('prepare_dataset("hugging', 'import_dataset("hugging', "`import_dataset` is not in the tool table"),
        ("run_eval(", "__import__('os').system(", "it is not a call of a tool"),
    ],
)
def test_a_disagreement_with_the_code_is_named(before: str, after: str, complaint: str) -> None:
    text = TEXT.replace(before, after, 1)
    with pytest.raises(ContractError) as caught:
        parse(text, TOOLS)
    assert complaint in str(caught.value)
    assert re.match(r"agents\.md:\d+: ", str(caught.value))


def test_every_disagreement_is_reported_at_once() -> None:
    text = TEXT.replace("`epochs: int`", "`epochs: str`", 1).replace("`gguf_file: str`", "`gguf_file: int`", 1)
    with pytest.raises(ContractError) as caught:
        parse(text, TOOLS)
    assert len(str(caught.value).splitlines()) == 2


def test_deleting_a_row_withdraws_the_tool_with_its_calls_and_prompts() -> None:
    text = "\n".join(line for line in TEXT.splitlines() if not line.startswith("| `run_eval`"))
    contract = parse(text, TOOLS)
    assert "run_eval" not in contract.tools
    assert "run_eval" not in {call.tool for call in contract.calls}
    assert not any("run_eval" in prompt.steps for prompt in contract.prompts)


def test_a_contract_without_a_table_is_refused() -> None:
    with pytest.raises(ContractError, match="no tool table"):
        parse("# Nothing here\n", TOOLS)
