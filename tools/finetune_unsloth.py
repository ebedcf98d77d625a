"""Fine-tune a base model on a prepared dataset with Unsloth: LoRA, QLoRA, full, or DPO."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .base import OutputPath, Result, ToolInput
from .catalogue import LOAD_PRECISION

__all__ = ["FinetuneUnslothInput", "TrainedModel", "finetune_unsloth"]


def _load_precision(value: Any) -> Any:
    return LOAD_PRECISION.get(value.lower(), value.lower()) if isinstance(value, str) else value


class FinetuneUnslothInput(ToolInput):
    base_model: str = Field(min_length=1, description="catalogue name, hub id or local folder of the model to tune")
    dataset: str = Field(min_length=1, description="folder that prepare_dataset wrote, such as data/train")
    epochs: int = Field(default=1, ge=1, le=100, description="passes over the training rows")
    learning_rate: float | None = Field(
        default=None, gt=0, le=0.1, description="peak learning rate; default by base model and method"
    )
    lora_r: int = Field(default=16, ge=0, le=512, description="rank of the LoRA matrices; 0 trains every weight")
    quant: Annotated[Literal["16bit", "8bit", "4bit"], BeforeValidator(_load_precision)] = Field(
        default="16bit", description="precision in which the base is loaded; GGUF type names are translated"
    )
    output_dir: OutputPath | None = Field(default=None, description="run folder; default runs/<base_model>")
    method: Literal["sft", "dpo"] = Field(
        default="sft", description="sft on conversations, or dpo on preference pairs (chosen and rejected)"
    )
    lora_alpha: int | None = Field(default=None, ge=1, le=2048, description="LoRA scale; default lora_r")
    batch_size: int = Field(default=8, ge=1, le=1024, description="rows per step")
    max_seq_length: int = Field(default=2048, ge=16, le=1_048_576, description="longest row in tokens; longer is cut")
    max_steps: int | None = Field(default=None, ge=1, description="stop after this many steps, whatever epochs says")
    warmup_steps: int = Field(default=5, ge=0, description="steps in which the learning rate rises to its peak")
    weight_decay: float = Field(default=0.01, ge=0, le=1, description="AdamW weight decay")
    seed: int = Field(default=42, ge=0, le=2**32 - 1, description="seed of weights, order and dropout")
    target_modules: tuple[str, ...] = Field(
        default=("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"),
        min_length=1,
        description="linear layers that get LoRA matrices",
    )

    def reads(self) -> list[Path]:
        raise NotImplementedError

    def writes(self) -> list[Path]:
        return [Path(self.output_dir)] if self.output_dir else []


class TrainedModel(Result):
    checkpoint_dir: str = Field(description="run folder with the adapter (or the full model)")
    base_model: str
    steps: int
    first_loss: float
    final_loss: float
    seconds: float
    tokens_per_second: float = Field(description="useful (unpadded) tokens per second of training")
    peak_memory_gib: float
    trained_rows: int
    dropped_rows: int = Field(description="rows without a supervised token after truncation")
    resumed_from_step: int | None = Field(description="checkpoint that the run went on from")


def finetune_unsloth(request: FinetuneUnslothInput) -> TrainedModel:
    raise NotImplementedError
