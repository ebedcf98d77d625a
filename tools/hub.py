"""Where the hub is, whether it answers, and what goes wrong on the way to it, sorted by what a user can do."""

import os
import socket
from typing import Literal
from urllib.parse import urlsplit
from urllib.request import getproxies

__all__ = ["hub_address", "hub_silence", "hub_trouble"]


def hub_address() -> str:
    """Where the hub is asked: `$HF_ENDPOINT`, or its public address."""
    return os.environ.get("HF_ENDPOINT") or "https://huggingface.co"


def hub_silence(timeout: float = 5) -> str | None:
    """Why nobody answers at the hub's address, or None where somebody does.

    Behind a proxy the answer is None at once, since only a real request can tell.

    Args:
        timeout: in seconds.
    """
    if getproxies():
        return None
    address = urlsplit(hub_address())
    port = address.port or (80 if address.scheme == "http" else 443)
    try:
        socket.create_connection((address.hostname or "", port), timeout=timeout).close()
    except OSError as error:
        return error.strerror or str(error)
    return None


def hub_trouble(error: BaseException) -> Literal["gated", "missing", "unreachable"] | None:
    """Why the hub did not give what it was asked for; None for an error of another kind."""
    import httpx
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    if isinstance(error, GatedRepoError):
        return "gated"
    if isinstance(error, RepositoryNotFoundError | HFValidationError):
        return "missing"
    if isinstance(error, HfHubHTTPError | LocalEntryNotFoundError | httpx.HTTPError | ConnectionError | TimeoutError):
        return "unreachable"
    return None
