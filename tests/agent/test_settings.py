"""`tunesmith config`: settings that hold for all folders."""

from pathlib import Path

import pytest
from tunesmith.agent.cli import main
from tunesmith.agent.settings import change, setting, settings_file
from tunesmith.tools.base import BadRequest


@pytest.mark.parametrize(("name", "value"), [("planner.lern", "true"), ("planner.learn", "maybe"), ("", "true")])
def test_an_unknown_setting_or_value_is_refused_and_nothing_is_stored(name: str, value: str) -> None:
    with pytest.raises(BadRequest, match=r"planner\.learn"):
        change(name, value)
    assert not settings_file().exists()


def test_a_damaged_file_counts_as_nothing_decided() -> None:
    settings_file().parent.mkdir(parents=True)
    settings_file().write_text("{", encoding="utf-8")
    assert setting("planner.learn") is False
    assert change("planner.learn", "true") is True
    assert setting("planner.learn") is True


def test_a_folder_that_cannot_be_written_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "file"))
    with pytest.raises(BadRequest, match="can't be written"):
        change("planner.learn", "true")


def test_the_command_shows_and_changes_settings(workdir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    assert capsys.readouterr().out.startswith("planner.learn = false")
    assert main(["config", "planner.learn", "yes"]) == 0
    assert main(["config", "planner.learn"]) == 0
    assert capsys.readouterr().out.splitlines() == ["planner.learn = true", "true"]
    assert main(["config", "planner.learn", "perhaps"]) == 2
    assert "true or false" in capsys.readouterr().err
