"""Data of lm-eval's tasks from a local copy: a folder for each dataset, laid out as its repository on the hub.

Where the repository's README.md is there and declares its configurations, `datasets` reads the folder by it. Else the
files of a split are found by its name: `test.jsonl`, `data/test-00000-of-00001.parquet`, `test/part-1.csv`. Only the
splits that a task asks for are read.
"""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .base import BadRequest

__all__ = ["LocalDatasets"]

_FORMATS = {".parquet": "parquet", ".jsonl": "json", ".ndjson": "json", ".json": "json", ".csv": "csv"}
_PART = re.compile(r"[-_.]\d{5}-of-\d{5}.*$")


class LocalDatasets:
    """Datasets under `folder`, found by their hub id.

    Attributes:
        asked: hub id, configuration and where it was looked for, of every dataset that was asked for.
        missing: what is not there and where it is expected, one phrase each.
    """

    def __init__(self, folder: Path | None) -> None:
        """Args: folder: of the local copies; None asks the hub, and only takes down what was asked for."""
        self.folder = folder
        self.asked: list[tuple[str, str | None]] = []
        self.missing: list[str] = []

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """While this lasts, `datasets.load_dataset`, which every task calls, reads from here."""
        import datasets

        library = datasets.load_dataset

        def load_dataset(path: str, name: str | None = None, **options: Any) -> Any:
            if _is_hub_id(path):
                self.asked.append((path, name))
                if self.folder is not None:
                    return self._load(library, path, name, options)
            return library(path, name, **options)

        datasets.load_dataset = load_dataset
        try:
            yield
        finally:
            datasets.load_dataset = library

    def places(self, path: str, name: str | None) -> list[Path]:
        """Folders in which a dataset may lie, the one that is recommended first."""
        root = self.folder or Path("DIR")
        owner_and_name = [root / path, root / path.replace("/", "__"), root / path.rsplit("/", 1)[-1]]
        return [place / name if name else place for place in owner_and_name]

    def _load(self, library: Any, path: str, name: str | None, options: dict[str, Any]) -> Any:
        options.pop("revision", None)
        split = options.pop("split", None)
        for place in self.places(path, None):
            if _declares_configurations(place) or (place.is_dir() and set(options) & {"data_files", "data_dir"}):
                found = library(str(place), name, **options)
                break
        else:
            folder = next((place for place in self.places(path, name) if place.is_dir()), None)
            if folder is None:
                expected = self.places(path, name)[0]
                raise BadRequest(
                    f"`{expected}` does not exist; put the data of `{path}`{f' ({name})' if name else ''} there, one "
                    "file for each split and named after it, such as test.jsonl (or .parquet, .csv), or the folder as "
                    "it is on the hub"
                )
            found = _Splits(self, folder, library)
        return found if split is None else found[split]


class _Splits(dict[str, Any]):
    """The splits of one dataset, each read when it is first asked for. One without a file is empty."""

    def __init__(self, datasets: LocalDatasets, folder: Path, library: Any) -> None:
        super().__init__()
        self._datasets, self._folder, self._library = datasets, folder, library

    def __missing__(self, split: str) -> Any:
        from datasets import Dataset

        files = _files_of(self._folder, split)
        if files:
            data_files = [str(path) for path in files]
            self[split] = self._library(_FORMATS[files[0].suffix.lower()], data_files=data_files, split="train")
        else:
            self._datasets.missing.append(f"`{self._folder / split}.jsonl` (or .parquet, .csv)")
            self[split] = Dataset.from_dict({})
        return self[split]


def _files_of(folder: Path, split: str) -> list[Path]:
    """The files of one split, all of the first format that has any."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        named = _PART.sub("", path.stem) == split or split in inside.parts[:-1]
        if named and path.suffix.lower() in _FORMATS and not any(part.startswith(".") for part in inside.parts):
            found.setdefault(_FORMATS[path.suffix.lower()], []).append(path)
    return next((found[kind] for kind in ("parquet", "json", "csv") if kind in found), [])


def _is_hub_id(path: str) -> bool:
    """Whether `load_dataset` would ask the hub for it: neither a folder that is there nor one of its own formats."""
    from datasets.packaged_modules import _PACKAGED_DATASETS_MODULES

    return path not in _PACKAGED_DATASETS_MODULES and not Path(path).exists()


def _declares_configurations(folder: Path) -> bool:
    """Whether a README.md tells which files belong to which configuration and split."""
    try:
        text = (folder / "README.md").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return text.startswith("---") and re.search(r"^configs:", text.split("\n---", 1)[0], re.MULTILINE) is not None
