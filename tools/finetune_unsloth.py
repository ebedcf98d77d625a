"""Fine-tune a base model on a prepared dataset with Unsloth: LoRA, QLoRA, full, or DPO."""

import errno
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from .base import BadRequest, OutputPath, Result, ToolFailed, ToolInput
from .catalogue import LOAD_PRECISION, learning_rate_for

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
    batch_size: int = Field(default=4, ge=1, le=1024, description="rows per step")
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
        from .base_models import local_model

        base = local_model(self.base_model)
        return [Path(self.dataset), *([base] if base else [])]

    def writes(self) -> list[Path]:
        return [Path(self.output_dir)] if self.output_dir else []


class TrainedModel(Result):
    checkpoint_dir: str = Field(description="run folder with the adapter (or the full model)")
    base_model: str
    steps: int
    first_loss: float = Field(description="mean loss of the first steps (a quarter of them, at most 10)")
    final_loss: float = Field(description="mean loss of the last steps (a quarter of them, at most 10)")
    seconds: float = Field(description="training alone, earlier attempts of a resumed run included")
    tokens_per_second: float = Field(description="useful (unpadded) tokens per second of training")
    peak_memory_gib: float = Field(description="most memory the process (on a GPU, the device) held at once")
    trained_rows: int
    dropped_rows: int = Field(description="rows without a supervised token after truncation")
    resumed_from_step: int | None = Field(description="checkpoint that the run went on from")

    def summary(self) -> str:
        rows = f"{self.trained_rows} rows" + (f", {self.dropped_rows} dropped" if self.dropped_rows else "")
        resumed = f", resumed from step {self.resumed_from_step}" if self.resumed_from_step else ""
        return (
            f"{self.checkpoint_dir}: {self.base_model} after {self.steps} steps on {rows}{resumed}\n"
            f"loss {self.first_loss:.3f} -> {self.final_loss:.3f}, {self.seconds:.0f} s, "
            f"{self.tokens_per_second:.0f} tokens/s, {self.peak_memory_gib:.1f} GiB"
        )


def finetune_unsloth(request: FinetuneUnslothInput) -> TrainedModel:
    """Train, and leave adapter (or model), tokenizer, metrics, plot, model card and metadata in the run folder.

    An unfinished run of the same arguments, data and base in that folder goes on from its newest valid checkpoint.

    Raises:
        BadRequest: the base model, the dataset or the output folder can't be used, or the dataset fits another method.
        ToolFailed: nothing to learn from, a loss that is not finite, a stop by control.jsonl, no disk space.
        KeyboardInterrupt: SIGTERM or SIGINT; a checkpoint is saved first.
    """
    from .base_models import fetch_base_model, model_sha256
    from .dataset_folder import read_card, read_rows
    from .run_folder import claim_run_folder, default_run_folder
    from .training_run import run_training

    card = read_card(request.dataset)
    kind = card["kind"]
    if (request.method == "dpo") != (kind == "preference"):
        fits = "dpo" if kind == "preference" else "sft"
        raise BadRequest(
            f"`{request.dataset}` holds `{kind}` rows, which `method` {fits} trains on, not {request.method}"
        )
    rows = read_rows(request.dataset)
    if not rows:
        raise BadRequest(f"`{request.dataset}` holds no rows; prepare a dataset that does")
    base = fetch_base_model(request.base_model)
    arguments = _effective(request)
    identity = {
        "arguments": {name: value for name, value in arguments.items() if name != "output_dir"},
        "base_sha256": model_sha256(base),
        "dataset_sha256": card["sha256"],
    }
    folder = Path(request.output_dir) if request.output_dir else default_run_folder(request.base_model, identity)
    arguments["output_dir"] = str(folder)
    with claim_run_folder(folder, identity):
        try:
            metadata = run_training(folder, base, rows, card, arguments, identity)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            raise ToolFailed(f"no space is left on the disk of `{folder}`; make room and run the same again") from error
    figures = {name: metadata[name] for name in TrainedModel.model_fields if name != "checkpoint_dir"}
    return TrainedModel(checkpoint_dir=str(folder), **figures)


def _effective(request: FinetuneUnslothInput) -> dict[str, Any]:
    """Every argument with its default filled in, as JSON values."""
    arguments = request.model_dump(mode="json")
    if request.learning_rate is None:
        arguments["learning_rate"] = learning_rate_for(request.base_model, request.method)
    if request.lora_alpha is None and request.lora_r:
        arguments["lora_alpha"] = request.lora_r
    return arguments
