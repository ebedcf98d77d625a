"""The state that the rules share while they read one message."""

from typing import Any

from .lexicon import read_tokens
from .plan import History, Step
from .words import Token, word_set

__all__ = ["Reading"]

_NEGATIONS = word_set(
    "no not neither without skip never omit drop leave except forget cancel remove exclude nor dont skipping "
    "rather instead "
    "avoid ditch"
)
_NEGATION_FILLERS = word_set(
    "the any a an to need run do it want bother with even please for more further this that time me out off of than "
    "yet actually have be needing requiring make you i im should also lets let on wants needed require required and"
)
_PREFERRING = word_set("rather sooner prefer better")


class Reading:
    """A message while it is read: its tokens, and what has been understood so far."""

    def __init__(self, text: str, history: History) -> None:
        self.history = history
        self.last = history.last
        pending = history.pending
        self.waiting: dict[str, Any] = (pending.pending or {}) if pending else {}
        self.about: str | None = self.waiting.get("about")
        self.tokens = read_tokens(text)
        self.values: dict[str, list[Any]] = {}
        self.places: dict[str, list[int]] = {}  # where in the text each value stood
        self.without: dict[str, list[Any]] = {}
        self.want: dict[str, str] = {}  # tool -> verb, noun or implied
        self.drop: set[str] = set()
        self.retracted: set[str] = set()  # tools that the message orders and then takes back
        self.remarks: list[str] = []
        self.twice: str | None = None  # a parameter that has two values where one is wanted
        self.choice: tuple[str, str] | None = None  # a question which file is meant, and the parameter it is about
        self.asked: str | None = None  # a parameter whose value is missing or doubtful
        self.words = {token.text for token in self.tokens if token.kind == "word"}

    def take(self, tokens: list[Token]) -> None:
        """Read on with other tokens."""
        if tokens is not self.tokens:
            self.tokens = tokens
            self.words = {token.text for token in tokens if token.kind == "word"}

    def text(self, i: int) -> str:
        """The text of the token at `i`; empty outside of the message."""
        return self.tokens[i].text if 0 <= i < len(self.tokens) else ""

    def put(self, key: str, *found: Any, at: int = -1) -> None:
        """Take values of a parameter, `at` being where in the text they stood."""
        values = self.values.setdefault(key, [])
        for value in found:
            if value not in values:
                values.append(value)
                self.places.setdefault(key, []).append(at)

    def paired(self) -> tuple[str, ...]:
        """Keys whose values come in turns, as in `a.gguf on piqa and b.gguf on boolq`: they belong together by turn."""
        several = {
            key: self.places[key]
            for key, values in self.values.items()
            if len(values) == 2 and -1 not in self.places[key]
        }
        together = [
            key
            for key, (first, second) in several.items()
            if any(other != key and max(first, a) < min(second, b) for other, (a, b) in several.items())
        ]
        return tuple(together)

    def negated(self, i: int) -> bool:
        """Whether a word of refusal governs the token at `i`: before it, or as `export: no` behind it."""
        j = i - 1
        while j >= 0 and self.tokens[j].kind in ("word", "label", "number", "tool"):
            word = self.text(j)
            if self.tokens[j].kind == "tool":
                return self.tokens[j].used and "and" not in [self.text(k) for k in range(j, i)]
            if word == "than":  # `I would rather have this than that`
                return bool(_PREFERRING & {self.text(k) for k in range(max(0, j - 8), j)})
            if word in _NEGATIONS and not self.tokens[j].used:
                if word == "instead" and self.text(j + 1) != "of":
                    return False
                if word == "rather" and self.text(j + 1) != "than":
                    return False
                return self.text(j + 1) != "only"
            if word not in _NEGATION_FILLERS and self.tokens[j].kind == "word":
                break
            j -= 1
        after = [self.text(k) for k in range(i + 1, i + 4)]
        if after[0] in ("=", ":", "is", "step") and (
            after[1] in ("no", "false", "none", "off", "skip", "never") or after[1:] == ["not", "needed"]
        ):
            return True
        if after[0] == "no" and after[1] in (",", ".", ";", ""):  # `gguf no, safetensors yes`
            return True
        return after[0] == "nothing" or after[:2] in (["not", "needed"], ["not", "necessary"])

    def given_up(self, i: int) -> bool:
        """`switch q8_0 to q4_0`, `from q8_0 to q4_0`, `replace q8_0 with q4_0`: the first of two values goes."""
        before = [self.text(j) for j in range(max(0, i - 3), i)]
        follows = self.text(i + 1) in ("to", "with", "by", "for", "→", "into") and i + 2 < len(self.tokens)
        same_kind = follows and any(t.kind == self.tokens[i].kind for t in self.tokens[i + 2 : i + 4])
        return bool(same_kind and {"switch", "replace", "swap", "from", "change", "turn"} & set(before))

    def last_steps(self) -> tuple[Step, ...]:
        """The steps of the last plan."""
        return self.last.steps if self.last is not None else ()

    def last_values(self, key: str) -> list[Any]:
        """A parameter's values in the steps of the last plan."""
        tool, name = key.split(".")
        return [step.args.get(name) for step in self.last.steps if step.tool == tool] if self.last else []
