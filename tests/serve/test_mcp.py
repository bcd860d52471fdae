"""MCP: the SDK's own client against the command, from describe to finish, and a connection that is cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import Client, StdioServerParameters

from helpers.agents import KEEPS_STILL, SMALL_RUN, SOLVES
from trace_robot.store.history import History

pytestmark = pytest.mark.usefixtures("point_mass")
LITTLE = (*SMALL_RUN, "--budget", "6")


def command(folder: Path) -> list[str]:
    return ["-m", "trace_robot", "serve", "point-mass", "--mcp", "--out", str(folder), *LITTLE]


def text_of(result: Any) -> str:
    return str(result.content[0].text)


async def drive(client: Client) -> None:
    tools = {tool.name: tool for tool in (await client.list_tools()).tools}
    assert list(tools) == ["describe", "submit", "latest", "best", "budget", "finish"]
    assert tools["submit"].input_schema["required"] == ["controller"]
    assert client.instructions is not None
    assert "Call describe first" in client.instructions

    task = await client.call_tool("describe")
    assert "Bring the point to the goal." in text_of(task)
    assert task.structured_content["budget"] == 6

    for arguments, message in (
        ({"controller": "import os\n\n\ndef act(observation):\n    return os.environ\n"}, "line 1: "),
        ({"controller": SOLVES, "seed": "1"}, "submit takes controller, note, got 'seed'"),
        ({"controller": 3}, "controller must be text, got int"),
        ({}, "submit needs controller, got none"),
    ):
        refused = await client.call_tool("submit", arguments)
        assert (refused.is_error, message in text_of(refused)) == (True, True), text_of(refused)
    unknown = await client.call_tool("evaluate")
    assert (unknown.is_error, text_of(unknown)[:18]) == (True, "no tool 'evaluate'")

    still = await client.call_tool("submit", {"controller": KEEPS_STILL, "note": "keep still"})
    assert (still.structured_content["success"], still.structured_content["left"]) == (0.0, 4)
    solved = await client.call_tool("submit", {"controller": SOLVES, "note": "go there"})
    assert not solved.is_error
    assert text_of(solved).startswith("It is the best so far.\n\nTrial 2: score 1, success 3/3")
    assert (await client.call_tool("latest")).structured_content == solved.structured_content
    spent = await client.call_tool("submit", {"controller": f"# again\n{SOLVES}"})
    assert (spent.is_error, text_of(spent)[:19]) == (True, "the budget is spent")
    assert "def act(observation, memory):" in text_of(await client.call_tool("best"))

    result = await client.call_tool("finish")
    assert result.structured_content["held_out_success"] == 1.0
    late = await client.call_tool("submit", {"controller": f"# late\n{SOLVES}"})
    assert (late.is_error, text_of(late)[:19]) == (True, "the run is finished")
    assert text_of(await client.call_tool("budget")).startswith("1 of 6 episodes are left")


def test_the_sdks_client_goes_from_describe_to_finish(tmp_path: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable, args=command(tmp_path / "run"), env=dict(os.environ), cwd=str(tmp_path)
    )

    async def main() -> None:
        with (tmp_path / "errors").open("w") as errors:
            from mcp.client.stdio import stdio_client

            async with Client(stdio_client(server, errlog=errors), read_timeout_seconds=60) as client:
                await drive(client)

    anyio.run(main)
    with History(tmp_path) as history:
        run = history.run("run")
        assert (run.status, run.ended, run.iterations) == ("finished", "the agent finished", 2)
        assert run.settings["seed"] != 0, "drawn, so that an agent cannot know the held-out conditions"


def test_garbage_on_standard_input_is_skipped_and_a_client_that_leaves_ends_the_run(tmp_path: Path) -> None:
    hello = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-06-18",
            "capabilities": {},
            "clientInfo": {"name": "test", "version": "0"},
        },
    }
    lines = [b"garbage", b"\xff\xfe\x00", b"[" * 10_000, b"x" * 6_000_000, json.dumps(hello).encode()]
    process = subprocess.run(
        [sys.executable, *command(tmp_path / "run")],
        input=b"\n".join(lines) + b"\n",
        capture_output=True,
        cwd=tmp_path,
        timeout=120,
        check=False,
    )
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    assert [each["result"]["serverInfo"]["name"] for each in answers if each.get("id") == 1] == [
        "trace-robot"
    ]
    assert process.returncode == 1
    last = process.stderr.decode().strip().splitlines()[-1]
    assert last.startswith(
        "trace-robot: error: the agent closed the connection before it called finish; go on with: trace-robot serve"
    )
    assert "trace-robot serve --resume" in last
    assert "Traceback" not in process.stderr.decode()
