"""The same request on every surface gives the same plan and, with the same seed, the same adapter."""

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client
from tunesmith.agent.cli import main
from tunesmith.agent.conversation import Conversation
from tunesmith.agent.session import Session
from tunesmith.tools.adapters.langchain import TunesmithToolkit
from tunesmith.tools.artifacts import file_sha256

REQUEST = "fine-tune smollm2-135m on rows.jsonl for 1 epoch with batch size 4, rank 4 and 128 tokens at most"


def by_command_line() -> list[dict[str, Any]]:
    assert main(["-y", REQUEST]) == 0
    (record,) = Session().runs()
    return [{"tool": step.tool, "args": step.args} for step in record.steps]


def in_the_chat() -> list[dict[str, Any]]:
    chat = Conversation(Session(), assume_yes=False, background=True)
    assert chat.say(REQUEST) == 0
    assert chat.offer is not None and not Path("data").exists()
    assert chat.say("y") == 0
    while chat.busy:
        time.sleep(0.1)
    (record,) = Session().runs()
    assert record.state == "done"
    return [{"tool": step.tool, "args": step.args} for step in record.steps]


def from_python() -> list[dict[str, Any]]:
    plan = Session().ask(REQUEST)
    assert plan.run().state == "done"
    return [{"tool": step.tool, "args": step.args} for step in plan.steps]


def over_mcp() -> list[dict[str, Any]]:
    async def talk() -> list[dict[str, Any]]:
        server = StdioServerParameters(
            command=sys.executable, args=["-P", "-m", "tunesmith.agent.cli", "mcp"], env=dict(os.environ)
        )
        async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            shown = (await client.call_tool("plan", {"request": REQUEST})).structuredContent
            assert shown is not None
            job = (
                await client.call_tool("run", {"plan_hash": shown["plan_hash"], "wait_seconds": 600})
            ).structuredContent
            assert job is not None
            assert job["state"] == "done", job
            return [{"tool": step["tool"], "args": step["args"]} for step in shown["plan"]["steps"]]

    return asyncio.run(talk())


def by_langchain() -> list[dict[str, Any]]:
    """A LangChain agent plans for itself: it calls the tools with the values that the request names."""
    tools = {tool.name: tool for tool in TunesmithToolkit().get_tools()}
    steps = [{"tool": step.tool, "args": step.args} for step in Session().ask(REQUEST).steps]
    for step in steps:
        call = {"type": "tool_call", "id": "1", "name": step["tool"], "args": step["args"]}
        assert tools[str(step["tool"])].invoke(call).status == "success"
    return steps


def as_a_crew() -> list[dict[str, Any]]:
    from tunesmith.agent.crew import build_crew

    output = build_crew(human_input=False).kickoff(inputs={"request": REQUEST})
    assert len(output.tasks_output[2].pydantic.models) == 1
    return [step.model_dump() for step in output.tasks_output[0].pydantic.steps]


SURFACES: dict[str, Callable[[], list[dict[str, Any]]]] = {
    "command line": by_command_line,
    "chat": in_the_chat,
    "Python": from_python,
    "MCP": over_mcp,
    "LangChain": by_langchain,
    "CrewAI": as_a_crew,
}


@pytest.mark.slow
def test_every_surface_gives_the_same_plan_and_the_same_adapter(workdir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"prompt": f"What is {n} plus {n}?", "completion": f"{2 * n}"} for n in range(8)]  # two steps of four
    plans, adapters = {}, {}
    for name, surface in SURFACES.items():
        folder = workdir / name
        folder.mkdir()
        (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        monkeypatch.chdir(folder)
        plans[name] = json.dumps(surface(), sort_keys=True)
        adapters[name] = file_sha256(folder / "runs/smollm2-135m/adapter_model.safetensors")
    assert len(set(plans.values())) == 1, plans
    assert len(set(adapters.values())) == 1, adapters
