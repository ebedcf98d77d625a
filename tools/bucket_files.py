"""Data files in an object store, through fsspec; credentials and endpoint come from the environment."""

import errno
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .base import BadRequest, require_extra

__all__ = ["MAX_OBJECT_BYTES", "Bucket"]

MAX_OBJECT_BYTES = 50 << 30
_LIBRARIES = {"s3": "s3fs", "gs": "gcsfs"}


class Bucket:
    """One address in an object store: an object, or a prefix with objects below.

    Raises, here and in all methods:
        BadRequest: nothing is there, or it may not be read.
        MissingExtra: the library for the scheme is not installed.
    """

    def __init__(self, address: str, scheme: str) -> None:
        require_extra(scheme, "fsspec", _LIBRARIES[scheme])
        import fsspec

        self.address = address.rstrip("/")
        with self._as_sentences():
            self._store: Any = fsspec.filesystem(scheme, use_listings_cache=False)
            self._root = str(self._store._strip_protocol(self.address))

    def names(self) -> list[str]:
        """Paths of the objects below, relative to the address; empty where the address is an object itself."""
        with self._as_sentences():
            if self._store.isfile(self._root):
                return []
            # A store may list by the text of the prefix: `rows-old/a` for `rows` too.
            inside = self._root.rstrip("/") + "/"
            found = [path for path in self._store.find(self._root) if path.startswith(inside)]
        if not found:
            raise BadRequest(f"`{self.address}` holds nothing; check the address")
        return [path[len(inside) :] for path in found]

    def download(self, name: str, target: Path) -> None:
        """Fetch the object `name` below the address ("" is the address itself)."""
        path = f"{self._root}/{name}" if name else self._root
        with self._as_sentences():
            size = int(self._store.info(path)["size"])
            room = min(MAX_OBJECT_BYTES, shutil.disk_usage(target.parent).free)
            if size > room:
                raise BadRequest(f"`{self.address}` has {size >> 20:,} MiB, there is room for {room >> 20:,}")
            self._store.get_file(path, str(target))

    @contextmanager
    def _as_sentences(self) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            raise BadRequest(f"`{self.address}` does not exist; check bucket and path") from error
        except PermissionError as error:
            raise BadRequest(f"`{self.address}` may not be read; check the credentials in the environment") from error
        except BadRequest:
            raise
        except Exception as error:  # each store's library raises classes of its own, without a common base
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise  # our own disk
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise BadRequest(f"`{self.address}` can't be read: {reason}") from error
