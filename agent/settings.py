"""What a user decided once for all folders: a few named values in one small file."""

import json
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import write_json
from tunesmith.tools.base import BadRequest

__all__ = ["SETTINGS", "change", "setting", "settings_file"]

SETTINGS: dict[str, tuple[bool, str]] = {
    "planner.learn": (False, "keep requests whose plan was accepted, as rows for `tunesmith train-planner`"),
}
"""Name -> default, and what it does. All are yes or no."""

_WORDS = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def settings_file() -> Path:
    """The file in the user's configuration folder."""
    from platformdirs import user_config_path

    return user_config_path("tunesmith", appauthor=False) / "config.json"


def setting(name: str) -> bool:
    """A setting's value; its default where nobody decided, or where the file can't be read."""
    value = _stored().get(name)
    return value if isinstance(value, bool) else SETTINGS[name][0]


def change(name: str, word: str) -> bool:
    """Store a setting; returns its new value.

    Raises:
        BadRequest: no such setting, a value that is neither yes nor no, or a file that can't be written.
    """
    if name not in SETTINGS:
        raise BadRequest(f"`{name}` is no setting; settings are {', '.join(SETTINGS)}")
    if word.lower() not in _WORDS:
        raise BadRequest(f"`{name}` cannot be {word!r}; it is true or false")
    value, file = _WORDS[word.lower()], settings_file()
    try:
        write_json(file, _stored() | {name: value})
    except OSError as error:
        raise BadRequest(f"`{file}` can't be written: {error}") from error
    return value


def _stored() -> dict[str, Any]:
    try:
        data = json.loads(settings_file().read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}
