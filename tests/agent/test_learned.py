"""Accepted requests as training rows: kept only if the user says so, and only where they make their plan again."""

import json
from pathlib import Path

import pytest
from tunesmith.agent.frame import Frame
from tunesmith.agent.learned import kept_rows, learned_file, taught_line
from tunesmith.agent.session import Session
from tunesmith.agent.settings import change

ROWS = "".join(json.dumps({"question": f"What is {n}?", "answer": str(n)}) + "\n" for n in range(60))


@pytest.fixture
def session(workdir: Path) -> Session:
    (workdir / "rows.jsonl").write_text(ROWS, encoding="utf-8")
    return Session()


def test_nothing_is_kept_unless_the_user_says_so(session: Session) -> None:
    session.queue(session.ask("prepare rows.jsonl, at most fifty rows"))
    assert not learned_file().exists()


def test_an_accepted_request_is_kept_as_it_was_said_and_once(session: Session) -> None:
    change("planner.learn", "true")
    for _ in range(2):
        session.queue(session.ask("prepare rows.jsonl, at most fifty rows"))
    first = next(kept_rows())
    assert first == {
        "prompt": "prepare rows.jsonl, at most fifty rows",
        "line": "new; prepare data rows.jsonl limit fifty",
    }
    assert len({(row["prompt"], row["line"]) for row in kept_rows()}) == len(list(kept_rows()))


def test_a_plan_that_is_only_shown_or_declined_is_not_kept(session: Session) -> None:
    change("planner.learn", "true")
    session.ask("prepare rows.jsonl")
    session.decline(session.ask("prepare rows.jsonl"))
    session.note(session.ask("prepare rows.jsonl"), dry_run=True)
    assert not list(kept_rows())


def test_a_correction_is_kept_with_the_plan_that_it_corrects(session: Session) -> None:
    change("planner.learn", "true")
    session.ask("prepare rows.jsonl, at most fifty rows")
    session.queue(session.ask("limit 40"))
    (row,) = kept_rows()
    assert row["prompt"].splitlines() == ["last: prepare data rows.jsonl limit 50", "limit 40"]
    assert row["line"] == "change; prepare limit 40"


def test_an_answer_is_kept_as_an_answer(session: Session) -> None:
    change("planner.learn", "true")
    session.note(session.ask("prepare the data, at most fifty rows"))
    session.queue(session.ask("rows.jsonl"))
    (row,) = kept_rows()
    assert row["prompt"].splitlines()[1:] == ["asked: prepare data", "rows.jsonl"]
    assert row["line"] == "answer; prepare data rows.jsonl"


def test_a_store_that_cannot_be_written_stops_no_run(
    session: Session, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    change("planner.learn", "true")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert session.queue(session.ask("prepare rows.jsonl")).state == "waiting"


def test_lines_that_are_no_rows_are_passed_over() -> None:
    learned_file().parent.mkdir(parents=True)
    good = {"prompt": "prepare a.jsonl", "line": "new; prepare data a.jsonl"}
    lines = ["", "{", "[1]", '{"prompt": "x"}', '{"prompt": "x", "line": "new; bake"}', json.dumps(good)]
    learned_file().write_text("\n".join(lines), encoding="utf-8")
    assert list(kept_rows()) == [good]


@pytest.mark.parametrize(
    "frame",
    [
        Frame(want=("finetune_unsloth",), values={"finetune_unsloth.epochs": [4]}),
        Frame(want=("finetune_unsloth",), loose=(3,)),
        Frame(want=("prepare_dataset",), values={"prepare_dataset.source": ['a"b']}),
    ],
)
def test_what_the_prompt_does_not_say_makes_no_line(frame: Frame) -> None:
    assert taught_line(frame, "train for three epochs") is None
