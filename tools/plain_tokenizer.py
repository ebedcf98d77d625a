"""A tokenizer.json by the `tokenizers` library alone, where transformers would use the file as it is.

transformers builds some tokenizers anew, by their class in tokenizer_config.json, and completes others. Where it would
do neither, its import of seconds can be spared.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import tokenizers

__all__ = ["PLAIN_CLASSES", "PlainTokenizer", "changes_by_transformers", "plain_tokenizer", "read_settings"]

PLAIN_CLASSES = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Classes of transformers that take a tokenizer.json as it is. The others build one anew from its vocabulary."""


class PlainTokenizer:
    """What the comparison of tokenizers needs of a transformers tokenizer, under the same names."""

    def __init__(self, tokenizer: "tokenizers.Tokenizer", specials: list[str], *, bare: bool) -> None:
        self._tokenizer, self._bare = tokenizer, bare
        self.all_special_tokens = specials

    def encode(self, text: str, *, add_special_tokens: bool = True) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=add_special_tokens and not self._bare).ids
        return ids

    def convert_ids_to_tokens(self, ids: int | list[int]) -> Any:
        if isinstance(ids, int):
            return self._tokenizer.id_to_token(ids)
        return [self._tokenizer.id_to_token(token) for token in ids]


def plain_tokenizer(folder: Path) -> PlainTokenizer | None:
    """The tokenizer of a model folder, or None where only transformers can say what it is."""
    if not (folder / "tokenizer.json").is_file() or (folder / "tokenizer.model").is_file():
        return None
    stored, settings = read_settings(folder / "tokenizer.json"), read_settings(folder / "tokenizer_config.json")
    if settings.get("tokenizer_class") not in PLAIN_CLASSES or changes_by_transformers(stored, settings):
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    specials = [str(token["content"]) for token in stored.get("added_tokens") or [] if token.get("special")]
    # With either option stated, even as false, transformers puts a processor of its own in the file's place.
    bare = "add_bos_token" in settings or "add_eos_token" in settings
    return PlainTokenizer(tokenizer, specials, bare=bare)


def read_settings(file: Path) -> dict[str, Any]:
    """A JSON object, empty where the file is not there. Raises ValueError for anything else."""
    value = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if not isinstance(value, dict):
        raise ValueError(f"`{file}` holds no JSON object")
    return value


def changes_by_transformers(stored: dict[str, Any], settings: dict[str, Any]) -> str | None:
    """What transformers would change about a tokenizer.json when it loads it, for whatever class; None for nothing.

    Args:
        stored: the content of tokenizer.json.
        settings: that of tokenizer_config.json.
    """
    if settings.get("add_bos_token") or settings.get("add_eos_token"):
        return "tokenizer_config.json sets `add_bos_token` or `add_eos_token`"
    added = {token["content"]: token for token in stored.get("added_tokens") or []}
    for key, token in (settings.get("added_tokens_decoder") or {}).items():
        if added.get(token.get("content")) != {"id": int(key), **token}:
            return f"tokenizer_config.json and tokenizer.json differ about {token.get('content')!r}"
    extra = settings.get("extra_special_tokens") or []
    named = [value for key, value in settings.items() if key.endswith("_token") and value]
    named += settings.get("additional_special_tokens") or []
    named += extra.values() if isinstance(extra, dict) else extra
    for value in named:
        text = value.get("content") if isinstance(value, dict) else value
        if isinstance(text, str) and text not in added:
            return f"tokenizer_config.json names the token {text!r}, which tokenizer.json does not add"
    return None
