"""Open a source of rows: one table of schemes, one function that reads it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from .base import BadRequest
from .data_files import choose_splits, find_data_files
from .locations import local_path, scheme_of
from .row_files import RawRow, check_extension, read_file

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
    if scheme is not None:
        if scheme not in SCHEMES:
            insecure = "http:// is not protected; use https://" if scheme == "http" else f"`{scheme}://` is unknown"
            known = ", ".join(f"{name}://" for name in SCHEMES)
            raise BadRequest(f"`{ask.source}`: {insecure}; a source is a name, a path, or an address with {known}")
        return SCHEMES[scheme](ask)
    path = local_path(ask.source)
    if path is not None:
        return _local(ask, path)
    raise BadRequest(f"{ask.source}")


def _local(ask: Ask, path: Path) -> Source:
    """A data file, or a folder whose data files are read in sorted order."""
    for output in ask.outputs:
        if path.resolve().is_relative_to(output.resolve()):
            raise BadRequest(f"`{ask.source}` lies in its own output `{output}`; choose another output_dir")
    if not path.exists():
        raise BadRequest(f"`{ask.source}` does not exist; pass a data file or a folder that does")
    if not path.is_dir():
        check_extension(ask.source)
        return Source(ask.source, read_file(path, ask.source), None)
    names = find_data_files(path, without=ask.outputs)
    return _files(ask, names, lambda name: path / name)


def _files(ask: Ask, names: list[str], fetch: Callable[[str], Path]) -> Source:
    """Several data files, recognised as splits by their names; `fetch` gives the local path of one when it is due."""
    if not names:
        raise BadRequest(
            f"`{ask.source}` holds no data file; a data file ends in .jsonl, .json, .csv, .parquet, .arrow or .txt"
        )
    chosen, own = choose_splits(names, ask.split, ask.source)
    base = ask.source.rstrip("/")

    def rows(some: list[str]) -> Iterator[RawRow]:
        for name in some:
            yield from read_file(fetch(name), f"{base}/{name}")

    return Source(ask.source, rows(chosen), rows(own) if own else None)


SCHEMES: dict[str, Callable[[Ask], Source]] = {}
