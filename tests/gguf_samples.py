"""Small 16-bit GGUF files of random weights, the same bytes on every machine, and what llama-quantize makes of them.

`python tests/gguf_samples.py LLAMA_QUANTIZE` writes tests/tools/quantize_reference.jsonl with that program, built from
the llama.cpp inside the source package llama-cpp-python 0.3.36. Beside the samples it holds SmolLM2-135M, as
`export_gguf` writes it in f16.

One line is one file: model, file type, sha256, and of a quantised one each tensor in order: its name, its type and
the first 16 digits of its bytes' sha256.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = [
    "QUANTISED", "REFERENCE", "SAMPLES", "SMOLLM2", "Sample", "read_reference", "tensor_digests", "write_sample",
    "write_smollm2",
]  # fmt: skip

REFERENCE = Path(__file__).parent / "tools" / "quantize_reference.jsonl"
SMOLLM2 = "smollm2-135m"
QUANTISED = ("q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k")


@dataclass(frozen=True)
class Sample:
    """A model's shape. `fused` has one matrix for query, key and value, as Falcon has; `head` is a head's size."""

    architecture: str
    hidden: int
    inner: int
    layers: int
    heads: int
    kv_heads: int
    tied: bool
    experts: int = 0
    fused: bool = False
    head: int = 0


SAMPLES = {
    # rows that 256 divides, enough layers for every rule that counts them
    "llama-256": Sample("llama", 256, 512, 16, 8, 2, tied=False),
    # rows that only 32 divides, tied embeddings
    "llama-96": Sample("llama", 96, 160, 6, 4, 2, tied=True),
    # rows that nothing divides
    "llama-40": Sample("llama", 40, 72, 2, 4, 4, tied=True),
    "mixtral-256": Sample("llama", 256, 256, 4, 8, 2, tied=False, experts=8),
    "falcon-256": Sample("falcon", 256, 512, 8, 4, 1, tied=False, fused=True),
    "gemma3-256": Sample("gemma3", 256, 768, 6, 4, 1, tied=True, head=64),
    "gemma3-160": Sample("gemma3", 160, 512, 4, 4, 1, tied=True, head=64),
    "qwen3-256": Sample("qwen3", 256, 768, 8, 4, 2, tied=False, head=64),
    "qwen3-96": Sample("qwen3", 96, 288, 4, 4, 2, tied=True, head=32),
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
    head = sample.head or sample.hidden // sample.heads
    if sample.head:
        writer.add_key_length(head)
        writer.add_value_length(head)
    if sample.architecture == "gemma3":
        writer.add_sliding_window(128)
    if sample.experts:
        writer.add_expert_count(sample.experts)
        writer.add_expert_used_count(2)
    random = np.random.Generator(np.random.PCG64(7))

    def matrix(name: str, *shape: int) -> None:
        # Uniform draws in place of normal ones: those go through the C library's logarithm.
        writer.add_tensor(name, ((random.random(shape, dtype=np.float32) - 0.5) / 4).astype(np.float16))

    def norms(block: str, **lengths: int) -> None:
        for name, length in lengths.items():
            writer.add_tensor(f"{block}.{name}.weight", np.ones(length, dtype=np.float32))

    query, kv = head * sample.heads, head * sample.kv_heads
    matrix("token_embd.weight", 64, sample.hidden)
    writer.add_tensor("output_norm.weight", np.ones(sample.hidden, dtype=np.float32))
    if not sample.tied:
        matrix("output.weight", 64, sample.hidden)
    for layer in range(sample.layers):
        block = f"blk.{layer}"
        norms(block, attn_norm=sample.hidden)
        if sample.architecture in ("gemma3", "qwen3"):
            norms(block, attn_q_norm=head, attn_k_norm=head, ffn_norm=sample.hidden)
        if sample.architecture == "gemma3":
            norms(block, post_attention_norm=sample.hidden, post_ffw_norm=sample.hidden)
        if sample.fused:
            matrix(f"{block}.attn_qkv.weight", sample.hidden + 2 * kv, sample.hidden)
        else:
            matrix(f"{block}.attn_q.weight", query, sample.hidden)
            matrix(f"{block}.attn_k.weight", kv, sample.hidden)
            matrix(f"{block}.attn_v.weight", kv, sample.hidden)
        matrix(f"{block}.attn_output.weight", sample.hidden, query)
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


def write_smollm2(folder: Path) -> Path:
    """Write SmolLM2-135M in f16 into a folder, by the pass that `export_gguf` uses; returns the file."""
    from tunesmith.tools.model_source import assemble_settings, find_model
    from tunesmith.tools.stream_gguf import open_stream

    source = find_model(SMOLLM2)
    assemble_settings(source, folder / SMOLLM2)
    open_stream(source, folder / SMOLLM2, "f16").write(folder / f"{SMOLLM2}.gguf", "f16")
    return folder / f"{SMOLLM2}.gguf"


def tensor_digests(file: Path) -> list[list[str]]:
    """Name, type and start of the sha256 of each tensor of a GGUF file, in the file's order."""
    from tunesmith.tools.gguf_header import read_header

    found = []
    with file.open("rb") as stream:
        for tensor in read_header(file).tensors:
            stream.seek(tensor.offset)
            digest = hashlib.sha256(stream.read(tensor.bytes)).hexdigest()
            found.append([tensor.name, tensor.type.name, digest[:16]])
    return found


def read_reference() -> dict[tuple[str, str], dict[str, Any]]:
    """The lines of the reference table by model and file type."""
    lines = [json.loads(line) for line in REFERENCE.read_text().splitlines()]
    return {(line["model"], line["type"]): line for line in lines}


def _reference(program: Path) -> Iterator[dict[str, Any]]:
    """A line for each sample's 16-bit file, and one for each file that llama-quantize makes of it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        sources = {name: write_sample(sample, folder / f"{name}.gguf") for name, sample in SAMPLES.items()}
        sources[SMOLLM2] = write_smollm2(folder)
        for model, source in sources.items():
            yield {"model": model, "type": "f16", "sha256": hashlib.sha256(source.read_bytes()).hexdigest()}
            for kind in QUANTISED:
                target = folder / "quantised.gguf"
                subprocess.run([program, source, target, kind, "2"], check=True, capture_output=True)
                digest = hashlib.sha256(target.read_bytes()).hexdigest()
                yield {"model": model, "type": kind, "sha256": digest, "tensors": tensor_digests(target)}


if __name__ == "__main__":
    REFERENCE.write_text("".join(json.dumps(line) + "\n" for line in _reference(Path(sys.argv[1]))))
