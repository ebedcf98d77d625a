"""How tokens of a request stand to each other: which tool governs one, which ones are a list."""

from .words import Token

__all__ = ["STOPS", "governing_tool", "listed"]

STOPS = frozenset({".", ";", "\n", "?", "!"})
"""What ends a sentence."""


def governing_tool(tokens: list[Token], i: int) -> str:
    """The tool whose word stands nearest before a token in its sentence, else behind it; empty without one."""
    for step in (-1, 1):
        j = i + step
        while 0 <= j < len(tokens) and tokens[j].text not in STOPS:
            token = tokens[j]
            if step > 0 and token.text in (",", "then"):
                break
            if token.kind == "tool":
                return str(token.value)
            if token.kind == "choice":
                return str(token.value[0]).split(".")[0]
            if step < 0 and token.kind == "set":
                return "run_eval"
            if step < 0 and token.kind == "quant":
                return "export_gguf"
            j += step
    return ""


def listed(tokens: list[Token], one: int, other: int) -> bool:
    """Whether two tokens stand in one list: `a.jsonl and b.jsonl`."""
    between = [token.text for token in tokens[one + 1 : other]]
    return bool(between) and all(text in (",", "and", "&", "/", "or", "plus", "the") for text in between)
