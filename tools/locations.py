"""What a user's word points to: a place on this disk, a name in the catalogue, a hub id, a remote address."""

import re
from pathlib import Path

from .workplace import here

__all__ = ["is_hub_id", "local_path", "scheme_of"]

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
# Folders that Tunesmith itself writes: `runs/x` is never the hub id of an organisation called runs.
_OWN_FOLDERS = re.compile(r"(runs|models|data(-\d+)?|examples)/")
_DATA_FILE = re.compile(r"\.(jsonl|ndjson|json|csv|parquet|arrow|txt|gguf|safetensors)$", re.IGNORECASE)


def scheme_of(text: str) -> str | None:
    """The scheme in front of `://`, lower case, or None.

    >>> scheme_of("S3://bucket/rows.jsonl"), scheme_of("data/rows.jsonl")
    ('s3', None)
    """
    match = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", text)
    return match.group(1).lower() if match else None


def local_path(text: str) -> Path | None:
    """The path that `text` means on this disk, or None where it can only be a name or an address.

    What exists is local. Of what does not exist, everything written like a path is (absolute, `./`, `~`, a file
    ending, two slashes, a folder that Tunesmith writes to); `org/name` is a hub id, a bare word a name.

    >>> local_path("runs/gemma3-270m")
    PosixPath('runs/gemma3-270m')
    >>> local_path("unsloth/gemma-3-270m-it") is None
    True
    """
    if scheme_of(text) or not text.strip() or "\x00" in text:
        return None
    try:
        path = Path(text).expanduser()
    except RuntimeError:  # `~name` of nobody on this machine
        path = Path(text)
    written_as_path = (
        path.is_absolute()
        or text.startswith((".", "~"))
        or "\\" in text
        or text.rstrip("/").count("/") > 1
        or _OWN_FOLDERS.match(text)
        or _DATA_FILE.search(text)
    )
    if written_as_path:
        return path
    try:
        return path if here(path).exists() else None
    except OSError:
        return None


def is_hub_id(text: str) -> bool:
    """Whether `text` has the form org/name and means no local path.

    >>> is_hub_id("yahma/alpaca-cleaned"), is_hub_id("data/train"), is_hub_id("alpaca_cleaned")
    (True, False, False)
    """
    return bool(_HUB_ID.fullmatch(text)) and local_path(text) is None
