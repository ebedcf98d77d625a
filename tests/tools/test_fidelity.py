"""Each fault that a file can have is found at the link that made it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from adapters import write_adapter
from tunesmith.tools.artifacts import write_metadata
from tunesmith.tools.convert_gguf import convert_to_gguf
from tunesmith.tools.fidelity import FidelityChain, fidelity_chain
from tunesmith.tools.fidelity_report import Fidelity
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_quants import quantize_file
from tunesmith.tools.model_source import assemble, find_model

# in torchao, which transformers' models import
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence:DeprecationWarning")


@pytest.fixture(scope="module")
def base(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights in which every matrix matters: its distributions are as peaked as a trained one's.

    Rows of 256 weights, so that every k-quant packs them; as many key heads as heads, so that q and k are alike.
    """
    import numpy as np
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("peaked") / "base"
    folder.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        shutil.copyfile(base_dir / name, folder / name)
    config = json.loads((base_dir / "config.json").read_text())
    hidden, inner, layers = 256, 512, 2
    config.update(
        hidden_size=hidden, intermediate_size=inner, num_attention_heads=4, num_key_value_heads=4,
        num_hidden_layers=layers, head_dim=64,
    )  # fmt: skip
    (folder / "config.json").write_text(json.dumps(config))
    random = np.random.default_rng(0)

    def matrix(rows: int, columns: int, size: float = 0.06) -> Any:
        return (random.standard_normal((rows, columns), dtype=np.float32) * size).astype(np.float16)

    tensors = {"model.embed_tokens.weight": matrix(config["vocab_size"], hidden, 0.25)}
    tensors["model.norm.weight"] = np.ones(hidden, np.float16)
    for layer in range(layers):
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            tensors[f"model.layers.{layer}.self_attn.{name}.weight"] = matrix(hidden, hidden)
        for name, shape in {
            "gate_proj": (inner, hidden),
            "up_proj": (inner, hidden),
            "down_proj": (hidden, inner),
        }.items():
            tensors[f"model.layers.{layer}.mlp.{name}.weight"] = matrix(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = np.ones(hidden, np.float16)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def _run(folder: Path, base: Path, size: float = 0.02) -> Path:
    write_adapter(folder, base, size=size)
    write_metadata(folder, {"base_model": str(base)})
    return folder


@pytest.fixture(scope="module")
def run(base: Path) -> Path:
    return _run(base.parent / "run", base)


@pytest.fixture(scope="module")
def chain(run: Path) -> Iterator[FidelityChain]:
    with fidelity_chain(find_model(str(run))) as made:
        yield made


@pytest.fixture(scope="module")
def f16(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("f16")
    assemble(find_model(str(run)), folder / "merged", link=True)
    convert_to_gguf(folder / "merged", folder / "f16.gguf", "f16")
    return folder / "f16.gguf"


def _verdicts(found: Fidelity) -> dict[str, str]:
    return {link.name: link.verdict for link in found.links}


def _broken(found: Fidelity) -> list[str]:
    return [link.name for link in found.links if link.verdict == "broken"]


def _reason(found: Fidelity, name: str) -> str:
    return next(link.reason for link in found.links if link.name == name)


def _swapped(gguf: Path, target: Path, first: str, second: str) -> Path:
    """A copy of the file in which two tensors of one size have changed places."""
    spans = {tensor.name: (tensor.offset, tensor.bytes) for tensor in read_header(gguf).tensors}
    data = bytearray(gguf.read_bytes())
    (a, size), (b, other) = spans[first], spans[second]
    assert size == other
    data[a : a + size], data[b : b + size] = data[b : b + size], data[a : a + size]
    target.write_bytes(data)
    return target


def _damaged(gguf: Path, target: Path, name: str) -> Path:
    """A copy of the file in which the rows of one tensor stand in another order."""
    tensor = next(tensor for tensor in read_header(gguf).tensors if tensor.name == name)
    row = tensor.bytes // tensor.shape[1]
    data = bytearray(gguf.read_bytes())
    rows = [bytes(data[at : at + row]) for at in range(tensor.offset, tensor.offset + tensor.bytes, row)]
    data[tensor.offset : tensor.offset + tensor.bytes] = b"".join(rows[1:] + rows[:1])
    target.write_bytes(data)
    return target


def test_an_adapter_of_zeros_breaks_the_first_link(base: Path, tmp_path: Path) -> None:
    with fidelity_chain(find_model(str(_run(tmp_path / "zeros", base, size=0)))) as chain:
        found = chain.check_run()
    assert _verdicts(found) == {"base -> adapter": "broken", "adapter -> merged": "not checked"}
    assert "changes nothing" in _reason(found, "base -> adapter")
    assert not found.sound


@pytest.mark.parametrize("factor", [0.5, pytest.param(2.0, marks=pytest.mark.slow)])
def test_a_wrong_scale_breaks_the_merge(factor: float, run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tunesmith.tools import merge

    right = merge._scale
    monkeypatch.setattr(merge, "_scale", lambda *arguments: factor * right(*arguments))
    with fidelity_chain(find_model(str(run))) as chain:
        found = chain.check_run()
    assert _broken(found) == ["adapter -> merged"]


def test_a_file_of_the_untuned_base_breaks_the_link_of_the_conversion(
    base: Path, chain: FidelityChain, tmp_path: Path
) -> None:
    convert_to_gguf(base, tmp_path / "base.gguf", "f16")
    found = chain.check(tmp_path / "base.gguf", quantization="f16")
    assert _broken(found) == ["merged -> f16 GGUF"]
    assert "nearer to the untuned base" in _reason(found, "merged -> f16 GGUF")


def test_swapped_q_and_k_break_the_link_of_the_conversion(chain: FidelityChain, f16: Path, tmp_path: Path) -> None:
    bad = _swapped(f16, tmp_path / "swapped.gguf", "blk.1.attn_q.weight", "blk.1.attn_k.weight")
    assert _broken(chain.check(bad, quantization="f16")) == ["merged -> f16 GGUF"]


@pytest.mark.parametrize(
    "name",
    [
        "blk.1.ffn_down.weight",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("blk.0.attn_v.weight", "token_embd.weight")),
    ],
)
def test_a_corrupted_tensor_breaks_the_link_that_wrote_it(
    name: str, chain: FidelityChain, f16: Path, tmp_path: Path
) -> None:
    assert _broken(chain.check(_damaged(f16, tmp_path / "bad.gguf", name), quantization="f16")) == [
        "merged -> f16 GGUF"
    ]
    quantize_file(f16, tmp_path / "q8.gguf", "q8_0")
    found = chain.check(_damaged(tmp_path / "q8.gguf", tmp_path / "bad-q8.gguf", name), quantization="q8_0")
    assert _broken(found) == ["f16 GGUF -> q8_0 GGUF"]


def test_a_quantisation_that_destroys_the_model_breaks_the_last_link(
    chain: FidelityChain, f16: Path, tmp_path: Path
) -> None:
    quantize_file(f16, tmp_path / "q2.gguf", "q2_k")
    found = chain.check(tmp_path / "q2.gguf", quantization="q2_k")
    assert _broken(found) == ["f16 GGUF -> q2_k GGUF"]


def test_weights_that_are_not_finite_are_told(chain: FidelityChain, f16: Path, tmp_path: Path) -> None:
    tensor = next(tensor for tensor in read_header(f16).tensors if tensor.name == "blk.1.ffn_up.weight")
    data = bytearray(f16.read_bytes())
    data[tensor.offset : tensor.offset + 2] = b"\x00\x7c"  # infinity
    (tmp_path / "inf.gguf").write_bytes(data)
    found = chain.check(tmp_path / "inf.gguf", quantization="f16")
    assert _broken(found) == ["merged -> f16 GGUF"]
    assert "not finite" in _reason(found, "merged -> f16 GGUF")


def test_sound_files_are_sound(chain: FidelityChain, f16: Path, tmp_path: Path) -> None:
    found = chain.check(f16, quantization="f16")
    assert set(_verdicts(found).values()) == {"sound"}
    quantize_file(f16, tmp_path / "q8.gguf", "q8_0")
    found = chain.check(tmp_path / "q8.gguf", quantization="q8_0")
    assert _verdicts(found) == dict.fromkeys(
        ("base -> adapter", "adapter -> merged", "merged -> f16 GGUF", "f16 GGUF -> q8_0 GGUF"), "sound"
    )
    assert found.sound and found.positions > 300
    assert {prompt.verdict for prompt in found.prompts} == {"same"}


def test_a_damaged_tensor_of_a_quantised_file_is_named(chain: FidelityChain, f16: Path, tmp_path: Path) -> None:
    quantize_file(f16, tmp_path / "q8.gguf", "q8_0")
    found = chain.check(
        _damaged(tmp_path / "q8.gguf", tmp_path / "bad.gguf", "blk.0.attn_k.weight"), quantization="q8_0"
    )
    assert "`blk.0.attn_k.weight` lie 14" in _reason(found, "f16 GGUF -> q8_0 GGUF")
