"""Turn a trained checkpoint or a base model into one GGUF file that llama.cpp and Ollama can load."""

import errno
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from .artifacts import file_sha256, free_path, new_file, read_json, write_json
from .base import BadRequest, OutputPath, Result, ToolFailed, ToolInput, note
from .catalogue import FileType
from .locations import local_path

if TYPE_CHECKING:
    from .fidelity_report import Fidelity
    from .llama_cpp import LlamaModel
    from .model_source import ModelSource

__all__ = ["ExportGgufInput", "GgufFile", "export_gguf"]

Quantization = Literal[FileType, "lora"]


def _ends_in_gguf(value: str | None) -> str | None:
    if value is not None and not value.lower().endswith(".gguf"):
        raise ValueError(f"must end in .gguf, such as `{value.rstrip('/')}.gguf`")
    return value


class ExportGgufInput(ToolInput):
    checkpoint_dir: str = Field(
        min_length=1, description="folder that finetune_unsloth wrote, a model folder, a catalogue name or a hub id"
    )
    quantization: Annotated[Quantization, BeforeValidator(lambda v: v.lower() if isinstance(v, str) else v)] = Field(
        default="q4_k_m", description="llama.cpp file type, such as q4_k_m or q8_0; lora writes the adapter alone"
    )
    output_file: Annotated[OutputPath | None, AfterValidator(_ends_in_gguf)] = Field(
        default=None, description="the .gguf to create; default models/<name of checkpoint_dir>-finetuned.gguf"
    )
    imatrix: bool = Field(
        default=False, description="pack with an importance matrix, computed from the rows that the run was trained on"
    )
    check_fidelity: bool = Field(
        default=True,
        description="prove link by link that the file computes what was trained, as `tunesmith verify` does",
    )

    def reads(self) -> list[Path]:
        path = local_path(self.checkpoint_dir)
        return [path] if path else []

    def writes(self) -> list[Path]:
        return list(_outputs(Path(self.output_file))) if self.output_file else []


class GgufFile(Result):
    gguf_file: str
    quantization: str
    bytes: int
    bits_per_weight: float = Field(description="8 * tensor bytes / number of weights, over the whole file")
    tensor_types: dict[str, int] = Field(description="how many tensors have which ggml type")
    modelfile: str | None = Field(description="the Modelfile for Ollama beside it; none beside an adapter")
    remark: str | None = Field(description="why the file is larger than its name suggests, where it is")
    fidelity: str | None = Field(
        default=None, description="what the fidelity chain found, in words; None where it was not asked for"
    )
    seconds: float
    sha256: str

    def summary(self) -> str:
        size = f"{self.gguf_file}: {self.bytes / 1e6:.1f} MB, {self.bits_per_weight:.2f} bits a weight"
        return "\n".join(filter(None, (size, self.remark, self.fidelity)))


def export_gguf(request: ExportGgufInput) -> GgufFile:
    """Merge the adapter, convert to GGUF, quantise, read the file back and hold its tokens against the tokenizer's.

    The file appears under its final name when all of that is done, after the Modelfile and the JSON beside it. With
    the type `lora` it holds the adapter alone, for llama.cpp's `--lora`; Ollama takes no such file, so there is no
    Modelfile.

    Raises:
        BadRequest: `checkpoint_dir` holds no adapter and no model, or an output exists; `lora` without an adapter;
            `imatrix` where the rows of the training are not known or not there.
        MissingExtra: a package that converts or quantises is not installed.
        ToolFailed: no disk space, a converter stopped, or the file would read text otherwise than its tokenizer, or
            would compute another model than the one that was trained.
    """
    started = time.monotonic()
    from .model_source import find_model

    source = find_model(request.checkpoint_dir)
    if request.quantization == "lora" and not source.adapter:
        raise BadRequest(
            f"`{request.checkpoint_dir}` holds no adapter, which is what `quantization` 'lora' writes; name a run that "
            "was trained with LoRA, or another type such as q4_k_m"
        )
    dataset = _weighing_dataset(source, request) if request.imatrix else None
    output = Path(request.output_file) if request.output_file else _default_output(source, request.quantization)
    _clear_leftovers(output, request)
    for path in _outputs(output):
        if path.exists():
            raise BadRequest(f"`{path}` exists already; choose another `output_file` or remove it")
    try:
        with _workspace(output) as workspace:
            return _export(source, request, output, workspace, dataset, started)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise ToolFailed(f"the disk of `{output.parent}` is full; nothing was written") from error
        raise ToolFailed(f"cannot write `{output}`: {error.strerror or error}") from error


