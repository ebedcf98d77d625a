"""A GGUF header is read strictly: whatever is wrong is named, nothing crashes, nothing large is allocated."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from gguf_samples import SAMPLES, write_sample
from tunesmith.tools.base import BadRequest
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.gguf_header import GgufArray, read_header


def _text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def _key(name: str, value: str) -> bytes:
    return _text(name) + struct.pack("<I", 8) + _text(value)


def _tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    return _text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


def _file(
    tmp_path: Path, keys: list[bytes], tensors: list[bytes], data: int = 1024, magic: bytes = b"GGUF", version: int = 3
) -> Path:
    head = magic + struct.pack("<IQQ", version, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    path = tmp_path / "made.gguf"
    path.write_bytes(head + bytes(-len(head) % 32) + bytes(data))
    return path


_ARCHITECTURE = _key("general.architecture", "llama")
_F32, _Q4_K = 0, 12


@pytest.mark.parametrize("content", [b"", b"GGUF", b"\x00" * 100, b"PK\x03\x04" + b"x" * 100])
def test_what_is_no_gguf_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.gguf"
    path.write_bytes(content)
    with pytest.raises(BadRequest, match="not a GGUF file"):
        read_header(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(BadRequest, match="is not a file"):
            read_header(path)


def test_a_truncated_file_is_named_as_such(tmp_path: Path) -> None:
    whole = write_sample(SAMPLES["llama-96"], tmp_path / "whole.gguf").read_bytes()
    for length in (len(whole) - 1, len(whole) // 2, 200, 30):
        cut = tmp_path / "cut.gguf"
        cut.write_bytes(whole[:length])
        with pytest.raises(BadRequest, match=r"truncated|ends inside|too many|claims|longer than"):
            read_header(cut)


@pytest.mark.parametrize(
    ("keys", "tensors", "wrong"),
    [
        ([], [], "general.architecture"),
        ([_ARCHITECTURE, _ARCHITECTURE], [], "there twice"),
        ([_ARCHITECTURE, _text("k") + struct.pack("<I", 77) + bytes(8)], [], "unknown type 77"),
        ([_ARCHITECTURE, _text("k") + struct.pack("<IIQ", 9, 8, 1 << 60)], [], "claims"),
        ([_ARCHITECTURE, _text("k") + struct.pack("<IIQ", 9, 9, 1)], [], "unknown type 9"),
        ([_ARCHITECTURE, _text("k") + struct.pack("<IB", 7, 2)], [], "no truth value"),
        ([_ARCHITECTURE, _text("general.alignment") + struct.pack("<II", 4, 33)], [], "power of two"),
        ([_ARCHITECTURE, struct.pack("<Q", 1 << 40)], [], "claims"),
        ([_ARCHITECTURE, _key("tokenizer.chat_template", "x" * 1_000_001)], [], "chat template"),
        ([_ARCHITECTURE], [_tensor("t", (4,), _F32, 0), _tensor("t", (4,), _F32, 32)], "there twice"),
        ([_ARCHITECTURE], [_tensor("t", (4,), 4, 0)], "unknown type 4"),
        ([_ARCHITECTURE], [_tensor("t", (100,), _Q4_K, 0)], "cannot hold"),
        ([_ARCHITECTURE], [_tensor("t", (4, 0), _F32, 0)], "impossible shape"),
        ([_ARCHITECTURE], [_tensor("t", (1 << 40, 1 << 40), _F32, 0)], "impossible shape"),
        ([_ARCHITECTURE], [_tensor("t", (1, 1, 1, 1, 1), _F32, 0)], "5 dimensions"),
        ([_ARCHITECTURE], [_tensor("t", (4,), _F32, 7)], "no multiple"),
        ([_ARCHITECTURE], [_tensor("a", (64,), _F32, 0), _tensor("b", (4,), _F32, 32)], "overlaps"),
        ([_ARCHITECTURE], [_tensor("t", (4096,), _F32, 0)], "truncated"),
        ([_ARCHITECTURE], [_tensor("x" * 64, (4,), _F32, 0)], "64 bytes"),
    ],
)
def test_each_fault_is_named(keys: list[bytes], tensors: list[bytes], wrong: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=wrong):
        read_header(_file(tmp_path, keys, tensors))


def test_counts_beyond_the_file_are_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "made.gguf"
    path.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 1 << 62) + bytes(100))
    with pytest.raises(BadRequest, match="can hold"):
        read_header(path)


def test_an_old_or_unknown_version_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="version is 1"):
        read_header(_file(tmp_path, [_ARCHITECTURE], [], version=1))


def test_10000_mutated_headers_are_read_or_refused_in_bounded_time_and_memory(tmp_path: Path) -> None:
    sample = write_sample(SAMPLES["llama-96"], tmp_path / "sample.gguf")
    command = [sys.executable, str(Path(__file__).parents[1] / "mutated_headers.py"), str(sample), "10000"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert 5_000 < found["refused"] < 10_000
    assert found["slowest"] < 1  # second, of which a sound header takes a thousandth
    assert found["largest"] < sample.stat().st_size


def test_a_real_file_is_read_as_llama_cpp_reads_it() -> None:
    header = read_header(bundled_gguf())
    assert header.architecture == "llama"
    assert header.type_counts() == {"Q4_1": 210, "F32": 61, "Q8_0": 1}
    assert header.hyperparameter("block_count") == 30
    tokens = header.metadata["tokenizer.ggml.tokens"]
    assert isinstance(tokens, GgufArray)
    assert (tokens.count, tokens.items()[1]) == (49152, "<|im_start|>")
    assert header.bits_per_weight() == pytest.approx(5.7437, abs=1e-4)
