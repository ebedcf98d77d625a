"""Open a source of rows: one table of schemes, one function that reads it."""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .base import BadRequest
from .bucket_files import Bucket
from .catalogue import DATASETS
from .data_files import choose_splits, data_files_among, find_data_files, remark_on_only_split
from .hub_rows import download_file, look_up, open_splits
from .locations import local_path, scheme_of
from .raw_rows import RawRow
from .row_files import EXTENSIONS, check_extension, read_file
from .web_file import download

__all__ = ["Ask", "Source", "open_source"]


@dataclass(frozen=True)
class Ask:
    """What is asked of a source. `scratch` is a folder for downloads, `outputs` are folders never to read from."""

    source: str
    split: str
    streaming: bool
    allow_private_hosts: bool
    scratch: Path
    outputs: tuple[Path, ...]


@dataclass(frozen=True)
class Source:
    """An opened source: rows of the asked split, rows that the source itself holds out (None: it does not).

    `resolved` says where the rows really came from, for the card.
    """

    resolved: str
    rows: Iterator[RawRow]
    heldout: Iterator[RawRow] | None


def open_source(ask: Ask) -> Source:
    """Find out what `ask.source` is and open it.

    A path that exists is local; then come the catalogue's names; any other name is taken as one of the hub.

    Raises:
        BadRequest: it cannot be read, and why.
        MissingExtra: the library for its scheme is not installed.
    """
    scheme = scheme_of(ask.source)
    if not ask.source.split("://", 1)[-1].strip(" /") and not Path(ask.source).is_dir():
        raise BadRequest(
            f"`{ask.source}` names no source; pass a name, a path, or an address with what follows its scheme"
        )
    if scheme is not None:
        if scheme not in SCHEMES:
            insecure = "http:// is not protected; use https://" if scheme == "http" else f"`{scheme}://` is unknown"
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise BadRequest(f"`{ask.source}`: {insecure}; a source is a name, a path, or an address with {known}")
        return SCHEMES[scheme](ask)
    path = local_path(ask.source)
    if path is not None:
        return _local(ask, path)
    key = re.sub(r"[\s-]+", "_", ask.source.strip().lower())
    return _hub(ask, DATASETS.get(key, ask.source))


def _local(ask: Ask, path: Path) -> Source:
    """A data file, or a folder whose data files are read in sorted order."""
    for output in ask.outputs:  # `resolve` raises on links that lead in a circle
        if Path(os.path.realpath(path)).is_relative_to(os.path.realpath(output)):
            raise BadRequest(f"`{ask.source}` lies in its own output `{output}`; choose another output_dir")
    if not path.exists():
        raise BadRequest(f"`{ask.source}` does not exist; pass a data file or a folder that does")
    if not path.is_dir():
        check_extension(ask.source)
        return _one_file(ask, ask.source, lambda: path)
    names = find_data_files(path, without=ask.outputs)
    return _files(ask, names, lambda name: path / name)


def _one_file(ask: Ask, name: str, fetch: Callable[[], Path]) -> Source:
    """One data file, which is fetched when the first row is due."""
    remark_on_only_split(ask.split, name)

    def rows() -> Iterator[RawRow]:
        yield from read_file(fetch(), name)

    return Source(name, rows(), None)


def _files(ask: Ask, names: list[str], fetch: Callable[[str], Path]) -> Source:
    """Several data files, recognised as splits by their names; `fetch` gives the local path of one when it is due."""
    if not names:
        raise BadRequest(f"`{ask.source}` holds no data file; a data file ends in {', '.join(EXTENSIONS)}")
    chosen, own = choose_splits(names, ask.split, ask.source)
    base = ask.source.rstrip("/")

    def rows(some: list[str]) -> Iterator[RawRow]:
        for name in some:
            yield from read_file(fetch(name), f"{base}/{name}")

    return Source(ask.source, rows(chosen), rows(own) if own else None)


def _hub(ask: Ask, name: str) -> Source:
    """A data set of the hub: `name`, `org/name` or `org/name/configuration`."""
    organisation_and_name, configuration = name.strip("/"), None
    if organisation_and_name.count("/") == 2:
        organisation_and_name, _, configuration = organisation_and_name.rpartition("/")
    found = look_up(organisation_and_name)
    if "/" not in found.id:
        # The libraries read a data set without an organisation no more, though a hub may serve one.
        names = data_files_among(found.files)
        return _files(ask, names, lambda path: download_file(found.id, path))
    rows, own = open_splits(found.id, configuration, ask.split, streaming=ask.streaming)
    return Source(f"hub:{found.id}", rows, own)


def _hub_address(ask: Ask) -> Source:
    return _hub(ask, ask.source.split("://", 1)[1].removeprefix("datasets/"))


def _web(ask: Ask) -> Source:
    """One file over https; its extension is that of the address's path."""
    # What follows the path of an address may be a key to it and is not recorded.
    shown = ask.source.split("?", 1)[0]
    target = ask.scratch / f"download{check_extension(urlsplit(ask.source).path)}"

    def fetch() -> Path:
        download(ask.source, target, allow_private_hosts=ask.allow_private_hosts)
        return target

    return _one_file(ask, shown, fetch)


def _bucket(ask: Ask) -> Source:
    """An object, or all data files below a prefix, downloaded one at a time."""
    bucket = Bucket(ask.source, str(scheme_of(ask.source)))
    names = bucket.names()

    def fetch(name: str) -> Path:
        target = ask.scratch / f"download{check_extension(name or ask.source)}"
        bucket.download(name, target)
        return target

    if names:
        return _files(ask, data_files_among(names), fetch)
    check_extension(ask.source)
    return _one_file(ask, ask.source, lambda: fetch(""))


SCHEMES: dict[str, Callable[[Ask], Source]] = {
    "huggingface": _hub_address,
    "hf": _hub_address,
    "https": _web,
    "s3": _bucket,
    "gs": _bucket,
}
