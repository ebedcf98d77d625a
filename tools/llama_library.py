"""The C library of llama.cpp inside the wheel `xllamacpp`: opened here and nowhere else, by ctypes.

The wheel promises no C interface. So its version is pinned, every function that we call must be there, and the
default values of both parameter structs must lie where our layouts expect them; otherwise nothing is called at all.
Layouts and signatures: `thirdparty/llama.cpp/include/llama.h` and `ggml.h` in the wheel's own source package.
"""

import atexit
import ctypes
import functools
import importlib.metadata
import importlib.util
import os
from collections import deque
from collections.abc import Callable
from ctypes import c_bool, c_char_p, c_float, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

from .base import MissingExtra, ToolFailed, require_extra
from .ggml_tensor import FUNCTIONS as TENSOR_FUNCTIONS
from .ggml_tensor import check_tensor_layout
from .gguf_header import GGML_TYPES
from .llguidance import FUNCTIONS as GRAMMAR_FUNCTIONS
from .llguidance import check_grammar_layout

__all__ = ["EVAL_CALLBACK", "XLLAMACPP_VERSION", "Batch", "ContextParams", "ModelParams", "last_errors", "library"]

XLLAMACPP_VERSION = "2026.10.11549"
"""The one version of the wheel whose layouts are known here."""


class ModelParams(ctypes.Structure):
    """`llama_model_params`."""

    _fields_ = (
        ("devices", c_void_p),
        ("tensor_buft_overrides", c_void_p),
        ("n_gpu_layers", c_int32),
        ("split_mode", c_int32),
        ("load_mode", c_int32),
        ("lazy_mode", c_int32),
        ("main_gpu", c_int32),
        ("tensor_split", c_void_p),
        ("progress_callback", c_void_p),
        ("progress_callback_user_data", c_void_p),
        ("kv_overrides", c_void_p),
        ("vocab_only", c_bool),
        ("check_tensors", c_bool),
        ("use_extra_bufts", c_bool),
        ("no_host", c_bool),
        ("no_alloc", c_bool),
        ("load_mtp", c_bool),
    )


class ContextParams(ctypes.Structure):
    """`llama_context_params`."""

    _fields_ = (
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("n_ubatch", c_uint32),
        ("n_seq_max", c_uint32),
        ("n_rs_seq", c_uint32),
        ("n_outputs_max", c_uint32),
        ("n_outputs_max_per_seq", c_uint32),
        ("n_threads", c_int32),
        ("n_threads_batch", c_int32),
        ("ctx_type", c_int32),
        ("rope_scaling_type", c_int32),
        ("pooling_type", c_int32),
        ("attention_type", c_int32),
        ("flash_attn_type", c_int32),
        ("rope_freq_base", c_float),
        ("rope_freq_scale", c_float),
        ("yarn_ext_factor", c_float),
        ("yarn_attn_factor", c_float),
        ("yarn_beta_fast", c_float),
        ("yarn_beta_slow", c_float),
        ("yarn_orig_ctx", c_uint32),
        ("defrag_thold", c_float),
        ("cb_eval", c_void_p),
        ("cb_eval_user_data", c_void_p),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("abort_callback", c_void_p),
        ("abort_callback_data", c_void_p),
        ("moe_cache_size", c_size_t),
        ("embeddings", c_bool),
        ("offload_kqv", c_bool),
        ("no_perf", c_bool),
        ("op_offload", c_bool),
        ("swa_full", c_bool),
        ("kv_unified", c_bool),
        ("samplers", c_void_p),
        ("n_samplers", c_size_t),
        ("ctx_other", c_void_p),
    )


class Batch(ctypes.Structure):
    """`llama_batch`: all arrays have `n_tokens` items and belong to the caller."""

    _fields_ = (
        ("n_tokens", c_int32),
        ("token", c_void_p),
        ("embd", c_void_p),
        ("pos", c_void_p),
        ("n_seq_id", c_void_p),
        ("seq_id", c_void_p),
        ("logits", c_void_p),
    )


