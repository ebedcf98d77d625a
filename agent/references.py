"""Words that point at something said before: `the first one` of an offer, `the other one` of two models."""

from .keys import BASE, GGUF_FILE, QUANTIZATION
from .lexicon import NUMERIC, read_tokens
from .questions import suggested
from .reading import Reading
from .words import word_set

__all__ = ["read_references"]

_PLACES = {
    **dict.fromkeys(("first", "former", "smallest", "1st"), 0),
    **dict.fromkeys(("second", "2nd"), 1),
    **dict.fromkeys(("third", "3rd"), 2),
    "fourth": 3,
    **dict.fromkeys(("last", "latter", "largest", "biggest"), -1),
}
_YES = word_set("yes y yeah yep sure ok okay right correct exactly please i do did")
_COUNTING = {"number", "option", "no", "the", "please", "take"}
_KINDS = {BASE: "model", QUANTIZATION: "quant", GGUF_FILE: "name"}


def read_references(reading: Reading) -> None:
    """Put in the value that an ordinal or `the other one` stands for."""
    pending = reading.history.pending
    one = suggested(pending.reply or "") if pending is not None else None
    if one is not None and reading.about is not None and reading.words and reading.words <= _YES:
        reading.put(reading.about, one)
        return
    offered = _offered(reading)
    named = {token.kind for token in reading.tokens} & {"name", "model", "family", "quant", "size"}
    if offered and not named and reading.about is not None and reading.about not in reading.values:
        place = _place(reading, count=reading.about not in NUMERIC and len(offered) < 6)
        if place is not None and -1 <= place < len(offered):
            reading.put(reading.about, offered[place])
            return
    gguf = any(t.kind == "name" and t.text.lower().endswith(".gguf") for t in reading.tokens)
    ran = {step.tool for step in reading.last.steps if not step.reuse} if reading.last is not None else set()
    goes_on = not reading.want and ran == {"run_eval"} and "other" in reading.words
    if (set(reading.want) == {"run_eval"} or goes_on) and not gguf and GGUF_FILE not in reading.values:
        _known_file(reading)


def _place(reading: Reading, *, count: bool) -> int | None:
    """Which of several is meant, counted from 0; a bare number counts where it can be no value."""
    for i, token in enumerate(reading.tokens):
        if token.text in _PLACES and token.kind == "word" and (count or reading.text(i + 1) in ("one", "", ".")):
            for named in reading.tokens[i : i + 2]:  # `one` is no value here
                named.used = True
            return _PLACES[token.text]
    numbers = [token for token in reading.tokens if token.kind == "number"]
    others = {token.text for token in reading.tokens if token.kind not in ("punct", "number")}
    if (
        count
        and len(numbers) == 1
        and others <= _COUNTING
        and numbers[0].unit == ""
        and numbers[0].value in range(1, 6)
    ):
        numbers[0].used = True
        return int(numbers[0].value) - 1
    return None


def _offered(reading: Reading) -> list[object]:
    """What the open question offers to choose from, in its order."""
    pending = reading.history.pending
    reply = (pending.reply or "") if pending is not None else ""
    meant = reply.startswith("Did you mean")
    if reading.about is None or not (meant or "which" in reply.lower()):
        return []
    before, question, rest = reply.partition("?")
    tokens = read_tokens(before if meant else rest if question and rest.strip() else reply)
    kind = _KINDS.get(reading.about, "number" if reading.about in NUMERIC else "")
    return [token.value for token in tokens if token.kind == kind]


def _known_file(reading: Reading) -> None:
    """`evaluate the second one`: of the last plan's files; `the other one`: not the file last spoken of."""
    written = [
        str(step.args["output_file"])
        for ran in reading.history.ran
        for step in ran.plan.steps
        if step.tool == "export_gguf"
    ]
    written = list(dict.fromkeys(written))
    latest = [str(path) for path in reading.last_values("export_gguf.output_file")]
    for i, token in enumerate(reading.tokens):
        points = reading.text(i + 1) in ("one", "model", "gguf", "file", "gguf file", "export", "version")
        if token.kind != "word" or not points:
            continue
        place = _PLACES.get(token.text)
        if token.text == "other" and written:
            spoken = [str(path) for path in reading.last_values(GGUF_FILE)] or latest[-1:]
            others = [path for path in written if path not in spoken]
            if len(others) == 1:
                reading.put(GGUF_FILE, others[0])
            elif others:
                names = ", ".join(f"`{path}`" for path in others[:-1])
                reading.choice = f"Which one? {names} or `{others[-1]}`", GGUF_FILE
        elif place is not None and -1 <= place < len(latest) and len(latest) > 1:
            reading.put(GGUF_FILE, latest[place])
        else:
            continue
        token.used = reading.tokens[i + 1].used = True
        reading.want = {"run_eval": "verb"}
        return
