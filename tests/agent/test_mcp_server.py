"""The MCP server as the SDK's own client meets it, over both transports; each server is a real process."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from injections import INJECTIONS
from mcp import ClientSession, McpError, StdioServerParameters
from mcp.client.stdio import stdio_client
from mcp.client.streamable_http import streamable_http_client
from silent_host import silent_source
from tunesmith.agent.contract import CONTRACT_FILE, load
from tunesmith.agent.session import Session

COMMAND = [sys.executable, "-P", "-m", "tunesmith.agent.cli", "mcp"]
TOKEN = "a-token-of-the-tests-alone"
OWN = ["plan", "run", "status", "cancel"]

Talk = Callable[[ClientSession], Awaitable[None]]


def write_rows(path: Path, count: int) -> None:
    rows = ({"prompt": f"{n} + {n}?", "completion": str(2 * n)} for n in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def rows(workdir: Path) -> Path:
    write_rows(workdir / "rows.jsonl", 60)
    return workdir


def over_stdio(talk: Talk) -> None:
    """Have a conversation with a server of the current folder that the client starts itself."""

    async def run() -> None:
        server = StdioServerParameters(command=COMMAND[0], args=COMMAND[1:], cwd=Path.cwd(), env=dict(os.environ))
        async with stdio_client(server) as (read, write), ClientSession(read, write) as client:
            await client.initialize()
            await talk(client)

    asyncio.run(asyncio.wait_for(run(), 60))


@pytest.fixture
def address(rows: Path) -> Iterator[str]:
    """Where a server of the current folder listens."""
    environment = {**os.environ, "TUNESMITH_MCP_TOKEN": TOKEN}
    command = [*COMMAND, "--http", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        yield line.strip().removeprefix("listening at ")
        server.terminate()
        server.wait(20)


@asynccontextmanager
async def client_at(address: str, **headers: str) -> AsyncIterator[ClientSession]:
    given = {"Authorization": f"Bearer {TOKEN}", **headers}
    async with (
        httpx.AsyncClient(headers=given, timeout=60) as http,
        streamable_http_client(address, http_client=http) as (read, write, _),
        ClientSession(read, write) as client,
    ):
        await client.initialize()
        yield client


async def answered(client: ClientSession, tool: str, **arguments: Any) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    assert not answer.isError, answer.content
    assert answer.structuredContent is not None
    return answer.structuredContent


async def refused(client: ClientSession, tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments)
    assert answer.isError
    return str(getattr(answer.content[0], "text", ""))


async def done(client: ClientSession, plan_hash: str) -> dict[str, Any]:
    return await answered(client, "run", plan_hash=plan_hash, wait_seconds=60)


def test_a_client_over_stdio_sees_the_contract_plans_runs_and_reads(rows: Path) -> None:
    async def talk(client: ClientSession) -> None:
        tools = {tool.name: tool for tool in (await client.list_tools()).tools}
        assert list(tools) == [*load().tools, *OWN]
        for name, row in load().tools.items():
            assert tools[name].description == row.description
        hints = {name: tool.annotations for name, tool in tools.items()}
        assert {name for name, hint in hints.items() if hint and hint.readOnlyHint} == set(tools) - {"run", "cancel"}
        assert {name for name, hint in hints.items() if hint and hint.destructiveHint} == {"run", "cancel"}

        question = await answered(client, "plan", request="fine-tune smollm2-135m for 2 epochs")
        assert (question["kind"], question["plan_hash"]) == ("question", None)
        told = await client.call_tool("plan", {"request": "rows.jsonl"})
        assert "estimate: at least 0.3 GiB of memory" in getattr(told.content[0], "text", "")
        shown = told.structuredContent
        assert shown is not None
        assert [step["tool"] for step in shown["plan"]["steps"]] == ["prepare_dataset", "finetune_unsloth"]
        assert shown["plan"]["steps"][1]["args"]["epochs"] == 2

        request = "fine-tune smollm2-135m on rows.jsonl for 3 epochs and export q8_0 and q4_0"
        assert (await answered(client, "plan", request=request))["plan"] == Session().ask(request).to_json()

        one = await answered(client, "prepare_dataset", source="rows.jsonl")
        assert sorted(path.name for path in rows.iterdir()) == ["rows.jsonl"]
        job = await done(client, one["plan_hash"])
        assert job["state"] == "done"
        assert job["results"][0]["result"]["dataset"] == "data/train"
        assert await done(client, one["plan_hash"]) == job
        assert (await answered(client, "status"))["jobs"] == [job]
        again = await client.call_tool("prepare_dataset", {"source": "rows.jsonl"})
        assert again.structuredContent is not None
        assert again.structuredContent["plan"]["steps"][0]["reuse"] is True
        assert "There is nothing to run" in getattr(again.content[0], "text", "")

        addresses = [str(resource.uri) for resource in (await client.list_resources()).resources]
        assert addresses == ["tunesmith://agents.md", "tunesmith://runs", job["record"]]
        texts = [(await client.read_resource(uri)).contents[0].text for uri in addresses]  # type: ignore
        assert texts[0] == CONTRACT_FILE.read_text(encoding="utf-8")
        assert json.loads(texts[1])[0]["state"] == "done"
        assert json.loads(texts[2])["steps"][0]["result"] == job["results"][0]["result"]
        for nothing in ("tunesmith://records/../../rows.jsonl", "tunesmith://etc/passwd", "file:///etc/passwd"):
            with pytest.raises(McpError):
                await client.read_resource(nothing)  # type: ignore[arg-type]

        for prompt in (await client.list_prompts()).prompts:
            values = {argument.name: f"<{argument.name}>" for argument in prompt.arguments or []}
            text = (await client.get_prompt(prompt.name, values)).messages[0].content.text  # type: ignore[union-attr]
            assert all(value in text for value in values.values())
            assert not re.search(r"\{\w+\}", text)
        with pytest.raises(McpError, match="takes checkpoint_dir, quantization"):
            await client.get_prompt("export", {})

    over_stdio(talk)


def test_nothing_runs_that_was_not_shown(rows: Path) -> None:
    async def talk(client: ClientSession) -> None:
        assert "was shown to this client" in await refused(client, "run", plan_hash="0123456789abcdef")
        assert "`plan_hash`: Field required" in await refused(client, "run")
        assert "`plan`: Extra inputs" in await refused(client, "run", plan_hash="a", plan={"steps": []})
        assert "`sorce` is not a parameter" in await refused(client, "prepare_dataset", sorce="rows.jsonl")
        assert "not a tool of the contract" in await refused(client, "verify", run="a")
        broken = await answered(client, "prepare_dataset", source="missing.jsonl")
        assert broken["plan_hash"] is None
        assert broken["plan"]["problems"] == ["prepare_dataset: `missing.jsonl` is not there"]
        assert "no job has the id" in await refused(client, "status", job="nothing")
        assert "no job has the id" in await refused(client, "cancel", job="nothing")
        assert (await answered(client, "status"))["jobs"] == []

    over_stdio(talk)
    assert sorted(path.name for path in rows.iterdir()) == ["rows.jsonl"]


def test_no_text_adds_changes_or_launches_a_step(rows: Path) -> None:
    """Orders as rows, as arguments and as hashes: a call plans one step with the value as it is, and runs nothing."""
    lines = ({"prompt": text, "completion": text} for text in INJECTIONS)
    (rows / "orders.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))

    async def talk(client: ClientSession) -> None:
        shown = await answered(client, "prepare_dataset", source="orders.jsonl")
        job = await done(client, shown["plan_hash"])
        assert not any(text in json.dumps(job, ensure_ascii=False) for text in INJECTIONS)
        usual = shown["plan"]["steps"][0]["args"]
        for text in INJECTIONS:
            plan = (await answered(client, "prepare_dataset", source=text, output_dir="out/"))["plan"]
            expected = {**usual, "source": text, "output_dir": "out/"}
            assert plan["steps"] == [{"tool": "prepare_dataset", "args": expected, "reuse": False}]
            assert "was shown to this client" in await refused(client, "run", plan_hash=text)
        follow_up = (await answered(client, "plan", request="prepare rows.jsonl with seed 7"))["plan"]
        assert [step["tool"] for step in follow_up["steps"]] == ["prepare_dataset"]
        assert len((await answered(client, "status"))["jobs"]) == 1

    over_stdio(talk)


def test_a_job_tells_its_progress_is_cancelled_and_goes_on_with_the_same_hash(rows: Path) -> None:
    async def talk(client: ClientSession) -> None:
        told: list[tuple[float, float | None, str | None]] = []

        async def tell(progress: float, total: float | None, message: str | None) -> None:
            told.append((progress, total, message))

        shown = await answered(client, "prepare_dataset", **silent)
        start = {"plan_hash": shown["plan_hash"], "wait_seconds": 1.5}
        answer = await client.call_tool("run", start, progress_callback=tell)
        job = answer.structuredContent
        assert job is not None
        assert (job["state"], job["message"]) == ("running", "step 1 of 1: prepare_dataset")
        assert len(told) >= 2
        assert [figure for figure, _, _ in told] == sorted({figure for figure, _, _ in told})
        assert {total for _, total, _ in told} == {1.0}
        await answered(client, "cancel", job=job["job"])
        ended = await answered(client, "status", job=job["job"], wait_seconds=20)
        assert ended["state"] == "cancelled"
        again = await answered(client, "run", plan_hash=shown["plan_hash"], wait_seconds=0)
        assert (again["job"], again["state"]) == (job["job"], "running")

    with silent_source() as silent:
        over_stdio(talk)
    (record,) = Path("runs/records").glob("*/record.json")
    assert json.loads(record.read_text())["state"] == "interrupted"  # the client left, and the job was ended


def test_a_second_training_waits_in_a_queue_and_says_so(rows: Path) -> None:
    async def talk(client: ClientSession) -> None:
        prepared = await answered(client, "prepare_dataset", source="rows.jsonl")
        await done(client, prepared["plan_hash"])
        jobs = []
        for epochs in (1, 2, 3):
            arguments = {"base_model": "smollm2-135m", "dataset": "data/train", "epochs": epochs}
            shown = await answered(client, "finetune_unsloth", **arguments)
            jobs.append(await answered(client, "run", plan_hash=shown["plan_hash"], wait_seconds=0))
        assert [job["state"] for job in jobs] == ["running", "waiting", "waiting"]
        assert "waits in a queue: 1 before it" in jobs[1]["message"]
        assert "waits in a queue: 2 before it" in jobs[2]["message"]
        light = await answered(client, "prepare_dataset", source="rows.jsonl", seed=7)
        assert (await done(client, light["plan_hash"]))["state"] == "done"  # it does not wait for the trainings
        for job in reversed(jobs):
            await answered(client, "cancel", job=job["job"])
        states = [await answered(client, "status", job=job["job"], wait_seconds=20) for job in jobs]
        assert [state["state"] for state in states] == ["cancelled"] * 3

    over_stdio(talk)
    assert sorted(path.name for path in Path("runs").iterdir()) in (["records"], ["records", "smollm2-135m"])


def test_http_lets_only_holders_of_the_token_in_and_no_page_of_another_origin(address: str) -> None:
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/mcp", address)
    hello = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    accepted = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
    holder = {**accepted, "Authorization": f"Bearer {TOKEN}"}

    def status(headers: dict[str, str], path: str = "") -> int:
        return httpx.post(address + path, json=hello, headers=headers).status_code

    assert status(accepted) == 401
    assert status({**accepted, "Authorization": "Bearer wrong"}) == 401
    assert status({**accepted, "Authorization": f"Basic {TOKEN}"}) == 401
    assert status({**holder, "Origin": "https://evil.example"}) == 403
    assert status({**holder, "Origin": "http://127.0.0.1:1"}) == 403
    assert status({**holder, "Origin": "null"}) == 403
    assert status({**holder, "Host": "evil.example"}) == 421
    assert status(holder, "/elsewhere") == 404
    assert status({**holder, "Mcp-Session-Id": "nobody"}) == 404
    assert status({**holder, "Origin": address.removesuffix("/mcp")}) == 400  # let in; it is no initialize request


def test_a_plan_that_one_client_was_shown_is_not_another_clients_to_run(address: str) -> None:
    async def talk() -> None:
        async with client_at(address) as one, client_at(address) as other:
            shown = await answered(one, "prepare_dataset", source="rows.jsonl")
            assert "was shown to this client" in await refused(other, "run", plan_hash=shown["plan_hash"])
            theirs = await answered(other, "prepare_dataset", source="rows.jsonl")
            assert theirs["plan"]["steps"][0]["args"]["output_dir"] == "data-2/"
            await answered(other, "plan", request="with seed 7")
            mine = await answered(one, "plan", request="with seed 9")
            assert mine["plan"]["steps"][0]["args"]["seed"] == 9

    asyncio.run(asyncio.wait_for(talk(), 60))


def test_20_clients_at_once_lose_no_job_and_mix_up_no_result(address: str, rows: Path) -> None:
    async def one(number: int) -> tuple[str, int]:
        write_rows(rows / f"rows-{number}.jsonl", 40 + number)
        async with client_at(address) as client:
            shown = await answered(client, "plan", request=f"prepare rows-{number}.jsonl")
            job = await answered(client, "run", plan_hash=shown["plan_hash"], wait_seconds=0)
            job = await answered(client, "status", job=job["job"], wait_seconds=100)
            assert job["state"] == "done", job
            result = job["results"][0]["result"]
            wanted = shown["plan"]["steps"][0]["args"]["output_dir"]
            assert result["dataset"] == f"{wanted}train"
            return job["job"], result["rows"] + result["heldout_rows"]

    async def all_at_once() -> list[tuple[str, int]]:
        return await asyncio.gather(*(one(number) for number in range(20)))

    found = asyncio.run(asyncio.wait_for(all_at_once(), 150))
    assert [count for _, count in found] == [40 + number for number in range(20)]
    assert len({job for job, _ in found}) == 20
    records = [json.loads(path.read_text()) for path in Path("runs/records").glob("*/record.json")]
    assert {record["id"]: record["state"] for record in records} == {job: "done" for job, _ in found}
