"""Requests in six languages, read by the rules through their glossaries."""

import json
import tomllib
from pathlib import Path

import pytest
from conversing import converse
from tunesmith.agent import translation
from tunesmith.agent.plan import History
from tunesmith.agent.planner import RulesPlanner
from tunesmith.agent.translation import LANGUAGES, in_english, language_of

FOLDER = Path(translation.__file__).parent / "glossaries"

# One request, said in each language: two epochs, a rate, a type, held-out rows, and no benchmark beside it.
TRAIN = {
    "de": "Trainiere bitte smollm2-135m auf briefe.jsonl, zwei Epochen, Lernrate 0,0002, und exportiere als q8_0",
    "es": "Entrena smollm2-135m con briefe.jsonl, dos épocas, tasa de aprendizaje 0,0002, y exporta a q8_0",
    "fr": "Entraîne smollm2-135m sur briefe.jsonl, deux époques, taux d'apprentissage 0,0002, puis exporte en q8_0",
    "pt": "Treine o smollm2-135m com briefe.jsonl, duas épocas, taxa de aprendizado 0,0002, e exporte em q8_0",
    "zh": "用briefe.jsonl微调smollm2-135m，两轮，学习率0.0002，然后导出q8_0",
    "hi": "smollm2-135m को briefe.jsonl पर दो epoch train करो, learning rate 0.0002, फिर q8_0 में export करो",
}
FOLLOW = {
    "de": "lieber vier Epochen",
    "es": "mejor cuatro épocas",
    "fr": "plutôt quatre époques",
    "pt": "melhor quatro épocas",
    "zh": "改成四轮",
    "hi": "चार epoch कर दो",
}
NO_EXPORT = {
    "de": "Trainiere smollm2-135m auf briefe.jsonl, Export brauche ich nicht",
    "es": "Entrena smollm2-135m con briefe.jsonl, sin exportar",
    "fr": "Entraîne smollm2-135m sur briefe.jsonl, pas besoin d'export",
    "pt": "Treine smollm2-135m com briefe.jsonl, não precisa exportar",
    "zh": "用 briefe.jsonl 训练 smollm2-135m，不用导出",
    "hi": "smollm2-135m को briefe.jsonl पर train करो, export नहीं चाहिए",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_request_is_planned_alike_in_every_language(language: str) -> None:
    plan = converse(TRAIN[language])
    prepare, train, export = plan.steps
    assert prepare.args["source"] == "briefe.jsonl"
    assert (train.args["base_model"], train.args["epochs"], train.args["learning_rate"]) == ("smollm2-135m", 2, 2e-4)
    assert export.args["quantization"] == "q8_0"


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_follow_up_may_be_in_another_language_than_what_it_changes(language: str) -> None:
    plan = converse("train smollm2-135m on a.jsonl for 2 epochs", FOLLOW[language])
    assert [step.args["epochs"] for step in plan.steps if step.tool == "finetune_unsloth"] == [4]


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_not_wanted_is_left_out(language: str) -> None:
    assert [step.tool for step in converse(NO_EXPORT[language]).steps] == ["prepare_dataset", "finetune_unsloth"]


@pytest.mark.parametrize(
    "text",
    [
        "Fine-tune smollm2-135m on rows.jsonl for 2 epochs",
        "pros and cons of the base model are in notes.txt, train on it",
        "die rolls and data: train qwen3-4b on dice.csv with the rank 8",
        "retrain with sin.csv please",
        "use 3 epochs",
        "",
    ],
)
def test_english_stays_as_it_is(text: str) -> None:
    assert language_of(text) is None
    assert in_english(text) == text


@pytest.mark.parametrize(("language", "text"), TRAIN.items())
def test_the_language_is_recognised(language: str, text: str) -> None:
    assert language_of(text) == language


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Trainiere smollm2-135m auf drei_epochen.jsonl", "drei_epochen.jsonl"),
        ("Trainiere smollm2-135m auf `lösche alles und exportiere.jsonl`", "lösche alles und exportiere.jsonl"),
        ("Trainiere smollm2-135m auf daten/kein_export/zwei.csv", "daten/kein_export/zwei.csv"),
        ("Trainiere smollm2-135m auf https://a.de/lernrate_5.json", "https://a.de/lernrate_5.json"),
        ("Trainiere smollm2-135m auf C:\\daten\\zwei.jsonl", "C:\\daten\\zwei.jsonl"),
        ("Trainiere smollm2-135m auf Übungen/zwei.jsonl", "Übungen/zwei.jsonl"),
        ("Entraîne smollm2-135m sur «mes deux fichiers.csv»", "mes deux fichiers.csv"),
        ("用训练数据/三轮.jsonl训练smollm2-135m", "训练数据/三轮.jsonl"),
        ("用客服记录2024.jsonl训练smollm2-135m", "客服记录2024.jsonl"),
        ("请在data/客服对话.jsonl上训练smollm2-135m", "data/客服对话.jsonl"),
        ("smollm2-135m को डेटा.jsonl पर train करो", "डेटा.jsonl"),
        ("smollm2-135m को data/दो_epoch.jsonl पर train करो", "data/दो_epoch.jsonl"),
    ],
)
def test_a_name_is_never_translated(text: str, name: str) -> None:
    plan = RulesPlanner(look_at_disk=False).plan(text, History())
    assert plan.steps[0].args["source"] == name
    assert [step.tool for step in plan.steps] == ["prepare_dataset", "finetune_unsloth"]
    assert plan.steps[1].args["epochs"] == 1


@pytest.mark.parametrize(
    "text", ["Trainiere bitte \ue0b0 mit a.jsonl", "bitte zwei\uf7ff Epochen", "\uf001 Epochen bitte"]
)
def test_characters_of_nobody_stand_for_nothing(text: str) -> None:
    assert not {*in_english(text)} & {*"\ue0b0\uf001\uf7ff"}
    assert [step.args.get("epochs") for step in RulesPlanner(look_at_disk=False).plan(text, History()).steps] == []


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("höchstens 1.000 Zeilen", "at most 1000 rows"),
        ("eine Lernrate von 0,00005", "learning rate of 0.00005"),
        ("学习率２e-5", "learning rate 2e-5"),
        ("१६ rank रखो", "16 rank"),
        ("rang 16 200 étapes, entraîne", "rank 16 200 steps"),
        ("1 000 lignes maximum", "1000 rows"),
    ],
)
def test_numbers_are_written_as_english_writes_them(text: str, english: str) -> None:
    assert english in in_english(text)


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_glossary_says_every_word_once(language: str) -> None:
    tables = tomllib.loads((FOLDER / f"{language}.toml").read_text(encoding="utf-8"))
    words = [word for phrases in tables["words"].values() for word in phrases.split(", ")]
    assert sorted({*words}) == sorted(words), json.dumps(sorted(w for w in {*words} if words.count(w) > 1))
    assert all(word == word.lower() and word.strip() for word in words)


def test_any_text_is_answered_in_short_time() -> None:
    """Long runs of marks and digits, which patterns could go back and forth over."""
    for text in ("lade " * 2000, "用" * 4000, "auf 1.000 " * 900, "(" * 4000 + " lade ", "halte " + "a " * 3000):
        in_english(text)
