"""`tunesmith mcp`: the contract's tools for any agent that speaks MCP, over stdio or HTTP.

Launching work takes two calls. A tool of the contract, or `plan`, answers with a plan and its hash, and runs nothing;
`run` takes the hash of a plan that this client was shown. Work goes on as a job, whoever stays connected.
"""

import importlib.metadata
import io
import json
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio
from mcp import types
from mcp.server.lowlevel import Server
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import McpError
from tunesmith.tools.base import BadRequest
from tunesmith.tools.registry import TOOLS

from .contract import load
from .jobs import Job, Jobs
from .mcp_requests import ACTING, OWN_TOOLS, CancelRequest, PlanRequest, RunRequest, StatusRequest, read_request
from .mcp_texts import INSTRUCTIONS, list_prompts, list_resources, prompt_text, resource_text
from .session import Proposal, Session
from .tool_schemas import tool_schemas

__all__ = ["Tunesmith", "serve_stdio"]

_REMEMBERED = 50  # plans that a client was shown and may still run
_LOOK_SECONDS = 0.1
_TELL_SECONDS = 0.5  # between two progress notifications


class _Client:
    """One connection: its conversation, the plans that it was shown, and the jobs that came of them."""

    def __init__(self) -> None:
        self.session = Session()
        self.shown: dict[str, Proposal] = {}
        self.jobs: dict[str, str] = {}

    def outputs(self) -> set[str]:
        """Paths that the shown plans would write to."""
        steps = [step for plan in self.shown.values() for step in plan.steps if not step.reuse]
        return {str(path) for step in steps for path in TOOLS[step.tool].validate(step.args).writes()}


class Tunesmith:
    """The MCP server of the current folder.

    Attributes:
        server: the SDK's server; each connection that it runs is a conversation of its own.
        jobs: what was started, by any client.
    """

    def __init__(self) -> None:
        load()
        self.jobs = Jobs()
        self._clients: list[_Client] = []
        self._planning, self._launching = anyio.Lock(), anyio.Lock()  # one at a time of either
        version = importlib.metadata.version("tunesmith")
        self.server: Server[_Client, Any] = Server(
            "tunesmith", version, instructions=INSTRUCTIONS, lifespan=self._connection
        )
        self.server.list_tools()(self._list_tools)
        self.server.call_tool(validate_input=False)(self._call_tool)
        self.server.list_prompts()(_list_prompts)
        self.server.get_prompt()(_get_prompt)
        self.server.list_resources()(_list_resources)
        self.server.list_resource_templates()(_list_resource_templates)
        self.server.read_resource()(_read_resource)

    def over_http(self, names: list[str]) -> StreamableHTTPSessionManager:
        """The server for any number of HTTP clients that call it by one of these names (host and port).

        A web page may ask it only if it came from one of them itself.
        """
        origins = [f"http://{name}" for name in names]
        settings = TransportSecuritySettings(allowed_hosts=names, allowed_origins=origins)
        return StreamableHTTPSessionManager(self.server, security_settings=settings)

    @asynccontextmanager
    async def _connection(self, _: Server[_Client, Any]) -> AsyncIterator[_Client]:
        client = _Client()
        self._clients.append(client)
        try:
            yield client
        finally:
            self._clients.remove(client)

    async def _list_tools(self) -> list[types.Tool]:
        """The contract's tools and `plan` only read; `run` and `cancel` are to be asked about."""
        shown = types.ToolAnnotations(readOnlyHint=True, idempotentHint=True, openWorldHint=False)
        acting = types.ToolAnnotations(readOnlyHint=False, destructiveHint=True, idempotentHint=True)
        tools = [
            types.Tool(
                name=tool["name"],
                description=tool["description"],
                inputSchema=tool["inputSchema"],
                annotations=shown,
            )
            for tool in tool_schemas()
        ]
        return tools + [
            types.Tool(
                name=name,
                description=description,
                inputSchema=model.model_json_schema(),
                annotations=acting if name in ACTING else shown,
            )
            for name, (model, description) in OWN_TOOLS.items()
        ]

    async def _call_tool(self, name: str, arguments: dict[str, Any]) -> tuple[list[types.TextContent], dict[str, Any]]:
        client = self.server.request_context.lifespan_context
        if name not in OWN_TOOLS:
            return await self._show(client, lambda taken: client.session.call(name, arguments, taken=taken))
        request = read_request(name, arguments)
        if isinstance(request, PlanRequest):
            return await self._show(client, lambda taken: client.session.ask(request.request, taken=taken))
        if isinstance(request, RunRequest):
            async with self._launching:
                job = await anyio.to_thread.run_sync(self._start, client, request.plan_hash)
            return _said(await self._followed(job, request.wait_seconds))
        if isinstance(request, StatusRequest):
            if request.job is None:
                return _said({"jobs": [job.status() for job in self.jobs.all()]})
            return _said(await self._followed(self.jobs.find(request.job), request.wait_seconds))
        assert isinstance(request, CancelRequest)
        job = self.jobs.find(request.job)
        job.cancel()
        return _said(await self._followed(job, 1.0))

    async def _show(
        self, client: _Client, planned: Callable[[set[str]], Proposal]
    ) -> tuple[list[types.TextContent], dict[str, Any]]:
        """Make a plan and remember that it was shown. What other clients were shown keeps its paths."""
        async with self._planning:
            taken = {path for other in self._clients if other is not client for path in other.outputs()}
            plan = await anyio.to_thread.run_sync(planned, taken)
            ready = bool(plan.steps) and not plan.problems
            if ready:
                client.shown[plan.hash] = plan
                for outdated in list(client.shown)[:-_REMEMBERED]:
                    del client.shown[outdated]
        answer: dict[str, Any] = {"kind": plan.kind, "plan": plan.to_json(), "plan_hash": plan.hash if ready else None}
        text = await anyio.to_thread.run_sync(_rendered, plan)
        if ready and all(step.reuse for step in plan.steps):
            text += f"\nplan_hash: {plan.hash}\nThere is nothing to run: `run` with the hash only tells the results."
        elif ready:
            text += f"\nplan_hash: {plan.hash}\nNothing has run. Show this plan; after a yes, call `run` with the hash."
        elif plan.problems:
            text += "\nThis plan can't run here as it is; change it with `plan`."
        return [types.TextContent(type="text", text=text)], answer

    def _start(self, client: _Client, plan_hash: str) -> Job:
        """The job of a plan that this client was shown: a new one, the one that it has, or that one gone on with."""
        plan = client.shown.get(plan_hash)
        if plan is None:
            raise BadRequest(
                f"no plan with the hash `{plan_hash}` was shown to this client; ask `plan` or a tool first"
            )
        known = client.jobs.get(plan_hash)
        if known is None:
            job = self.jobs.start(client.session, plan)
        else:
            job = self.jobs.find(known)
            if job.over and job.status()["state"] in ("failed", "cancelled"):
                job = self.jobs.start(client.session, plan, resumed=known)
        client.jobs[plan_hash] = job.id
        return job

    async def _followed(self, job: Job, seconds: float) -> dict[str, Any]:
        """The job's status at its end or after some seconds; a client that asked for progress is told meanwhile."""
        context = self.server.request_context
        token = context.meta.progressToken if context.meta else None
        told_at = told = -1.0
        with anyio.move_on_after(seconds):
            while not job.over:
                await anyio.sleep(_LOOK_SECONDS)
                now = anyio.current_time()
                if token is None or now - told_at < _TELL_SECONDS:
                    continue
                status = job.status()
                told_at, told = now, max(told + 1e-6, job.progress)  # the protocol asks for figures that grow
                await context.session.send_progress_notification(
                    token,
                    told,
                    float(len(status["steps"])),
                    status.get("message"),
                    related_request_id=str(context.request_id),
                )
        status = await anyio.to_thread.run_sync(job.status)
        return dict(status)


