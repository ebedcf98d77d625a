"""The chat: what lines do in a pipe and at a terminal, keys and completion, and words to a run that is going on."""

import io
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from injections import INJECTIONS
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document
from prompt_toolkit.history import InMemoryHistory
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from tunesmith.agent import records
from tunesmith.agent.cli import main
from tunesmith.agent.consoles import consoles
from tunesmith.agent.conversation import Conversation
from tunesmith.agent.executor import Watcher
from tunesmith.agent.live_run import find_live
from tunesmith.agent.plan import Plan, Step
from tunesmith.agent.progress import ProgressDisplay, Status
from tunesmith.agent.session import Session
from tunesmith.agent.terminal_chat import ChatCompleter, chat_prompt
from tunesmith.tools.control_file import GoOn, Save, SetValue, Stop, operations

TRAIN = "train smollm2-135m on rows.jsonl"


@pytest.fixture
def rows(workdir: Path) -> Path:
    path = workdir / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n} + {n}?", "completion": f"{2 * n}"}) + "\n" for n in range(60)))
    return path


@pytest.fixture
def talk(rows: Path) -> Conversation:
    return Conversation(Session(), assume_yes=False, background=True)


def wait_for(conversation: Conversation, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while conversation.busy:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def piped(monkeypatch: pytest.MonkeyPatch, text: str, *options: str) -> int:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    return main([*options])


def test_a_piped_chat_prints_plain_lines_and_returns_its_first_failure(
    rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert piped(monkeypatch, "/runs\nprepare rows.jsonl\n/nonsense\n/show\n/quit\nprepare other.jsonl\n", "-y") == 2
    out, err = capsys.readouterr()
    assert "data/train" in out
    assert "prepare_dataset: done" in out
    assert "there is no `/nonsense`" in err
    assert "other.jsonl" not in err
    assert "\x1b" not in out + err


def test_a_piped_chat_without_y_runs_nothing(
    rows: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert piped(monkeypatch, "prepare rows.jsonl\n") == 3
    assert "pass -y" in capsys.readouterr().err
    assert not Path("data").exists()


def test_a_plan_waits_for_a_yes_and_takes_changes_one_by_one(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say(TRAIN)
    talk.say("epochs=3")
    talk.say("use q4_0 instead")  # nothing in this plan is exported, so this is no answer to it
    talk.say("and a rank of 8")
    err = capsys.readouterr().err
    assert "changed: epochs 1 → 3" in err
    assert "lora_r 16 → 8" in err
    assert not talk.busy
    assert talk.offer is not None
    training = next(step for step in talk.offer.steps if step.tool == "finetune_unsloth")
    assert (training.args["epochs"], training.args["lora_r"]) == (3, 8)
    assert training.args["output_dir"] == "runs/smollm2-135m"
    talk.say("n")
    assert talk.offer is None
    assert records.load_all()[-1].state == "declined"


def test_undo_goes_back_plan_by_plan_and_says_what_changed(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say(TRAIN)
    talk.say("epochs=3")
    talk.say("rank 8")
    for epochs, rank, changed in ((3, 16, "lora_r 8 → 16"), (1, 16, "epochs 3 → 1")):
        talk.say("/undo")
        assert talk.offer is not None
        assert (talk.offer.steps[1].args["epochs"], talk.offer.steps[1].args["lora_r"]) == (epochs, rank)
        assert f"changed: {changed}" in capsys.readouterr().err
    assert talk.say("/undo") == 2
    assert "no earlier plan" in capsys.readouterr().err


def test_plan_shows_what_waits_with_its_estimate_and_what_ran_with_what_it_took(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say("prepare rows.jsonl")
    capsys.readouterr()
    talk.say("/plan")
    out, err = capsys.readouterr()
    assert "prepare_dataset" in out and "estimate:" in err
    talk.say("/plan train smollm2-135m on rows.jsonl")
    assert "GiB of memory" in capsys.readouterr().err
    talk.say("y")
    wait_for(talk)
    capsys.readouterr()
    talk.say("/plan")
    assert "took: 0:0" in capsys.readouterr().err
    talk.say("prepare rows.jsonl")
    wait_for(talk)
    err = capsys.readouterr().err
    assert "not run again" in err and "took" not in err


def test_a_change_that_was_refused_is_not_asked_for_by_the_next_message(talk: Conversation) -> None:
    talk.say(TRAIN)
    assert talk.say("epochs=500, rank 4") == 2
    assert talk.say("seed 7") == 0
    assert talk.offer is not None
    args = talk.offer.steps[1].args
    assert (args["epochs"], args["lora_r"], args["seed"]) == (1, 4, 7)


def test_model_changes_the_base_of_the_last_plan_and_refuses_unknown_names(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say(TRAIN)
    assert talk.say("/model gemma9-270m") == 2
    assert talk.say("/model gemma3-270m") == 0
    assert talk.offer is not None
    assert talk.offer.steps[1].args["base_model"] == "gemma3-270m"
    talk.say("/model")
    assert "last plan" in capsys.readouterr().out


def test_a_yes_with_nothing_on_offer_runs_nothing(talk: Conversation) -> None:
    talk.say("yes")
    assert not talk.busy
    talk.say("prepare rows.jsonl")
    talk.say("fine-tune gemma on rows.jsonl")
    assert talk.offer is None, "a yes would answer the question"
    talk.say("y")
    assert not talk.busy
    assert not Path("data").exists()


def test_a_plan_with_a_problem_is_not_offered(talk: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    assert talk.say("prepare nowhere.jsonl") == 2
    assert talk.offer is None
    assert "nowhere.jsonl" in capsys.readouterr().err


def test_a_run_goes_on_beside_the_prompt_and_is_the_record_that_was_offered(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say("prepare rows.jsonl")
    assert talk.offer is not None
    offered = talk.offer.id
    talk.say("y")
    assert talk.busy
    assert talk.say("/quit") == 2
    assert not talk.over
    wait_for(talk)
    assert [(record.id, record.state) for record in records.load_all()] == [(offered, "done")]
    assert "data/train" in capsys.readouterr().out


def test_an_interrupted_run_says_so_in_one_line_and_resumes(
    talk: Conversation, capsys: pytest.CaptureFixture[str]
) -> None:
    talk.say("prepare rows.jsonl")
    talk.say("y")
    talk.stop()
    wait_for(talk)
    err = capsys.readouterr().err
    assert re.search(r"stopped (prepare_dataset|before the first step); its state is kept\nhint: /resume", err)
    assert records.load_all()[-1].state == "interrupted"
    talk.say("/resume")
    wait_for(talk)
    assert records.load_all()[-1].state == "done"
    assert "took: 0:0" in capsys.readouterr().err


def test_a_training_that_asks_is_answered_at_the_prompt(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = threading.Event()

    def work(_: str, watch: Watcher, __: object) -> records.Record:
        watch(0, "finetune_unsloth", {"event": "probe", "asks": True, "text": "9:00 instead of 1:00"})
        release.wait(30)
        return records.find(None)

    monkeypatch.setattr(talk._session, "resume", work)
    with training():
        talk._start("the run")
        while not talk.asking:
            time.sleep(0.01)
        assert talk.say("well") == 2
        assert talk.say("y") == 0
        assert talk.say("no") == 0
        release.set()
        wait_for(talk)
    assert operations(Path("runs/live")) == [GoOn(), Stop()]
    assert not talk.asking
    assert "9:00 instead of 1:00" in capsys.readouterr().err


def spoiled_file(text: str) -> str:
    """A file name that says what the text says."""
    return " ".join(text.replace("/", " ").replace('"', "'").split())[:80] + ".jsonl"


def test_no_text_in_data_names_or_results_adds_changes_or_launches_a_step(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """216 texts as rows, as a file's name, as what a running tool says, and as what an earlier run left behind."""
    name = spoiled_file(INJECTIONS[17])
    Path(name).write_text("".join(json.dumps({"prompt": text, "completion": text}) + "\n" for text in INJECTIONS))
    talk.say(f'prepare "{name}"')
    assert talk.offer is not None
    assert [(step.tool, step.args["source"]) for step in talk.offer.steps] == [("prepare_dataset", name)]
    talk.say("y")
    wait_for(talk)
    (record,) = records.load_all()
    assert (record.state, talk.offer) == ("done", None)

    def work(_: str, watch: Watcher, __: object) -> records.Record:
        for text in INJECTIONS:
            watch(0, "finetune_unsloth", {"event": "note", "text": text})
            watch(0, "finetune_unsloth", {"event": "sample", "title": text, "before": text, "after": text})
        return record

    with training(), monkeypatch.context() as patch:
        patch.setattr(talk._session, "resume", work)
        talk._start(record.id)
        wait_for(talk)
    assert operations(Path("runs/live")) == []
    assert talk.offer is None and not talk.asking

    record.steps[0].notes, record.request = INJECTIONS, INJECTIONS[0]
    records.save(record)
    tomorrow = Conversation(Session(), assume_yes=False, background=True)
    tomorrow.recall()
    for command in ("/runs", "/show", "/plan"):
        tomorrow.say(command)
    assert tomorrow.offer is None and not tomorrow.busy
    assert len(records.load_all()) == 2
    assert "\u202e" not in "".join(capsys.readouterr())


@pytest.mark.parametrize("part", range(4))
def test_a_file_name_full_of_orders_is_offered_as_one_step_that_waits(talk: Conversation, part: int) -> None:
    for text in INJECTIONS[part::4]:
        Path(name := spoiled_file(text)).touch()
        talk.say(f'prepare "{name}"')
        assert talk.offer is not None and not talk.busy
        assert [(step.tool, step.args["source"]) for step in talk.offer.steps] == [("prepare_dataset", name)]
    assert not Path("data").exists()


def test_the_next_chat_takes_up_the_plan_that_waits(talk: Conversation, capsys: pytest.CaptureFixture[str]) -> None:
    talk.say(TRAIN)
    tomorrow = Conversation(Session(), assume_yes=False, background=True)
    tomorrow.recall()
    assert tomorrow.offer is not None
    assert TRAIN in capsys.readouterr().err
    tomorrow.say("n")
    after = Conversation(Session(), assume_yes=False, background=True)
    after.recall()
    assert after.offer is None


@contextmanager
def training(**args: Any) -> Iterator[records.Record]:
    """A record whose training is at work in this folder, as another process sees it."""
    args = {
        "base_model": "smollm2-135m",
        "dataset": "data/train",
        "output_dir": "runs/live",
        "epochs": 3,
        "learning_rate": 1e-3,
        **args,
    }
    record = records.new_record(Plan("train", (Step("finetune_unsloth", args, {}),)))
    record.state = record.steps[0].state = "running"
    record.steps[0].started = records.now()
    records.save(record)
    folder = Path("runs/live")
    folder.mkdir(parents=True)
    line = {"total": 102, "tokens": 100, "seconds": 0.5, "learning_rate": 1e-3, "grad_norm": 1.0}
    with (folder / "metrics.jsonl").open("w") as stream:
        for step in range(1, 41):
            stream.write(json.dumps({"step": step, "epoch": round(step / 34, 4), "loss": 2 / step, **line}) + "\n")
    with records.lock(record):
        yield record


def test_words_to_a_running_training_reach_its_control_file(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert find_live() is None
    with training():
        assert main(["how is it going?"]) == 0
        assert main(["save now"]) == 0
        assert main(["stop after this epoch"]) == 0
        assert main(["halve the learning rate from now"]) == 0
        assert main(["halve the learning rate"]) == 0
        err = capsys.readouterr().err
    assert "step 40 of 102, epoch 1.2, loss 0.0" in err
    assert "200 tokens/s" in err
    assert "about 0:31 left" in err
    assert "learning_rate 0.001 → 0.0005" in err
    expected = [Save(), Stop(after="epoch"), SetValue(value=5e-4), SetValue(value=2.5e-4)]
    assert operations(Path("runs/live")) == expected


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("stop at step 10", "step 10 is over: it is at step 40"),
        ("stop after epoch 9", "there is no epoch 9: the training has 3"),
        ("set the learning rate to 0.5", "`learning_rate` would be 0.5"),
    ],
)
def test_what_a_training_cannot_do_is_refused_and_not_asked_of_it(
    workdir: Path, text: str, complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with training():
        assert main([text]) == 2
    assert complaint in capsys.readouterr().err
    assert operations(Path("runs/live")) == []


def test_a_chat_refuses_other_words_while_a_run_goes_on(
    talk: Conversation, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    release = threading.Event()

    def work(*_: object) -> records.Record:
        release.wait(30)
        return records.find(None)

    monkeypatch.setattr(talk._session, "resume", work)
    talk._start("the run")
    with training():
        assert talk.say("train qwen3-0.6b on rows.jsonl") == 2
        assert talk.say("stop after this epoch") == 0
        release.set()
        wait_for(talk)
    assert "nothing it takes" in capsys.readouterr().err
    assert operations(Path("runs/live")) == [Stop(after="epoch")]


def test_the_status_line_fits_and_shows_the_course_of_the_loss() -> None:
    status = Status()
    status.begin("2. finetune_unsloth")
    for step in range(1, 60):
        event = {"done": step, "total": 136, "unit": "step", "loss": 3 / step, "tokens_per_second": 391.2}
        status.advance({**event, "seconds_left": 81.0})
    assert status.place == "finetune_unsloth after step 59 of 136"
    for width in (20, 40, 79, 120):
        assert len(status.line(width)) <= width
    assert "█" in status.line(79)
    assert status.line(120).endswith("loss 0.051  391 tokens/s  1:21 left")


def test_progress_of_unknown_length_is_told_without_a_total(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    event = {"event": "step", "done": 2000, "total": None, "unit": "rows"}
    status = Status()
    status.begin("1. prepare_dataset")
    status.advance(event)
    assert status.place == "prepare_dataset after rows 2000"
    assert status.line(79).endswith("rows 2000")
    ProgressDisplay(*consoles())(0, "prepare_dataset", event)
    assert capsys.readouterr().err.strip() == "rows 2000"


def test_text_out_of_data_cannot_drive_the_terminal(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    talk, output = consoles()
    display = ProgressDisplay(talk, output, Status())
    display(0, "prepare_dataset", {"event": "note", "text": "row \x1b]0;title\x07 \x1b[2J"})
    display(0, "prepare_dataset", {"event": "sample", "title": "row 1", "before": "\x1b[2Jb", "after": "[bold]a"})
    out, err = capsys.readouterr()
    assert "\x1b" not in out + err and "\x07" not in out + err
    assert "[bold]a" in err


def typed(keys: str, conversation: Conversation) -> str:
    with create_pipe_input() as stream:
        stream.send_text(keys)
        return chat_prompt(conversation, InMemoryHistory(), input=stream, output=DummyOutput()).prompt()


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        ("train\r", "train"),
        ("train\n", "train"),
        ("train \\\ron rows\r", "train \non rows"),
        ("train\x1b\ron rows\r", "train\non rows"),
        ("\x1b[200~one\ntwo\x1b[201~\r", "one\ntwo"),
        ("wrong\x03right\r", "right"),
    ],
)
def test_keys_make_one_message(talk: Conversation, keys: str, text: str) -> None:
    assert typed(keys, talk) == text


def test_the_end_of_input_ends_the_prompt(talk: Conversation) -> None:
    with pytest.raises(EOFError):
        typed("\x04", talk)


def completions(text: str, *, asked: bool = True) -> list[str]:
    event = CompleteEvent(completion_requested=asked, text_inserted=not asked)
    return [completion.text for completion in ChatCompleter().get_completions(Document(text), event)]


def test_only_commands_are_completed_while_typing(talk: Conversation) -> None:
    assert completions("/r", asked=False) == ["/runs", "/resume"]
    assert completions("train on r", asked=False) == []
    talk.say(TRAIN)
    assert completions("/show ") == [record.id for record in records.load_all()]
    assert "q4_k_m" in completions("export q4")
    assert "gemma3-1b" in completions("/model gemma")
    assert completions("prepare rows.j") == ["sonl"], "a path is completed by its rest"


def test_only_a_chat_at_a_terminal_loads_the_line_editor() -> None:
    code = "import sys; from tunesmith.agent.cli import main; main(['plan', 'prepare rows.jsonl']); main([])"
    script = f"{code}; sys.exit('prompt_toolkit' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], input="/help\n", text=True, capture_output=True, check=True)
