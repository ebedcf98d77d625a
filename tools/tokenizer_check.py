"""Proof that a GGUF file splits text into the same tokens as the Hugging Face tokenizer it was made from."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .base import ToolFailed, note
from .llama_cpp import LlamaModel

__all__ = ["PROBES", "check_tokenizer", "load_tokenizer"]

PROBES = (
    "Hello, world!",
    " leading space, trailing space ",
    "   three spaces,  two   three    four",
    "tabs\tand\t\ttabs",
    "line\nline\n\nparagraph\n\n\n",
    "\n",
    "windows\r\nline ends\r\n",
    "I'm you're he'll they'd we've it's o'clock DON'T",
    "CamelCase snake_case kebab-case x1y2z3",
    "1234567890 3.14159 1,000,000 12:30 2026-11-20 100%",
    "def f(x):\n    return {'a': [1, 2.0], \"b\": x**2}  # ok?\n",
    "https://example.org/a/b?c=d&e=f#g user@example.org",
    '{"category": "billing", "priority": 2, "tags": ["a", "b"]}',
    "!!! ??? ... --- *** ((( ))) <<< >>> @#$%^&*_+=~`|\\/",
    "Größe, façade, naïve, Ærø, São Paulo, Łódź, Žižek",
    "Ελληνικά: η γρήγορη αλεπού",
    "Русский: съешь ещё этих мягких булок",
    "العربية: مرحبا بالعالم ١٢٣",
    "עברית: שלום עולם",
    "हिन्दी: नमस्ते दुनिया",
    "ไทย: สวัสดีชาวโลก",
    "中文：你好，世界。123，测试！",
    "日本語：こんにちは世界、カタカナ",
    "한국어: 안녕하세요 세계",
    "emoji 😀 👩‍👩‍👧 🇩🇪 ✌🏽 ♥",
    "no-break\u00a0space, em\u2003space, zero\u200bwidth",
    "½ x² €5 £3 ™ © — – … “quotes” ‘single’",
)
"""Texts in several scripts, in Unicode's composed form: llama.cpp does not normalise, tokenizers may."""


def check_tokenizer(model: LlamaModel, tokenizer: Any, rendered: Sequence[str]) -> int:
    """Tokenise probes, special tokens and `rendered` conversations both ways; returns the number of texts.

    What the two put around a bare text of their own accord (a BOS token) may differ between a tokenizer's classes and
    does not reach a chat, whose template writes such tokens itself; there a difference is reported, not refused.

    Args:
        tokenizer: a transformers tokenizer.
        rendered: conversations as the chat template writes them.

    Raises:
        ToolFailed: a difference; shows the text and the first token that differs.
    """
    specials = list(dict.fromkeys(str(token) for token in tokenizer.all_special_tokens))
    around = [text for token in specials[:32] for text in (token, f"before{token}after", f"a {token} b\n{token}\n")]
    texts = [*PROBES, *around]
    for text in (*texts, *rendered):
        _compare(model, tokenizer, text)
    ours, theirs = model.tokenize("a", add_special=True), tokenizer.encode("a", add_special_tokens=True)
    if ours != theirs:
        around = [tokenizer.convert_ids_to_tokens(tokens) for tokens in (ours, theirs)]
        note(f"llama.cpp reads a bare 'a' as {around[0]}, transformers as {around[1]}; chats are read alike by both")
    return len(texts) + len(rendered)


def load_tokenizer(folder: Path) -> Any:
    """The transformers tokenizer of a model folder. Raises ToolFailed where it cannot be loaded."""
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
        raise ToolFailed(f"transformers cannot load the tokenizer in `{folder}`: {error}") from error


def _compare(model: LlamaModel, tokenizer: Any, text: str) -> None:
    got = model.tokenize(text, parse_special=True)
    expected = tokenizer.encode(text, add_special_tokens=False)
    if got == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(got, expected, strict=False)) if a != b), min(len(got), len(expected)))
    shown = text if len(text) <= 80 else text[:80] + "..."
    raise ToolFailed(
        f"the GGUF tokenises {shown!r} differently from its Hugging Face tokenizer: token {at} is "
        f"{_named(got, at, tokenizer)} instead of {_named(expected, at, tokenizer)}; the file would misread its prompts"
    )


def _named(tokens: list[int], at: int, tokenizer: Any) -> str:
    if at >= len(tokens):
        return "missing"
    return f"{tokens[at]} ({tokenizer.convert_ids_to_tokens(tokens[at])!r})"