def _weighing_dataset(source: "ModelSource", request: ExportGgufInput) -> str | None:
    """The rows for the importance matrix; None for a type that is the same without."""
    from .write_weighted import UNWEIGHTED, check_dataset

    if request.quantization in UNWEIGHTED:
        note(f"an importance matrix changes nothing in a file of type {request.quantization}, so none is computed")
        return None
    return check_dataset(source, request.checkpoint_dir)


def _export(
    source: "ModelSource", request: ExportGgufInput, output: Path, workspace: Path, weighing: str | None, started: float
) -> GgufFile:
    from .fidelity_report import write_fidelity
    from .gguf_header import read_header

    beside = _outputs(output)
    with new_file(output) as partial:
        text = remark = matrix = fidelity = None
        model_dir = workspace / source.name
        if request.quantization == "lora":
            _write_adapter(source, partial)
        else:
            if weighing is None:
                from .write_gguf import write_gguf

                remark = write_gguf(source, request.quantization, model_dir, partial)
            else:
                from .write_weighted import write_weighted_gguf

                weighted = write_weighted_gguf(source, request.quantization, weighing, model_dir, partial)
                remark = weighted.remark
                matrix = {"dataset": weighing, "rows": weighted.rows, "tokens": weighted.tokens}
            text = _checked(partial, model_dir, output.name, source.dataset)
            if request.check_fidelity:
                fidelity = _proved(partial, source, request.quantization, text, output, workspace)
        header = read_header(partial)
        sha256 = file_sha256(partial)
        if text is not None:
            with new_file(beside.modelfile) as modelfile_partial:
                modelfile_partial.write_text(text, encoding="utf-8")
        if fidelity is not None:
            write_fidelity(fidelity, beside.fidelity)
        write_json(
            beside.json,
            {
                "run": source.run,
                "base_model": source.base_model,
                "dataset": source.dataset,
                "heldout": source.heldout(),
                "quantization": request.quantization,
                "checkpoint_dir": request.checkpoint_dir,
                **({"imatrix": matrix} if matrix else {}),
                "sha256": sha256,
            },
        )
        return GgufFile(
            gguf_file=str(output),
            quantization=request.quantization,
            bytes=partial.stat().st_size,
            bits_per_weight=header.bits_per_weight(),
            tensor_types=header.type_counts(),
            modelfile=None if text is None else str(beside.modelfile),
            remark=remark,
            fidelity=None if fidelity is None else _in_words(fidelity),
            seconds=round(time.monotonic() - started, 2),
            sha256=sha256,
        )


def _write_adapter(source: "ModelSource", target: Path) -> None:
    from .lora_gguf import write_lora_gguf

    assert source.adapter is not None
    changed = write_lora_gguf(source.adapter, source.model, target)
    note(f"wrote the adapter's matrices for {changed} tensors of {source.base_model}; llama.cpp adds them with --lora")


def _checked(gguf: Path, model_dir: Path, name: str, dataset: str | None) -> str:
    """Load the file in llama.cpp, compute one token, compare tokenizers; returns the text of its Modelfile."""
    from .llama_cpp import LlamaContext, LlamaModel
    from .modelfile import modelfile
    from .plain_tokenizer import plain_tokenizer
    from .tokenizer_check import check_tokenizer, load_tokenizer

    tokenizer = plain_tokenizer(model_dir) or load_tokenizer(model_dir)
    with LlamaModel(gguf) as model:
        with LlamaContext(model, n_ctx=256) as context:
            import numpy as np

            first = model.tokenize("The", add_special=True) or [0]
            logits = context.decode(first, range(len(first)), [0] * len(first), [True] * len(first))
            if not np.isfinite(logits).all():
                raise ToolFailed("llama.cpp computes infinite logits with the exported file: its weights are damaged")
        check_tokenizer(model, tokenizer, _rendered_samples(model))
        return modelfile(name, model, model_dir, dataset)


