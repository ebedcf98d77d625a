"""Training, transformers, llama.cpp and Ollama read one conversation as the same tokens, or the first one is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.fidelity_report import PromptCheck
from tunesmith.tools.llama_cpp import LlamaModel
from tunesmith.tools.modelfile import modelfile
from tunesmith.tools.prompt_check import CONVERSATIONS, check_prompts
from tunesmith.tools.tokenizer_check import load_tokenizer

# in torchao, which transformers' models import
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    with LlamaModel(bundled_gguf(), vocab_only=True) as loaded:
        yield loaded


@pytest.fixture
def tokenizer(base_dir: Path) -> Any:
    return load_tokenizer(base_dir)


@pytest.fixture
def written(model: LlamaModel, tmp_path: Path) -> str:
    """The Modelfile as an export writes it."""
    return modelfile("x.gguf", model, tmp_path, None)


def _by_name(checks: list[PromptCheck]) -> dict[str, PromptCheck]:
    return {check.conversation: check for check in checks}


def test_a_broken_modelfile_template_fails_with_the_first_differing_token(
    model: LlamaModel, tokenizer: Any, written: str
) -> None:
    broken = written.replace("<|im_start|>user\n", "<|im_start|>user ")
    found = _by_name(check_prompts(tokenizer, model=model, modelfile=broken))
    check = found["single turn"]
    assert check.verdict == "different"
    assert "Ollama and llama.cpp differ at token " in check.reason
    assert "after" in check.reason and "('Ċ')" in check.reason


@pytest.mark.parametrize(
    ("right", "wrong", "said"),
    [
        ("{{ end }}{{ end }}<|im_start|>assistant", "{{ end }}<|im_start|>assistant", "has no end"),
        ("{{ end }}{{ end }}<|im_start|>assistant", "{{ end }}{{ end }}{{ if }}x{{ end }}", "a value is missing"),
        ('<|im_start|>assistant\n"""', '"""', "Ollama has no more"),
        ('PARAMETER stop "<|im_end|>"', 'PARAMETER stop "</s>"', "no stop word of the Modelfile"),
    ],
)
def test_what_else_is_wrong_with_a_modelfile_is_told(
    right: str, wrong: str, said: str, model: LlamaModel, tokenizer: Any, written: str
) -> None:
    assert right in written
    found = _by_name(check_prompts(tokenizer, model=model, modelfile=written.replace(right, wrong)))
    assert found["single turn"].verdict == "different"
    assert said in found["single turn"].reason


def test_a_tokenizer_template_that_differs_from_the_files_is_told(model: LlamaModel, tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("'\n' + message['content']", "':' + message['content']")
    found = _by_name(check_prompts(tokenizer, model=model, trained=False))
    assert found["single turn"].verdict == "different"
    assert "llama.cpp and transformers differ at token" in found["single turn"].reason


def test_an_answer_that_ends_with_a_token_that_stops_nothing_is_told(model: LlamaModel, tokenizer: Any) -> None:
    tokenizer.chat_template = tokenizer.chat_template.replace("<|im_end|>", "<file_sep>")
    found = _by_name(check_prompts(tokenizer, model=model))
    assert found["single turn"].verdict == "different"


def test_a_second_bos_is_told(tokenizer: Any) -> None:
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    found = _by_name(check_prompts(tokenizer))
    assert "two BOS" in found["single turn"].reason


def test_a_template_that_renders_a_role_nowhere_is_adapted_and_that_is_said(
    model: LlamaModel, tokenizer: Any, written: str
) -> None:
    found = _by_name(check_prompts(tokenizer, model=model, modelfile=written))
    assert found["tools"].verdict == "same"
    assert found["tools"].sides == ["training", "transformers", "llama.cpp"]
    assert "no place for tool declarations" in found["tools"].reason
    assert "no words for tools" in found["tools"].reason


def test_all_four_sides_agree_on_the_bundled_model(model: LlamaModel, tokenizer: Any, written: str) -> None:
    checks = check_prompts(tokenizer, model=model, modelfile=written)
    assert [check.conversation for check in checks] == list(CONVERSATIONS)
    for check in checks[:3]:
        assert (check.verdict, check.reason) == ("same", "")
        assert check.sides == ["training", "transformers", "llama.cpp", "Ollama"]


def test_a_shared_system_message_is_compared_too(model: LlamaModel, tokenizer: Any, written: str) -> None:
    text = written.replace("PARAMETER stop", 'SYSTEM """Label tickets."""\nPARAMETER stop', 1)
    assert {check.verdict for check in check_prompts(tokenizer, model=model, modelfile=text)} == {"same"}


def test_without_a_gguf_training_and_transformers_are_compared(tokenizer: Any) -> None:
    assert {tuple(check.sides) for check in check_prompts(tokenizer)} == {("training", "transformers")}
