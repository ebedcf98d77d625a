"""Scores do not depend on what is shared or computed beside them; answers are those of plain greedy decoding."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tunesmith.tools import llama_answers
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.llama_answers import Prompt, greedy_answers
from tunesmith.tools.llama_cpp import LlamaContext
from tunesmith.tools.llama_scorer import LlamaScorer, Request
from tunesmith.tools.process import run_tool

QUERY = "The quick brown fox jumps over the lazy"
CLOSE = 0.005  # nats per token between two batches of a 16-bit file; a wrong row or position is off by tenths
ROUGH = 0.15  # the same for a quantised file, whose 8-bit activations magnify the rounding


@pytest.fixture(scope="module")
def real() -> Iterator[LlamaScorer]:
    with LlamaScorer(bundled_gguf()) as scorer:
        yield scorer


def _exported(folder: Path, path: Path) -> Path:
    run_tool("export_gguf", {"checkpoint_dir": str(folder), "quantization": "f16", "output_file": str(path)})
    return path


@pytest.fixture(scope="module")
def tiny(tiny_llama: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaScorer]:
    with LlamaScorer(_exported(tiny_llama, tmp_path_factory.mktemp("tiny") / "tiny.gguf")) as scorer:
        yield scorer


@pytest.fixture(scope="module")
def gemma(tiny_gemma: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaScorer]:
    """A vocabulary that wants BOS."""
    with LlamaScorer(_exported(tiny_gemma, tmp_path_factory.mktemp("gemma") / "gemma.gguf")) as scorer:
        yield scorer


def _plain(scorer: LlamaScorer, request: Request) -> float:
    """The definition, with nothing shared: one forward pass, a softmax in float64."""
    tokens = [*request.context, *request.continuation]
    with LlamaContext(scorer.model, n_ctx=512) as context:
        logits = context.decode(tokens, range(len(tokens)), [0] * len(tokens), [True] * len(tokens)).astype(np.float64)
    rows = range(len(request.context) - 1, len(tokens) - 1)
    return sum(
        float(logits[row, token] - np.logaddexp.reduce(logits[row]))
        for row, token in zip(rows, request.continuation, strict=True)
    )


def test_the_model_knows_its_language(real: LlamaScorer) -> None:
    dog, cat = real.log_likelihoods([real.encode_request(QUERY, end) for end in (" dog", " helicopter")])
    assert dog.log_probability > cat.log_probability + 2
    assert (dog.tokens, dog.matched) == (1, 1)
    assert cat.matched == 0


def test_a_score_is_the_same_alone_and_among_others(real: LlamaScorer) -> None:
    pairs = [(QUERY, end) for end in (" dog.", " dog and runs away from it", " cat", " dog.")]
    pairs += [("", "Paris is a city"), ("Rain falls in", " winter"), (QUERY + " dog. It", " sleeps")]
    requests = [real.encode_request(*pair) for pair in pairs]
    told: list[int] = []
    together = real.log_likelihoods(requests, told.append)
    assert sum(told) == len(requests)
    assert together == real.log_likelihoods(requests)
    for request, score in zip(requests, together, strict=True):
        assert score.tokens == len(request.continuation)
        assert score.log_probability == pytest.approx(_plain(real, request), abs=ROUGH * score.tokens)


def test_more_texts_than_fit_together_and_a_long_common_start_score_the_same(tiny: LlamaScorer) -> None:
    start = "The fox and the dog were near a river. The lamp and the jar were near a garden. "
    requests = [
        tiny.encode_request(f"{start}{number} plus {number} is", f" {guess}.")
        for number in range(40)
        for guess in (2 * number, number + 1, 7)
    ]
    requests += [Request(requests[0].context, tuple(requests[0].context[1:] * 3))]
    scores = tiny.log_likelihoods(requests)
    for number in (0, 2, 61, 119, 120):
        assert scores[number].log_probability == pytest.approx(
            _plain(tiny, requests[number]), abs=CLOSE * scores[number].tokens
        )


def test_more_texts_than_tokens_are_scored_too(tiny: LlamaScorer) -> None:
    request = Request((5,), (7,))
    assert len({score.log_probability for score in tiny.log_likelihoods([request] * 70)}) == 1


def test_context_and_continuation_meet_where_running_text_is_cut(real: LlamaScorer) -> None:
    running = real.encode(QUERY + " dog")
    assert real.encode_request(QUERY, " dog") == real.encode_request(QUERY + " ", "dog")
    request = real.encode_request(QUERY, " dog")
    assert request.context + request.continuation == running
    assert real.encode_request("", "Paris").context == (real.start,)


def test_bos_stands_once_whether_the_text_has_it_or_not(gemma: LlamaScorer) -> None:
    bos = gemma.model.bos
    assert gemma.model.add_bos
    plain = gemma.encode("The fox")
    assert plain == gemma.encode("<bos>The fox")
    assert plain.count(bos) == 1
    assert plain[0] == bos
    assert gemma.encode_request("", "The fox").context == (bos,)
    assert bos not in gemma.encode_request("", "The fox").continuation


def test_a_request_that_does_not_fit_is_refused(tiny: LlamaScorer) -> None:
    for request in (Request((), (1,)), Request((5,) * tiny.max_tokens, (5, 5))):
        with pytest.raises(ValueError, match="tokens of context"):
            tiny.log_likelihoods([request])
    with pytest.raises(ValueError, match="a prompt and its answer"):
        greedy_answers(tiny, [Prompt((5,) * tiny.max_tokens, 1)])
    assert tiny.log_likelihoods([]) == []
    assert greedy_answers(tiny, []) == []


def _greedy(scorer: LlamaScorer, tokens: tuple[int, ...], count: int) -> list[int]:
    said: list[int] = []
    with LlamaContext(scorer.model, n_ctx=512) as context:
        row = context.decode(tokens, range(len(tokens)), [0] * len(tokens), [False] * (len(tokens) - 1) + [True])
        while len(said) < count and not scorer.model.is_eog(int(row.argmax())):
            said.append(int(row.argmax()))
            row = context.decode([said[-1]], [len(tokens) + len(said) - 1], [0], [True])
    return said


@pytest.mark.parametrize(("limit", "value"), [("_TOGETHER", 64), ("_TOGETHER", 6), ("_CELL_BYTES", 1)])
def test_answers_under_way_together_are_those_of_one_at_a_time(
    tiny: LlamaScorer, monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    monkeypatch.setattr(llama_answers, limit, value)  # all at once, with gaps as they end; some; no room for two
    prompts = [Prompt(tiny.encode(f"{number} plus {number} is"), 5 + number % 7) for number in range(40)]
    answers = greedy_answers(tiny, prompts)
    for prompt, answer in zip(prompts[::7], answers[::7], strict=True):
        said = _greedy(tiny, prompt.tokens, prompt.max_tokens)
        assert answer.tokens == len(said)
        assert answer.finished == (len(said) < prompt.max_tokens)
        assert answer.text == b"".join(tiny.model.token_bytes(t, special=False) for t in said).decode(errors="replace")


def test_an_answer_ends_with_its_turn_at_a_stop_text_or_at_its_length(real: LlamaScorer) -> None:
    chat = real.encode("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    whole, stopped, short = greedy_answers(real, [Prompt(chat, 40), Prompt(chat, 40, (" of",)), Prompt(chat, 3)])
    assert whole.finished
    assert "Paris" in whole.text
    assert (stopped.text, stopped.finished) == (whole.text[: whole.text.index(" of")], True)
    assert (short.tokens, short.finished) == (3, False)
    assert whole.text.startswith(short.text)


def test_a_reference_is_scored_on_the_way_and_changes_no_answer(real: LlamaScorer) -> None:
    chat = real.encode("<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n")
    (plain,) = greedy_answers(real, [Prompt(chat, 40)])
    written = real.encode(plain.text)
    eos = real.model.eos
    assert eos is not None
    references = [
        (*written, eos),
        written,
        (*written[:3], *real.encode(" Lyon."), eos),
        real.encode("No."),
        written[:1],
    ]
    answers = greedy_answers(real, [Prompt(chat, 40, reference=reference) for reference in references])
    alone = [real.log_likelihoods([Request(chat, reference)])[0] for reference in references]
    for answer, score, reference in zip(answers, alone, references, strict=True):
        assert (answer.text, answer.tokens, answer.finished) == (plain.text, plain.tokens, True)
        assert answer.score is not None
        assert answer.score.tokens == len(reference)
        assert answer.score.matched == score.matched
        assert answer.score.log_probability == pytest.approx(score.log_probability, abs=ROUGH * score.tokens)
    assert [score.matched for score in alone] == [len(written) + 1, len(written), 3, 0, 1]
    (cut,) = greedy_answers(real, [Prompt(chat, 2, reference=references[0])])
    assert (cut.tokens, cut.finished) == (2, False)
    assert cut.score is not None
    assert cut.score.tokens == len(references[0])


def test_no_text_is_computed_twice_where_texts_begin_alike(tiny: LlamaScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    computed = 0
    pieces = LlamaContext.decode_pieces

    def counting(self: LlamaContext, tokens: list[int], *rest: Any, **options: Any) -> Iterator[np.ndarray]:
        nonlocal computed
        computed += len(tokens)
        return pieces(self, tokens, *rest, **options)

    monkeypatch.setattr(LlamaContext, "decode_pieces", counting)
    examples = tuple(range(100, 500))
    requests = [Request((*examples, n), (n, choice, 7)) for n in range(60) for choice in range(4)]
    tiny.log_likelihoods(requests)
    # A pack's end costs its last context's last token once more.
    assert computed <= 400 + 60 * (1 + 1 + 4) + 5
