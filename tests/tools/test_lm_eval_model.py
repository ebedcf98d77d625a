"""lm-eval's own tasks by name, from a local copy of their data, on our scorer."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pytest
from tunesmith.tools.base import BadRequest
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.llama_scorer import LlamaScorer
from tunesmith.tools.lm_eval_bridge import score_tasks
from tunesmith.tools.lm_eval_model import ChatPrompts
from tunesmith.tools.lm_eval_tasks import load_tasks

ENDINGS = ["eats it.", "throws it to the dog, who runs after it.", "is a letter.", "four winter."]
HELLASWAG = [
    {
        "ind": n,
        "activity_label": "Playing",
        "ctx_a": f"A man holds {n + 2} balls in a park.",
        "ctx_b": "he",
        "endings": ENDINGS,
        "label": "1",
    }
    for n in range(3)
]
SUMS = [{"question": f"What is {n} plus {n}?", "answer": f"{n} + {n} = {2 * n}\n#### {2 * n}"} for n in range(1, 9)]


@pytest.fixture
def copies(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", workdir / "cache")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for name, rows in (("Rowan/hellaswag/validation", HELLASWAG), ("openai/gsm8k/main/test", SUMS[:2])):
        path = Path(f"copies/{name}.jsonl")
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Path("copies")


@pytest.fixture(scope="module")
def real() -> Iterator[LlamaScorer]:
    with LlamaScorer(bundled_gguf()) as scorer:
        yield scorer


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that are put to the model, in order, the canary's left out."""
    texts: list[str] = []
    encode = LlamaScorer.encode

    def listening(self: LlamaScorer, text: str) -> tuple[int, ...]:
        texts.append(text)
        return encode(self, text)

    monkeypatch.setattr(LlamaScorer, "encode", listening)
    return texts


def test_a_task_says_which_file_of_its_data_is_expected_where(copies: Path) -> None:
    with pytest.raises(BadRequest, match=r"`arc_easy`: `copies/allenai/ai2_arc/ARC-Easy` does not exist"):
        load_tasks("arc_easy", None, copies)
    with pytest.raises(BadRequest, match=r"`gsm8k` needs `copies/openai/gsm8k/main/train.jsonl`"):  # its examples
        load_tasks("gsm8k", None, copies)
    (copies / "Rowan/hellaswag/validation.jsonl").rename(copies / "Rowan/hellaswag/train.jsonl")
    with pytest.raises(BadRequest, match=r"`hellaswag` needs `copies/Rowan/hellaswag/validation.jsonl`"):
        load_tasks("hellaswag", None, copies)


def test_a_task_without_examples_needs_only_the_split_that_is_scored(copies: Path, real: LlamaScorer) -> None:
    done: list[float] = []
    scored = score_tasks(real, load_tasks("hellaswag", None, copies), None, done.append)
    assert scored.ids == ["0", "1", "2"]
    assert [metric.name for metric in scored.metrics] == ["acc", "acc_norm"]
    assert scored.metrics[0].chance == 0.25
    asked = [
        real.encode_request(f"Playing: A man holds {n + 2} balls in a park. He", f" {e}")
        for n in range(3)
        for e in ENDINGS
    ]
    found = [score.log_probability for score in real.log_likelihoods(asked)]
    assert scored.answers == [found[i : i + 4].index(max(found[i : i + 4])) for i in (0, 4, 8)]
    assert sum(done) == pytest.approx(3)


def test_prompts_are_put_in_the_files_own_chat_template(copies: Path, real: LlamaScorer, asked: list[str]) -> None:
    (copies / "openai/gsm8k/main/train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in SUMS))
    tasks = load_tasks("gsm8k", None, copies)
    for task in tasks.loaded["tasks"].values():
        task.config.generation_kwargs["max_gen_toks"] = 4
    scored = score_tasks(real, tasks, 1, lambda items: None, chat_template=True)
    assert len(scored.ids) == 1
    prompt = asked[-1]
    assert prompt.count("<|im_start|>user\nQuestion:") == 6  # five examples as turns of their own, and the question
    assert prompt.count("<|im_start|>assistant\n") == 6
    assert prompt.endswith("Answer:<|im_end|>\n<|im_start|>assistant\n")
    del asked[:]
    score_tasks(real, load_tasks("hellaswag", None, copies), 1, lambda items: None, chat_template=True)
    context = "A man holds 2 balls in a park. He<|im_end|>\n<|im_start|>assistant"
    assert {text.split(context)[1] for text in asked[-5:]} == {"", *(f"\n{ending}" for ending in ENDINGS)}


def test_an_answer_that_is_begun_stays_open(real: LlamaScorer) -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "Sum?"}, {"role": "assistant", "content": "It is "}]
    open_end = ChatPrompts(real).text(messages, add_generation_prompt=False)
    assert open_end.endswith("<|im_start|>assistant\nIt is ")
    assert ChatPrompts(real).text(messages[:1]).endswith("<|im_start|>assistant\n")
