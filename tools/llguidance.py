"""LLGuidance inside the wheel `xllamacpp`: which tokens a grammar allows next. Its C functions, types and defaults.

`llama_library` declares and checks them with the rest of the library; `token_grammar` calls them. The layouts are
those of `llguidance.h`, version 1.0.1, which llama.cpp's build names (`common/CMakeLists.txt`).
"""

import ctypes
from ctypes import c_bool, c_char_p, c_int32, c_size_t, c_uint8, c_uint32, c_uint64, c_void_p
from typing import Any

from .base import ToolFailed

__all__ = ["FUNCTIONS", "TOKENIZE", "ConstraintInit", "TokenizerInit", "check_grammar_layout"]

TOKENIZE = ctypes.CFUNCTYPE(c_size_t, c_void_p, ctypes.POINTER(c_uint8), c_size_t, ctypes.POINTER(c_uint32), c_size_t)
"""`LlgTokenizeFn`: (user data, bytes, their count, tokens to fill, room for them) -> tokens that there are."""


class TokenizerInit(ctypes.Structure):
    """`LlgTokenizerInit`."""

    _fields_ = (
        ("vocab_size", c_uint32),
        ("tok_eos", c_uint32),
        ("token_lens", c_void_p),
        ("token_bytes", c_void_p),
        ("tokenizer_json", c_char_p),
        ("tokenize_assumes_string", c_bool),
        ("tokenize_fn", TOKENIZE),
        ("use_approximate_greedy_tokenize_fn", c_bool),
        ("tokenize_user_data", c_void_p),
        ("slices", c_void_p),
    )


class ConstraintInit(ctypes.Structure):
    """`LlgConstraintInit`, with its `LlgParserLimits` at the end."""

    _fields_ = (
        ("tokenizer", c_void_p),
        ("log_buffer_level", c_uint32),
        ("log_stderr_level", c_uint32),
        ("ff_tokens_ok", c_bool),
        ("backtrack_ok", c_bool),
        ("max_items_in_row", c_size_t),
        ("initial_lexer_fuel", c_uint64),
        ("step_lexer_fuel", c_uint64),
        ("step_max_items", c_size_t),
        ("max_lexer_states", c_size_t),
        ("max_grammar_size", c_size_t),
        ("precompute_large_lexemes", c_bool),
    )


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "llg_constraint_init_set_defaults": (None, (c_void_p, c_void_p)),
    "llg_free_matcher": (None, (c_void_p,)),
    "llg_free_tokenizer": (None, (c_void_p,)),
    "llg_matcher_compute_ff_tokens": (c_int32, (c_void_p, c_void_p, c_size_t)),
    "llg_matcher_compute_mask_into": (c_int32, (c_void_p, c_void_p, c_size_t)),
    "llg_matcher_consume_tokens": (c_int32, (c_void_p, c_void_p, c_size_t)),
    "llg_matcher_get_error": (c_char_p, (c_void_p,)),
    "llg_matcher_get_mask_byte_size": (c_size_t, (c_void_p,)),
    "llg_matcher_is_accepting": (c_bool, (c_void_p,)),
    "llg_matcher_is_stopped": (c_bool, (c_void_p,)),
    "llg_new_matcher": (c_void_p, (c_void_p, c_char_p, c_char_p)),
    "llg_new_tokenizer": (c_void_p, (c_void_p, c_char_p, c_size_t)),
}
"""Name -> (result, arguments)."""

_DEFAULTS = (1, 0, 1, False, False, 2000, 1_000_000, 200_000, 50_000, 250_000, 500_000, True)
_GUARD = 64


def check_grammar_layout(opened: Any) -> None:
    """Let the library fill a `ConstraintInit` with its defaults, and compare.

    Raises:
        ToolFailed: a field lies elsewhere, or more was written than the struct holds.
    """
    size = ctypes.sizeof(ConstraintInit)
    memory = (c_uint8 * (size + _GUARD))(*[0xA5] * (size + _GUARD))
    opened.llg_constraint_init_set_defaults(memory, 1)  # the tokenizer is only stored
    filled = ConstraintInit.from_buffer(memory)
    for (name, *_), expected in zip(ConstraintInit._fields_, _DEFAULTS, strict=True):
        if getattr(filled, name) != expected:
            raise ToolFailed(
                f"`ConstraintInit.{name}` of the library of `xllamacpp` is {getattr(filled, name)!r} by default, not "
                f"{expected!r}: its structs differ from those that are known here"
            )
    if bytes(memory[size:]) != b"\xa5" * _GUARD:
        raise ToolFailed("`ConstraintInit` of the library of `xllamacpp` is longer than the one that is known here")
