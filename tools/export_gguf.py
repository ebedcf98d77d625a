"""Turn a trained checkpoint or a base model into one GGUF file that llama.cpp and Ollama can load."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from .base import OutputPath, Result, ToolInput

__all__ = ["ExportGgufInput", "GgufFile", "export_gguf"]

Quantization = Literal[
    "f32", "f16", "bf16", "q8_0", "q6_k", "q5_k_m", "q5_k_s", "q5_0", "q4_k_m", "q4_k_s", "q4_0", "q3_k_m", "q2_k"
]


class ExportGgufInput(ToolInput):
    checkpoint_dir: str = Field(
        min_length=1, description="folder that finetune_unsloth wrote, a model folder, a catalogue name or a hub id"
    )
    quantization: Annotated[Quantization, BeforeValidator(lambda v: v.lower() if isinstance(v, str) else v)] = Field(
        default="q4_k_m", description="llama.cpp file type, such as q4_k_m or q8_0"
    )
    output_file: OutputPath | None = Field(
        default=None, description="the .gguf to create; default models/<name of checkpoint_dir>-finetuned.gguf"
    )

    def reads(self) -> list[Path]:
        raise NotImplementedError

    def writes(self) -> list[Path]:
        return [Path(self.output_file)] if self.output_file else []


class GgufFile(Result):
    gguf_file: str
    quantization: str
    bytes: int
    bits_per_weight: float = Field(description="8 * tensor bytes / number of weights, over the whole file")
    tensor_types: dict[str, int] = Field(description="how many tensors have which ggml type")
    modelfile: str = Field(description="the Modelfile for Ollama beside it")
    remark: str | None = Field(description="why the file is larger than its name suggests, where it is")
    seconds: float
    sha256: str


def export_gguf(request: ExportGgufInput) -> GgufFile:
    raise NotImplementedError
