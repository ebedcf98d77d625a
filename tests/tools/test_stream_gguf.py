"""A GGUF written in one pass is, byte for byte, the one of merging, llama.cpp's converter and llama-quantize."""

import json
import shutil
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adapters import LINEAR_LAYERS, write_adapter
from random_models import RandomModel, write_random_model
from tunesmith.tools.artifacts import file_sha256
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.catalogue import QUANTIZATIONS
from tunesmith.tools.convert_gguf import convert_to_gguf
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_quants import quantize_file
from tunesmith.tools.llama_cpp import cpu_threads
from tunesmith.tools.model_source import assemble, assemble_settings, find_model
from tunesmith.tools.stream_gguf import Stream, Unusual, open_stream

pytestmark = [
    # in torchao, which transformers' models import
    pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning"),
]

_UNQUANTISED = ("f32", "f16", "bf16")
_LLAMA = RandomModel("llama", hidden=64, inner=96, vocab=49152)
_GEMMA = RandomModel("gemma3", hidden=96, inner=160, vocab=560, kv_heads=1)


def _opened(checkpoint: Path, folder: Path, kind: str) -> Stream:
    source = find_model(str(checkpoint))
    settings = folder / "settings" / source.name
    shutil.rmtree(settings, ignore_errors=True)
    assemble_settings(source, settings)
    return open_stream(source, settings, kind)


def _streamed(checkpoint: Path, folder: Path, kind: str) -> str:
    target = folder / "streamed.gguf"
    _opened(checkpoint, folder, kind).write(target, kind)
    return file_sha256(target)


def _in_three_steps(checkpoint: Path, folder: Path, kinds: tuple[str, ...]) -> dict[str, str]:
    """sha256 of each type's file, by way of a merged folder and a 16-bit file."""
    source = find_model(str(checkpoint))
    merged = folder / "merged" / source.name
    merged.parent.mkdir()
    assemble(source, merged, link=True)
    found, target = {}, folder / "steps.gguf"
    for kind in _UNQUANTISED:
        if kind == "f16" or kind in kinds:
            convert_to_gguf(merged, folder / f"{kind}.gguf", kind)
            found[kind] = file_sha256(folder / f"{kind}.gguf")
    for kind in kinds:
        if kind not in _UNQUANTISED:
            quantize_file(folder / "f16.gguf", target, kind)
            found[kind] = file_sha256(target)
    return {kind: found[kind] for kind in kinds}


@pytest.fixture(scope="module")
def sentencepiece(tiny_gemma: Path) -> Path:
    return tiny_gemma


def _vocabulary(tokenizer: Path) -> int:
    return int(json.loads((tokenizer / "config.json").read_text())["vocab_size"])


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("architectures", ["MistralForCausalLM"], "its architecture is"),
        ("rope_scaling", {"rope_type": "linear", "factor": 8.0}, "`rope_scaling`"),
        ("rope_scaling", {"rope_type": "llama3", "factor": 8.0}, "`low_freq_factor` in config.json is None"),
        ("rope_parameters", {"rope_type": "yarn", "rope_theta": 10000.0}, "'yarn'"),
        ("rope_theta", None, "`rope_theta` in config.json is None"),
        ("num_experts", 8, "sets `num_experts`"),
        ("attention_bias", True, "sets `attention_bias`"),
        ("hidden_size", None, "`hidden_size` in config.json is None"),
        ("vocab_size", 40000, "ids up to 49151"),
    ],
)
def test_an_option_that_is_not_known_is_left_to_the_converters(
    option: str, value: Any, said: str, base_dir: Path, tmp_path: Path
) -> None:
    model = write_random_model(replace(_LLAMA, options={option: value}), tmp_path / "model", base_dir)
    with pytest.raises(Unusual, match=said):
        _opened(model, tmp_path, "q4_k_m")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"tokenizer_class": "GPT2Tokenizer"}, "as a GPT2Tokenizer"),
        ({"tokenizer_class": "Qwen2Tokenizer"}, "as a Qwen2Tokenizer"),
        ({"add_bos_token": True}, "add_bos_token"),
        ({"pad_token": "<|padding|>"}, "'<|padding|>', which tokenizer.json does not add"),
        ({"added_tokens_decoder": {"0": {"content": "<|endoftext|>", "special": False}}}, "differ about"),
    ],
)
def test_a_tokenizer_that_transformers_would_change_is_left_to_the_converters(
    settings: dict[str, Any], said: str, base_dir: Path, tmp_path: Path
) -> None:
    model = write_random_model(_LLAMA, tmp_path / "model", base_dir)
    file = model / "tokenizer_config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **settings}))
    with pytest.raises(Unusual) as caught:
        _opened(model, tmp_path, "q4_k_m")
    assert said in str(caught.value)


