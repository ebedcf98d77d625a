"""Which tokens of a model a grammar allows next, by the LLGuidance inside llama.cpp's wheel.

A grammar is written in LLGuidance's Lark syntax: https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

import ctypes
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .base import ToolFailed
from .llama_cpp import LlamaModel
from .llama_library import library
from .llguidance import TOKENIZE, ConstraintInit, TokenizerInit

if TYPE_CHECKING:
    import numpy as np

__all__ = ["GrammarMatcher", "GrammarVocabulary"]

_SPECIAL = b"\xff"  # LLGuidance's mark of a token that stands for no text
_MOST_FORCED = 512  # tokens taken over at once


class GrammarVocabulary:
    """A model's tokens as LLGuidance needs them; made once for a model and used by many matchers.

    Args:
        end: the token that ends an answer.
    """

    def __init__(self, model: LlamaModel, end: int) -> None:
        import numpy as np

        self.model = model
        self.end = end
        pieces = model.pieces()
        for token, piece in enumerate(pieces):
            if not piece and (name := model.token_bytes(token)):
                pieces[token] = _SPECIAL + name
        lengths = np.array([len(piece) for piece in pieces], dtype=np.uint32)
        text = b"".join(pieces)
        # An empty list: what LLGuidance prepares by default speeds up free strings, which our grammars do not have.
        no_slices = (ctypes.c_char_p * 1)(None)
        # Kept here: the library holds only its address.
        self._tokenize = TOKENIZE(self._tokens_of)
        init = TokenizerInit(
            vocab_size=model.n_vocab,
            tok_eos=end,
            token_lens=lengths.ctypes.data,
            token_bytes=ctypes.cast(ctypes.c_char_p(text), ctypes.c_void_p),
            tokenize_assumes_string=True,
            tokenize_fn=self._tokenize,
            slices=ctypes.addressof(no_slices),
        )
        lib = library()
        trouble = ctypes.create_string_buffer(1024)
        handle = lib.llg_new_tokenizer(ctypes.byref(init), trouble, len(trouble))
        if not handle:
            raise ToolFailed(f"LLGuidance cannot read the tokens of `{model.path}`: {_text(trouble.value)}")
        self.handle: int = handle
        weakref.finalize(self, lib.llg_free_tokenizer, handle)

    def _tokens_of(self, _: int | None, raw: Any, count: int, room_for: Any, room: int) -> int:
        """What LLGuidance calls to write a forced text in the tokens that the model itself would use."""
        try:
            tokens = self.model.tokenize(bytes(raw[:count]).decode("utf-8", errors="replace"))
        except ValueError:  # the model was closed; an exception cannot cross C code
            return 0
        for position, token in enumerate(tokens[:room]):
            room_for[position] = token
        return len(tokens)


class GrammarMatcher:
    """The way through one grammar: which tokens are allowed now, which follow by themselves, whether it may end.

    Args:
        grammar: Lark text whose first rule is `start`.

    Raises:
        ToolFailed: LLGuidance refuses the grammar; says why.
    """

    def __init__(self, vocabulary: GrammarVocabulary, grammar: str) -> None:
        import numpy as np

        self._lib = library()
        self._vocabulary = vocabulary  # must outlive the matcher
        init = ConstraintInit()
        self._lib.llg_constraint_init_set_defaults(ctypes.byref(init), vocabulary.handle)
        init.log_stderr_level = 0
        self._handle = self._lib.llg_new_matcher(ctypes.byref(init), b"lark", grammar.encode())
        weakref.finalize(self, self._lib.llg_free_matcher, self._handle)
        self._check("the grammar")
        size = self._lib.llg_matcher_get_mask_byte_size(self._handle)
        self._mask: np.ndarray[Any, Any] = np.zeros(size // 4, dtype=np.uint32)

    def allowed(self) -> "np.ndarray":
        """bool_V: whether each token of the vocabulary may come next; a copy."""
        import numpy as np

        if self._lib.llg_matcher_compute_mask_into(self._handle, self._mask.ctypes.data, self._mask.nbytes):
            self._check("the next token")
        bits = np.unpackbits(self._mask.view(np.uint8), bitorder="little")
        return bits[: self._vocabulary.model.n_vocab].astype(np.bool_)

    def forced(self) -> list[int]:
        """Tokens that must come now, because the grammar leaves one way only; empty where there is a choice."""
        room = (ctypes.c_uint32 * _MOST_FORCED)()
        count = self._lib.llg_matcher_compute_ff_tokens(self._handle, room, _MOST_FORCED)
        if count < 0:
            self._check("what must follow")
        return list(room[:count])

    def accept(self, tokens: Sequence[int]) -> None:
        """Go on by these tokens.

        Raises:
            ToolFailed: the grammar does not allow one of them.
        """
        given = (ctypes.c_uint32 * len(tokens))(*tokens)
        if self._lib.llg_matcher_consume_tokens(self._handle, given, len(tokens)):
            self._check(f"tokens {list(tokens)}")

    @property
    def may_end(self) -> bool:
        """Whether what was accepted is complete."""
        return bool(self._lib.llg_matcher_is_accepting(self._handle))

    @property
    def over(self) -> bool:
        """Whether nothing can follow."""
        return bool(self._lib.llg_matcher_is_stopped(self._handle))

    def _check(self, what: str) -> None:
        if error := self._lib.llg_matcher_get_error(self._handle):
            raise ToolFailed(f"LLGuidance refuses {what}: {_text(error)}")


def _text(raw: bytes) -> str:
    return " ".join(raw.decode("utf-8", errors="replace").split())