# What the library's own defaults are, in the order of the fields. One wrong offset, one more field, and they differ.
_MODEL_DEFAULTS = (None, None, -1, 1, -1, 1, 0, None, None, None, None, False, False, True, False, False, False)
_CONTEXT_DEFAULTS = (
    *(512, 2048, 512, 1, 0, 0, 1, 4, 4, 0, -1, -1, -1, -1),
    *(0.0, 0.0, -1.0, -1.0, -1.0, -1.0, 0, -1.0, None, None, 1, 1, None, None, 0),
    *(False, True, True, True, True, False, None, 0, None),
)

EVAL_CALLBACK = ctypes.CFUNCTYPE(c_bool, c_void_p, c_bool, c_void_p)
"""`ggml_backend_sched_eval_callback`: (tensor, whether this is the question if it is wanted, user data)."""

_LOG_CALLBACK = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_void_p)

# name -> (result, arguments)
_FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "ggml_blck_size": (c_int64, (c_int32,)),
    "ggml_quantize_chunk": (c_size_t, (c_int32, c_void_p, c_void_p, c_int64, c_int64, c_int64, c_void_p)),
    "ggml_quantize_init": (None, (c_int32,)),
    "ggml_type_size": (c_size_t, (c_int32,)),
    "ggml_validate_row_data": (c_bool, (c_int32, c_void_p, c_size_t)),
    **TENSOR_FUNCTIONS,
    **GRAMMAR_FUNCTIONS,
    "llama_adapter_lora_init": (c_void_p, (c_void_p, c_char_p)),
    "llama_backend_init": (None, ()),
    "llama_context_default_params": (ContextParams, ()),
    "llama_decode": (c_int32, (c_void_p, Batch)),
    "llama_detokenize": (c_int32, (c_void_p, c_void_p, c_int32, c_char_p, c_int32, c_bool, c_bool)),
    "llama_free": (None, (c_void_p,)),
    "llama_get_logits": (ctypes.POINTER(c_float), (c_void_p,)),
    "llama_get_memory": (c_void_p, (c_void_p,)),
    "llama_init_from_model": (c_void_p, (c_void_p, ContextParams)),
    "llama_log_set": (None, (c_void_p, c_void_p)),
    "llama_memory_clear": (None, (c_void_p, c_bool)),
    "llama_memory_seq_cp": (None, (c_void_p, c_int32, c_int32, c_int32, c_int32)),
    "llama_memory_seq_pos_max": (c_int32, (c_void_p, c_int32)),
    "llama_memory_seq_rm": (c_bool, (c_void_p, c_int32, c_int32, c_int32)),
    "llama_model_default_params": (ModelParams, ()),
    "llama_model_free": (None, (c_void_p,)),
    "llama_model_get_vocab": (c_void_p, (c_void_p,)),
    "llama_model_has_decoder": (c_bool, (c_void_p,)),
    "llama_model_has_encoder": (c_bool, (c_void_p,)),
    "llama_model_is_hybrid": (c_bool, (c_void_p,)),
    "llama_model_is_recurrent": (c_bool, (c_void_p,)),
    "llama_model_load_from_file": (c_void_p, (c_char_p, ModelParams)),
    "llama_model_n_ctx_train": (c_int32, (c_void_p,)),
    "llama_n_batch": (c_uint32, (c_void_p,)),
    "llama_n_ctx": (c_uint32, (c_void_p,)),
    "llama_n_ctx_seq": (c_uint32, (c_void_p,)),
    "llama_set_adapters_lora": (c_int32, (c_void_p, c_void_p, c_size_t, c_void_p)),
    "llama_token_to_piece": (c_int32, (c_void_p, c_int32, c_char_p, c_int32, c_int32, c_bool)),
    "llama_tokenize": (c_int32, (c_void_p, c_char_p, c_int32, c_void_p, c_int32, c_bool, c_bool)),
    "llama_vocab_bos": (c_int32, (c_void_p,)),
    "llama_vocab_eos": (c_int32, (c_void_p,)),
    "llama_vocab_eot": (c_int32, (c_void_p,)),
    "llama_vocab_get_add_bos": (c_bool, (c_void_p,)),
    "llama_vocab_get_add_eos": (c_bool, (c_void_p,)),
    "llama_vocab_is_control": (c_bool, (c_void_p, c_int32)),
    "llama_vocab_is_eog": (c_bool, (c_void_p, c_int32)),
    "llama_vocab_n_tokens": (c_int32, (c_void_p,)),
    "llama_vocab_type": (c_int32, (c_void_p,)),
}

