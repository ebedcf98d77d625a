"""Download one file over https, from public hosts only.

The address of a data file may come from somebody who wants this machine to fetch what only it can reach. So a host
name is resolved once, every address it has must be a public one, and the connection goes to just that address: a
second answer of the name server changes nothing. Each redirect is checked anew. Proxies of the environment are not
used, since a proxy would resolve the name itself.
"""

import http.client
import ipaddress
import shutil
import socket
import ssl
import time
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from .base import BadRequest, ToolFailed

__all__ = ["MAX_DOWNLOAD_BYTES", "download", "is_public", "resolve_public"]

MAX_DOWNLOAD_BYTES = 4 << 30
_MAX_REDIRECTS = 5
_ANSWER_SECONDS = 30.0
_TOTAL_SECONDS = 30 * 60.0
_CHUNK = 1 << 18
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address


def is_public(address: str) -> bool:
    """Whether an IP address is one of the public internet, and so is every address it stands for.

    >>> is_public("93.184.216.34"), is_public("10.0.0.1"), is_public("::ffff:127.0.0.1"), is_public("64:ff9b::7f00:1")
    (True, False, False, False)
    """
    ip = ipaddress.ip_address(address.split("%", 1)[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None or ip in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)))
        carried = [inner for inner in (ip.sixtofour, *(ip.teredo or ())) if inner is not None]
        if ip.is_site_local or not all(is_public(str(inner)) for inner in carried):
            return False
    return ip.is_global and not (ip.is_multicast or ip.is_reserved or ip.is_unspecified)


def resolve_public(host: str, port: int, *, allow_private_hosts: bool = False) -> str:
    """The one IP address to connect to for `host`.

    Raises:
        BadRequest: the name has no address, or any of its addresses is not public and that is not allowed.
    """
    try:
        found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    except (OSError, UnicodeError) as error:
        raise BadRequest(f"the host `{host}` cannot be found; check the address and the network") from error
    private = [address for address in found if not is_public(address)]
    if private and not allow_private_hosts:
        raise BadRequest(
            f"the host `{host}` is at {private[0]}, which is not a public address; "
            "pass allow_private_hosts if it is meant to be read"
        )
    return found[0]


class _PinnedConnection(http.client.HTTPSConnection):
    """HTTPS to a known address; the certificate is checked against the host's name."""

    def __init__(self, host: str, port: int, address: str) -> None:
        self._context = ssl.create_default_context()
        super().__init__(host, port, timeout=_ANSWER_SECONDS, context=self._context)
        self._address = address

    def connect(self) -> None:
        plain = socket.create_connection((self._address, self.port), self.timeout)
        try:
            self.sock = self._context.wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise


def download(url: str, target: Path, *, allow_private_hosts: bool = False) -> None:
    """Fetch `url` into the file `target`.

    Raises:
        BadRequest: the address is not https, not public, not there, or names something too large.
        ToolFailed: the server or the network broke off.
    """
    deadline = time.monotonic() + _TOTAL_SECONDS
    place = url
    for _ in range(_MAX_REDIRECTS + 1):
        following = _fetch(place, target, deadline, allow_private_hosts=allow_private_hosts)
        if following is None:
            return
        place = urljoin(place, following)
    raise BadRequest(f"`{url}` redirects more than {_MAX_REDIRECTS} times; pass the address it leads to")


def _fetch(url: str, target: Path, deadline: float, *, allow_private_hosts: bool) -> str | None:
    """One request: the body goes to `target`, or the address of a redirect is returned."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 443
    except ValueError as error:
        raise BadRequest(f"`{url}` is not an address: {error}") from error
    if parts.scheme != "https" or not host:
        raise BadRequest(f"`{url}` is not an https:// address; only those are read")
    if parts.username is not None or parts.password is not None:
        raise BadRequest(
            f"the address on `{host}` carries a user name; pass one without, so that no password is recorded"
        )
    if any(ord(character) <= 32 or ord(character) > 126 for character in url):
        raise BadRequest(f"`{url!r}` has characters that no address may hold; write them percent-encoded")
    address = resolve_public(host, port, allow_private_hosts=allow_private_hosts)
    connection = _PinnedConnection(host, port, address)
    try:
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("GET", path, headers={"User-Agent": "tunesmith", "Accept-Encoding": "identity"})
        with connection.getresponse() as response:
            if response.status in (301, 302, 303, 307, 308):
                if location := response.headers.get("Location"):
                    return location
                raise ToolFailed(f"`{url}` redirects to nowhere")
            if response.status != http.client.OK:
                raise BadRequest(f"`{url}` answers {response.status} {response.reason}; check the address")
            if response.headers.get_content_type() == "text/html":
                raise BadRequest(f"`{url}` answers with a web page, not with data; pass the address of the file itself")
            _receive(response, target, url, deadline)
    except ssl.SSLCertVerificationError as error:
        raise BadRequest(f"the certificate of `{host}` is not trusted: {error.verify_message}") from error
    except (OSError, http.client.HTTPException) as error:
        raise ToolFailed(f"`{url}` cannot be read: {str(error) or type(error).__name__}") from error
    finally:
        connection.close()
    return None


def _receive(response: http.client.HTTPResponse, target: Path, url: str, deadline: float) -> None:
    expected = response.length
    room = min(MAX_DOWNLOAD_BYTES, shutil.disk_usage(target.parent).free)
    too_large = f"`{url}` has more than the {room >> 20:,} MiB that there is room for"
    if expected is not None and expected > room:
        raise BadRequest(too_large)
    received = 0
    with target.open("wb") as stream:
        while chunk := response.read1(_CHUNK):
            received += len(chunk)
            if received > room:
                raise BadRequest(too_large)
            if time.monotonic() > deadline:
                raise ToolFailed(
                    f"`{url}` is not complete after {_TOTAL_SECONDS / 60:.0f} minutes; download it yourself"
                )
            stream.write(chunk)
    if expected is not None and received != expected:
        raise ToolFailed(f"`{url}` broke off after {received:,} of {expected:,} bytes; run it again")
