"""Merge a trained adapter into its base and write one Hugging Face model folder in safetensors."""

from pathlib import Path

from pydantic import Field

from .base import OutputPath, Result, ToolInput

__all__ = ["ExportSafetensorsInput", "SafetensorsFolder", "export_safetensors"]


class ExportSafetensorsInput(ToolInput):
    checkpoint_dir: str = Field(
        min_length=1, description="folder that finetune_unsloth wrote, a model folder, a catalogue name or a hub id"
    )
    output_dir: OutputPath | None = Field(
        default=None, description="the model folder to create; default models/<name of checkpoint_dir>-merged"
    )

    def reads(self) -> list[Path]:
        raise NotImplementedError

    def writes(self) -> list[Path]:
        return [Path(self.output_dir)] if self.output_dir else []


class SafetensorsFolder(Result):
    model_dir: str
    bytes: int
    tensors: int
    dtype: str
    seconds: float


def export_safetensors(request: ExportSafetensorsInput) -> SafetensorsFolder:
    raise NotImplementedError