# How long OpenMP's threads spin while they wait for each other, before they sleep. Its own 300,000 rounds are no faster
# on an idle machine, but beside another computing process they made one token take 2800 ms instead of 40 (two cores).
_SPINS = "1000"

_errors: deque[str] = deque(maxlen=3)
_ERROR_LEVEL = 4


def _keep_errors(level: int, text: bytes | None, _: object) -> None:
    """llama.cpp's log: errors are kept for the message of an exception, the rest is dropped."""
    if level == _ERROR_LEVEL and text:
        _errors.append(" ".join(text.decode("utf-8", errors="replace").split()))


_KEEP_ERRORS = _LOG_CALLBACK(_keep_errors)


def last_errors() -> str:
    """What llama.cpp logged as errors since the last call, on one line; empty where there is nothing."""
    text = "; ".join(_errors)
    _errors.clear()
    return text


@functools.cache
def library() -> Any:
    """Open the library once and check it: version, functions, layouts, sizes of the tensor types.

    Raises:
        MissingExtra: the wheel is not installed, or in another version.
        ToolFailed: it is the right version and yet lacks a function or lays its structs out differently.
    """
    require_extra("export", "xllamacpp")
    installed = importlib.metadata.version("xllamacpp")
    if installed != XLLAMACPP_VERSION:
        raise MissingExtra(
            f"`xllamacpp` {installed} is installed, but its C interface is known in version {XLLAMACPP_VERSION} only; "
            f"run: pip install xllamacpp=={XLLAMACPP_VERSION}"
        )
    spec = importlib.util.find_spec("xllamacpp")
    assert spec is not None
    folder = Path(str(spec.origin)).parent
    files = [*folder.glob("xllamacpp*.so"), *folder.glob("xllamacpp*.pyd")]
    if not files:
        raise ToolFailed(f"`{folder}` holds no compiled library; install `xllamacpp` again")
    os.environ.setdefault("GOMP_SPINCOUNT", _SPINS)  # read when the library is opened
    try:
        opened = ctypes.CDLL(str(files[0]))
    except OSError as error:
        raise ToolFailed(f"the library of `xllamacpp` cannot be opened: {error}") from error
    declare(opened)
    check_layouts(opened)
    opened.llama_log_set(_KEEP_ERRORS, None)
    # When Python is gone its callback must not be called any more; None is the library's own log.
    atexit.register(opened.llama_log_set, None, None)
    opened.llama_backend_init()
    return opened


def declare(opened: Any) -> None:
    """Give every function that is called its signature. Raises ToolFailed naming the ones that are not there."""
    missing = [name for name in _FUNCTIONS if not hasattr(opened, name)]
    if missing:
        raise ToolFailed(
            f"the library of `xllamacpp` lacks {', '.join(f'`{name}`' for name in missing)}; "
            f"version {XLLAMACPP_VERSION} has them, install it again"
        )
    for name, (result, arguments) in _FUNCTIONS.items():
        function: Callable[..., Any] = getattr(opened, name)
        function.restype, function.argtypes = result, arguments  # type: ignore[attr-defined]


def check_layouts(opened: Any) -> None:
    """Compare default values of structs, sizes of types and a tensor's fields with the library's. Raises ToolFailed."""
    for params, expected in (
        (opened.llama_model_default_params(), _MODEL_DEFAULTS),
        (opened.llama_context_default_params(), _CONTEXT_DEFAULTS),
    ):
        for (name, *_), value in zip(params._fields_, expected, strict=True):
            if getattr(params, name) != value:
                raise ToolFailed(
                    f"`{type(params).__name__}.{name}` of the library of `xllamacpp` is {getattr(params, name)!r} by "
                    f"default, not {value!r}: its structs differ from those of version {XLLAMACPP_VERSION}"
                )
    for kind in GGML_TYPES.values():
        sizes = opened.ggml_blck_size(kind.id), opened.ggml_type_size(kind.id)
        if sizes != (kind.block, kind.block_bytes):
            raise ToolFailed(f"the library of `xllamacpp` packs {kind.name} as {sizes}, not as {kind.block} weights")
    check_tensor_layout(opened)
    check_grammar_layout(opened)