def _rendered_samples(model: "LlamaModel") -> list[str]:
    """Conversations as the file's own chat template writes them, for the comparison of tokens."""
    from .chat_template import Chat, render_chats

    if not model.chat_template:
        return []
    user, answer = {"role": "user", "content": "Hi, what's 2 + 2?"}, {"role": "assistant", "content": "4.\n\n  Bye!"}
    chats = [
        Chat([user], add_generation_prompt=True),
        Chat([user, answer]),
        Chat([user, answer, {"role": "user", "content": "  Größe — 大小 😀?\n"}], add_generation_prompt=True),
        Chat([{"role": "system", "content": "Be brief."}, user], add_generation_prompt=True),
    ]
    bos, eos = (
        "" if token is None else model.token_bytes(token).decode(errors="replace") for token in (model.bos, model.eos)
    )
    return render_chats(model.chat_template, chats, bos_token=bos, eos_token=eos)


def _proved(
    gguf: Path, source: "ModelSource", quantization: str, modelfile: str, output: Path, workspace: Path
) -> "Fidelity":
    """Hold the file against the model that was trained. What few bits cost is told; anything else that differs stops
    the export."""
    from .fidelity import fidelity_chain

    note("comparing the file with the model it was made from")
    with fidelity_chain(source, workspace) as chain:
        found = chain.check(gguf, quantization=quantization, modelfile=modelfile, name=str(output))
    if damage := found.damage():
        raise ToolFailed(f"`{output.name}` would not be the model that was trained: {'; '.join(damage)}")
    return found


def _in_words(found: "Fidelity") -> str:
    """One or two lines for the result."""
    if found.broken():
        return "\n".join(found.broken())
    last = next((link for link in reversed(found.links) if link.mean_kl is not None), None)
    if last is None:
        return f"not compared with the model it was made from: {found.links[-1].reason}" if found.links else ""
    return (
        f"sound: {sum(link.verdict == 'sound' for link in found.links)} of {len(found.links)} links checked; "
        f"{last.after} keeps {last.agreement:.0%} of the most probable next words (mean KL {last.mean_kl:.2g} nats)"
    )


@dataclass(frozen=True)
class _Outputs:
    """The files of one export, in the order in which they appear; iterating begins with the GGUF."""

    modelfile: Path
    fidelity: Path
    json: Path
    gguf: Path

    def __iter__(self) -> Iterator[Path]:
        return iter((self.gguf, self.modelfile, self.fidelity, self.json))


def _outputs(output: Path) -> _Outputs:
    from .fidelity_report import report_file

    stem = output.stem
    return _Outputs(
        output.with_name(f"{stem}.Modelfile"), report_file(output), output.with_name(f"{stem}.json"), output
    )


def _default_output(source: "ModelSource", quantization: str) -> Path:
    kind = "-lora" if quantization == "lora" else "-finetuned" if source.tuned else ""
    return free_path(Path("models") / f"{source.name}{kind}.gguf")


def _clear_leftovers(output: Path, request: ExportGgufInput) -> None:
    """Remove what a killed export of this very request left beside a GGUF that never appeared."""
    beside = _outputs(output)
    output.with_name(output.name + ".partial").unlink(missing_ok=True)
    beside.modelfile.with_name(beside.modelfile.name + ".partial").unlink(missing_ok=True)
    shutil.rmtree(_workspace_of(output), ignore_errors=True)
    if output.exists() or not beside.modelfile.exists():
        return
    named: Any = None
    if beside.json.exists():
        try:
            named = read_json(beside.json)
        except (OSError, ValueError):
            return
        if not isinstance(named, dict) or (named.get("checkpoint_dir"), named.get("quantization")) != (
            request.checkpoint_dir,
            request.quantization,
        ):
            return
    if beside.modelfile.read_bytes().startswith(f"FROM ./{output.name}\n".encode()):
        beside.json.unlink(missing_ok=True)
        beside.fidelity.unlink(missing_ok=True)
        beside.modelfile.unlink()


def _workspace_of(output: Path) -> Path:
    return output.with_name(f".{output.name}.work.partial")


@contextmanager
def _workspace(output: Path) -> Iterator[Path]:
    """A folder on the output's disk for the model's settings, and for what a converter needs; removed at the end, and
    the output's folder too where it is new and stays empty."""
    missing = [folder for folder in (output.parent, *output.parent.parents) if not folder.exists()]
    folder = _workspace_of(output)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for parent in missing:
            if not any(parent.iterdir()):
                parent.rmdir()