def test_a_pre_tokeniser_that_nobody_knows_is_left_to_the_converters(base_dir: Path, tmp_path: Path) -> None:
    model = write_random_model(_LLAMA, tmp_path / "model", base_dir)
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {
        "type": "ByteLevel",
        "add_prefix_space": True,
        "trim_offsets": True,
        "use_regex": False,
    }
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(Unusual, match="pre-tokeniser is none"):
        _opened(model, tmp_path, "q4_k_m")


def test_an_adapter_that_changes_nothing_is_an_error(tiny_llama: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, size=1e-6)
    with pytest.raises(ToolFailed, match="changes nothing"):
        _streamed(adapter, tmp_path, "q8_0")


def test_an_adapter_of_another_base_is_refused(tiny_llama: Path, base_dir: Path, tmp_path: Path) -> None:
    adapter = write_adapter(tmp_path / "adapter", tiny_llama, named_base=str(base_dir))
    with pytest.raises(BadRequest, match="another base model"):
        _opened(adapter, tmp_path, "q8_0")


def test_importance_weights_of_another_model_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    stream = _opened(tiny_llama, tmp_path, "q4_k_m")
    weights = {"blk.0.attn_q.weight": np.ones(7, dtype=np.float32)}
    with pytest.raises(BadRequest, match=r"`blk.0.attn_q.weight` are 7 numbers, its rows have 64"):
        stream.write(tmp_path / "out.gguf", "q4_k_m", importance=weights)
    assert not (tmp_path / "out.gguf").exists()


_MODELS = {
    # rows that 256 divides and rows that only 32 divides, both kinds of vocabulary, one and several files
    "llama, sentencepiece, untied": (
        RandomModel("llama", hidden=256, inner=512, vocab=0, head_dim=64, tied=False, shards=3),
        "sentencepiece",
    ),
    "llama, byte-level": (_LLAMA, "byte-level"),
    "llama, float16, padded": (replace(_LLAMA, dtype="F16", vocab=49168, options={"head_dim": None}), "byte-level"),
    "llama 3's rotary embedding": (
        replace(
            _LLAMA,
            head_dim=128,
            heads=2,
            kv_heads=1,
            options={
                "rope_theta": 500000.0,
                "rope_scaling": {
                    "rope_type": "llama3",
                    "factor": 32.0,
                    "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0,
                    "original_max_position_embeddings": 8192,
                },
            },
        ),
        "byte-level",
    ),
    "gemma, tied": (replace(_GEMMA, hidden=256, inner=512, head_dim=32), "sentencepiece"),
    "gemma, float16, transformers 5": (
        replace(
            _GEMMA,
            dtype="F16",
            options={
                "rope_theta": None,
                "rope_local_base_freq": None,
                "rope_parameters": {
                    "full_attention": {"rope_type": "default", "rope_theta": 500000.0},
                    "sliding_attention": {"rope_type": "default", "rope_theta": 20000.0},
                },
                "final_logit_softcapping": 30.0,
            },
        ),
        "sentencepiece",
    ),
    "qwen, sentencepiece, untied, float32": (
        RandomModel("qwen3", hidden=256, inner=768, vocab=0, head_dim=128, tied=False, dtype="F32", shards=2),
        "sentencepiece",
    ),
    "qwen, byte-level": (RandomModel("qwen3", hidden=64, inner=96, vocab=49152), "byte-level"),
}


def _check_types(name: str, kinds: tuple[str, ...], base_dir: Path, sentencepiece: Path, folder: Path) -> None:
    model, vocabulary = _MODELS[name]
    tokenizer = {"sentencepiece": sentencepiece, "byte-level": base_dir}[vocabulary]
    if vocabulary == "sentencepiece":
        model = replace(model, vocab=_vocabulary(sentencepiece))
    extra = 8 if model.family == "gemma3" else 0  # rows of the embeddings that no token has
    written = write_random_model(model, folder / "random", tokenizer, embedding_rows=model.vocab + extra)
    expected = _in_three_steps(written, folder, kinds)
    assert {kind: _streamed(written, folder, kind) for kind in kinds} == expected


