"""llama.cpp through the wheel: checked when it is opened, checked before every call, freed when it is closed."""

import ctypes
import importlib.metadata
import tomllib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tunesmith.tools import llama_library
from tunesmith.tools.base import BadRequest, MissingExtra, ToolFailed
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.gguf_header import GGML_TYPES
from tunesmith.tools.llama_cpp import LlamaContext, LlamaModel, quantize_rows


@pytest.fixture(scope="module")
def model() -> Iterator[LlamaModel]:
    with LlamaModel(bundled_gguf()) as opened:
        yield opened


def test_another_version_of_the_wheel_is_refused_with_the_one_expected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2027.1.1")
    with pytest.raises(MissingExtra, match=rf"2027\.1\.1 is installed.*{llama_library.XLLAMACPP_VERSION}"):
        llama_library.library.__wrapped__()


def test_the_pinned_version_is_the_one_that_the_project_installs() -> None:
    extras = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    pins = {pin for extra in extras["optional-dependencies"].values() for pin in extra if pin.startswith("xllamacpp")}
    assert pins == {f"xllamacpp=={llama_library.XLLAMACPP_VERSION}"}


def test_a_library_without_a_function_is_refused_by_its_name() -> None:
    with pytest.raises(ToolFailed, match=r"lacks .*`llama_decode`"):
        llama_library.declare(ctypes.CDLL(None))


def test_a_struct_that_is_laid_out_differently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    lib = llama_library.library()

    monkeypatch.setattr(llama_library, "_CONTEXT_DEFAULTS", (513, *llama_library._CONTEXT_DEFAULTS[1:]))
    with pytest.raises(ToolFailed, match=r"`ContextParams\.n_ctx`.* is 512 by default, not 513"):
        llama_library.check_layouts(lib)


def test_a_broken_file_is_refused_before_the_library_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(bundled_gguf().read_bytes()[:5_000_000])
    with pytest.raises(BadRequest, match="truncated"):
        LlamaModel(path)


