"""A model folder's vocabulary as the metadata keys of a GGUF file, without transformers.

Two kinds: a sentencepiece model (tokenizer.model), and byte-level BPE (tokenizer.json), read by the `tokenizers`
library. llama.cpp knows how to split text for a BPE by a name, which its converters find by the ids that the tokenizer
gives for one fixed text. Text and names are read out of the carried converters' source, so they are always theirs.
"""

import ast
import functools
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import require_extra
from .convert_gguf import converter_sources
from .plain_tokenizer import PLAIN_CLASSES, changes_by_transformers, read_settings
from .stream_config import StreamConfig, Unusual

if TYPE_CHECKING:
    import gguf
    import tokenizers

__all__ = ["write_vocabulary"]

# gguf.TokenType
_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6

# Classes that build a tokenizer anew, and the name of the split that is what they build.
_CLASS_SPLITS = {"Qwen2Tokenizer": "qwen2", "Qwen2TokenizerFast": "qwen2"}

_SPACE = "\u2581"  # sentencepiece's
_GRANITE_VOCABULARY = 49152  # by this size the converters know models that want no BOS token


def write_vocabulary(folder: Path, config: StreamConfig, writer: "gguf.GGUFWriter") -> None:
    """Add the tokenizer's keys in the converters' order.

    Raises:
        Unusual: a tokenizer that only the carried converters may know how to read.
    """
    import gguf

    settings = read_settings(folder / "tokenizer_config.json")
    if config.family == "llama" and settings.get("add_prefix_space") is not None:
        writer.add_add_space_prefix(settings["add_prefix_space"])
    if (folder / "tokenizer.model").is_file():
        tokens, scores, types = _sentencepiece(folder, config.vocab, settings)
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(tokens)
        writer.add_token_scores(scores)
        writer.add_token_types(types)
        special = gguf.SpecialVocab(folder, n_vocab=len(tokens))
    else:
        split, texts, types = _byte_level(folder, config.vocab, settings)
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(split)
        writer.add_token_list(texts)
        writer.add_token_types(types)
        special = gguf.SpecialVocab(folder, load_merges=True)
    special.add_to_gguf(writer, quiet=True)
    if config.family == "gemma3" and (folder / "tokenizer.model").is_file():
        writer.add_add_space_prefix(False)
    if config.family == "llama" and config.vocab == _GRANITE_VOCABULARY:
        writer.add_add_bos_token(False)


def _looks_special(token: str) -> bool:
    """Whether the converters take an added token for a control token although it is not marked as one."""
    return (
        token in ("<pad>", "<mask>", "<2mass>", "[@BOS@]")
        or (token.startswith("<|") and token.endswith("|>"))
        or (token.startswith("<\uff5c") and token.endswith("\uff5c>"))
        or (token.startswith("<unused") and token.endswith(">"))
    )


def _sentencepiece(folder: Path, size: int, settings: dict[str, Any]) -> tuple[list[bytes], list[float], list[int]]:
    """Tokens, scores and types of a sentencepiece model, with the tokens that were added to it."""
    require_extra("export", "sentencepiece")
    from sentencepiece import SentencePieceProcessor

    model = SentencePieceProcessor()
    model.LoadFromFile(str(folder / "tokenizer.model"))
    tokens = [f"[PAD{number}]".encode() for number in range(size)]
    scores, types = [-10000.0] * size, [_UNUSED] * size
    for token in range(min(model.vocab_size(), size)):
        tokens[token] = model.IdToPiece(token).encode()
        scores[token] = model.GetScore(token)
        types[token] = _NORMAL
        for kind, is_kind in (
            (_UNKNOWN, model.IsUnknown),
            (_CONTROL, model.IsControl),
            (_UNUSED, model.IsUnused),
            (_BYTE, model.IsByte),
        ):
            if is_kind(token):
                types[token] = kind
                break
    for text, token in read_settings(folder / "added_tokens.json").items():
        if token < size:
            tokens[token], scores[token], types[token] = text.encode(), -1000.0, _USER_DEFINED
    for key, added in (settings.get("added_tokens_decoder") or {}).items():
        token, text = int(key), str(added["content"])
        if token >= size:
            continue
        if added.get("special") or _looks_special(text):
            types[token] = _CONTROL
        else:
            text, types[token] = text.replace(_SPACE, " "), _USER_DEFINED
        tokens[token], scores[token] = text.encode(), -1000.0
    return tokens, scores, types


def _byte_level(folder: Path, size: int, settings: dict[str, Any]) -> tuple[str, list[str], list[int]]:
    """The name of the split, the tokens and their types of a byte-level BPE."""
    if not (folder / "tokenizer.json").is_file():
        raise Unusual("it has neither tokenizer.model nor tokenizer.json")
    from tokenizers import Tokenizer

    stored = read_settings(folder / "tokenizer.json")
    model = stored.get("model") or {}
    if model.get("type") != "BPE" or model.get("byte_fallback"):
        raise Unusual("its tokenizer is no byte-level BPE")
    if change := changes_by_transformers(stored, settings):
        raise Unusual(change)
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    split = _split_name(tokenizer, plain="add_bos_token" in settings or "add_eos_token" in settings)
    named = str(settings.get("tokenizer_class"))
    if named not in PLAIN_CLASSES and _CLASS_SPLITS.get(named) != split:
        raise Unusual(f"transformers builds its tokenizer anew, as a {named}")
    by_id = {token: text for text, token in tokenizer.get_vocab().items()}
    if max(by_id) >= size:
        raise Unusual(f"its tokenizer has ids up to {max(by_id)}, its embeddings {size} rows")
    added = tokenizer.get_added_tokens_decoder()
    texts, types = [], []
    for token in range(size):
        text, kind = by_id.get(token), _NORMAL
        if text is None:
            text, kind = f"[PAD{token}]", _UNUSED
        elif token in added:
            if not added[token].normalized:
                ids = tokenizer.encode(text, add_special_tokens=False).ids
                text = tokenizer.decode(ids, skip_special_tokens=False)
            if added[token].special or _looks_special(text):
                kind = _CONTROL
            else:
                text, kind = text.replace(_SPACE, " "), _USER_DEFINED
        texts.append(text)
        types.append(kind)
    return split, texts, types


def _split_name(tokenizer: "tokenizers.Tokenizer", *, plain: bool) -> str:
    text, names = _known_splits()
    ids = tokenizer.encode(text, add_special_tokens=not plain).ids
    name = names.get(hashlib.sha256(str(ids).encode()).hexdigest())
    if name is None:
        raise Unusual("its pre-tokeniser is none that llama.cpp's converters know")
    return name


@functools.cache
def _known_splits() -> tuple[str, dict[str, str]]:
    """The fixed text, and the sha256 of its ids -> name, from `get_vocab_base_pre` in the converters' base.py."""
    tree = ast.parse((converter_sources() / "base.py").read_text(encoding="utf-8"))
    function = next(
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name == "get_vocab_base_pre"
    )
    text, names = "", {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id="chktxt")], value=ast.Constant(value=str(value))):
                text = value
            case ast.If(
                test=ast.Compare(left=ast.Name(id="chkhsh"), comparators=[ast.Constant(value=str(digest))]),
                body=[ast.Assign(targets=[ast.Name(id="res")], value=ast.Constant(value=str(name)))],
            ):
                names[digest] = name
    if not text or not names:
        raise Unusual("the carried converters keep their pre-tokenisers in another form")
    return text, names
