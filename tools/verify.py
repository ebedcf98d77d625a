"""Prove that a run's merged model, or a GGUF file, is the model that was trained. `tunesmith verify` runs this.

It is run like a tool, in a process of its own, but it is no row of the contract: nobody plans it.
"""

from pathlib import Path

from pydantic import Field

from .base import BadRequest, ToolFailed, ToolInput
from .fidelity_report import Fidelity, report_file, write_fidelity
from .gguf_origin import Origin, read_origin

__all__ = ["VerifyInput", "verify"]


class VerifyInput(ToolInput):
    target: str = Field(min_length=1, description="a run folder that finetune_unsloth wrote, or a .gguf file")
    checkpoint: str | None = Field(
        default=None, description="what the GGUF was exported from; by default what the JSON beside it names"
    )


def verify(request: VerifyInput) -> Fidelity:
    """Check the links of the fidelity chain and the prompts, and write the report beside what was checked.

    Raises:
        BadRequest: the target is no run and no GGUF, or nothing tells what the file was made from.
        ToolFailed: a conversion needed for the comparison stopped, or the report cannot be written.
    """
    path = Path(request.target).expanduser()
    found = _verify_run(request) if path.is_dir() else _verify_file(path, request.checkpoint)
    try:
        write_fidelity(found, report_file(path))
    except OSError as error:
        raise ToolFailed(f"cannot write `{report_file(path)}`: {error.strerror or error}") from error
    return found


def _verify_run(request: VerifyInput) -> Fidelity:
    from .fidelity import fidelity_chain
    from .model_source import find_model

    if request.checkpoint is not None:
        raise BadRequest(f"`{request.target}` is a run folder; `--checkpoint` is for a GGUF file")
    source = find_model(request.target)
    if not source.tuned:
        raise BadRequest(f"`{request.target}` is an untuned model: there is nothing to compare it with")
    with fidelity_chain(source, Path(request.target).resolve().parent) as chain:
        return chain.check_run()


def _verify_file(path: Path, checkpoint: str | None) -> Fidelity:
    from .fidelity import fidelity_chain
    from .gguf_header import read_header
    from .gguf_mixture import FILE_TYPES
    from .model_source import find_model

    if not path.exists():
        raise BadRequest(f"`{path}` does not exist; pass a run folder or a .gguf file")
    metadata = read_header(path).metadata
    if metadata.get("general.type") == "adapter":
        raise BadRequest(f"`{path}` holds an adapter alone; verify the run that it was exported from")
    file_type = metadata.get("general.file_type")
    origin = read_origin(path)
    quantization = next((name for name, known in FILE_TYPES.items() if known.id == file_type), None)
    modelfile = path.with_name(f"{path.stem}.Modelfile")
    source = find_model(checkpoint or _checkpoint(path, origin))
    with fidelity_chain(source, path.parent) as chain:
        found = chain.check(
            path,
            quantization=quantization or f"type {file_type}",
            modelfile=modelfile.read_text(encoding="utf-8") if modelfile.is_file() else None,
        )
    if origin is not None and origin.sha256 not in (None, found.sha256):
        remark = f"the file is not the one that was exported: `{origin.note.name}` beside it names another sha256"
        return found.model_copy(update={"remarks": [*found.remarks, remark]})
    return found


def _checkpoint(path: Path, origin: Origin | None) -> str:
    """The run that the file was exported from, else the folder or base model."""
    beside = path.with_suffix(".json").name
    if origin is None:
        raise BadRequest(
            f"nothing tells what `{path}` was made from: there is no `{beside}` beside it; name it with `--checkpoint`"
        )
    checkpoint = origin.run or origin.checkpoint_dir or origin.base_model
    if checkpoint is None:
        raise BadRequest(f"`{beside}` does not name what `{path}` was made from; name it with `--checkpoint`")
    return checkpoint
