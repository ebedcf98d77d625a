"""Write a quantised GGUF file whose packing is guided by the rows that the model was trained on."""

import struct
from dataclasses import dataclass
from pathlib import Path

from .base import BadRequest, note
from .catalogue import ADAPTER_TYPE, UNQUANTISED
from .dataset_folder import read_card
from .gguf_keys import packed_text
from .gguf_mixture import remark_on
from .gguf_quants import quantize_file
from .imatrix import calibration_rows, importance_weights
from .model_source import ModelSource
from .tokenizer_check import load_tokenizer
from .write_gguf import write_gguf

__all__ = ["UNWEIGHTED", "Weighted", "check_dataset", "write_weighted_gguf"]

UNWEIGHTED = (*UNQUANTISED, "q8_0", ADAPTER_TYPE)
"""Types that are the same with and without importance weights: ggml packs Q8_0 by each block's largest weight."""

_CHUNK = 512  # tokens of one reading in llama.cpp's tool, by which it counts


@dataclass(frozen=True)
class Weighted:
    """What came of it: `remark` on the file's size, and of the matrix the rows and tokens that it was computed from."""

    remark: str | None
    rows: int
    tokens: int


def check_dataset(source: ModelSource, checkpoint_dir: str) -> str:
    """The folder of the rows that a model was trained on.

    Raises:
        BadRequest: it is not known, or not there any more.
    """
    if source.dataset is None:
        raise BadRequest(
            f"an importance matrix is computed from the rows that a model was trained on, and `{checkpoint_dir}` names "
            "none; export a run of finetune_unsloth, or leave `imatrix` away"
        )
    try:
        read_card(source.dataset)
    except BadRequest as error:
        raise BadRequest(f"the importance matrix needs the rows that the model was trained on: {error}") from error
    return source.dataset


def write_weighted_gguf(
    source: ModelSource, quantization: str, dataset: str, model_dir: Path, target: Path
) -> Weighted:
    """As `write_gguf`, by way of a 16-bit file beside `model_dir` on which the importance is measured.

    Raises:
        BadRequest, MissingExtra, ToolFailed: as `write_gguf`, `calibration_rows` and `importance_weights`.
    """
    plain = model_dir.parent / "plain.gguf"
    write_gguf(source, "f16", model_dir, plain)
    calibration = calibration_rows(dataset, load_tokenizer(model_dir))
    weights = importance_weights(plain, calibration.rows)
    keys = {  # as llama-quantize notes it; the matrix itself is in no file
        "quantize.imatrix.dataset": _text_key(Path(str(read_card(dataset).get("source") or dataset)).name),
        "quantize.imatrix.entries_count": _count_key(len(weights)),
        "quantize.imatrix.chunks_count": _count_key(-(-calibration.tokens // _CHUNK)),
    }
    extra = {name: packed_text(name) + value for name, value in keys.items()}
    typed = quantize_file(plain, target, quantization, importance=weights, extra_keys=extra)
    plain.unlink()
    note(f"the importance of {len(weights)} matrices' columns was measured on {calibration.tokens} training tokens")
    return Weighted(remark_on(typed, quantization), len(calibration.rows), calibration.tokens)


_UINT32, _STRING = 4, 8  # types of metadata values


def _text_key(value: str) -> bytes:
    return struct.pack("<I", _STRING) + packed_text(value)


def _count_key(value: int) -> bytes:
    return struct.pack("<II", _UINT32, value)
