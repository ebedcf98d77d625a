"""An adapter as a GGUF file of its own: llama.cpp computes with it what it computes with the merged model."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import LINEAR_LAYERS, write_adapter
from random_models import RandomModel, write_random_model
from tunesmith.tools.artifacts import file_sha256, write_metadata
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.export_gguf import ExportGgufInput, GgufFile, export_gguf
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.llama_cpp import LlamaContext, LlamaModel
from tunesmith.tools.lora_gguf import write_lora_gguf
from tunesmith.tools.model_source import assemble_settings, find_model
from tunesmith.tools.safetensors_files import index_tensors, read_float32
from tunesmith.tools.stream_gguf import open_stream

pytestmark = pytest.mark.usefixtures("workdir")


def _export(checkpoint: Path | str, output: str | None = None) -> GgufFile:
    return export_gguf(ExportGgufInput(checkpoint_dir=str(checkpoint), quantization="lora", output_file=output))


def _whole(checkpoint: Path, target: Path) -> Path:
    source = find_model(str(checkpoint))
    assemble_settings(source, target.with_suffix("") / source.name)
    open_stream(source, target.with_suffix("") / source.name, "f16").write(target, "f16")
    return target


def _logits(model_file: Path, adapter_file: Path | None = None) -> np.ndarray:
    tokens = [1, 209, 198, 80, 314, 260, 77]
    with LlamaModel(model_file) as model, LlamaContext(model, n_ctx=256, threads=1) as context:
        if adapter_file:
            context.use_adapter(adapter_file)
        return context.decode(tokens, range(7), [0] * 7, [True] * 7)


def test_a_model_without_an_adapter_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="holds no adapter"):
        _export(tiny_llama)
    assert not (tmp_path / "models").exists()


def test_an_adapter_of_zeros_is_refused_and_leaves_nothing(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "tuned", tiny_llama, size=0)
    with pytest.raises(ToolFailed, match="changes nothing"):
        _export(adapter, "out/a.gguf")
    assert not (tmp_path / "out").exists()


def test_an_adapter_of_infinite_numbers_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "tuned", tiny_llama, size=float("inf"))
    with pytest.raises(ToolFailed, match="infinite or not a number"):
        write_lora_gguf(adapter, tiny_llama, tmp_path / "a.gguf")


def test_an_adapter_of_another_architecture_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    base = tmp_path / "base"
    shutil.copytree(tiny_llama, base)
    config = json.loads((base / "config.json").read_text())
    (base / "config.json").write_text(json.dumps({**config, "architectures": ["PhiForCausalLM"]}))
    adapter = write_adapter(tmp_path / "tuned", base)
    with pytest.raises(BadRequest, match=r"PhiForCausalLM.*export it merged"):
        write_lora_gguf(adapter, base, tmp_path / "a.gguf")


def test_an_adapter_and_a_model_are_not_taken_for_each_other(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "tuned", tiny_llama)
    write_lora_gguf(adapter, tiny_llama, tmp_path / "a.gguf")
    with pytest.raises(BadRequest, match="is an adapter, not a model"):
        LlamaModel(tmp_path / "a.gguf")
    model_file = _whole(tiny_llama, tmp_path / "base.gguf")
    with pytest.raises(BadRequest, match="is not a LoRA adapter"):
        _logits(model_file, model_file)


def test_an_adapter_of_another_model_is_refused_by_llama_cpp(
    tiny_llama: Path, tiny_gemma: Path, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "tuned", tiny_gemma)
    write_lora_gguf(adapter, tiny_gemma, tmp_path / "a.gguf")
    with pytest.raises(ToolFailed, match=r"cannot load the adapter `.*a\.gguf`"):
        _logits(_whole(tiny_llama, tmp_path / "base.gguf"), tmp_path / "a.gguf")


def test_the_file_has_the_layout_that_llama_cpp_describes(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "tuned", tiny_llama, rank=4)
    assert write_lora_gguf(adapter, tiny_llama, tmp_path / "a.gguf") == 2 * len(LINEAR_LAYERS)
    header = read_header(tmp_path / "a.gguf")
    expected = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
    assert {key: header.metadata[key] for key in expected} == expected
    assert header.metadata["adapter.lora.alpha"] == 8.0
    tensors = {tensor.name: tensor for tensor in header.tensors}
    assert {tensor.type.name for tensor in header.tensors} == {"F32"}
    assert len(tensors) == 4 * len(LINEAR_LAYERS)
    assert tensors["blk.1.ffn_down.weight.lora_a"].shape == (128, 4)
    assert tensors["blk.1.ffn_down.weight.lora_b"].shape == (4, 64)
    stored = index_tensors(adapter / "adapter_model.safetensors")
    query = read_float32(stored["base_model.model.model.layers.1.self_attn.q_proj.lora_B.weight"])
    at = tensors["blk.1.attn_q.weight.lora_b"].offset
    written = np.fromfile(tmp_path / "a.gguf", dtype=np.float32, count=query.size, offset=at).reshape(query.shape)
    # 4 heads of 16 rows: rows 0 and 8 of a head are rotated together, and stand side by side in llama.cpp
    np.testing.assert_array_equal(written[[0, 1, 2, 16, 17]], query[[0, 8, 1, 16, 24]])


def _embedding_adapter(adapter: Path, vocab: int, hidden: int) -> None:
    from safetensors.numpy import load_file, save_file

    random = np.random.default_rng(2)
    pair = {
        "base_model.model.model.embed_tokens.lora_embedding_A": random.standard_normal((4, vocab)) * 0.2,
        "base_model.model.model.embed_tokens.lora_embedding_B": random.standard_normal((hidden, 4)) * 0.2,
    }
    file = adapter / "adapter_model.safetensors"
    save_file({**load_file(file), **{name: value.astype(np.float32) for name, value in pair.items()}}, file)


@pytest.mark.parametrize(
    ("family", "config", "embeddings"),
    [
        ("llama", {}, False),
        ("llama", {"use_rslora": True, "alpha_pattern": {"q_proj": 3, r"layers\.1\.mlp\.up_proj": 40}}, False),
        ("gemma3", {}, False),
        ("qwen3", {"lora_alpha": 3}, False),
        ("qwen3", {}, True),
    ],
)
def test_llama_cpp_computes_the_same_with_the_adapter_as_with_the_merged_model(
    family: str, config: dict[str, Any], embeddings: bool, tiny_gemma: Path, tmp_path: Path
) -> None:
    vocab = int(json.loads((tiny_gemma / "config.json").read_text())["vocab_size"])
    # float32 and untied: rounding the merged weights to 16 bits is done once, by the f16 file
    shape = RandomModel(family, hidden=64, inner=96, vocab=vocab, dtype="F32", tied=False)
    base = write_random_model(shape, tmp_path / "base", tiny_gemma)
    adapter = write_adapter(tmp_path / "tuned", base, size=0.1, **config)
    if embeddings:
        _embedding_adapter(adapter, vocab, 64)
    write_lora_gguf(adapter, base, tmp_path / "a.gguf")
    plain = _whole(base, tmp_path / "plain.gguf")
    merged, added = _logits(_whole(adapter, tmp_path / "merged.gguf")), _logits(plain, tmp_path / "a.gguf")
    spread = float(merged.std())
    assert abs(_logits(plain) - merged).max() > 0.2 * spread, "the adapter changes too little to tell"
    assert abs(added - merged).max() < 0.01 * spread


def test_beside_an_adapter_stands_where_it_comes_from_and_no_modelfile(tiny_llama: Path, tmp_path: Path) -> None:
    run = write_adapter(tmp_path / "runs" / "tiny", tiny_llama)
    write_metadata(run, {"base_model": str(tiny_llama), "dataset": "data/train"})
    result = _export(run)
    assert result.gguf_file == "models/tiny-lora.gguf"
    assert result.modelfile is None
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == ["tiny-lora.gguf", "tiny-lora.json"]
    beside = json.loads((tmp_path / "models/tiny-lora.json").read_text())
    assert beside["quantization"] == "lora"
    assert beside["base_model"] == str(tiny_llama)
    assert beside["sha256"] == result.sha256 == file_sha256(tmp_path / result.gguf_file)
    assert "32.00 bits a weight" in result.summary()
