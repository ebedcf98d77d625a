"""One training run from start to finish: tokenise, load, train, write the run folder."""

import importlib.metadata
import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .artifacts import new_file, read_json, write_metadata
from .base import ToolFailed, note
from .base_models import TOKENIZER_FILES, public_name
from .batch_order import batch_order, steps_per_epoch
from .checkpoints import newest_checkpoint
from .control_file import ControlFile
from .loss_plot import plot_loss
from .model_card import model_card
from .model_loading import Device, add_lora, import_unsloth, load_model
from .probe import Probe
from .training_loop import Progress, read_metrics, train
from .training_memory import needs_recomputation, peak_memory_gib
from .training_rows import TokenRows, conversation_rows, preference_rows, text_rows

__all__ = ["run_training"]

_PACKAGES = ("tunesmith", "unsloth", "unsloth_zoo", "torch", "transformers", "trl", "peft", "datasets", "bitsandbytes")


def run_training(
    folder: Path,
    base: Path,
    rows: Sequence[dict[str, Any]],
    card: dict[str, Any],
    arguments: dict[str, Any],
    identity: dict[str, Any],
) -> dict[str, Any]:
    """Train in a claimed run folder and finish it.

    Args:
        folder: the run folder.
        base: local folder of the base model.
        rows: of the prepared dataset.
        card: its metadata.
        arguments: every argument of finetune_unsloth as effective.
        identity: what the run is made of.

    Returns:
        The run's metadata, as written to its metadata.json.

    Raises:
        BadRequest, ToolFailed, KeyboardInterrupt: as finetune_unsloth says.
    """
    device = import_unsloth()
    note(f"training on {device.name}" + ("" if device.kind == "cuda" else ", no GPU was found"))
    from transformers import AutoTokenizer, set_seed

    set_seed(arguments["seed"])
    config = read_json(base / "config.json")
    limit = _length_limit(config, arguments["max_seq_length"])
    tokenizer = AutoTokenizer.from_pretrained(base, trust_remote_code=False)
    tokens = _tokenise(rows, str(card["kind"]), tokenizer, limit)
    order = batch_order(
        [row.length for row in tokens.rows],
        arguments["batch_size"],
        arguments["epochs"],
        arguments["seed"],
        arguments["max_steps"],
    )
    checkpoint = newest_checkpoint(folder / "checkpoints")
    progress = Progress(
        tokens=[sum(tokens.rows[row].tokens for row in batch) for batch in order],
        steps_per_epoch=steps_per_epoch(len(tokens.rows), arguments["batch_size"]),
    )
    if checkpoint is not None:
        note(f"going on from step {checkpoint.step} of {progress.total}")
        progress.step, progress.seconds = checkpoint.step, checkpoint.state["extra"]["seconds"]
    read_metrics(folder, upto_step=progress.step)
    control = ControlFile(folder, progress.step, progress.steps_per_epoch)
    sizes = [len(batch) * max(tokens.rows[row].length for row in batch) for batch in order]
    recompute = needs_recomputation(config, max(sizes) * (2 if arguments["method"] == "dpo" else 1))
    if recompute:
        note("activations are computed twice to save memory, which takes a third longer")
    model = load_model(
        base,
        device,
        quant=arguments["quant"],
        full=not arguments["lora_r"],
        max_seq_length=limit,
        recompute=recompute,
        model_type=str(config["model_type"]),
    )
    if arguments["lora_r"]:
        model = add_lora(
            model,
            device,
            r=arguments["lora_r"],
            alpha=arguments["lora_alpha"],
            target_modules=tuple(arguments["target_modules"]),
            seed=arguments["seed"],
            recompute=recompute,
        )
    train(
        arguments["method"],
        model=model,
        tokenizer=tokenizer,
        options=_options(arguments, device, recompute),
        rows=tokens.rows,
        order=order,
        progress=progress,
        run_folder=folder,
        control=control,
        resume=checkpoint,
        probe=Probe.asked_for(sizes, cuda=device.kind == "cuda"),
    )
    _check_learned(model)
    metrics = read_metrics(folder)
    window = max(1, min(10, len(metrics) // 4))
    metadata = {
        "tool": "finetune_unsloth",
        "base_model": arguments["base_model"],
        "base_model_id": public_name(arguments["base_model"]),
        "base_sha256": identity["base_sha256"],
        "method": arguments["method"],
        "dataset": arguments["dataset"],
        "dataset_name": Path(str(card.get("source") or arguments["dataset"])).name,
        "dataset_kind": card["kind"],
        "dataset_rows": len(rows),
        "dataset_sha256": identity["dataset_sha256"],
        "arguments": arguments,
        "seed": arguments["seed"],
        "steps": progress.total,
        "trained_rows": len(tokens.rows),
        "dropped_rows": tokens.dropped,
        "cut_rows": tokens.cut,
        "supervised_tokens": tokens.supervised,
        "first_loss": _mean(metrics[:window]),
        "final_loss": _mean(metrics[-window:]),
        "seconds": round(progress.seconds, 3),
        "tokens_per_second": round(sum(progress.tokens) / progress.seconds, 1),
        "peak_memory_gib": round(peak_memory_gib(cuda=device.kind == "cuda"), 3),
        "device": device.name,
        "bf16": device.bf16,
        "recomputed_activations": recompute,
        "resumed_from_step": checkpoint.step if checkpoint else None,
        "control": control.applied,
        "notes": tokens.notes,
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
    }
    _write_model(
        model, folder, public_name(arguments["base_model"]), str(config.get("dtype") or config.get("torch_dtype"))
    )
    _write_tokenizer(base, folder, tokenizer)
    plot_loss(metrics, folder / "loss.png", f"{folder.name}: {arguments['method']} on {metadata['dataset_name']}")
    (folder / "README.md").write_text(model_card(folder.name, metadata), encoding="utf-8")
    write_metadata(folder, metadata)
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    return metadata


def _version(package: str) -> str:
    return importlib.metadata.version(package)


def _mean(metrics: Sequence[dict[str, Any]]) -> float:
    return float(sum(line["loss"] for line in metrics) / len(metrics))


def _length_limit(config: dict[str, Any], asked: int) -> int:
    """The longest row in tokens: as asked, or what the model's positions allow."""
    own = (config.get("text_config") or config).get("max_position_embeddings")
    if isinstance(own, int) and own < asked:
        note(f"`max_seq_length` {asked} is more than the model's {own} positions; rows are cut at {own}")
        return own
    return asked


def _tokenise(rows: Sequence[dict[str, Any]], kind: str, tokenizer: Any, limit: int) -> TokenRows:
    convert = {"messages": conversation_rows, "preference": preference_rows, "text": text_rows}[kind]
    tokens = convert(rows, tokenizer, limit).checked(limit)
    for text in tokens.notes:
        note(text)
    if tokens.dropped:
        note(f"{tokens.dropped} rows have no token to learn from within {limit} tokens; they are left out")
    if tokens.cut:
        note(f"{tokens.cut} rows are longer than {limit} tokens; their ends are cut off")
    return tokens


def _options(arguments: dict[str, Any], device: Device, recompute: bool) -> dict[str, Any]:
    """The trainer's arguments, by the names that SFTConfig and DPOConfig share with TrainingArguments."""
    return {
        "per_device_train_batch_size": arguments["batch_size"],
        "learning_rate": arguments["learning_rate"],
        "lr_scheduler_type": "linear",
        "warmup_steps": arguments["warmup_steps"],
        "weight_decay": arguments["weight_decay"],
        "optim": "adamw_torch_fused",
        "seed": arguments["seed"],
        "bf16": device.bf16,
        "fp16": False if device.kind == "cpu" else not device.bf16,
        "gradient_checkpointing": recompute or device.kind == "cuda",
    }


def _check_learned(model: Any) -> None:
    """Refuse a run that changed nothing: the B matrices of LoRA start as zeros."""
    matrices = [weight for name, weight in model.named_parameters() if "lora_B" in name]
    if matrices and not any(bool(weight.any()) for weight in matrices):
        raise ToolFailed("training changed no weight: every LoRA matrix is still zero; raise `learning_rate`")


def _write_model(model: Any, folder: Path, base_name: str, dtype: str) -> None:
    """The adapter, or the whole model in the base's 16-bit type, as safetensors."""
    import torch

    if not hasattr(model, "peft_config"):
        model.config._name_or_path = base_name
        model.config.use_cache = True  # off while training
        kind = getattr(torch, dtype, torch.bfloat16)
        model.to(kind if kind in (torch.float16, torch.bfloat16) else torch.bfloat16).save_pretrained(folder)
        _make_readable(folder)
        return
    from peft import get_peft_model_state_dict
    from safetensors.torch import save_file

    config = model.peft_config["default"]
    config.base_model_name_or_path = base_name  # not where the base happened to lie on this machine
    config.save_pretrained(folder)
    weights = get_peft_model_state_dict(model, save_embedding_layers=False)
    with new_file(folder / "adapter_model.safetensors", replace=True) as partial:
        tensors = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
        save_file(tensors, partial, metadata={"format": "pt"})
    _make_readable(folder)


def _make_readable(folder: Path) -> None:
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)  # safetensors creates its files for the owner alone


def _write_tokenizer(base: Path, folder: Path, tokenizer: Any) -> None:
    """The base's own tokenizer files, byte for byte, and the chat template that was trained with."""
    for name in (*TOKENIZER_FILES, "generation_config.json"):
        if (base / name).is_file():
            shutil.copyfile(base / name, folder / name)
    (folder / "chat_template.jinja").write_text(tokenizer.chat_template, encoding="utf-8")