def _rendered(plan: Proposal) -> str:
    """The plan as the command line shows it, with what it will take."""
    if not plan.steps:
        return plan.reply or ""
    from rich.console import Console

    from .preview import show_plan

    text = io.StringIO()
    show_plan(plan, Console(file=text, width=160, highlight=False))
    if not plan.problems and not all(step.reuse for step in plan.steps):
        from .estimate import estimate

        text.write(estimate(plan).told(plan))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _said(answer: dict[str, Any]) -> tuple[list[types.TextContent], dict[str, Any]]:
    return [types.TextContent(type="text", text=json.dumps(answer, indent=2, ensure_ascii=False))], answer


async def _list_prompts() -> list[types.Prompt]:
    return [
        types.Prompt(
            name=name,
            description=description,
            arguments=[types.PromptArgument(name=argument, required=True) for argument in arguments],
        )
        for name, description, arguments in list_prompts()
    ]


async def _get_prompt(name: str, arguments: dict[str, str] | None) -> types.GetPromptResult:
    text = _or_error(lambda: prompt_text(name, arguments or {}))
    message = types.PromptMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.GetPromptResult(messages=[message])


async def _list_resources() -> list[types.Resource]:
    found = await anyio.to_thread.run_sync(list_resources)
    return [types.Resource(uri=uri, name=name, mimeType=kind) for uri, name, kind in found]  # type: ignore[arg-type]


async def _list_resource_templates() -> list[types.ResourceTemplate]:
    return [
        types.ResourceTemplate(
            uriTemplate="tunesmith://records/{id}", name="record", description="one run", mimeType="application/json"
        )
    ]


async def _read_resource(uri: Any) -> list[ReadResourceContents]:
    text, kind = await anyio.to_thread.run_sync(lambda: _or_error(lambda: resource_text(str(uri))))
    return [ReadResourceContents(content=text, mime_type=kind)]


def _or_error(work: Callable[[], Any]) -> Any:
    try:
        return work()
    except BadRequest as error:
        raise McpError(types.ErrorData(code=types.INVALID_PARAMS, message=str(error))) from error


def serve_stdio() -> int:
    """Serve the client at stdin and stdout until it closes them; returns the exit status."""
    from mcp.server.stdio import stdio_server

    tunesmith = Tunesmith()

    async def end_on_signal() -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                await anyio.to_thread.run_sync(tunesmith.jobs.end)
                os._exit(0)  # the thread that waits at stdin would hold the process for as long as that is open

    async def serve() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(end_on_signal)
            async with stdio_server() as (read, write):
                await tunesmith.server.run(read, write, tunesmith.server.create_initialization_options())
            await anyio.to_thread.run_sync(tunesmith.jobs.end)
            tasks.cancel_scope.cancel()

    anyio.run(serve)
    return 0
