"""The importance matrix: how much each column of each weight matrix counts on the rows that a model is used for.

Quantisation may then err more where the inputs are small. As in llama.cpp's own tool (tools/imatrix/imatrix.cpp) the
weight of a column is the mean of the squared inputs that meet it, and the embedding and output matrices have none.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import BadRequest, emit
from .dataset_folder import read_card, read_rows
from .ggml_tensor import GgmlTensor, tensor_values
from .llama_cpp import LlamaContext, LlamaModel
from .llama_library import library

if TYPE_CHECKING:
    import numpy as np

__all__ = ["CalibrationRows", "calibration_rows", "importance_weights"]

_TOKENS = 8192
"""How many tokens the inputs are averaged over."""

_ROW_TOKENS = 512  # the beginning of each row that is read
_SEED = 42
_ROWS_AT_ONCE = 64
_BATCH = 512
_WANTED_EVERY = 8
"""The last layer's feed-forward part is computed only for tokens whose logits are wanted, and so is the output matrix,
which in a small model is most of the work: every eighth token is enough of both."""


@dataclass(frozen=True)
class CalibrationRows:
    """Training rows as token ids, and how many there are to be told of."""

    rows: tuple[tuple[int, ...], ...]
    dataset: str

    @property
    def tokens(self) -> int:
        return sum(map(len, self.rows))


def calibration_rows(dataset: str, tokenizer: Any, *, max_tokens: int = _TOKENS) -> CalibrationRows:
    """A choice of the rows of a prepared dataset, the same each time, as training reads them.

    Args:
        dataset: folder of the rows.
        tokenizer: of transformers, with the model's chat template.
        max_tokens: of all rows together.

    Raises:
        BadRequest: the folder is no prepared dataset, or has no row with a token.
    """
    from .training_rows import conversation_rows, preference_rows, text_rows

    kind = read_card(dataset)["kind"]
    rows = read_rows(dataset)
    random.Random(_SEED).shuffle(rows)
    chosen: list[tuple[int, ...]] = []
    left = max_tokens
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        if kind == "preference":
            pairs = preference_rows(part, tokenizer, _ROW_TOKENS).rows
            found = [(*pair.prompt_ids, *pair.chosen_ids) for pair in pairs]
        else:
            made = (text_rows if kind == "text" else conversation_rows)(part, tokenizer, _ROW_TOKENS).rows
            found = [tuple(row.input_ids) for row in made]
        for tokens in found:
            chosen.append(tokens[: min(left, _ROW_TOKENS)])
            left -= len(chosen[-1])
            if left <= 0:
                return CalibrationRows(tuple(chosen), dataset)
    if not chosen:
        raise BadRequest(f"`{dataset}` has no row with text, so that no importance can be measured on it")
    return CalibrationRows(tuple(chosen), dataset)


def importance_weights(gguf_file: Path, rows: Sequence[Sequence[int]]) -> "dict[str, np.ndarray]":
    """Run a 16-bit or 32-bit GGUF file over token rows and average the squared inputs of its matrices.

    Args:
        rows: token ids; each row is a text of its own.

    Returns:
        GGUF tensor name -> float32 weight of each column; of an expert tensor for each expert in turn, with 1 for an
        expert that no token was sent to.

    Raises:
        BadRequest, ToolFailed: the file cannot be loaded or computed.
    """
    collector = _Collector()
    done, total = 0, sum(map(len, rows))
    with (
        LlamaModel(gguf_file) as model,
        LlamaContext(model, n_ctx=_BATCH, n_seq_max=_ROWS_AT_ONCE, n_batch=_BATCH, watch=collector) as context,
    ):
        for batch in _batches(rows):
            tokens = [token for row in batch for token in row]
            positions = [position for row in batch for position in range(len(row))]
            sequences = [number for number, row in enumerate(batch) for _ in row]
            wanted = [number % _WANTED_EVERY == 0 for number in range(len(tokens))]
            context.clear()
            context.decode(tokens, positions, sequences, wanted)
            done += len(tokens)
            emit("step", done=done, total=total, unit="tokens read for the importance matrix")
    return collector.weights()


def _batches(rows: Sequence[Sequence[int]]) -> Iterator[list[Sequence[int]]]:
    """Rows that are computed together: as many as fit, none longer than a batch."""
    batch: list[Sequence[int]] = []
    size = 0
    for row in rows:
        row = row[:_BATCH]
        if batch and (size + len(row) > _BATCH or len(batch) == _ROWS_AT_ONCE):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += len(row)
    if batch:
        yield batch


class _Collector:
    """Sums of squared inputs by tensor, filled while llama.cpp computes: what `LlamaContext` calls as `watch`."""

    def __init__(self) -> None:
        self._lib = library()
        self._sums: dict[str, np.ndarray[Any, Any]] = {}  # float64, (matrices, columns)
        self._counts: dict[str, np.ndarray[Any, Any]] = {}  # int64, (matrices,)

    def __call__(self, tensor: GgmlTensor, ask: bool) -> bool:
        weight, inputs = tensor.source(0), tensor.source(1)
        if weight is None or inputs is None or not inputs.is_float32:
            return False
        name = weight.name.decode()
        if not name.startswith("blk.") or not name.endswith(".weight"):
            return False
        operation = self._lib.ggml_op_name(tensor.op)
        if operation not in (b"MUL_MAT", b"MUL_MAT_ID"):
            return False
        if not ask:
            values = tensor_values(self._lib, inputs)
            if operation == b"MUL_MAT":
                self._dense(name, weight, values)
            else:
                chosen = tensor.source(2)
                assert chosen is not None
                self._experts(name, weight, values, tensor_values(self._lib, chosen)[0, 0])
        return True

    def _of(self, name: str, matrices: int, columns: int) -> "tuple[np.ndarray, np.ndarray]":
        import numpy as np

        if name not in self._sums:
            self._sums[name] = np.zeros((matrices, columns))
            self._counts[name] = np.zeros(matrices, dtype=np.int64)
        return self._sums[name], self._counts[name]

    def _dense(self, name: str, weight: GgmlTensor, values: "np.ndarray") -> None:
        """`values` is (n3, n2, tokens, columns); a weight of fewer matrices than that is used for several."""
        import numpy as np

        outer, inner = weight.ne[3], weight.ne[2]
        sums, counts = self._of(name, outer * inner, values.shape[3])
        for i3, i2 in np.ndindex(values.shape[:2]):
            matrix = (i3 % outer) * inner + i2 % inner
            rows_TC = values[i3, i2]
            sums[matrix] += np.einsum("tc,tc->c", rows_TC, rows_TC)
            counts[matrix] += len(rows_TC)

    def _experts(self, name: str, weight: GgmlTensor, values: "np.ndarray", chosen_TE: "np.ndarray") -> None:
        """`values` is (1, tokens, 1 or chosen experts, columns), `chosen_TE` the experts that each token goes to."""
        import numpy as np

        sums, counts = self._of(name, weight.ne[2], values.shape[3])
        inputs_TEC = np.broadcast_to(values[0], (*chosen_TE.shape, values.shape[3]))
        for expert in np.unique(chosen_TE):
            rows_TC = inputs_TEC[chosen_TE == expert]
            sums[expert] += np.einsum("tc,tc->c", rows_TC, rows_TC)
            counts[expert] += len(rows_TC)

    def weights(self) -> "dict[str, np.ndarray]":
        """The means, as llama-quantize takes them from an imatrix file."""
        import numpy as np

        found = {}
        for name in sorted(self._sums):
            sums, counts = self._sums[name], self._counts[name][:, None]
            means = np.where(counts > 0, sums / np.maximum(counts, 1), 1.0)
            found[name] = means.astype(np.float32).reshape(-1)
        return found
