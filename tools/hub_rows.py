"""Rows of a data set on the hub, through the `datasets` library."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .base import BadRequest, require_extra
from .catalogue import DATASETS
from .data_files import HELDOUT_SPLITS, split_of
from .hub import hub_address, hub_trouble
from .raw_rows import RawRow

__all__ = ["HubDataset", "download_file", "look_up", "open_splits"]


@dataclass(frozen=True)
class HubDataset:
    """A data set as the hub names it, with the paths of its files."""

    id: str
    files: list[str]


def look_up(name: str) -> HubDataset:
    """Ask the hub what it calls `name`: a bare name may stand for one with an organisation.

    Raises:
        BadRequest: there is no such data set, it is gated, or the hub can't be reached.
    """
    require_extra("train", "datasets", "huggingface_hub")
    from huggingface_hub import HfApi
    from huggingface_hub.errors import OfflineModeIsEnabled

    with _reaching(name):
        try:
            info = HfApi().dataset_info(name, timeout=30)
        except OfflineModeIsEnabled:
            return HubDataset(name, [])  # `datasets` looks into its own cache
        return HubDataset(info.id, [sibling.rfilename for sibling in info.siblings or []])


def download_file(name: str, path: str) -> Path:
    """One file of a data set, from the hub or the hub library's cache."""
    from huggingface_hub import hf_hub_download

    with _reaching(name):
        return Path(hf_hub_download(name, path, repo_type="dataset"))


def open_splits(
    name: str, configuration: str | None, split: str, *, streaming: bool
) -> tuple[Iterator[RawRow], Iterator[RawRow] | None]:
    """Rows of the asked split, and of the one that the data set itself holds out.

    Raises:
        BadRequest: no such split or configuration, or files that `datasets` can't read.
    """
    from datasets import get_dataset_split_names

    with _reading(name):
        splits = list(get_dataset_split_names(name, configuration))
    if split not in splits:
        raise BadRequest(f"`{name}` has no split `{split}`; it has {', '.join(f'`{known}`' for known in splits)}")
    own = next(
        (known for wanted in HELDOUT_SPLITS for known in splits if split_of(known) == wanted and known != split), None
    )

    def rows(which: str) -> Iterator[RawRow]:
        from datasets import load_dataset

        with _reading(name):
            data = load_dataset(name, configuration, split=which, streaming=streaming)
            for number, values in enumerate(data, 1):
                yield RawRow(f"`{name}` {which} row {number}", dict(values))

    return rows(split), rows(own) if own else None


@contextmanager
def _reaching(name: str) -> Iterator[None]:
    """Turn what goes wrong on the way to the hub into a sentence."""
    try:
        yield
    except Exception as error:
        trouble = hub_trouble(error)
        if trouble is None:
            raise
        if trouble == "gated":
            raise BadRequest(f"`{name}` is gated: accept its terms on the hub and set HF_TOKEN") from error
        if trouble == "missing":
            raise BadRequest(
                f"`{name}` is no file here, and the hub has no data set of that name, or it is private (set HF_TOKEN); "
                f"known without a hub's name are {', '.join(DATASETS)}"
            ) from error
        raise BadRequest(
            f"`{name}` is no file here, and the hub at {hub_address()} can't be reached for it "
            f"({type(error).__name__}); try again with a network, or pass a local file"
        ) from error


@contextmanager
def _reading(name: str) -> Iterator[None]:
    """Turn what `datasets` says about files that it can't read into a sentence."""
    from datasets.exceptions import DatasetsError

    with _reaching(name):
        try:
            yield
        except (DatasetsError, ValueError, RuntimeError, OSError) as error:
            if hub_trouble(error) or (isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)):
                raise  # the hub's, or our own disk's
            raise BadRequest(f"`{name}` can't be read: {_one_line(error)}") from error


def _one_line(error: BaseException) -> str:
    cause: Any = error.__cause__ or error
    return " ".join(str(cause).split())[:300] or type(cause).__name__
