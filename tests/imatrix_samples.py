"""Importance weights for the samples of gguf_samples.py, and what llama-quantize makes of both together.

`python tests/imatrix_samples.py LLAMA_QUANTIZE` writes tests/tools/imatrix_reference.json with that program, built from
the llama.cpp inside the source package llama-cpp-python 0.3.36.
"""

import hashlib
import json
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from gguf_samples import QUANTISED, SAMPLES, write_sample
from tunesmith.tools.gguf_header import read_header

if TYPE_CHECKING:
    import numpy as np

__all__ = ["REFERENCE", "loadable", "sample_importance", "tensors_sha256"]

REFERENCE = Path(__file__).parent / "tools" / "imatrix_reference.json"


def sample_importance(file: Path) -> "dict[str, np.ndarray]":
    """Weights for every matrix of the layers, from 0.1 to 1 and now and then 50: the same on every machine."""
    import numpy as np

    random = np.random.Generator(np.random.PCG64(11))
    weights = {}
    for tensor in sorted(read_header(file).tensors, key=lambda tensor: tensor.name):
        if tensor.name.startswith("blk.") and len(tensor.shape) > 1:
            columns = tensor.shape[0] * (tensor.shape[2] if len(tensor.shape) > 2 else 1)
            values = 0.1 + 0.9 * random.random(columns, dtype=np.float32)
            values[:: columns // 3] = 50
            weights[tensor.name] = values
    return weights


def loadable(sample: Path, path: Path) -> Path:
    """The sample with what llama.cpp needs to compute with it: 64 words, and norms of ones; returns the new path."""
    import gguf
    import numpy as np

    reader = gguf.GGUFReader(sample)
    architecture = str(reader.fields["general.architecture"].contents())
    writer = gguf.GGUFWriter(path, architecture)
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            writer.add_key_value(key, field.contents(), field.types[0])
    writer.add_tokenizer_model("llama")
    writer.add_token_list(["<unk>", "<s>", "</s>", *(f"w{number}" for number in range(61))])
    writer.add_token_scores([0.0] * 64)
    writer.add_token_types([2, 3, 3, *[1] * 61])
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, np.array(tensor.data))
        if tensor.name.endswith("attn_norm.weight"):
            writer.add_tensor(tensor.name.replace("attn_norm", "ffn_norm"), np.array(tensor.data))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _write_imatrix(weights: "dict[str, np.ndarray]", path: Path) -> None:
    """The older of llama.cpp's two formats (common/imatrix-loader.cpp): each name with its values for one call."""
    with path.open("wb") as stream:
        stream.write(struct.pack("<i", len(weights)))
        for name, values in weights.items():
            stream.write(struct.pack("<i", len(name)) + name.encode())
            stream.write(struct.pack("<ii", 1, len(values)) + values.tobytes())


def tensors_sha256(file: Path) -> str:
    """sha256 of everything behind the header, in which the two programs note the matrix differently."""
    return hashlib.sha256(file.read_bytes()[read_header(file).data_offset :]).hexdigest()


def _reference(program: Path) -> dict[str, dict[str, str]]:
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, sample in SAMPLES.items():
            source = write_sample(sample, Path(folder) / f"{name}.gguf")
            matrix = Path(folder) / "imatrix.dat"
            _write_imatrix(sample_importance(source), matrix)
            table[name] = {}
            for kind in QUANTISED:
                target = Path(folder) / "quantised.gguf"
                subprocess.run(
                    [program, "--imatrix", matrix, source, target, kind, "2"], check=True, capture_output=True
                )
                table[name][kind] = tensors_sha256(target)
    return table


if __name__ == "__main__":
    REFERENCE.write_text(json.dumps(_reference(Path(sys.argv[1])), indent=1) + "\n")
