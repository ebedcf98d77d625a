"""Quantised files are llama-quantize's, byte for byte."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from gguf_samples import (
    QUANTISED,
    SAMPLES,
    SMOLLM2,
    Sample,
    read_reference,
    tensor_digests,
    write_sample,
    write_smollm2,
)
from tunesmith.tools.artifacts import file_sha256
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.gguf_header import read_header
from tunesmith.tools.gguf_mixture import mixture, remark_on
from tunesmith.tools.gguf_quants import quantize_file

_REFERENCE = read_reference()


@pytest.fixture(scope="module")
def samples(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("samples")
    return {name: write_sample(sample, folder / f"{name}.gguf") for name, sample in SAMPLES.items()}


def test_an_infinite_weight_is_refused(samples: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    shutil.copyfile(samples["llama-96"], broken)
    tensor = next(t for t in read_header(broken).tensors if t.name == "blk.0.attn_q.weight")
    with broken.open("r+b") as stream:
        stream.seek(tensor.offset)
        stream.write(np.array([np.inf], dtype=np.float16).tobytes())
    with pytest.raises(ToolFailed, match="not finite"):
        quantize_file(broken, tmp_path / "out.gguf", "q4_k_m")


def test_a_truncated_source_is_refused_before_anything_is_written(samples: dict[str, Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(samples["llama-96"].read_bytes()[:-100])
    with pytest.raises(BadRequest, match="truncated"):
        quantize_file(broken, tmp_path / "out.gguf", "q4_k_m")
    assert not (tmp_path / "out.gguf").exists()


@pytest.fixture(scope="module")
def smollm2(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_smollm2(tmp_path_factory.mktemp("smollm2"))


@pytest.mark.parametrize("name", SAMPLES)
def test_a_sample_is_the_file_that_the_reference_was_made_from(name: str, samples: dict[str, Path]) -> None:
    assert file_sha256(samples[name]) == _REFERENCE[name, "f16"]["sha256"]


def _check_quantised(name: str, kind: str, source: Path, target: Path) -> None:
    expected = _REFERENCE[name, kind]
    quantize_file(source, target, kind)
    if file_sha256(target) != expected["sha256"]:
        assert tensor_digests(target) == expected["tensors"]
        raise AssertionError("the tensors are the same, the headers differ")


@pytest.mark.parametrize("kind", QUANTISED)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_quantised_file_is_byte_for_byte_that_of_llama_quantize(
    name: str, kind: str, samples: dict[str, Path], tmp_path: Path
) -> None:
    _check_quantised(name, kind, samples[name], tmp_path / "out.gguf")


def test_smollm2_is_byte_for_byte_that_of_llama_quantize(smollm2: Path, tmp_path: Path) -> None:
    assert file_sha256(smollm2) == _REFERENCE[SMOLLM2, "f16"]["sha256"]
    _check_quantised(SMOLLM2, "q4_k_m", smollm2, tmp_path / "out.gguf")


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in QUANTISED if kind != "q4_k_m"])
def test_smollm2_in_every_other_type_is_byte_for_byte_that_of_llama_quantize(
    kind: str, smollm2: Path, tmp_path: Path
) -> None:
    _check_quantised(SMOLLM2, kind, smollm2, tmp_path / "out.gguf")


def test_the_size_is_known_before_anything_is_packed(samples: dict[str, Path], tmp_path: Path) -> None:
    typed = quantize_file(samples["llama-256"], tmp_path / "out.gguf", "q4_k_m")
    assert typed == mixture(read_header(samples["llama-256"]), "q4_k_m")
    assert [item.bytes for item in typed] == [tensor.bytes for tensor in read_header(tmp_path / "out.gguf").tensors]


def test_rows_that_256_does_not_divide_are_remarked_upon(samples: dict[str, Path]) -> None:
    remark = remark_on(mixture(read_header(samples["llama-96"]), "q4_k_m"), "q4_k_m")
    assert remark is not None
    assert "Q4_K by Q5_0" in remark
    assert remark_on(mixture(read_header(samples["llama-256"]), "q4_k_m"), "q4_k_m") is None


def test_an_architecture_with_rules_of_its_own_is_refused(tmp_path: Path) -> None:
    path = write_sample(Sample("glm5-next", 64, 64, 1, 2, 2, tied=True), tmp_path / "glm.gguf")
    with pytest.raises(BadRequest, match="glm5-next"):
        mixture(read_header(path), "q4_k_m")