@pytest.mark.parametrize("name", [name for name, (_, vocabulary) in _MODELS.items() if vocabulary == "sentencepiece"])
def test_every_type_is_the_file_of_the_three_steps(
    name: str, base_dir: Path, sentencepiece: Path, tmp_path: Path
) -> None:
    _check_types(name, QUANTIZATIONS, base_dir, sentencepiece, tmp_path)


@pytest.mark.parametrize("name", [name for name, (_, vocabulary) in _MODELS.items() if vocabulary == "byte-level"])
@pytest.mark.parametrize("kinds", [("f16",), pytest.param(QUANTIZATIONS, marks=pytest.mark.slow)], ids=["f16", "all"])
def test_a_byte_level_vocabulary_is_that_of_the_three_steps(
    name: str, kinds: tuple[str, ...], base_dir: Path, sentencepiece: Path, tmp_path: Path
) -> None:
    _check_types(name, kinds, base_dir, sentencepiece, tmp_path)


@pytest.mark.parametrize("family", ["llama", "gemma3", "qwen3"])
def test_an_adapter_is_merged_as_it_is_in_a_folder(
    family: str, base_dir: Path, sentencepiece: Path, tmp_path: Path
) -> None:
    tokenizer = sentencepiece
    model = RandomModel(family, hidden=256, inner=288, vocab=_vocabulary(sentencepiece), head_dim=64, shards=2)
    folder = write_random_model(model, tmp_path / "base", tokenizer)
    adapter = write_adapter(tmp_path / "tuned", folder, layers=LINEAR_LAYERS)
    (adapter / "chat_template.jinja").write_text("{{ messages[0].content }}")
    kinds = ("f16", "bf16", "q4_k_m", "q2_k")
    expected = _in_three_steps(adapter, tmp_path, kinds)
    assert {kind: _streamed(adapter, tmp_path, kind) for kind in kinds} == expected
    assert read_header(tmp_path / "f16.gguf").chat_template == "{{ messages[0].content }}"


@pytest.mark.slow
@pytest.mark.parametrize("tuned", [False, True])
def test_smollm2_is_written_as_in_three_steps_in_every_type(tuned: bool, base_dir: Path, tmp_path: Path) -> None:
    checkpoint = write_adapter(tmp_path / "tuned", base_dir, rank=16, size=0.05) if tuned else base_dir
    expected = _in_three_steps(checkpoint, tmp_path, QUANTIZATIONS)
    assert {kind: _streamed(checkpoint, tmp_path, kind) for kind in QUANTIZATIONS} == expected


def test_the_size_is_known_before_anything_is_written(tiny_llama: Path, tmp_path: Path) -> None:
    for kind in ("f32", "q8_0", "q4_k_m"):
        stream = _opened(tiny_llama, tmp_path, kind)
        forecast = stream.file_bytes(kind)
        stream.write(tmp_path / "out.gguf", kind)
        assert 0 <= forecast - (tmp_path / "out.gguf").stat().st_size < 5000


def test_rows_are_read_by_several_threads(tiny_llama: Path, tmp_path: Path) -> None:
    readers = set()
    stream = _opened(tiny_llama, tmp_path, "q4_k_m")
    read = stream.weights.read

    def noticed(*arguments: Any) -> Any:
        readers.add(threading.get_ident())
        return read(*arguments)

    stream = replace(stream, weights=replace(stream.weights, read=noticed))
    stream.write(tmp_path / "out.gguf", "q2_k")
    assert len(readers) == cpu_threads()


def test_the_pass_imports_neither_torch_nor_transformers(tiny_llama: Path, tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from tunesmith.tools.model_source import assemble_settings, find_model\n"
        "from tunesmith.tools.stream_gguf import open_stream\n"
        "source = find_model(sys.argv[1]); settings = Path(sys.argv[2]) / 'settings'\n"
        "assemble_settings(source, settings)\n"
        "open_stream(source, settings, 'q4_k_m').write(Path(sys.argv[2]) / 'out.gguf', 'q4_k_m')\n"
        "print(sorted({'torch', 'transformers', 'auto_round', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, str(write_adapter(tmp_path / "tuned", tiny_llama)), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"
    assert not done.stderr