def test_the_librarys_reason_is_passed_on(tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    raw = bytearray(bundled_gguf().read_bytes())
    at = raw.index(b"llama.attention.head_count")
    raw[at : at + 5] = b"lxama"
    path.write_bytes(raw)
    with pytest.raises(ToolFailed, match=r"cannot load .*blk\.0\.attn_q\.weight.* wrong shape"):
        LlamaModel(path)


def test_impossible_arguments_are_refused_and_nothing_crashes(model: LlamaModel) -> None:
    with LlamaContext(model, n_ctx=256, n_seq_max=2) as context:
        for call in (
            lambda: context.decode([49152], [0], [0], [True]),
            lambda: context.decode([-1], [0], [0], [True]),
            lambda: context.decode([1], [256], [0], [True]),
            lambda: context.decode([1], [0], [2], [True]),
            lambda: context.decode([1, 2], [0], [0], [True]),
            lambda: context.seq_cp(0, 2),
            lambda: context.seq_rm(-1),
            lambda: model.token_bytes(49152),
            lambda: model.is_eog(-1),
            lambda: model.detokenize([10**6]),
            lambda: model.tokenize("\ud800"),
            lambda: LlamaContext(model, n_ctx=0),
            lambda: LlamaContext(model, n_ctx=256, n_seq_max=1000),
        ):
            with pytest.raises(ValueError, match=r".+"):
                call()
        with pytest.raises(ToolFailed, match="positions"):
            context.decode([1], [5], [0], [True]) if context.decode([1], [0], [0], [True]).any() else None


def test_a_full_context_is_an_error_that_leaves_it_usable(model: LlamaModel) -> None:
    with LlamaContext(model, n_ctx=256, n_seq_max=2) as context:
        tokens = [1] * 200
        context.decode(tokens, range(200), [0] * 200, [False] * 200)
        with pytest.raises(ToolFailed, match="full"):
            context.decode(tokens, range(200), [1] * 200, [False] * 200)
        context.clear()
        assert context.decode([1], [0], [1], [True]).shape == (1, 49152)


def test_what_is_closed_says_so() -> None:
    model = LlamaModel(bundled_gguf(), vocab_only=True)
    with pytest.raises(ValueError, match="vocab_only"):
        LlamaContext(model, n_ctx=256)
    model.close()
    model.close()
    with pytest.raises(ValueError, match="closed"):
        model.tokenize("text")


def test_closing_a_model_closes_its_contexts() -> None:
    model = LlamaModel(bundled_gguf())
    context = LlamaContext(model, n_ctx=256)
    model.close()
    with pytest.raises(ValueError, match="closed"):
        context.clear()
    context.close()


@pytest.mark.parametrize("text", ["", " ", "Größe 大小 😀\n\n  tabs\t", "<|im_end|>", "a\x00b", "x" * 3000])
def test_text_comes_back_from_its_tokens(model: LlamaModel, text: str) -> None:
    assert model.detokenize(model.tokenize(text)) == text
    assert b"".join(model.token_bytes(token) for token in model.tokenize(text)) == text.encode()


def test_special_tokens_are_read_only_where_asked(model: LlamaModel) -> None:
    assert model.tokenize("<|im_end|>", parse_special=True) == [2]
    assert len(model.tokenize("<|im_end|>")) > 1
    assert (model.bos, model.eos, model.add_bos, model.is_eog(2), model.is_control(1)) == (1, 2, False, True, True)


def test_the_model_answers_and_a_shared_prefix_changes_nothing(model: LlamaModel) -> None:
    prompt = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"
    tokens = model.tokenize(prompt, parse_special=True)
    with LlamaContext(model, n_ctx=256, n_seq_max=3) as context:
        last = [False] * (len(tokens) - 1) + [True]
        logits_NV = context.decode(tokens, range(len(tokens)), [0] * len(tokens), last)
        assert logits_NV.shape == (1, 49152)
        context.seq_cp(0, 1)
        context.seq_cp(0, 2)
        answers: dict[int, list[int]] = {1: [], 2: []}
        following = {sequence: int(logits_NV[0].argmax()) for sequence in answers}
        for position in range(len(tokens), len(tokens) + 6):
            for sequence, token in following.items():
                answers[sequence].append(token)
            batch = context.decode(list(following.values()), [position] * 2, [1, 2], [True, True])
            following = dict(zip(answers, (int(row.argmax()) for row in batch), strict=True))
        assert answers[1] == answers[2]
        assert model.detokenize(answers[1]) == "The capital of France is Paris"
        assert (context.seq_length(0), context.seq_length(1)) == (len(tokens), len(tokens) + 6)
        context.seq_rm(1, len(tokens))
        assert context.seq_length(1) == len(tokens)


def test_long_input_is_cut_into_batches_without_a_difference(model: LlamaModel) -> None:
    tokens = model.tokenize("The quick brown fox jumps over the lazy dog. " * 8)
    places, sequence, all_wanted = range(len(tokens)), [0] * len(tokens), [True] * len(tokens)
    with LlamaContext(model, n_ctx=256, n_batch=256) as whole, LlamaContext(model, n_ctx=256, n_batch=32) as parts:
        one = whole.decode(tokens, places, sequence, all_wanted)
        other = parts.decode(tokens, places, sequence, all_wanted)
    assert one.shape == (len(tokens), 49152)
    assert (one.argmax(axis=1) == other.argmax(axis=1)).mean() > 0.97


def test_rows_that_cannot_be_packed_are_refused() -> None:
    good = np.zeros((2, 256), dtype=np.float32)
    for values, kind in ((good[:, :100], "Q4_K"), (good.astype(np.float64), "Q4_K"), (good[0], "Q4_K")):
        with pytest.raises(ValueError, match=r".+"):
            quantize_rows(values, kind)
    with pytest.raises(ValueError, match="256"):
        quantize_rows(np.zeros((2, 96), dtype=np.float32), "Q4_K")
    with pytest.raises(ToolFailed, match="not finite"):
        quantize_rows(np.full((2, 256), np.nan, dtype=np.float32), "Q4_K")
    with pytest.raises(ValueError, match="imatrix"):
        quantize_rows(good, "Q4_K", np.zeros(3, dtype=np.float32))


@pytest.mark.parametrize(("kind", "error"), [("Q8_0", 0.01), ("Q6_K", 0.02), ("Q4_K", 0.08), ("Q2_K", 0.35)])
def test_packed_rows_hold_the_values(kind: str, error: float) -> None:
    import gguf

    values = np.random.default_rng(0).standard_normal((64, 512)).astype(np.float32)
    packed = quantize_rows(values, kind)
    assert packed.shape == (64, GGML_TYPES[kind].row_bytes(512))
    back = gguf.quants.dequantize(packed, gguf.GGMLQuantizationType[kind])
    assert np.abs(back - values).mean() < error


def test_threads_pack_the_same_bytes() -> None:
    values = np.random.default_rng(1).standard_normal((256, 512)).astype(np.float32)
    with ThreadPoolExecutor(2) as pool:
        halves = list(pool.map(lambda part: quantize_rows(part, "Q4_K"), (values[:128], values[128:])))
    assert np.array_equal(np.vstack(halves), quantize_rows(values, "Q4_K"))


def test_importance_weights_change_the_packing() -> None:
    values = np.random.default_rng(2).standard_normal((8, 256)).astype(np.float32)
    weights = np.linspace(0.1, 5, 256, dtype=np.float32)
    assert not np.array_equal(quantize_rows(values, "Q4_K", weights), quantize_rows(values, "Q4_K"))
