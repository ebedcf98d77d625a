"""`tunesmith verify` tells what it found in its exit status, a table and a report; wrong arguments cost nothing."""

import json
from pathlib import Path

import pytest
from adapters import write_adapter
from tunesmith.agent.cli import main
from tunesmith.agent.verify_command import show_fidelity
from tunesmith.tools.artifacts import write_json, write_metadata
from tunesmith.tools.bundled_model import bundled_gguf
from tunesmith.tools.fidelity_report import Fidelity, Link, PromptCheck

pytestmark = pytest.mark.usefixtures("workdir")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["none.gguf"], "does not exist"),
        (["note.txt"], "not a GGUF file"),
        (["empty"], "neither adapter_config.json nor config.json"),
        (["model.gguf"], "name it with `--checkpoint`"),
        (["model.gguf", "--checkpoint", "no-such-model"], "not a known base model"),
    ],
)
def test_what_cannot_be_verified_is_refused_with_status_2(
    arguments: list[str], said: str, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workdir / "note.txt").write_text("hello")
    (workdir / "empty").mkdir()
    (workdir / "model.gguf").symlink_to(bundled_gguf())
    assert main(["verify", *arguments]) == 2
    out, err = capsys.readouterr()
    assert said in err
    assert out == ""


def test_a_note_that_names_no_source_is_refused(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (workdir / "model.gguf").symlink_to(bundled_gguf())
    write_json(workdir / "model.json", {"run": None})
    assert main(["verify", "model.gguf"]) == 2
    assert "does not name what" in capsys.readouterr().err


def test_a_broken_run_ends_with_status_1_a_table_and_a_report(
    tiny_llama: Path, workdir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = write_adapter(workdir / "runs" / "zeros", tiny_llama, size=0)
    write_metadata(run, {"base_model": str(tiny_llama)})
    assert main(["verify", "runs/zeros"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("base -> adapter") and " broken " in line for line in lines)
    assert any("changes nothing" in line for line in lines)
    assert lines[-1].startswith("runs/zeros: broken")
    report = Fidelity.model_validate(json.loads((run / "verify.json").read_text()))
    assert not report.sound
    assert report.broken() == [f"base -> adapter: {report.links[0].reason}"]


def test_what_was_not_checked_stands_below_the_tables(capsys: pytest.CaptureFixture[str]) -> None:
    from tunesmith.agent.consoles import consoles

    links = [
        Link(before="base", after="adapter", verdict="not checked", reason="base: too large"),
        Link(before="f16 GGUF", after="q8_0 GGUF", verdict="sound", mean_kl=1e-4, max_kl=0.01, agreement=0.99, limit=1),
    ]
    prompts = [PromptCheck(conversation="tools", verdict="not checked", sides=[], reason="no [template]")]
    found = Fidelity(
        target="x.gguf", sound=True, links=links, prompts=prompts, positions=9, remarks=["r"], sha256=None, seconds=1
    )
    show_fidelity(found, consoles()[1])
    lines = capsys.readouterr().out.splitlines()
    assert "base -> adapter: base: too large" in lines
    assert "tools: no [template]" in lines
    assert any("0.0001" in line and "99.0%" in line for line in lines)
    assert lines[-1].startswith("x.gguf: sound (9 positions")
