"""Merge a trained adapter into its base and write one Hugging Face model folder in safetensors."""

import errno
import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from .artifacts import free_path, write_metadata
from .base import BadRequest, OutputPath, Result, ToolFailed, ToolInput, note
from .locations import local_path

if TYPE_CHECKING:
    from .model_source import ModelSource

__all__ = ["ExportSafetensorsInput", "SafetensorsFolder", "export_safetensors"]


class ExportSafetensorsInput(ToolInput):
    checkpoint_dir: str = Field(
        min_length=1, description="folder that finetune_unsloth wrote, a model folder, a catalogue name or a hub id"
    )
    output_dir: OutputPath | None = Field(
        default=None, description="the model folder to create; default models/<name of checkpoint_dir>-merged"
    )

    def reads(self) -> list[Path]:
        path = local_path(self.checkpoint_dir)
        return [path] if path else []

    def writes(self) -> list[Path]:
        return [Path(self.output_dir)] if self.output_dir else []


class SafetensorsFolder(Result):
    model_dir: str
    bytes: int = Field(description="of all tensors")
    tensors: int
    dtype: str = Field(description="of most weights, as safetensors names it")
    seconds: float

    def summary(self) -> str:
        return f"{self.model_dir}: {self.tensors} tensors in {self.dtype}, {self.bytes / 1e6:.1f} MB"


def export_safetensors(request: ExportSafetensorsInput) -> SafetensorsFolder:
    """Merge the adapter into its base and write weights, config, tokenizer and model card.

    The folder appears under its name when it is whole; its metadata.json is written last.

    Raises:
        BadRequest: `checkpoint_dir` holds no adapter and no model, or the folder exists.
        ToolFailed: no disk space, or an adapter that changes nothing.
    """
    started = time.monotonic()
    from .model_source import assemble, find_model
    from .safetensors_files import model_tensors

    source = find_model(request.checkpoint_dir)
    output = Path(request.output_dir) if request.output_dir else free_path(Path("models") / f"{source.name}-merged")
    if output.exists():
        raise BadRequest(f"`{output}` exists already; choose another `output_dir` or remove it")
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _check_disk(source, output.parent)
        changed = assemble(source, partial, link=False)
        if source.adapter:
            note(f"merged the adapter into {changed} tensors of {source.base_model}")
        tensors = model_tensors(partial).values()
        dtypes = [tensor.dtype for tensor in tensors]
        result = SafetensorsFolder(
            model_dir=str(output),
            bytes=sum(tensor.bytes for tensor in tensors),
            tensors=len(dtypes),
            dtype=max(set(dtypes), key=dtypes.count),
            seconds=round(time.monotonic() - started, 2),
        )
        (partial / "README.md").write_text(_card(source, result), encoding="utf-8")
        write_metadata(
            partial,
            {
                "tool": "export_safetensors",
                "run": source.run,
                "base_model": source.base_model if source.tuned else None,
                "dataset": source.dataset,
                "checkpoint_dir": request.checkpoint_dir,
                "changed_tensors": changed,
            },
        )
        partial.rename(output)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        what = (
            f"the disk of `{output.parent}` is full" if full else f"cannot write `{output}`: {error.strerror or error}"
        )
        raise ToolFailed(what) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return result


def _check_disk(source: "ModelSource", folder: Path) -> None:
    from .safetensors_files import model_tensors

    needed = sum(tensor.bytes for tensor in model_tensors(source.model).values()) + 64 * 2**20
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise ToolFailed(
            f"exporting `{source.name}` takes {needed / 1e9:.2f} GB in `{folder}`, and {free / 1e9:.2f} GB are free; "
            "make room or name an `output_dir` on another disk"
        )


def _card(source: "ModelSource", result: SafetensorsFolder) -> str:
    """The README.md: where the weights come from. Paths are shown by their last component only."""
    lines = ["---"]
    if source.base_model and local_path(source.base_model) is None:
        lines.append(f"base_model: {source.base_model}")
    lines += ["library_name: transformers", "pipeline_tag: text-generation", "tags: [tunesmith]", "---", ""]
    lines += [f"# {source.name}", ""]
    if source.adapter:
        lines.append(f"A LoRA adapter merged into {Path(str(source.base_model)).name}.")
    elif source.tuned:
        lines.append(f"{Path(str(source.base_model)).name}, tuned in all its weights.")
    else:
        lines.append(f"A copy of {source.name}, as it was.")
    if source.dataset:
        lines += ["", f"Trained on `{Path(source.dataset).name}`."]
    lines += ["", f"{result.tensors} tensors, {result.dtype}, {result.bytes / 1e6:.1f} MB.", ""]
    return "\n".join(lines)
