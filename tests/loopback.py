"""What the servers that tests start on loopback share: a life as long as a `with` block, and whole answers."""

import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

__all__ = ["Handler", "Loopback"]


class Loopback:
    """A server on a free port of 127.0.0.1 while the context is open; its handlers find it as `self.front`."""

    def __init__(self, handler: type["Handler"]) -> None:
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), type(handler.__name__, (handler,), {"front": self}))
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client may hang up
        self.port = self.server.server_port
        self.endpoint = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.shutdown()
        self.server.server_close()


class Handler(BaseHTTPRequestHandler):
    """Answers with a whole body, or with the range that is asked for."""

    front: Any
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def send_content(self, content: bytes, headers: dict[str, str]) -> None:
        """Send a file's content, or the part of it that a Range header names."""
        headers = {"Accept-Ranges": "bytes", **headers}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            self.send_body(200, content, headers)
            return
        first, last = int(asked[1]), min(int(asked[2] or len(content)), len(content) - 1)
        if first > last:
            self.send_body(416, b"", {**headers, "Content-Range": f"bytes */{len(content)}"})
        else:
            headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
            self.send_body(206, content[first : last + 1], headers)

    def send_body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        """Send a body with its length; to HEAD only the headers."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
