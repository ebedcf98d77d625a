"""Importance weights are the mean squared inputs of each matrix, and llama-quantize packs the same bytes with them."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gguf_samples import QUANTISED, SAMPLES, write_sample
from imatrix_samples import REFERENCE, loadable, sample_importance, tensors_sha256
from tunesmith.tools import ggml_tensor
from tunesmith.tools.base import BadRequest, ToolFailed, on_event
from tunesmith.tools.dataset_folder import read_card
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_quants import quantize_file
from tunesmith.tools.imatrix import calibration_rows, importance_weights
from tunesmith.tools.llama_cpp import LlamaContext, LlamaModel
from tunesmith.tools.llama_library import library
from tunesmith.tools.prepare_dataset import PrepareDatasetInput, prepare_dataset

_TABLE = json.loads(REFERENCE.read_text())
_ROWS = [[1, 7, 9, 30, 12, 5], [1, 44, 3, 3, 60, 17, 8, 21, 33], [1, 5]]


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    return {name: write_sample(sample, folder / f"{name}.gguf") for name, sample in SAMPLES.items()}


@pytest.fixture(scope="module")
def llama(samples: dict[str, Path]) -> Path:
    """Six layers of 96, which compute."""
    return loadable(samples["llama-96"], samples["llama-96"].with_name("llama-loadable.gguf"))


@pytest.fixture(scope="module")
def mixtral(samples: dict[str, Path]) -> Path:
    """Four layers with eight experts, two for each token."""
    return loadable(samples["mixtral-256"], samples["mixtral-256"].with_name("mixtral-loadable.gguf"))


def _embedded(file: Path, tokens: list[int]) -> "np.ndarray":
    """Inputs of the first attention matrices: the embeddings, each divided by its root mean square."""
    tensor = next(tensor for tensor in read_header(file).tensors if tensor.name == "token_embd.weight")
    table = np.fromfile(file, dtype=np.float16, count=tensor.weights, offset=tensor.offset).astype(np.float64)
    rows_TC = table.reshape(-1, tensor.shape[0])[tokens]
    return np.asarray(rows_TC / np.sqrt((rows_TC**2).mean(axis=1, keepdims=True) + 1e-5))


def test_a_tensor_that_is_laid_out_differently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    ggml_tensor.check_tensor_layout(library())
    monkeypatch.setattr(ggml_tensor, "_MAX_SOURCES", 11)
    with pytest.raises(ToolFailed, match=r"`ggml_tensor\.src` of the library .* structs differ"):
        ggml_tensor.check_tensor_layout(library())


def test_an_exception_of_the_watcher_comes_out_of_decode_and_the_context_lives_on(llama: Path) -> None:
    calls = []

    def watch(tensor: ggml_tensor.GgmlTensor, ask: bool) -> bool:
        calls.append(ask)
        if len(calls) == 3:
            raise KeyError("third")
        return True

    with LlamaModel(llama) as model, LlamaContext(model, n_ctx=256, watch=watch) as context:
        with pytest.raises(KeyError, match="third"):
            context.decode([1], [0], [0], [True])
        context.clear()
        assert np.isfinite(context.decode([1], [0], [0], [True])).all()


def test_every_matrix_of_the_layers_has_weights_and_no_other(llama: Path) -> None:
    weights = importance_weights(llama, _ROWS)
    matrices = {tensor.name: tensor.shape[0] for tensor in read_header(llama).tensors if len(tensor.shape) > 1}
    del matrices["token_embd.weight"]  # also the output matrix here: llama.cpp's tool leaves both out
    assert {name: values.shape for name, values in weights.items()} == {
        name: (columns,) for name, columns in matrices.items()
    }
    assert all(values.dtype == np.float32 and (values > 0).all() for values in weights.values())


def test_a_weight_is_the_mean_of_the_squared_inputs(llama: Path) -> None:
    weights = importance_weights(llama, _ROWS)
    inputs_TC = _embedded(llama, [token for row in _ROWS for token in row])
    for part in ("attn_q", "attn_k", "attn_v"):
        np.testing.assert_allclose(weights[f"blk.0.{part}.weight"], (inputs_TC**2).mean(axis=0), rtol=1e-3)


def test_rows_do_not_see_each_other_and_all_tokens_count_alike(llama: Path) -> None:
    together = importance_weights(llama, _ROWS)
    apart = [importance_weights(llama, [row]) for row in _ROWS]
    total = sum(map(len, _ROWS))
    for name in ("blk.1.attn_output.weight", "blk.3.ffn_down.weight"):
        mean = sum(len(row) / total * weights[name] for row, weights in zip(_ROWS, apart, strict=True))
        np.testing.assert_allclose(together[name], mean, rtol=5e-3)


def test_more_rows_than_fit_at_once_are_computed_in_turn(llama: Path) -> None:
    heard: list[dict[str, Any]] = []
    on_event(heard.append)
    try:
        many = importance_weights(llama, _ROWS * 60)
    finally:
        on_event(None)
    once = importance_weights(llama, _ROWS)
    np.testing.assert_allclose(many["blk.2.ffn_up.weight"], once["blk.2.ffn_up.weight"], rtol=5e-3)
    assert len(heard) > 2
    assert heard[-1]["done"] == heard[-1]["total"] == 60 * 17


def test_each_expert_has_weights_from_the_tokens_that_it_gets(mixtral: Path) -> None:
    weights = importance_weights(mixtral, [[7]])
    router = weights["blk.0.ffn_gate_inp.weight"]
    by_expert = weights["blk.0.ffn_gate_exps.weight"].reshape(8, -1)
    met = [expert for expert in range(8) if not (by_expert[expert] == 1).all()]
    assert len(met) == 2
    np.testing.assert_allclose(by_expert[met], [router, router], rtol=1e-5)
    many = importance_weights(mixtral, [list(range(3, 60))])
    assert many["blk.0.ffn_down_exps.weight"].shape == (8 * 256,)


@pytest.mark.parametrize(
    "kind",
    [kind if kind in ("q4_k_m", "q4_0", "q2_k") else pytest.param(kind, marks=pytest.mark.slow) for kind in QUANTISED],
)
@pytest.mark.parametrize("name", SAMPLES)
def test_with_the_same_weights_the_tensors_are_byte_for_byte_llama_quantizes(
    name: str, kind: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    target = tmp_path / "out.gguf"
    quantize_file(samples[name], target, kind, importance=sample_importance(samples[name]))
    assert tensors_sha256(target) == _TABLE[name][kind]


@pytest.fixture(scope="module")
def tokenizer(base_dir: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base_dir)


def _prepared(folder: Path, rows: list[dict[str, Any]]) -> str:
    source = folder / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    prepare_dataset(PrepareDatasetInput(source=str(source), output_dir=str(folder / "data")))
    return str(folder / "data" / "train")


def test_a_dataset_that_is_gone_is_named(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(BadRequest, match=r"data/train` is missing"):
        calibration_rows(str(tmp_path / "data" / "train"), tokenizer)


def test_the_rows_are_as_the_model_is_trained_on_them_and_the_same_each_time(tmp_path: Path, tokenizer: Any) -> None:
    rows = [{"instruction": f"Count to {n}.", "output": " ".join(map(str, range(n)))} for n in range(1, 81)]
    dataset = _prepared(tmp_path, rows)
    found = calibration_rows(dataset, tokenizer, max_tokens=500)
    assert found == calibration_rows(dataset, tokenizer, max_tokens=500)
    assert found.tokens == 500
    text = tokenizer.decode(found.rows[0])
    assert text.startswith("<|im_start|>") and "Count to" in text and text.endswith("<|im_end|>")
    everything = calibration_rows(dataset, tokenizer, max_tokens=10**6)
    assert len(everything.rows) == read_card(dataset)["rows"] > 50


def test_preference_pairs_and_raw_text_are_read_too(tmp_path: Path, tokenizer: Any) -> None:
    (tmp_path / "pairs").mkdir()
    (tmp_path / "text").mkdir()
    pairs = [{"prompt": f"Name {n}?", "chosen": f"Good {n}", "rejected": f"Bad {n}"} for n in range(30)]
    found = calibration_rows(_prepared(tmp_path / "pairs", pairs), tokenizer)
    assert all("Good" in tokenizer.decode(row) and "Bad" not in tokenizer.decode(row) for row in found.rows)
    texts = [{"text": f"The river {n} runs to the sea."} for n in range(30)]
    found = calibration_rows(_prepared(tmp_path / "text", texts), tokenizer)
    assert all("river" in tokenizer.decode(row) for row in found.rows)
