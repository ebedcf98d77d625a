"""The canary: a sound model passes, and each planted fault in the plumbing stops the evaluation."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tunesmith.tools import eval_canary, lm_eval_model
from tunesmith.tools.base import ToolFailed
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.eval_canary import check_plumbing, check_task_requests
from tunesmith.tools.llama_cpp import LlamaContext
from tunesmith.tools.llama_scorer import LlamaScorer
from tunesmith.tools.lm_eval_model import TaskRequests, language_model
from tunesmith.tools.process import run_tool


@pytest.fixture(scope="module")
def real() -> Iterator[LlamaScorer]:
    with LlamaScorer(bundled_gguf()) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def gemma(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaScorer]:
    """A vocabulary that wants BOS, and a chat template that writes it."""
    path = tmp_path_factory.mktemp("gemma") / "gemma.gguf"
    run_tool("export_gguf", {"checkpoint_dir": str(tiny_gemma), "quantization": "f16", "output_file": str(path)})
    with LlamaScorer(path) as scorer:
        yield scorer


def test_a_sound_model_passes(real: LlamaScorer, gemma: LlamaScorer) -> None:
    for scorer in (real, gemma):
        check_plumbing(scorer)
        check_task_requests(scorer, language_model(TaskRequests(scorer)))


@pytest.mark.parametrize("fault", ["rows", "positions", "constant", "infinite", "sharing", "bos", "answers"])
def test_a_fault_in_scoring_or_answering_stops_it(
    real: LlamaScorer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    pieces = LlamaContext.decode_pieces

    def broken(self: LlamaContext, tokens: list[int], *rest: Any, **options: Any) -> Iterator[np.ndarray]:
        if fault == "positions" and len(tokens) > 5:
            tokens = [tokens[0], *tokens[:-1]]
        for logits_NV in pieces(self, tokens, *rest, **options):
            if fault == "constant":
                yield np.zeros_like(logits_NV)
            elif fault == "infinite":
                yield np.full_like(logits_NV, math.nan)
            else:
                yield logits_NV[::-1].copy() if fault == "rows" else logits_NV

    encode, copy, answers = LlamaScorer.encode, LlamaContext.seq_cp, eval_canary.greedy_answers
    if fault == "bos":
        monkeypatch.setattr(LlamaScorer, "encode", lambda self, text: (self.model.bos, *encode(self, text)))
    elif fault == "sharing":  # a sequence that branches off gets another one's tokens
        monkeypatch.setattr(LlamaContext, "seq_cp", lambda self, _, *rest: copy(self, self.n_seq_max - 1, *rest))
    elif fault == "answers":
        monkeypatch.setattr(eval_canary, "greedy_answers", lambda *args: answers(*args)[::-1])
    else:
        monkeypatch.setattr(LlamaContext, "decode_pieces", broken)
    with pytest.raises(ToolFailed, match="canary"):
        check_plumbing(real)


@pytest.mark.parametrize("fault", ["scores", "answers", "texts", "rolling"])
def test_a_fault_between_lm_eval_and_the_scorer_stops_it(
    real: LlamaScorer, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    scores, answers, encode = LlamaScorer.log_likelihoods, lm_eval_model.greedy_answers, LlamaScorer.encode_request
    if fault == "scores":
        monkeypatch.setattr(LlamaScorer, "log_likelihoods", lambda *args: scores(*args)[::-1])
    elif fault == "answers":
        monkeypatch.setattr(lm_eval_model, "greedy_answers", lambda *args: answers(*args)[::-1])
    elif fault == "texts":  # the continuation loses its first token
        monkeypatch.setattr(
            TaskRequests,
            "_fitting",
            lambda self, request: type(request)(request.context, request.continuation[1:]),
        )
    else:
        monkeypatch.setattr(TaskRequests, "loglikelihood_rolling", lambda self, instances: [0.0] * len(instances))
    with pytest.raises(ToolFailed, match="canary"):
        check_task_requests(real, language_model(TaskRequests(real)))
    assert encode is LlamaScorer.encode_request


def test_a_chat_prompt_with_two_bos_stops_it(gemma: LlamaScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    encode = LlamaScorer.encode

    def doubled(self: LlamaScorer, text: str) -> tuple[int, ...]:
        tokens = encode(self, text)
        return (tokens[0], *tokens) if text.startswith("<bos>") else tokens

    monkeypatch.setattr(LlamaScorer, "encode", doubled)
    with pytest.raises(ToolFailed, match="chat prompt"):
        check_task_requests(gemma, language_model(TaskRequests(gemma)))
