"""A server on loopback that speaks OpenAI's chat completions, well or in one of the ways in which servers do not."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ENDLESS", "HUGE", "REFUSAL", "TOO_MANY", "chat_server", "frame_answer"]

TOO_MANY, REFUSAL, ENDLESS, HUGE = "429", "refusal", "endless", "10 MB"


def frame_answer(
    tools: list[str], values: dict[str, list[str]], intent: str = "new", reply: str | None = None, **change: str
) -> str:
    """What a model answers that does as it is told; `change` gives the kind of change of a parameter's last name."""
    said = [
        {"parameter": key, "change": change.get(key.split(".")[1], "set"), "values": found, "beside": False}
        for key, found in values.items()
    ]
    return json.dumps({"intent": intent, "tools": tools, "unwanted": [], "values": said, "reply": reply})


@contextmanager
def chat_server(*answers: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Serve these answers in turn, the last one for ever; yields the base URL and the requests that came."""
    left, seen = list(answers), list[dict[str, Any]]()
    over = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            seen.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            answer = left.pop(0) if len(left) > 1 else left[0]
            if answer == TOO_MANY:
                self._send(429, {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit"}})
            elif answer == ENDLESS:
                self._stream()
            elif answer == REFUSAL:
                self._send(200, _completion(None, refusal="I can't help with that."))
            elif answer == HUGE:
                self._send(200, _completion('{"intent": "' + "new " * 2_500_000 + '"}'))
            else:
                self._send(200, _completion(answer))

        def _send(self, status: int, body: dict[str, Any]) -> None:
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def _stream(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            try:
                while not over.wait(0.01):
                    self.wfile.write(b" " * 4096)
            except OSError:
                self.close_connection = True

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", seen
    finally:
        over.set()
        server.shutdown()
        server.server_close()


def _completion(content: str | None, refusal: str | None = None) -> dict[str, Any]:
    message = {"role": "assistant", "content": content, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tested",
        "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }
