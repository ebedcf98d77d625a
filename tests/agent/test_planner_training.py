"""Training the planner: what is refused, what is measured, and which adapter is in use afterwards."""

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tunesmith.agent import planner_scores
from tunesmith.agent.cli import main
from tunesmith.agent.frame import Frame
from tunesmith.agent.frame_prompt import prompt
from tunesmith.agent.frame_text import read
from tunesmith.agent.lessons.rows import lessons
from tunesmith.agent.plan import History
from tunesmith.agent.planner_adapter import ADAPTER_FILE, PROVENANCE_FILE, load_adapter
from tunesmith.agent.planner_scores import score
from tunesmith.agent.planner_training import EARLIER, is_better, put_in_place, train_planner
from tunesmith.tools.artifacts import file_sha256
from tunesmith.tools.base import BadRequest


@dataclass
class Reading:
    frame: Frame


class Reader:
    """Reads what it was told, by prompt."""

    def __init__(self, lines: dict[str, str]) -> None:
        self.lines = lines

    def read(self, text: str, history: History) -> Reading | None:
        line = self.lines.get(prompt(text, history))
        return Reading(read(line)) if line else None


def test_no_rows_are_refused_before_any_work(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match="`rows` cannot be 0"):
        train_planner(tmp_path / "planner", rows=0)


def test_without_kept_requests_there_is_nothing_to_learn_from(
    tmp_path: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-planner", "--from-history", "--output", str(tmp_path / "planner")]) == 2
    assert "planner.learn true" in capsys.readouterr().err


def test_a_file_is_no_place_for_an_adapter(tmp_path: Path) -> None:
    (tmp_path / "planner").touch()
    with pytest.raises(BadRequest, match="no folder"):
        train_planner(tmp_path / "planner", rows=5)


def test_scores_tell_right_from_wrong_readings() -> None:
    held = list(itertools.islice(lessons(3, held=True), 60))
    right = score(Reader({lesson.prompt: lesson.line for lesson in held}), held)
    assert right["exact"] == {"right": 60, "of": 60}
    silent = score(Reader({}), held)
    assert silent["exact"]["right"] == silent["no plan to make"]["right"] == silent["no plan to make"]["of"]
    wrong = score(Reader({lesson.prompt: "new; prepare data other.jsonl" for lesson in held}), held)
    assert wrong["exact"]["right"] == 0
    assert sum(share["of"] for share in right["kinds"].values()) == 60
    assert sum(share["of"] for share in right["languages"].values()) == 60


def test_a_draw_leaves_the_adapter_that_is_in_use() -> None:
    assert not is_better({"exact": {"right": 5, "of": 9}}, {"exact": {"right": 5, "of": 9}})
    assert is_better({"exact": {"right": 6, "of": 9}}, {"exact": {"right": 5, "of": 9}})


def test_the_adapter_that_is_replaced_stays_beside_the_new_one(tmp_path: Path) -> None:
    output = tmp_path / "planner"
    for content in ("first", "second", "third"):
        made = tmp_path / f"{content}.gguf"
        made.write_text(content, encoding="utf-8")
        put_in_place(output, made, {"sha256": file_sha256(made), "name": content})
    assert load_adapter(output).provenance["name"] == "third"
    assert load_adapter(output / EARLIER).provenance["name"] == "second"
    assert {path.name for path in output.iterdir()} == {ADAPTER_FILE, PROVENANCE_FILE, EARLIER}


@pytest.mark.slow
def test_a_few_rows_become_an_adapter_that_plans(
    tmp_path: Path, workdir: Path, base_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planner_scores, "HELD_OUT", 6)
    heard: list[str] = []

    def listen(tool: str, event: dict[str, Any]) -> None:
        heard.append(tool)

    told = train_planner(tmp_path / "planner", rows=16, seed=11, on_event=listen)
    assert told["used"]
    assert {*heard} == {"prepare_dataset", "finetune_unsloth", "export_gguf"}
    adapter = load_adapter(tmp_path / "planner")
    assert adapter.provenance["rows"] == told["rows"]
    assert adapter.provenance["training"]["steps"] == 2
    assert str(Path.home()) not in (tmp_path / "planner" / PROVENANCE_FILE).read_text(encoding="utf-8")
