"""`tunesmith mcp`: serve agents that speak MCP."""

import argparse

from tunesmith.tools.base import require_extra

__all__ = ["run_mcp_command"]

_DESCRIPTION = """\
Serve the tools of the current folder to agents that speak MCP. A tool or `plan` answers with a plan and its hash and
runs nothing; `run` with that hash starts it.

  tunesmith mcp                  over stdin and stdout, for a client that starts this command itself
  tunesmith mcp --http           over HTTP at 127.0.0.1, for any number of clients with the bearer token
"""

_EPILOG = """\
The token is made anew at each start and said on stderr, unless TUNESMITH_MCP_TOKEN holds one.
example of a client's entry: {"mcpServers": {"tunesmith": {"command": "tunesmith", "args": ["mcp"]}}}
"""


def run_mcp_command(arguments: list[str]) -> int:
    """Serve until the client or a signal ends it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tunesmith mcp",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--http", action="store_true", help="serve over streamable HTTP instead of stdio")
    parser.add_argument("--port", type=int, metavar="N", help="port for --http (default 8790; 0 takes a free one)")
    options = parser.parse_args(arguments)
    if options.port is not None and not options.http:
        parser.error("--port goes with --http")
    require_extra("mcp", "mcp", "uvicorn")
    if options.http:
        from .mcp_http import DEFAULT_PORT, serve_http

        return serve_http(DEFAULT_PORT if options.port is None else options.port)
    from .mcp_server import serve_stdio

    return serve_stdio()
