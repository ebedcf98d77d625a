"""The command line as a user meets it: what is printed where, and the exit status."""

import json
from pathlib import Path

import pytest
from tunesmith.agent.cli import main
from tunesmith.agent.records import load_all, lock


@pytest.fixture
def rows(workdir: Path) -> Path:
    path = workdir / "rows.jsonl"
    path.write_text("".join(json.dumps({"prompt": f"{n} + {n}?", "completion": f"{2 * n}"}) + "\n" for n in range(60)))
    return path


def test_help_names_every_command_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    text = capsys.readouterr().out
    assert caught.value.code == 0
    for word in ("plan", "tools", "runs", "show", "resume", "doctor", "exit status"):
        assert word in text


def test_a_request_that_lacks_data_is_a_question_on_stderr_with_status_2(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-y", "fine-tune smollm2-135m for 1 epoch"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip()
    assert [record.state for record in load_all()] == ["question"]


def test_an_answer_completes_the_question_of_an_earlier_process(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["-y", "fine-tune smollm2-135m for 3 epochs"])
    capsys.readouterr()
    assert main(["plan", "--json", "rows.jsonl"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert [step["tool"] for step in plan["steps"]] == ["prepare_dataset", "finetune_unsloth"]
    assert plan["steps"][1]["args"]["epochs"] == 3
    assert plan["problems"] == []


def test_without_a_terminal_and_without_y_nothing_runs(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["prepare rows.jsonl"]) == 3
    out, err = capsys.readouterr()
    assert out == ""
    assert "hint: pass -y" in err
    assert not Path("data").exists()
    assert [record.state for record in load_all()] == ["declined"]


def test_a_dry_run_leaves_a_record_that_says_so(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--dry-run", "train smollm2-135m on rows.jsonl for 2 epochs"]) == 0
    path = capsys.readouterr().out.strip()
    record = json.loads(Path(path).read_text())
    assert record["dry_run"] is True
    assert {step["state"] for step in record["steps"]} == {"waiting"}
    assert not Path("data").exists()


def test_a_request_that_says_dry_run_runs_nothing(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-y", "prepare rows.jsonl, dry run only"]) == 0
    assert [record.dry_run for record in load_all()] == [True] and not Path("data").exists()


def test_a_question_about_a_run_plans_nothing(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["--dry-run", "prepare rows.jsonl"])
    assert main(["-y", "how is it going?"]) == 0
    assert "nothing is running" in capsys.readouterr().err
    assert len(load_all()) == 1


def test_bytes_that_are_no_text_are_a_question_like_any_other(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-y", "\udcff\udcfe"]) == 2
    assert capsys.readouterr().err.strip() and load_all()[0].request == "??"


def test_a_run_whose_process_was_killed_is_told_as_interrupted(rows: Path) -> None:
    main(["-y", "prepare rows.jsonl"])
    file = load_all()[0].folder / "record.json"
    record = json.loads(file.read_text())
    record["state"] = record["steps"][0]["state"] = "running"
    file.write_text(json.dumps(record))
    (found,) = load_all()
    assert (found.state, found.steps[0].state) == ("interrupted", "interrupted")
    with lock(found):
        assert load_all()[0].state == "running"


def test_a_run_prints_its_result_and_the_same_request_again_runs_nothing(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-y", "prepare rows.jsonl"]) == 0
    out, err = capsys.readouterr()
    assert "data/train" in out
    assert "record: runs/records/" in out
    assert "prepare_dataset" in err
    made = Path("data/train/metadata.json").stat().st_mtime_ns
    assert main(["-y", "prepare rows.jsonl"]) == 0
    assert Path("data/train/metadata.json").stat().st_mtime_ns == made
    assert not Path("data-2").exists()


def test_a_missing_file_is_planned_and_refused_before_anything_is_written(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["plan", "--json", "prepare nowhere.jsonl"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert plan["steps"][0]["args"]["source"] == "nowhere.jsonl"
    assert any("nowhere.jsonl" in problem for problem in plan["problems"])
    assert main(["-y", "prepare nowhere.jsonl"]) == 2
    assert "nothing was run" in capsys.readouterr().err
    assert not Path("data").exists()


def test_plan_json_has_the_documented_keys_and_origins(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["plan", "--json", "fine-tune gemma3-270m on alpaca_cleaned for 2 epochs"])
    plan = json.loads(capsys.readouterr().out)
    assert set(plan) == {"steps", "reply", "changed", "problems", "origin"}
    assert plan["origin"]["finetune_unsloth.epochs"] == "you"
    assert plan["origin"]["finetune_unsloth.lora_r"] == "default"
    assert plan["steps"][1]["args"]["learning_rate"] == 5e-5


def test_many_requests_are_answered_in_one_process(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    requests = [
        {"id": "one", "turns": ["prepare rows.jsonl"]},
        {"id": "two", "turns": ["train smollm2-135m on rows.jsonl for 2 epochs", "double the epochs"]},
    ]
    Path("requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in requests))
    assert main(["plan", "--json", "--requests", "requests.jsonl"]) == 0
    answers = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [answer["id"] for answer in answers] == ["one", "two"]
    first = answers[1]["steps"][0]
    assert (first["tool"], first["reuse"]) == ("prepare_dataset", True)
    assert answers[1]["steps"][-1]["args"]["epochs"] == 4


@pytest.mark.parametrize("line", ["{", "[]", '{"id": "x"}', '{"id": "x", "turns": []}', '{"id": "x", "turns": [1]}'])
def test_a_broken_line_of_requests_is_named(workdir: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("requests.jsonl").write_text(line + "\n")
    assert main(["plan", "--json", "--requests", "requests.jsonl"]) == 2
    assert "line 1" in capsys.readouterr().err


def test_runs_and_show_tell_what_was_asked(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["runs"]) == 0
    assert "nothing has been asked" in capsys.readouterr().err
    main(["-y", "prepare rows.jsonl"])
    capsys.readouterr()
    assert main(["runs"]) == 0
    assert "prepare rows.jsonl" in capsys.readouterr().out
    assert main(["show", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert main(["show", record["id"][:15]]) == 0
    assert "prepare_dataset: done" in capsys.readouterr().out
    assert main(["show", "nothing"]) == 2


def test_resume_without_anything_to_resume_is_refused(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["resume"]) == 2
    assert "no unfinished run" in capsys.readouterr().err


def test_a_step_that_fails_gives_status_1_and_its_resume_too(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = Path("broken.jsonl")
    broken.write_text('{"prompt": "a", "completion": "b"}\n{"prompt": ')
    assert main(["-y", "prepare broken.jsonl"]) == 1
    assert "broken.jsonl" in capsys.readouterr().err
    assert main(["resume"]) == 1
    broken.write_text(rows.read_text())
    assert main(["resume"]) == 0
    assert "took: 0:0" in capsys.readouterr().err


def test_a_tool_is_described_on_request_and_a_call_without_its_arguments_is_a_wrong_one(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["tools", "export_gguf", "--help"])
    assert ended.value.code == 0
    assert "checkpoint_dir" in capsys.readouterr().out
    assert main(["tools", "export_gguf"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "`checkpoint_dir` is missing" in err and "usage: tunesmith tools export_gguf" in err


def test_a_link_that_leads_in_a_circle_is_a_source_that_is_not_there(
    workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("loop.jsonl").symlink_to("loop.jsonl")
    assert main(["-y", "prepare loop.jsonl"]) == 2
    assert "`loop.jsonl` is not there" in capsys.readouterr().err
    assert main(["tools", "prepare_dataset", "loop.jsonl"]) == 2
    assert "`loop.jsonl` does not exist" in capsys.readouterr().err


def test_a_tool_runs_from_the_command_line_with_values_by_position_and_name(
    rows: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["rows.jsonl", "--split", "fit", "--heldout-fraction", "0.5", "--json"]
    assert main(["tools", "prepare_dataset", *arguments]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["heldout_rows"] == 30
    assert Path("data/fit/metadata.json").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "`nonsense` is not a tool of the contract"),
        (["prepare_dataset", "--seed", "many"], "`seed`"),
        (["prepare_dataset", "--seed", "1"], "`source` is missing"),
        (["prepare_dataset", "a.jsonl", "--source", "b.jsonl"], "given twice"),
        (["prepare_dataset", "a.jsonl", "../outside"], "climbs out of the working folder"),
        (["finetune_unsloth", "smollm2-135m", "data/train", "-3"], "`epochs` is '-3'"),
        (["export_gguf", "smollm2-135m", "q9_z"], "q4_k_m"),
    ],
)
def test_wrong_arguments_of_a_tool_get_one_sentence_and_status_2(
    workdir: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = main(["tools", *arguments])
    except SystemExit as error:  # argparse's own way out
        status = int(error.code or 0)
    assert status == 2
    assert complaint in capsys.readouterr().err


def test_small_talk_is_answered_with_status_0(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hello, what can you do?"]) == 0
    assert capsys.readouterr().out.strip()


@pytest.mark.parametrize(
    "text", ["Fine-tune gemma3-270m on alpaca_cleaned for -3 epochs", "export runs/x as q9_z", "rm -rf / please"]
)
def test_what_cannot_be_done_is_refused_with_status_2(
    workdir: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["-y", text]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.strip()
