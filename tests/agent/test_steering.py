"""What may be said to a running training, and that nothing else is taken for it."""

import pytest
from tunesmith.agent.steering import AskProgress, SetRate, Wish, read_wish
from tunesmith.tools.control_file import GoOn, Save, Stop

EPOCH = Stop(after="epoch")


@pytest.mark.parametrize(
    ("text", "wish"),
    [
        ("how is it going?", AskProgress()),
        ("How's it going", AskProgress()),
        ("how far is it", AskProgress()),
        ("how long will it take?", AskProgress()),
        ("how much longer", AskProgress()),
        ("what's the loss?", AskProgress()),
        ("status", AskProgress()),
        ("is it done yet?", AskProgress()),
        ("are we there yet", AskProgress()),
        ("when will it be done?", AskProgress()),
        ("stop after this epoch", EPOCH),
        ("Please stop after the current epoch.", EPOCH),
        ("stop the training at the end of this epoch", EPOCH),
        ("stop when this epoch is over", EPOCH),
        ("pause once the epoch ends", EPOCH),
        ("stop after epoch 2", Stop(after="epoch", number=2)),
        ("stop at step 40", Stop(number=40)),
        ("stop", Stop()),
        ("stop it now", Stop()),
        ("stop the run, please", Stop()),
        ("keep going", GoOn()),
        ("don't stop after all", GoOn()),
        ("save now", Save()),
        ("save a checkpoint", Save()),
        ("checkpoint please", Save()),
        ("halve the learning rate from now", SetRate(times=0.5)),
        ("halve the learning rate from now on", SetRate(times=0.5)),
        ("lower lr to 1e-5", SetRate(value=1e-5)),
        ("learning_rate=1e-5", SetRate(value=1e-5)),
        ("double the lr", SetRate(times=2)),
        ("reduce the learning rate by 50%", SetRate(times=0.5)),
        ("set the learning rate to 0.0002, please", SetRate(value=2e-4)),
    ],
)
def test_plain_words_become_one_typed_operation(text: str, wish: Wish) -> None:
    assert read_wish(text) == wish


@pytest.mark.parametrize(
    "text",
    [
        "",
        "?",
        "stop after this epoch and export q4_k_m",
        "stop when the loss is below 1",
        "stop in 5 minutes",
        "stop after 2 epochs",
        "stop after step 0",
        "stop after this epoch or the next",
        "stop after this epoch; rm -rf /",
        "stop at epoch 2",
        "do not save",
        "never halve the learning rate",
        "halve the learning rate when the loss rises",
        "halve the learning rate and the batch size",
        "halve the epochs",
        "use a smaller learning rate",
        "lr 1e-4 or 1e-5",
        "epochs=5",
        "save the world",
        "save to runs/other",
        "fine-tune smollm2-135m on rows.jsonl",
        "how good is models/x.gguf at hellaswag?",
        "how do I stop",
        "what is the weather",
        "is it going to rain",
        "stop " * 80,
    ],
)
def test_what_is_not_understood_to_its_last_word_is_not_done(text: str) -> None:
    assert read_wish(text) is None
