"""What holds for every text: a plan or an answer, valid arguments, and no value from nowhere."""

import json
import random
import re
import time
from collections.abc import Iterator

import pytest
from tunesmith.agent.lexicon import read_tokens
from tunesmith.agent.plan import History, Plan, Ran
from tunesmith.agent.planner import RulesPlanner
from tunesmith.tools.registry import TOOLS

# Pieces of requests; joined at random they make sense about half of the time.
_TEXT = (
    "train smollm2-135m|fine-tune gemma3-270m|tune llama|on a.csv|on org/rows|with `my data.csv`|use b.jsonl|"
    "for 3 epochs|for 500 epochs|lr 2e-4|rank 8|batch size of four|double the epochs|halve the learning rate|"
    "5 more epochs|half as many|export q8_0|export it|as q9_z|to models/x.gguf|without the export|no eval|"
    "evaluate on piqa|on the held-out rows|and boolq|instead|also|again|the 360m|only 100 rows|10 %|QLoRA|dpo|"
    "seed 7|never mind|hello|?|,|and then|make it|not|train split|runs/x|merge it|safetensors|2k context|"
    "skip bad rows|warm up for 20 steps|from 2 to 4|by 10x|thirty|the default"
)
_PIECES = _TEXT.split("|")
# What words other than themselves stand for.
_WORD_VALUES = ("4bit", "8bit", "16bit", "dpo", "skip", "error", "heldout", "train")
_PLANNER = RulesPlanner(look_at_disk=False)


def _conversations(count: int, seed: int) -> Iterator[tuple[list[str], list[Plan]]]:
    draw = random.Random(seed)
    for _ in range(count):
        history, turns, plans = History(), [], []
        for _ in range(draw.randint(1, 4)):
            turns.append(" ".join(draw.choice(_PIECES) for _ in range(draw.randint(1, 7))))
            plans.append(_PLANNER.plan(turns[-1], history))
            finished = draw.choice([0, len(plans[-1].steps)])
            history = History((*history.ran, Ran(plans[-1], finished)))
        yield turns, plans


def test_every_plan_validates_and_is_either_steps_or_an_answer() -> None:
    steps = 0
    for turns, plans in _conversations(600, seed=1):
        for plan in plans:
            assert plan.steps or plan.reply, turns
            json.dumps(plan.to_json())
            for step in plan.steps:
                TOOLS[step.tool].input.model_validate(step.args)
                assert set(step.origin) == set(step.args), turns
                steps += 1
    assert steps > 400


def test_no_value_is_invented() -> None:
    """What the plan does not call a default is in the user's words: names as they stand, numbers as said or changed."""
    for turns, plans in _conversations(600, seed=2):
        said = " ".join(turns).lower()
        numbers = {token.value for token in read_tokens(said) if token.kind == "number"}
        numbers |= {1000 * n for n in numbers} | {1024 * n for n in numbers} | {n / 100 for n in numbers}
        changed = re.search(r"double|halve|half|more|by 10x", said) is not None
        for step in (step for plan in plans for step in plan.steps):
            for name, value in step.args.items():
                if step.origin[name] == "default" or isinstance(value, bool) or value in _WORD_VALUES:
                    continue
                if isinstance(value, int | float):
                    assert value in numbers or changed, (turns, step.tool, name, value)
                elif isinstance(value, str):
                    assert _is_said(value, said), (turns, step.tool, name, value)


def _is_said(value: str, said: str) -> bool:
    """Whether a name stands in the text, as itself or as the name of something that the text names."""
    if value.lower() in said:
        return True
    if value.startswith(("runs/", "models/", "data")):  # an output that follows the name of what is said
        return True
    return value == "smollm2-360m" and "360m" in said


@pytest.mark.parametrize("seed", range(3))
def test_any_text_gets_an_answer(seed: int) -> None:
    draw = random.Random(seed)
    alphabet = [*map(chr, range(32, 127)), *"äé½€🙂\n\t\x00‘”–日本", *_PIECES]
    history = History()
    for _ in range(400):
        plan = _PLANNER.plan("".join(draw.choice(alphabet) for _ in range(draw.randint(0, 40))), history)
        assert plan.steps or plan.reply
        history = History((*history.ran[-3:], Ran(plan, len(plan.steps))))


@pytest.mark.parametrize("text", ["lr 0,00005.", "1,5. 2", "rank = 5,.", "-3,. x", "1e-4,. rows"])
def test_a_decimal_comma_before_a_full_stop_is_a_number_like_any(text: str) -> None:
    assert _PLANNER.plan(text, History()).reply


@pytest.mark.parametrize(
    "text",
    [
        "a/" * 20_000,
        "1" * 20_000,
        "." * 20_000,
        "~" * 20_000,
        "`" * 20_000,
        "1e" * 9000,
        "gemma " * 5000,
        "8 bit " * 5000,
    ],
    ids=lambda text: text[:6],
)
def test_a_huge_text_is_answered_at_once(text: str) -> None:
    started = time.perf_counter()
    assert _PLANNER.plan(text, History()).reply
    assert time.perf_counter() - started < 3


def test_a_request_takes_milliseconds() -> None:
    text = "Fine-tune gemma3-1b on a.csv for 2 epochs with lr 2e-4 and rank 8, export q4_k_m and q8_0, evaluate on piqa"
    _PLANNER.plan(text, History())
    started = time.perf_counter()
    for _ in range(20):
        _PLANNER.plan(text, History())
    assert (time.perf_counter() - started) / 20 < 0.05
