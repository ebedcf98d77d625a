"""Which files of a folder, local or remote, hold rows, and to which split each belongs."""

import os
import re
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from .artifacts import METADATA, read_json
from .base import BadRequest, note
from .row_files import EXTENSIONS

__all__ = ["HELDOUT_SPLITS", "choose_splits", "data_files_among", "find_data_files", "remark_on_only_split", "split_of"]

HELDOUT_SPLITS = ("validation", "test")
"""Splits that a source holds out itself, the preferred one first."""

_SPLIT_WORDS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev", "eval", "heldout"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

# What libraries put beside the rows; never rows themselves.
_NOT_ROWS = {METADATA, "dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}


def split_of(name: str) -> str | None:
    """The split that a file's own name, or else a folder's, announces.

    >>> split_of("data/train-00000-of-00002.parquet"), split_of("dev/rows.jsonl"), split_of("latest.csv")
    ('train', 'validation', None)
    """
    path = PurePosixPath(name)
    for part in (path.stem, *reversed(path.parts[:-1])):
        for word in re.split(r"[^A-Za-z]+", part.lower()):
            if word in _SPLIT_WORDS:
                return _SPLIT_WORDS[word]
    return None


def find_data_files(folder: Path, *, without: Iterable[Path] = ()) -> list[str]:
    """Paths of the data files under `folder`, relative to it and sorted.

    Passed over are hidden files, the folders in `without`, prepared data sets further down, links to folders, and
    `.txt` files beside files with columns (they are notes and licences).
    """
    excluded = {os.path.realpath(path) for path in without}
    found = []
    for root, folders, files in os.walk(folder):
        here = Path(root)
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "_"))
            and not name.endswith(".partial")
            and os.path.realpath(here / name) not in excluded
            and not _is_prepared(here / name)
        ]
        found += [(here / name).relative_to(folder).as_posix() for name in files]
    return data_files_among(found)


def data_files_among(names: Iterable[str]) -> list[str]:
    """The names that are data files, sorted; see `find_data_files` for what is passed over."""
    known = sorted(
        name
        for name in names
        if (path := PurePosixPath(name)).suffix.lower() in EXTENSIONS
        and path.name not in _NOT_ROWS
        and not path.name.startswith((".", "_"))
    )
    with_columns = [name for name in known if not name.lower().endswith(".txt")]
    return with_columns or known


def _is_prepared(folder: Path) -> bool:
    try:
        card = read_json(folder / METADATA)
    except (OSError, ValueError):
        return False
    return isinstance(card, dict) and card.get("tool") == "prepare_dataset"


def choose_splits(names: list[str], split: str, source: str) -> tuple[list[str], list[str]]:
    """(files of the asked split, files that the source itself holds out).

    Where files name splits, the ones without a split word belong to `train`. Where none does, there is one split, and
    every name means it.

    Raises:
        BadRequest: the files name splits, and the asked one is not among them.
    """
    splits: dict[str, list[str]] = {}
    for name in names:
        splits.setdefault(split_of(name) or "train", []).append(name)
    if not any(split_of(name) for name in names):
        remark_on_only_split(split, source)
        return names, []
    asked = split if split in splits else split_of(split) or split
    if asked not in splits:
        raise BadRequest(f"`{source}` has no split `{split}`; it has {', '.join(f'`{name}`' for name in splits)}")
    own = next((name for name in HELDOUT_SPLITS if name in splits and name != asked), None)
    return splits[asked], splits[own] if own else []


def remark_on_only_split(split: str, source: str) -> None:
    """Tell that a split was asked for by name where there is only one without a name."""
    if split != "train":
        note(f"`{source}` has no named splits; all its rows are prepared under the name `{split}`")
