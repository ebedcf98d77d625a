"""llama.cpp for Python code: load a GGUF, tokenise, decode to logits, quantise rows.

Arguments are checked before the C library sees them; what it refuses becomes an exception; everything is freed by
`close()` or at the end of a `with` block.
"""

import ctypes
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from .base import BadRequest, ToolFailed
from .ggml_tensor import GgmlTensor
from .gguf_header import GGML_TYPES, GgufHeader, read_header
from .llama_library import EVAL_CALLBACK, Batch, last_errors, library

if TYPE_CHECKING:
    import numpy as np

__all__ = ["LlamaContext", "LlamaModel", "cpu_threads", "quantize_rows"]

_MAX_SEQUENCES = 256  # LLAMA_MAX_SEQ in llama-cparams.h
_NO_VOCABULARY = 0  # LLAMA_VOCAB_TYPE_NONE


def cpu_threads() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Closing:
    """`with` for an object that has `close()`; garbage collection closes it too."""

    def close(self) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LlamaModel(_Closing):
    """A GGUF file in memory: its vocabulary, and its weights unless `vocab_only`.

    The header is checked in Python first. Closing the model closes its contexts.

    Raises:
        BadRequest: the file is not a sound GGUF file.
        ToolFailed: llama.cpp cannot load it; says why.
    """

    def __init__(self, path: Path | str, *, vocab_only: bool = False) -> None:
        self.path = Path(path)
        self.header: GgufHeader = read_header(self.path)
        if self.header.metadata.get("general.type") == "adapter":
            raise BadRequest(f"`{self.path}` is an adapter, not a model; pass the GGUF of the model it belongs to")
        self.vocab_only = vocab_only
        self._contexts: weakref.WeakSet[LlamaContext] = weakref.WeakSet()
        self._lib = library()
        params = self._lib.llama_model_default_params()
        params.vocab_only = vocab_only
        last_errors()
        handle = self._lib.llama_model_load_from_file(os.fsencode(self.path), params)
        if not handle:
            raise ToolFailed(f"llama.cpp cannot load `{self.path}`: {last_errors() or 'it gives no reason'}")
        self._model: int | None = handle
        self._free = weakref.finalize(self, self._lib.llama_model_free, handle)
        if self._lib.llama_vocab_type(self._vocab) == _NO_VOCABULARY:
            self.close()
            raise BadRequest(f"`{self.path}` has no vocabulary; only files with a tokenizer can be used")

    def close(self) -> None:
        """Free contexts and weights. May be called twice."""
        for context in list(self._contexts):
            context.close()
        self._model = None
        self._free()

    @property
    def handle(self) -> int:
        if self._model is None:
            raise ValueError(f"the model of `{self.path}` is closed")
        return self._model

    @property
    def _vocab(self) -> int:
        return int(self._lib.llama_model_get_vocab(self.handle))

    @cached_property
    def n_vocab(self) -> int:
        return int(self._lib.llama_vocab_n_tokens(self._vocab))

    @cached_property
    def n_ctx_train(self) -> int:
        """Longest context that the model was trained on, in tokens; 0 where the file does not say."""
        return int(self._lib.llama_model_n_ctx_train(self.handle))

    @property
    def cell_bytes(self) -> int:
        """Bytes that a token's keys and values take in 16 bits; where layers differ, as if all were like the first."""
        layers, heads, width = (
            self.header.hyperparameter(name) or 1
            for name in ("block_count", "attention.head_count", "embedding_length")
        )
        heads_kv = self.header.hyperparameter("attention.head_count_kv") or heads
        widths = (self.header.hyperparameter(f"attention.{name}_length") or width // heads for name in ("key", "value"))
        return 2 * layers * heads_kv * sum(widths)

    def _special(self, name: str) -> int | None:
        token = int(getattr(self._lib, name)(self._vocab))
        return token if token >= 0 else None

    @property
    def bos(self) -> int | None:
        return self._special("llama_vocab_bos")

    @property
    def eos(self) -> int | None:
        return self._special("llama_vocab_eos")

    @property
    def eot(self) -> int | None:
        """End of a turn, where the model has a token for it that differs from `eos`."""
        return self._special("llama_vocab_eot")

    @property
    def add_bos(self) -> bool:
        """Whether `tokenize(..., add_special=True)` puts `bos` in front."""
        return bool(self._lib.llama_vocab_get_add_bos(self._vocab))

    @property
    def add_eos(self) -> bool:
        return bool(self._lib.llama_vocab_get_add_eos(self._vocab))

    @cached_property
    def recurrent(self) -> bool:
        """Whether the model keeps a state that can't be cut back, in all its layers or in some."""
        lib = self._lib
        return bool(lib.llama_model_is_recurrent(self.handle) or lib.llama_model_is_hybrid(self.handle))

    @property
    def chat_template(self) -> str | None:
        """The Jinja text in the file."""
        return self.header.chat_template

    def is_eog(self, token: int) -> bool:
        """Whether `token` ends a generation: end of text, of a turn, of a message."""
        self._check_token(token)
        return bool(self._lib.llama_vocab_is_eog(self._vocab, token))

    def is_control(self, token: int) -> bool:
        """Whether `token` is special: it stands for no text."""
        self._check_token(token)
        return bool(self._lib.llama_vocab_is_control(self._vocab, token))

    def _check_token(self, token: int) -> None:
        if not 0 <= token < self.n_vocab:
            raise ValueError(f"token {token} is not in the vocabulary of {self.n_vocab}")

    def tokenize(self, text: str, *, add_special: bool = False, parse_special: bool = False) -> list[int]:
        """Token ids of `text`.

        `add_special` adds what the model wants around a text (see `add_bos`); `parse_special` reads the written form
        of special tokens, such as <|im_end|>, as those tokens; without it they are plain text.
        """
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise ValueError(f"the text holds a lone surrogate at character {error.start}") from error
        room = len(raw) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count = self._lib.llama_tokenize(self._vocab, raw, len(raw), tokens, room, add_special, parse_special)
            if count >= 0:
                return list(tokens[:count])
            room = -count

    def token_bytes(self, token: int, *, special: bool = True) -> bytes:
        """The bytes that `token` stands for, which may be part of a character; `special` writes control tokens out."""
        self._check_token(token)
        room = 64
        while True:
            piece = ctypes.create_string_buffer(room)
            length = self._lib.llama_token_to_piece(self._vocab, token, piece, room, 0, special)
            if length >= 0:
                return piece.raw[:length]
            room = -length

    def pieces(self) -> list[bytes]:
        """What each token of the vocabulary stands for, control tokens for nothing."""
        vocabulary, convert = self._vocab, self._lib.llama_token_to_piece
        room = 1024
        piece = ctypes.create_string_buffer(room)
        lengths = (convert(vocabulary, token, piece, room, 0, False) for token in range(self.n_vocab))
        return [
            ctypes.string_at(piece, length) if length >= 0 else self.token_bytes(token, special=False)
            for token, length in enumerate(lengths)
        ]

    def detokenize(self, tokens: Sequence[int], *, special: bool = False) -> str:
        """The text of `tokens`; `special` writes control tokens out. Incomplete characters become U+FFFD."""
        for token in tokens:
            self._check_token(token)
        ids = (ctypes.c_int32 * len(tokens))(*tokens)
        room = 8 * len(tokens) + 16
        while True:
            text = ctypes.create_string_buffer(room)
            length = self._lib.llama_detokenize(self._vocab, ids, len(tokens), text, room, False, special)
            if length >= 0:
                return text.raw[:length].decode("utf-8", errors="replace")
            room = -length


def _guarded(
    watch: Callable[[GgmlTensor, bool], bool], trouble: list[BaseException]
) -> Callable[[int, bool, int | None], bool]:
    """`watch` as C calls it. An exception cannot cross C code: it is kept, and nothing is wanted any more."""

    def callback(address: int, ask: bool, _: int | None) -> bool:
        if trouble:
            return False
        try:
            return watch(GgmlTensor.from_address(address), ask)
        except BaseException as error:  # noqa: BLE001 - raised again by decode
            trouble.append(error)
            return False

    return callback


class LlamaContext(_Closing):
    """Working memory of a model: `n_ctx` cells for keys and values, shared by up to `n_seq_max` sequences.

    Args:
        n_ctx: cells over all sequences together; llama.cpp rounds up to a multiple of 256.
        n_batch: tokens that are computed at once; longer input is cut into such pieces.
        threads: cores to use; all that the process may use where None.
        unified: one buffer for all sequences, so that `seq_cp` costs nothing and may copy a part. False gives each
            sequence `n_ctx / n_seq_max` cells of its own, which is faster where they share no prefix.
        watch: called with each tensor before it is computed and True, to say whether it is wanted, and with each
            wanted one after it is computed and False. An exception that it raises comes out of `decode`.
    """

    def __init__(
        self,
        model: LlamaModel,
        *,
        n_ctx: int,
        n_seq_max: int = 1,
        n_batch: int = 512,
        threads: int | None = None,
        unified: bool = True,
        watch: Callable[[GgmlTensor, bool], bool] | None = None,
    ) -> None:
        if model.vocab_only:
            raise ValueError("a model loaded with `vocab_only` has no weights to compute with")
        if n_ctx < 1 or n_batch < 1 or not 1 <= n_seq_max <= _MAX_SEQUENCES:
            raise ValueError(f"impossible context: n_ctx {n_ctx}, n_batch {n_batch}, n_seq_max {n_seq_max}")
        self.model = model
        self._lib = library()
        if self._lib.llama_model_has_encoder(model.handle) or not self._lib.llama_model_has_decoder(model.handle):
            raise BadRequest(f"`{model.path}` has an encoder; only models that go on with a text can be used")
        params = self._lib.llama_context_default_params()
        # Fewer cells or tokens than sequences end the process: llama.cpp reserves logits for one token of each.
        n_ctx, n_batch = max(n_ctx, n_seq_max), max(n_batch, n_seq_max)
        params.n_ctx, params.n_seq_max, params.kv_unified = n_ctx, n_seq_max, unified
        params.n_batch, params.n_ubatch = n_batch, min(n_batch, 512)
        params.n_threads = params.n_threads_batch = threads or cpu_threads()
        self._trouble: list[BaseException] = []
        if watch is not None:
            # Kept here: llama.cpp holds only its address.
            self._callback = EVAL_CALLBACK(_guarded(watch, self._trouble))
            params.cb_eval = ctypes.cast(self._callback, ctypes.c_void_p)
        last_errors()
        handle = self._lib.llama_init_from_model(model.handle, params)
        if not handle:
            raise ToolFailed(
                f"llama.cpp cannot make a context of {n_ctx} tokens for `{model.path}`: {last_errors() or 'no memory'}"
            )
        self._context: int | None = handle
        self._free = weakref.finalize(self, self._lib.llama_free, handle)
        if not self._lib.llama_get_memory(handle):
            self.close()
            raise BadRequest(f"`{model.path}` has no memory for a text; only models that go on with a text can be used")
        model._contexts.add(self)
        self.unified = unified
        self.n_seq_max = n_seq_max
        self.n_ctx = int(self._lib.llama_n_ctx(handle))
        self.n_ctx_seq = int(self._lib.llama_n_ctx_seq(handle))
        self.n_batch = int(self._lib.llama_n_batch(handle))

    def close(self) -> None:
        """Free the memory. May be called twice."""
        self._context = None
        self._free()

    @property
    def handle(self) -> int:
        if self._context is None:
            raise ValueError("the context is closed")
        return self._context

    @property
    def _memory(self) -> int:
        return int(self._lib.llama_get_memory(self.handle))

    def decode(
        self,
        tokens: "Sequence[int] | np.ndarray",
        positions: "Sequence[int] | np.ndarray",
        seq_ids: "Sequence[int | Sequence[int]] | np.ndarray",
        wanted: "Sequence[bool] | np.ndarray",
    ) -> "np.ndarray":
        """Compute tokens and remember them; returns the logits of the wanted ones.

        Token i stands at `positions[i]` of sequence `seq_ids[i]`; the positions of one sequence must go on where it
        ends. All four have one item a token. A token may belong to several sequences, which must hold the same cells
        until then; of the tokens that follow none may join what has parted.

        Returns:
            logits_NV, float32: one row for each true item of `wanted`, in order; a copy that belongs to the caller.

        Raises:
            ValueError: lengths differ, or a token, position or sequence does not exist.
            ToolFailed: the context is full, or llama.cpp refuses the positions.
        """
        import numpy as np

        rows = int(np.count_nonzero(wanted))
        logits_NV: np.ndarray[Any, Any] = np.empty((rows, self.model.n_vocab), dtype=np.float32)
        done = 0
        for piece_NV in self.decode_pieces(tokens, positions, seq_ids, wanted):
            logits_NV[done : done + len(piece_NV)] = piece_NV
            done += len(piece_NV)
        return logits_NV

    def decode_pieces(
        self,
        tokens: "Sequence[int] | np.ndarray",
        positions: "Sequence[int] | np.ndarray",
        seq_ids: "Sequence[int | Sequence[int]] | np.ndarray",
        wanted: "Sequence[bool] | np.ndarray",
        *,
        most_rows: int | None = None,
    ) -> "Iterator[np.ndarray]":
        """As `decode`, without a copy: the wanted logits in pieces of `n_batch` tokens and `most_rows` rows at most.

        A piece is llama.cpp's own memory: read it before the next one is computed, and do not write into it. Tokens
        are computed only as far as pieces are taken.
        """
        import numpy as np

        context = self.handle
        ids, places = (np.ascontiguousarray(values, dtype=np.int32) for values in (tokens, positions))
        outputs = np.ascontiguousarray(wanted, dtype=np.bool_).astype(np.int8)
        owners = [(owner,) if isinstance(owner, int | np.integer) else tuple(owner) for owner in seq_ids]
        counts: np.ndarray[Any, Any] = np.array([len(owner) for owner in owners], dtype=np.int32)
        sequences: np.ndarray[Any, Any] = np.array([s for owner in owners for s in owner], dtype=np.int32)
        count = len(ids)
        if ids.ndim != 1 or not ids.shape == places.shape == counts.shape == outputs.shape:
            raise ValueError(
                f"{ids.shape} tokens, {places.shape} positions, {counts.shape} sequences, {outputs.shape} flags"
            )
        for name, values, limit in (
            ("token", ids, self.model.n_vocab),
            ("position", places, self.n_ctx_seq),
            ("sequence", sequences, self.n_seq_max),
            ("token's number of sequences", counts - 1, self.n_seq_max),
        ):
            if count and (values.min() < 0 or values.max() >= limit):
                raise ValueError(f"a {name} is outside 0 to {limit - 1}")
        firsts = np.concatenate([[0], np.cumsum(counts)]).astype(np.uint64)
        rows_before = np.concatenate([[0], np.cumsum(outputs)])
        start = 0
        while start < count:
            stop = min(start + self.n_batch, count)
            if most_rows is not None:
                last = int(np.searchsorted(rows_before, rows_before[start] + most_rows, side="right")) - 1
                stop = min(stop, max(start + 1, last))
            pointers = np.uint64(sequences.ctypes.data) + firsts[start:stop] * np.uint64(4)
            self._decode_batch(
                context, ids[start:stop], places[start:stop], counts[start:stop], pointers, outputs[start:stop]
            )
            rows = int(rows_before[stop] - rows_before[start])
            if rows:
                pointer = self._lib.llama_get_logits(context)
                if not pointer:
                    raise ToolFailed(f"llama.cpp returned no logits: {last_errors()}")
                yield np.ctypeslib.as_array(pointer, (rows, self.model.n_vocab))
            start = stop

    def _decode_batch(self, context: int, ids: Any, places: Any, counts: Any, pointers: Any, outputs: Any) -> None:
        batch = Batch(
            n_tokens=len(ids),
            token=ids.ctypes.data,
            pos=places.ctypes.data,
            n_seq_id=counts.ctypes.data,
            seq_id=pointers.ctypes.data,
            logits=outputs.ctypes.data,
        )
        last_errors()
        status = self._lib.llama_decode(context, batch)
        if self._trouble:
            raise self._trouble.pop()
        if status == 1:
            raise ToolFailed(f"the context of {self.n_ctx} tokens is full")
        if status != 0:
            raise ToolFailed(f"llama.cpp refused {len(ids)} tokens (status {status}): {last_errors()}")

    def use_adapter(self, path: Path | str, scale: float = 1.0) -> None:
        """Let a LoRA adapter in GGUF change what the model computes from now on, in place of an earlier one.

        Raises:
            BadRequest: the file is not a sound GGUF file, or holds no LoRA adapter.
            ToolFailed: it belongs to another model, as llama.cpp says.
        """
        if read_header(Path(path)).metadata.get("adapter.type") != "lora":
            raise BadRequest(f"`{path}` is not a LoRA adapter")
        last_errors()
        adapter = self._lib.llama_adapter_lora_init(self.model.handle, os.fsencode(path))  # freed with the model
        if not adapter:
            raise ToolFailed(f"llama.cpp cannot load the adapter `{path}`: {last_errors() or 'it gives no reason'}")
        adapters, scales = (ctypes.c_void_p * 1)(adapter), (ctypes.c_float * 1)(scale)
        if self._lib.llama_set_adapters_lora(self.handle, adapters, 1, scales):
            raise ToolFailed(f"llama.cpp cannot use the adapter `{path}`: {last_errors() or 'it gives no reason'}")

    def seq_cp(self, source: int, target: int, start: int = -1, end: int = -1) -> None:
        """Let sequence `target` share what `source` holds at positions from `start` to before `end` (-1: open)."""
        self._check_sequences(source, target)
        if not self.unified and (start > 0 or end >= 0):
            raise ValueError("part of a sequence can be copied only in a unified context")
        self._lib.llama_memory_seq_cp(self._memory, source, target, start, end)

    def seq_rm(self, sequence: int, start: int = -1, end: int = -1) -> None:
        """Forget positions from `start` to before `end` of a sequence (-1: open).

        Raises:
            ToolFailed: the model's memory cannot drop a part of a sequence (recurrent models).
        """
        self._check_sequences(sequence)
        if not self._lib.llama_memory_seq_rm(self._memory, sequence, start, end):
            raise ToolFailed(f"this model cannot forget positions {start} to {end} of a sequence")

    def seq_length(self, sequence: int) -> int:
        """The position after the last one that the sequence holds; 0 for an empty one."""
        self._check_sequences(sequence)
        return int(self._lib.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def clear(self) -> None:
        """Forget all sequences."""
        self._lib.llama_memory_clear(self._memory, False)

    def _check_sequences(self, *sequences: int) -> None:
        for sequence in sequences:
            if not 0 <= sequence < self.n_seq_max:
                raise ValueError(f"sequence {sequence} is outside 0 to {self.n_seq_max - 1}")


def quantize_rows(values_RC: "np.ndarray", type_name: str, imatrix_C: "np.ndarray | None" = None) -> "np.ndarray":
    """Pack float32 rows as ggml does; returns uint8 of shape (rows, bytes of one row).

    The C code runs without Python's lock, so threads that quantise different rows run side by side.

    Args:
        values_RC: matrix of finite float32, contiguous.
        type_name: a key of GGML_TYPES whose block divides the row length.
        imatrix_C: float32 weight of each column, for types that use it.

    Raises:
        ValueError: wrong shape, type or length.
        ToolFailed: the values are not finite, or ggml wrote something it would not read.
    """
    import numpy as np

    kind = GGML_TYPES[type_name]
    if values_RC.ndim != 2 or values_RC.dtype != np.float32 or not values_RC.flags.c_contiguous:
        raise ValueError("`values_RC` must be a contiguous float32 matrix")
    rows, columns = values_RC.shape
    if columns == 0 or columns % kind.block:
        raise ValueError(f"rows of {columns} weights cannot be packed as {type_name}, in blocks of {kind.block}")
    weights = None
    if imatrix_C is not None:
        if imatrix_C.shape != (columns,) or imatrix_C.dtype != np.float32 or not np.isfinite(imatrix_C).all():
            raise ValueError(f"`imatrix_C` must be {columns} finite float32 values")
        weights = np.ascontiguousarray(imatrix_C)
    if not np.isfinite(values_RC).all():
        raise ToolFailed(f"weights that are not finite cannot be packed as {type_name}")
    lib = library()
    packed: np.ndarray[Any, Any] = np.empty((rows, kind.row_bytes(columns)), dtype=np.uint8)
    if rows == 0:
        return packed
    lib.ggml_quantize_init(kind.id)
    written = lib.ggml_quantize_chunk(
        kind.id,
        values_RC.ctypes.data,
        packed.ctypes.data,
        0,
        rows,
        columns,
        None if weights is None else weights.ctypes.data,
    )
    if written != packed.nbytes or not lib.ggml_validate_row_data(kind.id, packed.ctypes.data, packed.nbytes):
        raise ToolFailed(f"ggml packed {rows} rows as {type_name} into {written} bytes that it would not read")
    return packed
