"""The requests that teach the planner's model: right, varied, the same from the same seed."""

import itertools
import json
import random
import tomllib
from collections import Counter
from pathlib import Path

import pytest
from tunesmith.agent.compose import compose
from tunesmith.agent.contract import load
from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_text import read
from tunesmith.agent.lessons import amounts, names, rows
from tunesmith.agent.lessons.phrasebook import Phrasebook, expanded
from tunesmith.agent.lessons.rows import Lesson, alike, lessons, taught_lessons
from tunesmith.agent.lessons.wishes import Wish
from tunesmith.agent.number_words import number_spans, read_number
from tunesmith.agent.plan import History
from tunesmith.agent.planner import RulesPlanner, plan_of

FOLDER = Path(rows.__file__).parent
BOOKS = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in FOLDER.glob("*.toml")}


@pytest.fixture(scope="module")
def drawn() -> list[Lesson]:
    return list(itertools.islice(lessons(7), 1500))


def test_a_line_that_means_another_plan_than_the_request_is_a_mistake() -> None:
    wish = Wish("new")
    wish.put("prepare_dataset.source", "a.jsonl", "a.jsonl")
    lesson = Lesson("prepare a.jsonl", History(), "prepare a.jsonl", "new; prepare data b.jsonl", "new", "en")
    with pytest.raises(AssertionError, match=r"a\.jsonl"):
        rows.check(lesson, wish)


def test_a_refused_request_that_would_make_a_plan_is_a_mistake() -> None:
    lesson = Lesson("rm -rf /", History(), "rm -rf /", "new; prepare data b.jsonl", "refused", "en")
    with pytest.raises(AssertionError, match="rm -rf"):
        rows.check(lesson, Wish("refused"))


def test_the_same_seed_gives_the_same_lessons_and_another_seed_others(drawn: list[Lesson]) -> None:
    assert [one.row() for one in itertools.islice(lessons(7), 200)] == [one.row() for one in drawn[:200]]
    assert len({one.prompt for one in drawn} & {one.prompt for one in itertools.islice(lessons(8), 500)}) < 25


def test_all_kinds_and_all_languages_are_there(drawn: list[Lesson]) -> None:
    kinds = Counter(lesson.kind for lesson in drawn)
    languages = Counter(lesson.language for lesson in drawn)
    assert {"new", "follow-up", "answer", "asked back", "refused", "chat", "out of range", "prepare", "export"} <= {
        *kinds
    }
    assert {*languages} == {*amounts.LANGUAGES} == {*BOOKS}
    assert min(languages.values()) > 60


def test_no_prompt_comes_twice_and_none_is_long(drawn: list[Lesson]) -> None:
    assert len({lesson.prompt for lesson in drawn}) == len(drawn)
    assert max(len(lesson.prompt.encode()) for lesson in drawn) <= 480


def test_a_value_of_a_line_stands_in_its_prompt(drawn: list[Lesson]) -> None:
    """Numbers and names are copied: what is not in the prompt must be one of the grammar's own words."""
    for lesson in drawn[:800]:
        frame = read(lesson.line)
        spans = number_spans(lesson.prompt) if frame.values else []
        spoken = {read_number(span, key) for key in frame.values for span in spans}
        for key, values in frame.values.items():
            for value in values:
                if isinstance(value, int | float) and not isinstance(value, bool) and value != 0:
                    assert any(abs(value - one) < 1e-9 for one in spoken), (lesson.prompt, lesson.line)
                if key in ("prepare_dataset.source", "run_eval.gguf_file", "export_gguf.output_file"):
                    assert str(value) in lesson.prompt, (lesson.prompt, lesson.line)


def test_held_out_lessons_have_phrases_that_no_others_have() -> None:
    draw = random.Random(0)
    learned = Phrasebook(draw, "en", held=False)
    measured = Phrasebook(draw, "en", held=True)
    learned.case = measured.case = "as is"
    learned.typos = measured.typos = 0.0
    seen = {learned.pick("core", "prepare", data="X") for _ in range(2000)}
    asked = {measured.pick("core", "prepare", data="X") for _ in range(2000)}
    assert measured.unseen and not learned.unseen
    assert asked - seen
    held = [one.text for one in itertools.islice(lessons(7, held=True), 200)]
    assert not {*held} & {one.text for one in itertools.islice(lessons(7), 2000)}


def test_most_lessons_that_are_taught_are_such_as_the_rules_read_wrong() -> None:
    rules = RulesPlanner(look_at_disk=False)
    taught = list(itertools.islice(taught_lessons(7), 150))
    right = [
        one
        for one in taught
        if alike(plan_of(read(one.line), one.text, one.history, lambda path: False), rules.plan(one.text, one.history))
    ]
    assert len(right) < 0.7 * len(taught)
    assert taught == list(itertools.islice(taught_lessons(7), 150))


@pytest.mark.parametrize("language", sorted(BOOKS))
def test_every_language_has_the_same_tables(language: str) -> None:
    for table, phrases in BOOKS["en"].items():
        assert {*BOOKS[language][table]} == {*phrases}, table
        for name, texts in BOOKS[language][table].items():
            assert len({*texts}) == len(texts) or table == "frame", (table, name)
            slots = {slot for text in BOOKS["en"][table][name] for slot in _slots(text)}
            assert {slot for text in texts for slot in _slots(text)} <= slots, (table, name)


def _slots(text: str) -> set[str]:
    return {piece.split("}")[0] for piece in text.split("{")[1:] if "}" in piece and piece.split("}")[0].isalnum()}


def test_alternatives_are_drawn_and_plain_parentheses_stay() -> None:
    texts = {expanded(random.Random(n), "(train|tune) {base} (now)") for n in range(20)}
    assert texts == {"train {base} (now)", "tune {base} (now)"}


@pytest.mark.parametrize("language", amounts.LANGUAGES)
def test_a_number_is_read_back_whatever_its_form(language: str) -> None:
    draw = random.Random(language)
    for _ in range(300):
        for key in ("finetune_unsloth.epochs", "finetune_unsloth.learning_rate", "prepare_dataset.heldout_fraction"):
            shown, value = amounts.drawn(draw, key, language)
            assert abs(read_number(shown, key) - value) < 1e-9


def test_files_with_orders_in_their_names_are_among_them() -> None:
    draw = random.Random(1)
    found = {names.data(draw)[1] for _ in range(4000)}
    assert any("delete_everything" in name for name in found)
    assert any(" " in name for name in found)


def test_no_example_of_the_contract_is_among_the_lessons(drawn: list[Lesson]) -> None:
    texts = {lesson.text.casefold().strip(" .") for lesson in drawn}
    assert not texts & {turn.casefold().strip(" .") for example in load().prompts for turn in example.turns}


def test_a_row_is_a_conversation_of_three_messages(drawn: list[Lesson]) -> None:
    row = json.loads(json.dumps(drawn[0].row()))
    assert [message["role"] for message in row["messages"]] == ["system", "user", "assistant"]
    frame = read(drawn[0].line)
    assert isinstance(frame, Frame)
    assert compose(frame, drawn[0].history, drawn[0].text, lambda path: False) is not None
