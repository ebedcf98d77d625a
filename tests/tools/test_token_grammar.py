"""LLGuidance through the wheel: what a grammar allows, what follows by itself, and how mistakes come back."""

from collections.abc import Iterator

import numpy as np
import pytest
from tunesmith.tools import llama_library, llguidance
from tunesmith.tools.base import ToolFailed
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.llama_cpp import LlamaModel
from tunesmith.tools.token_grammar import GrammarMatcher, GrammarVocabulary


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[GrammarVocabulary]:
    with LlamaModel(bundled_gguf(), vocab_only=True) as model:
        yield GrammarVocabulary(model, model.tokenize("<|im_end|>", parse_special=True)[0])


def _texts(vocabulary: GrammarVocabulary, allowed: np.ndarray) -> set[bytes]:
    return {vocabulary.model.token_bytes(int(token)) for token in np.flatnonzero(allowed)}


def test_a_struct_that_is_laid_out_differently_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llguidance, "_DEFAULTS", (1, 0, 1, False, False, 2001, *llguidance._DEFAULTS[6:]))
    with pytest.raises(ToolFailed, match=r"`ConstraintInit\.max_items_in_row`.* is 2000 by default, not 2001"):
        llguidance.check_grammar_layout(llama_library.library())


@pytest.mark.parametrize("grammar", ["", "start", 'start: "a" missing', "start: /(/", 'begin: "a"'])
def test_a_broken_grammar_is_refused_with_the_reason(vocabulary: GrammarVocabulary, grammar: str) -> None:
    with pytest.raises(ToolFailed, match=r"LLGuidance refuses the grammar: \w+"):
        GrammarMatcher(vocabulary, grammar)


def test_only_tokens_that_go_on_with_the_grammar_are_allowed(vocabulary: GrammarVocabulary) -> None:
    matcher = GrammarMatcher(vocabulary, 'start: "yes" | "yellow" | "no"')
    assert _texts(vocabulary, matcher.allowed()) == {b"y", b"ye", b"yes", b"yellow", b"n", b"no"}
    matcher.accept(vocabulary.model.tokenize("ye"))
    assert not matcher.may_end
    assert _texts(vocabulary, matcher.allowed()) >= {b"s", b"l"}
    assert not _texts(vocabulary, matcher.allowed()) & {b"y", b"n", b"<|im_end|>"}


def test_a_token_that_is_not_allowed_is_an_error(vocabulary: GrammarVocabulary) -> None:
    matcher = GrammarMatcher(vocabulary, 'start: "yes" | "no"')
    with pytest.raises(ToolFailed, match="refuses tokens"):
        matcher.accept(vocabulary.model.tokenize("maybe"))


def test_what_has_no_alternative_follows_in_the_models_own_tokens(vocabulary: GrammarVocabulary) -> None:
    text = "export from runs/größe-データ type"
    matcher = GrammarMatcher(vocabulary, f'start: "{text}" (" q8_0" | " q4_0")')
    forced = matcher.forced()
    matcher.accept(forced)
    whole = vocabulary.model.tokenize(text + " q8_0")
    assert forced == whole[: len(forced)]
    assert vocabulary.model.detokenize(forced).startswith(text)


def test_the_end_is_allowed_only_where_the_grammar_is_done(vocabulary: GrammarVocabulary) -> None:
    matcher = GrammarMatcher(vocabulary, 'start: "no" (" way")?')
    assert not matcher.allowed()[vocabulary.end]
    matcher.accept(vocabulary.model.tokenize("no"))
    assert matcher.may_end
    assert matcher.allowed()[vocabulary.end]
    matcher.accept([vocabulary.end])
    assert matcher.over


def test_a_special_token_in_a_text_is_written_with_ordinary_ones(vocabulary: GrammarVocabulary) -> None:
    matcher = GrammarMatcher(vocabulary, 'start: "a <|im_end|>" (" b" | " c")')
    tokens: list[int] = []
    while not matcher.may_end:
        following = matcher.forced() or [int(np.flatnonzero(matcher.allowed())[0])]
        matcher.accept(following)
        tokens += following
    assert vocabulary.end not in tokens
    assert vocabulary.model.detokenize(tokens).startswith("a <|im_end|> ")
