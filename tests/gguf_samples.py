"""Small 16-bit GGUF files of random weights, the same bytes on every machine, and what llama-quantize makes of them.

`python tests/gguf_samples.py LLAMA_QUANTIZE` writes tests/tools/quantize_reference.json with that program, built from
the llama.cpp inside the source package llama-cpp-python 0.3.36.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

__all__ = ["QUANTISED", "REFERENCE", "SAMPLES", "Sample", "write_sample"]

REFERENCE = Path(__file__).parent / "tools" / "quantize_reference.json"
QUANTISED = ("q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k")


@dataclass(frozen=True)
class Sample:
    """A model's shape. `fused` has one matrix for query, key and value, as Falcon has."""

    architecture: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    experts: int = 0
    fused: bool = False


SAMPLES = {
    # rows that 256 divides, enough layers for every rule that counts them
    "llama-256": Sample("llama", 256, 512, 16, 8, 2, tied=False),
    # rows that only 32 divides, tied embeddings
    "llama-96": Sample("llama", 96, 160, 6, 4, 2, tied=True),
    # rows that nothing divides
    "llama-40": Sample("llama", 40, 72, 2, 4, 4, tied=True),
    "mixtral-256": Sample("llama", 256, 256, 4, 8, 2, tied=False, experts=8),
    "falcon-256": Sample("falcon", 256, 512, 8, 4, 1, tied=False, fused=True),
}


def write_sample(sample: Sample, path: Path) -> Path:
    """Write the sample as a GGUF in f16, vectors in f32; returns the path."""
    import gguf
    import numpy as np

    writer = gguf.GGUFWriter(path, sample.architecture)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_name("sample")
    writer.add_block_count(sample.layers)
    writer.add_context_length(512)
    writer.add_embedding_length(sample.hidden)
    writer.add_feed_forward_length(sample.inner)
    writer.add_head_count(sample.heads)
    writer.add_head_count_kv(sample.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_layer_norm_eps(1e-5)
    if sample.experts:
        writer.add_expert_count(sample.experts)
        writer.add_expert_used_count(2)
    random = np.random.Generator(np.random.PCG64(7))

    def matrix(name: str, *shape: int) -> None:
        # Uniform draws in place of normal ones: those go through the C library's logarithm.
        writer.add_tensor(name, ((random.random(shape, dtype=np.float32) - 0.5) / 4).astype(np.float16))

    head = sample.hidden // sample.heads
    kv = head * sample.kv_heads
    matrix("token_embd.weight", 64, sample.hidden)
    writer.add_tensor("output_norm.weight", np.ones(sample.hidden, dtype=np.float32))
    if not sample.tied:
        matrix("output.weight", 64, sample.hidden)
    for layer in range(sample.layers):
        block = f"blk.{layer}"
        writer.add_tensor(f"{block}.attn_norm.weight", np.ones(sample.hidden, dtype=np.float32))
        if sample.fused:
            matrix(f"{block}.attn_qkv.weight", sample.hidden + 2 * kv, sample.hidden)
        else:
            matrix(f"{block}.attn_q.weight", sample.hidden, sample.hidden)
            matrix(f"{block}.attn_k.weight", kv, sample.hidden)
            matrix(f"{block}.attn_v.weight", kv, sample.hidden)
        matrix(f"{block}.attn_output.weight", sample.hidden, sample.hidden)
        shapes = {"gate": (sample.inner, sample.hidden), "up": (sample.inner, sample.hidden)}
        shapes["down"] = (sample.hidden, sample.inner)
        for part, shape in shapes.items():
            if sample.experts:
                matrix(f"{block}.ffn_{part}_exps.weight", sample.experts, *shape)
            else:
                matrix(f"{block}.ffn_{part}.weight", *shape)
        if sample.experts:
            matrix(f"{block}.ffn_gate_inp.weight", sample.experts, sample.hidden)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _reference(program: Path) -> dict[str, dict[str, str]]:
    """sha256 of the sample and of each file that llama-quantize makes of it."""
    table: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, sample in SAMPLES.items():
            source = write_sample(sample, Path(folder) / f"{name}.gguf")
            table[name] = {"f16": hashlib.sha256(source.read_bytes()).hexdigest()}
            for kind in QUANTISED:
                target = Path(folder) / "quantised.gguf"
                subprocess.run([program, source, target, kind, "2"], check=True, capture_output=True)
                table[name][kind] = hashlib.sha256(target.read_bytes()).hexdigest()
    return table


if __name__ == "__main__":
    REFERENCE.write_text(json.dumps(_reference(Path(sys.argv[1])), indent=1) + "\n")
