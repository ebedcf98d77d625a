"""Numbers in digits and in words of seven languages."""

import pytest
from tunesmith.agent.number_words import number_spans, read_number

LEARNING_RATE, ROWS, LENGTH = (
    "finetune_unsloth.learning_rate",
    "prepare_dataset.limit",
    "finetune_unsloth.max_seq_length",
)
HELDOUT = "prepare_dataset.heldout_fraction"


@pytest.mark.parametrize("text", ["", " ", "epochs", "the", "e-4", "-", "five apples", "1/0", "%", "..", "gemma3"])
def test_what_is_no_number_is_not_read_as_one(text: str) -> None:
    with pytest.raises(ValueError, match=r"number|nothing|could not convert"):
        read_number(text)


@pytest.mark.parametrize(
    ("text", "key", "number"),
    [
        ("0.001", LEARNING_RATE, 0.001),
        ("0,001", LEARNING_RATE, 0.001),
        ("2·10⁻⁵", LEARNING_RATE, 2e-5),
        ("2 x 10^-5", LEARNING_RATE, 2e-5),
        ("1/1000", LEARNING_RATE, 0.001),
        ("2E-4", LEARNING_RATE, 0.0002),
        ("1.000", ROWS, 1000),
        ("1,000", ROWS, 1000),
        ("10 000", ROWS, 10_000),
        ("5k", ROWS, 5000),
        ("2k", LENGTH, 2048),
        ("20 %", HELDOUT, 0.2),
        ("20", HELDOUT, 0.2),
        ("0.2", HELDOUT, 0.2),
        ("百分之十", HELDOUT, 0.1),
        ("10 Prozent", HELDOUT, 0.1),
        ("un cinquième", HELDOUT, 0.2),
        ("minus three", "", -3),
        ("−3", "", -3),
    ],
)
def test_a_number_is_read_in_the_unit_of_its_parameter(text: str, key: str, number: float) -> None:
    assert read_number(text, key) == pytest.approx(number)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (2, ["two", "zwei", "dos", "deux", "dois", "दो", "两", "२", "twice", "zweimal"]),
        (6, ["half a dozen", "sechs", "seis", "six", "छह", "六"]),
        (32, ["thirty-two", "zweiunddreißig", "treinta y dos", "trente-deux", "trinta e dois", "三十二"]),
        (90, ["ninety", "neunzig", "noventa", "quatre-vingt-dix", "नब्बे", "九十"]),
        (150, ["a hundred and fifty", "hundertfünfzig", "ciento cincuenta", "cent cinquante", "一百五十"]),
        (2000, ["two thousand", "zweitausend", "dos mil", "deux mille", "dois mil", "दो हज़ार", "两千"]),
    ],
)
def test_number_words_of_seven_languages_are_read(number: int, words: list[str]) -> None:
    assert [read_number(word) for word in words] == [number] * len(words)


def test_every_number_of_a_sentence_is_found_as_it_stands_there() -> None:
    text = "zwei Epochen mit lr 0,0002, Rang 64, 10 % zurückhalten; 训练五轮, a dozen rows"
    assert number_spans(text) == ["zwei", "0,0002", "64", "10 %", "10", "五", "a dozen", "a", "dozen"]


def test_a_number_word_is_found_behind_a_sign_or_a_hyphen() -> None:
    assert number_spans("r=huit, a rank-eight adapter") == ["huit", "a", "eight"]
    assert "thirty-two" in number_spans("a rank-thirty-two adapter") and "zehn" in number_spans("zehn-mal")
    assert number_spans("batches of thirty-two and five passes") == [
        "thirty-two and five",
        "thirty-two",
        "thirty",
        "two",
        "five",
    ]
