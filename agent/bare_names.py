"""Words that are no words of ours, where a dataset, an evaluation set or a base model belongs."""

import re
from dataclasses import dataclass, field
from typing import Any

from tunesmith.tools.catalogue import DATASETS

from .keys import BASE, DATA_DIR, DATASET, EVAL_SET, SOURCE, TOKENIZER
from .lexicon import vocabulary
from .nearby import governing_tool, listed
from .words import Token

__all__ = ["Roles", "find_bare_names"]


@dataclass
class Roles:
    """Values by parameter in the order of the text, and the family of a base model whose name leaves several."""

    values: list[tuple[str, Any, int]] = field(default_factory=list)  # key, value, position of the token
    family: str | None = None

    def of(self, key: str) -> list[Any]:
        return [value for k, value, _ in self.values if k == key]


def find_bare_names(tokens: list[Token], tools: set[str], roles: Roles, about: str | None) -> None:
    """Words that are no words of ours, where a dataset, an evaluation set or a base model belongs."""
    keys = {key for key, _, _ in roles.values}
    for i, token in enumerate(tokens):
        if token.kind != "word" or token.used or not _namelike(token):
            continue
        name = str(token.value)
        written = "".join(ch for ch in name.lower() if ch.isalnum())
        catalogued = next((known for known in DATASETS if known.replace("_", "") == written), None)
        if catalogued is None and i + 1 < len(tokens) and tokens[i + 1].kind == "word":
            both = written + tokens[i + 1].text
            catalogued = next((known for known in DATASETS if known.replace("_", "") == both), None)
            if catalogued:
                tokens[i + 1].used = True
        key = SOURCE if catalogued else _bare_role(tokens, i, tools, about)
        if not key or (key in keys and not catalogued and not _joins(tokens, i, roles, key)):
            continue
        token.used = True
        keys.add(key)
        roles.values.append((key, catalogued or (name.lower() if key == EVAL_SET else name), i))


def _joins(tokens: list[Token], i: int, roles: Roles, key: str) -> bool:
    return any(k == key and listed(tokens, position, i) for k, _, position in roles.values)


def _namelike(token: Token) -> bool:
    return (
        token.text not in vocabulary() and token.text.isascii() and re.match(r"[a-z][\w.-]+$", token.text) is not None
    )


def _bare_role(tokens: list[Token], i: int, tools: set[str], about: str | None) -> str:
    token = tokens[i]
    marked = re.search(r"[_\d-]", token.text) is not None  # written like a name: my_corpus, c4, oasst-de
    before = tokens[i - 1] if i else Token("punct", "\n")
    after = tokens[i + 1] if i + 1 < len(tokens) else Token("punct", "\n")
    determined = before.text in ("the", "a", "an", "this", "that")
    lead = tokens[i - 2] if determined and i > 1 else before
    if before.text == "that" and lead.kind == "label":  # `a model that answers`
        return ""
    noun_after = after.kind == "label" and SOURCE in after.value
    ends = after.kind != "word" or after.text in vocabulary()
    tool = governing_tool(tokens, i)
    if lead.text in ("=", ":", "is") and i > 1:
        lead = tokens[i - 2]
    if (
        lead.kind == "label"
        and lead.value[0] in (SOURCE, BASE, EVAL_SET, DATASET, TOKENIZER, DATA_DIR)
        and (marked or ends)
    ):
        return SOURCE if lead.value[0] == DATASET else str(lead.value[0])
    if tool == "run_eval" and lead.text in ("on", "against", "at", "with") and (marked or (ends and not determined)):
        return EVAL_SET
    if tool == "run_eval" and lead.kind in ("set", "punct", "word") and marked and lead.text in (",", "and"):
        return EVAL_SET
    if tool in ("finetune_unsloth", "prepare_dataset", "") and noun_after and lead.text not in ("my", "our"):
        return SOURCE if tools or tool else ""
    plain = ends and not determined
    if tool in ("finetune_unsloth", "") and "finetune_unsloth" in tools:
        if lead.text in ("on", "over") and (marked or plain):
            return SOURCE
        if lead.text in ("with", "using", "from") and marked:
            return SOURCE
    if tool in ("prepare_dataset", "finetune_unsloth") and lead.text in ("file", "folder", "in", "to") and marked:
        return SOURCE  # `prepare the file my_corpus`, `adapt it to the rows in my_corpus`
    if "finetune_unsloth" in tools and lead.text in ("have", "got") and marked:
        return SOURCE  # `I have my_corpus here`
    if tool == "prepare_dataset" and (lead.kind == "tool" or lead.text == "get") and (marked or plain):
        return SOURCE
    if (
        lead.kind == "tool"
        and lead.value == "finetune_unsloth"
        and (marked or (plain and after.text in ("on", "with", "using")))
    ):
        return BASE
    if not tools and about in (SOURCE, BASE) and len(tokens) <= 3:
        return about
    if not tools and marked and lead.text in ("with", "on", "use", "using", "try"):
        return SOURCE
    return ""
