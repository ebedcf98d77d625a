import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from https_server import Answer, HttpsServer
from tunesmith.tools import web_file
from tunesmith.tools.base import BadRequest, ToolFailed
from tunesmith.tools.web_file import download, is_public, resolve_public

ROWS = b'{"text": "a"}\n' * 40
PUBLIC = "93.184.216.34"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HttpsServer]:
    with HttpsServer({"/rows.jsonl": Answer(ROWS)}, tmp_path) as server:
        monkeypatch.setenv("SSL_CERT_FILE", str(server.certificate))
        yield server


@pytest.fixture
def public_name(server: HttpsServer, monkeypatch: pytest.MonkeyPatch) -> dict[str, list[Any]]:
    """A network in which `data.example` is a public host: PUBLIC leads to the server on loopback.

    Every question for the name after the first is answered with a loopback address, as in a DNS rebinding attack.
    """
    seen: dict[str, list[Any]] = {"questions": [], "connections": []}
    getaddrinfo, create_connection = socket.getaddrinfo, socket.create_connection

    def answered(host: str, port: int, *args: Any, **kwargs: Any) -> Any:
        if host != "data.example":
            return getaddrinfo(host, port, *args, **kwargs)
        seen["questions"].append(host)
        address = PUBLIC if len(seen["questions"]) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    def connected(address: tuple[str, int], *args: Any, **kwargs: Any) -> Any:
        seen["connections"].append(address[0])
        return create_connection(("127.0.0.1", server.port) if address[0] == PUBLIC else address, *args, **kwargs)

    monkeypatch.setattr(socket, "getaddrinfo", answered)
    monkeypatch.setattr(socket, "create_connection", connected)
    return seen


PRIVATE = [
    "127.0.0.1",
    "127.9.9.9",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.2.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "fe80::1",
    "fe80::1%eth0",
    "fc00::1",
    "fd12::1",
    "fec0::1",
    "ff02::1",
    "2001:db8::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "::127.0.0.1",
    "2002:7f00:1::",
    "2002:a00:1::",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
]


@pytest.mark.parametrize("address", PRIVATE)
def test_an_address_of_this_machine_or_its_network_is_not_public(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize("address", ["8.8.8.8", PUBLIC, "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_an_address_of_the_internet_is_public(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "2130706433", "0x7f.1", "::1", "0"])
def test_loopback_is_refused_however_it_is_written(host: str) -> None:
    with pytest.raises(BadRequest, match="not a public address; pass allow_private_hosts"):
        resolve_public(host, 443)


def test_a_name_with_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 443)) for address in (PUBLIC, "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    with pytest.raises(BadRequest, match=r"10\.0\.0\.1"):
        resolve_public("data.example", 443)


def test_a_private_host_is_read_where_that_is_allowed(server: HttpsServer, tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"`localhost` is at .* not a public address"):
        download(f"{server.url}/rows.jsonl", tmp_path / "rows.jsonl")
    assert server.requests == []
    download(f"{server.url}/rows.jsonl", tmp_path / "rows.jsonl", allow_private_hosts=True)
    assert (tmp_path / "rows.jsonl").read_bytes() == ROWS


def test_the_connection_goes_to_the_address_that_was_checked(public_name: dict[str, list[Any]], tmp_path: Path) -> None:
    download("https://data.example/rows.jsonl", tmp_path / "rows.jsonl")
    assert (tmp_path / "rows.jsonl").read_bytes() == ROWS
    assert public_name == {"questions": ["data.example"], "connections": [PUBLIC]}


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("https://localhost:{port}/rows.jsonl", "`localhost` is at"),
        ("https://127.0.0.1:{port}/rows.jsonl", "`127.0.0.1` is at 127.0.0.1"),
        ("https://[::ffff:127.0.0.1]:{port}/rows.jsonl", "not a public address"),
        ("https://169.254.169.254/latest/meta-data", "169.254.169.254, which is not a public address"),
        ("https://data.example/rows.jsonl", "`data.example` is at 127.0.0.1"),
        ("/rows.jsonl", "`data.example` is at 127.0.0.1"),
        ("http://data.example/rows.jsonl", "is not an https:// address"),
        ("file:///etc/passwd", "is not an https:// address"),
        ("https://user:secret@data.example/rows.jsonl", "carries a user name"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(
    server: HttpsServer, public_name: dict[str, list[Any]], tmp_path: Path, target: str, reason: str
) -> None:
    location = target.format(port=server.port)
    server.answers["/moved.jsonl"] = Answer(status=302, headers={"Location": location})
    with pytest.raises(BadRequest) as caught:
        download("https://data.example/moved.jsonl", tmp_path / "rows.jsonl")
    assert reason in str(caught.value)
    assert server.requests == ["/moved.jsonl"]
    assert public_name["connections"] == [PUBLIC]
    assert not (tmp_path / "rows.jsonl").exists()


def test_an_endless_redirect_ends(server: HttpsServer, tmp_path: Path) -> None:
    server.answers["/a.jsonl"] = Answer(status=307, headers={"Location": "a.jsonl"})
    with pytest.raises(BadRequest, match="redirects more than 5 times"):
        download(f"{server.url}/a.jsonl", tmp_path / "rows.jsonl", allow_private_hosts=True)
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("answer", "error", "reason"),
    [
        (Answer(status=404), BadRequest, "answers 404"),
        (Answer(status=500), BadRequest, "answers 500"),
        (Answer(status=302), ToolFailed, "redirects to nowhere"),
        (Answer(b"<html>", headers={"Content-Type": "text/html; charset=utf-8"}), BadRequest, "a web page, not"),
        (Answer(ROWS, length=10_000), ToolFailed, "broke off after 560 of 10,000 bytes"),
        (Answer(b"x", length=10**15), BadRequest, "more than the"),
        (Answer(b"x" * 300_000), BadRequest, "more than the"),
        (Answer(b"x" * 300_000, length=0), BadRequest, "more than the"),
    ],
)
def test_an_answer_that_is_no_whole_file_is_refused(
    server: HttpsServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    answer: Answer,
    error: type[Exception],
    reason: str,
) -> None:
    monkeypatch.setattr(web_file, "MAX_DOWNLOAD_BYTES", 200_000)
    server.answers["/rows.jsonl"] = answer
    with pytest.raises(error) as caught:
        download(f"{server.url}/rows.jsonl", tmp_path / "rows.jsonl", allow_private_hosts=True)
    assert reason in str(caught.value)


def test_a_download_that_takes_too_long_ends(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(web_file, "_TOTAL_SECONDS", 0.0)
    with pytest.raises(ToolFailed, match="is not complete after"):
        download(f"{server.url}/rows.jsonl", tmp_path / "rows.jsonl", allow_private_hosts=True)


def test_a_certificate_that_nobody_vouches_for_is_refused(
    server: HttpsServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(BadRequest, match="the certificate of `localhost` is not trusted"):
        download(f"{server.url}/rows.jsonl", tmp_path / "rows.jsonl", allow_private_hosts=True)


@pytest.mark.parametrize("url", ["https:///rows.jsonl", "https://host:x/rows.jsonl", "https://localhost/a b.jsonl"])
def test_what_is_no_address_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequest):
        download(url, tmp_path / "rows.jsonl", allow_private_hosts=True)
