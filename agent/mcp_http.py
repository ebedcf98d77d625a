"""MCP over streamable HTTP: on loopback only, for who has the token, and not for pages of another origin."""

import hmac
import logging
import os
import secrets
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
from tunesmith.tools.base import BadRequest

from .mcp_server import Tunesmith

__all__ = ["DEFAULT_PORT", "TOKEN_VARIABLE", "serve_http"]

DEFAULT_PORT = 8790
TOKEN_VARIABLE = "TUNESMITH_MCP_TOKEN"  # noqa: S105  # the variable's name
"""Environment variable with the bearer token; without it a new one is made at each start and said on stderr."""

_PATH = "/mcp"
_HOST = "127.0.0.1"

_Scope = MutableMapping[str, Any]
_App = Callable[[_Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]


def serve_http(port: int = DEFAULT_PORT) -> int:
    """Serve any number of clients until SIGINT or SIGTERM; returns the exit status. Port 0 takes a free one.

    Raises:
        BadRequest: the port is taken, or the token too short.
    """
    import uvicorn

    token = os.environ.get(TOKEN_VARIABLE) or secrets.token_urlsafe(32)
    if len(token) < 16:
        raise BadRequest(f"the token in {TOKEN_VARIABLE} has {len(token)} characters; make it 16 or more")
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen(128)  # from now on a client may knock; it is answered once all is loaded
    except (OSError, OverflowError) as error:
        raise BadRequest(f"port {port} can't be listened on ({error}); name another with --port") from error
    port = listener.getsockname()[1]
    names = [f"{_HOST}:{port}", f"localhost:{port}"]
    tunesmith = Tunesmith()
    manager = tunesmith.over_http(names)
    # To it, each client that leaves is an error.
    logging.getLogger("mcp.server.streamable_http").setLevel(logging.CRITICAL)

    @asynccontextmanager
    async def life() -> AsyncIterator[None]:
        async with manager.run():
            yield
        await anyio.to_thread.run_sync(tunesmith.jobs.end)

    app = _guarded(manager.handle_request, token, life)
    config = uvicorn.Config(app, log_level="warning", access_log=False, lifespan="on", timeout_graceful_shutdown=3)
    print(f"listening at http://{_HOST}:{port}{_PATH}", file=sys.stderr)
    if TOKEN_VARIABLE not in os.environ:
        print(f"bearer token: {token}", file=sys.stderr)
    sys.stderr.flush()
    uvicorn.Server(config).run(sockets=[listener])
    return 0


def _guarded(app: _App, token: str, life: Callable[[], Any]) -> _App:
    """An ASGI application that lets only requests with the token through to `app`."""
    from starlette.responses import PlainTextResponse

    async def guarded(scope: _Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await receive()
            async with life():
                await send({"type": "lifespan.startup.complete"})
                await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        given = dict(scope.get("headers", [])).get(b"authorization", b"")
        if not hmac.compare_digest(given, f"Bearer {token}".encode()):
            headers = {"WWW-Authenticate": "Bearer"}
            await PlainTextResponse("wrong or missing token", 401, headers)(scope, receive, send)
        elif scope["path"].rstrip("/") != _PATH:
            await PlainTextResponse(f"nothing is here; MCP is at {_PATH}", 404)(scope, receive, send)
        else:
            await app(scope, receive, send)

    return guarded
