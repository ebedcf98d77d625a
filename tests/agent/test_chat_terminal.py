"""The chat as a person sees it: typed into a real terminal (tmux), and read off its screen."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import records
from tunesmith.agent.speeds import Speed, remember, this_machine

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

ROWS = Path(__file__).resolve().parents[2] / "examples" / "tickets.jsonl"


class Terminal:
    """A chat in a terminal of its own. `recording` keeps every screen that was looked at."""

    def __init__(self, folder: Path, columns: int, *options: str) -> None:
        self.columns = columns
        self.recording: list[str] = []
        self._socket = str(folder / "tmux")
        self._screens = folder / f"recording-{columns}.txt"
        command = [sys.executable, "-P", "-m", "tunesmith.agent.cli", *options]
        shell = ["sh", "-c", '"$@"; echo "the chat ended: $?"; sleep 60', "sh"]
        size = ["-x", str(columns), "-y", "34"]
        state = os.environ["XDG_STATE_HOME"]
        variables = [f"XDG_STATE_HOME={state}", "HF_ENDPOINT=http://127.0.0.1:9", "TERM=xterm-256color"]
        self._tmux(
            "-f",
            "/dev/null",
            "new-session",
            "-d",
            "-s",
            "chat",
            *size,
            *shell,
            "env",
            "-u",
            "COLUMNS",
            "-u",
            "LINES",
            *variables,
            *command,
        )

    def _tmux(self, *arguments: str) -> str:
        return subprocess.run(
            ["tmux", "-S", self._socket, *arguments], capture_output=True, text=True, check=True
        ).stdout

    def keys(self, *keys: str) -> None:
        """Press keys, by tmux's names."""
        self._tmux("send-keys", "-t", "chat", *keys)

    def say(self, text: str) -> None:
        """Type a line and send it."""
        self._tmux("send-keys", "-t", "chat", "-l", text)
        self.keys("Enter")

    def screen(self, *, history: bool = False) -> str:
        """What stands on the screen, with what scrolled off it if asked."""
        return self._tmux("capture-pane", "-p", "-t", "chat", *(["-S", "-"] if history else []))

    def until(self, seen: str | Callable[[str], bool], seconds: float = 20) -> str:
        """Wait for a text on the screen; returns the screen."""
        deadline = time.monotonic() + seconds
        while True:
            screen = self.screen()
            if seen in screen if isinstance(seen, str) else seen(screen):
                self.recording.append(screen)
                self._screens.write_text(f"\n{'=' * self.columns}\n".join(self.recording))
                return screen
            assert time.monotonic() < deadline, f"{seen!r} did not appear:\n{self.screen(history=True)}"
            time.sleep(0.05)

    def until_ready(self, seen: str) -> str:
        """Wait for a text and, below it, the prompt that takes the next line."""
        return self.until(lambda screen: seen in screen and screen.rstrip().endswith("›"))

    def close(self) -> None:
        """End the terminal, whatever runs in it."""
        subprocess.run(["tmux", "-S", self._socket, "kill-server"], capture_output=True, check=False)


@pytest.fixture
def open_chat(workdir: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Terminal]]:
    """Opens chats in the test's working folder, which has rows.jsonl."""
    shutil.copy(ROWS, workdir / "rows.jsonl")
    terminals: list[Terminal] = []

    def start(columns: int, *options: str, shows: str = "›") -> Terminal:
        terminals.append(Terminal(tmp_path_factory.mktemp("tmux"), columns, *options))
        terminals[-1].until(shows)
        return terminals[-1]

    yield start
    for terminal in terminals:
        terminal.close()


@pytest.mark.parametrize("columns", [80, 120])
def test_a_plan_is_shown_changed_run_and_found_again_tomorrow(open_chat: Callable[..., Terminal], columns: int) -> None:
    chat = open_chat(columns)
    chat.keys("/")
    menu = chat.until("/quit")
    assert all(name in menu for name in ("/plan", "/runs", "/show", "/resume", "/undo", "/model", "/help"))
    chat.keys("C-c")
    chat.say("prepare rows.jsonl for training")
    screen = chat.until_ready("estimate:")
    assert "run this plan? [y]es, [n]o, or a change" in screen
    assert "rows.jsonl" in screen and "you" in screen and "default: output_dir data/" in screen
    chat.say("heldout_fraction=0.2")
    assert "changed: heldout_fraction 0.1 → 0.2" in chat.until_ready("changed:")
    chat.keys("C-d")
    chat.until("the chat ended: 0")

    tomorrow = open_chat(columns, "--continue")
    assert "heldout_fraction 0.2" in " ".join(tomorrow.until_ready("changed:").split())
    tomorrow.say("y")
    screen = tomorrow.until("record: runs/records/")
    assert "240 training rows in data/train, 60 held-out rows in data/heldout" in " ".join(screen.split())
    assert "took: 0:0" in screen
    tomorrow.say("exit")
    tomorrow.until("the chat ended: 0")
    assert [record.state for record in records.load_all()][-1] == "done"


@pytest.mark.slow
def test_a_running_training_is_steered_stopped_and_resumed_from_the_prompt(
    open_chat: Callable[..., Terminal], base_dir: Path, workdir: Path
) -> None:
    chat = open_chat(100, "-y")
    chat.say("train smollm2-135m on rows.jsonl for 2 epochs, batch size 10, at most 100 rows")
    chat.until("step 1/16", seconds=240)
    chat.say("how is it going?")
    chat.until("of 16, epoch 0.")
    chat.say("halve the learning rate from now")
    chat.until("learning_rate 0.001 → 0.0005 from the next step on")
    chat.say("save now")
    chat.say("bake a cake")
    screen = chat.until("is nothing it takes")
    assert screen.rstrip().endswith("›"), "the prompt stays at the bottom"
    chat.say("stop after this epoch")
    chat.until("▁", seconds=240)  # the course of the loss
    chat.until("stopped finetune_unsloth after step 8 of 16; its state is kept", seconds=240)
    chat.say("/resume")
    chat.until("going on from step 8 of 16", seconds=240)
    chat.until("/16  ", seconds=240)
    chat.keys("C-c")
    chat.until(lambda screen: screen.count("its state is kept") == 2, seconds=60)
    chat.say("/resume")
    chat.until("record: runs/records/", seconds=600)
    metadata = json.loads((workdir / "runs/smollm2-135m/metadata.json").read_text())
    assert [entry["operation"]["op"] for entry in metadata["control"]] == ["set", "save", "stop"]
    assert metadata["control"][2]["until"] == 8
    assert metadata["resumed_from_step"] > 8


def remember_a_machine_that_was_a_hundred_times_as_fast() -> None:
    size, weights = float(ROWS.stat().st_size), 134_515_008.0
    became = {"ending": ".jsonl", "rows": 300 / size, "characters": 0.8}
    training = {"base_model": "smollm2-135m", "method": "sft", "quant": "16bit"}
    kinds: list[dict[str, Any]] = [
        {"tool": "prepare_dataset", "size": size, "args": {}, "per_byte": became},
        {"tool": "finetune_unsloth", "size": weights * 70_000, "args": training},
    ]
    for kind in kinds:
        remember(Speed.model_validate({"machine": this_machine(), "seconds": 1.2, "growing": 1.2, **kind}))


@pytest.mark.slow
def test_a_training_that_turns_out_larger_than_was_said_asks_again(
    open_chat: Callable[..., Terminal], base_dir: Path, workdir: Path
) -> None:
    remember_a_machine_that_was_a_hundred_times_as_fast()
    request = "train smollm2-135m on rows.jsonl with batch size 10 for 6 steps"

    chat = open_chat(100)
    chat.say(request)
    assert "estimate: about 0:01" in chat.until_ready("run this plan?")
    chat.say("y")
    screen = " ".join(chat.until("go on with it? [y]es, or [n]o", seconds=240).split())
    assert "after two steps at the longest batches" in screen
    assert "more than twice the 0:0" in screen
    chat.say("n")
    chat.until("stopped finetune_unsloth after step 2 of 6; its state is kept", seconds=60)
    chat.say("/resume")
    chat.until("took: ", seconds=240)
    metadata = json.loads((workdir / "runs/smollm2-135m/metadata.json").read_text())
    assert [entry["operation"] for entry in metadata["control"]] == [{"op": "stop", "after": "step"}]
    assert metadata["resumed_from_step"] == 2

    shutil.rmtree(workdir / "runs")
    for answer, ending in (("n", "the chat ended: 3"), ("y", "the chat ended: 0")):
        remember_a_machine_that_was_a_hundred_times_as_fast()
        command = open_chat(100, request, shows="run this plan?")
        command.say("y")
        command.until("go on with it? [y/N]", seconds=240)
        command.say(answer)
        command.until(ending, seconds=240)
        shutil.rmtree(workdir / "runs")
