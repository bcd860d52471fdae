"""MCP server of a task over standard input and output (JSON-RPC 2.0, a message a line).

https://modelcontextprotocol.io; by the low-level server of the ``mcp`` package, whose handlers get arguments as they
were sent: both transports then check them with the same function.
"""

from __future__ import annotations

import functools
import io
import logging
import os
import threading
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import Any, BinaryIO, cast

from trace_robot.errors import MissingExtraError
from trace_robot.safe_files import load_json
from trace_robot.serve.http_server import MOST_BYTES
from trace_robot.serve.submissions import REQUIRED, VERBS, AgentAnswer, SubmissionError, Submissions, answer
from trace_robot.store.folder import plain_json

log = logging.getLogger("trace_robot.serve")

try:
    import anyio
    import mcp_types as types
    from mcp.server.lowlevel import Server
    from mcp.server.stdio import stdio_server
except ImportError as error:
    raise MissingExtraError(
        "serving over MCP needs the package mcp: pip install 'trace-robot[agents]'"
    ) from error

BLOCK = 64 * 1024
INSTRUCTIONS = """\
A robot task whose controller you write. Call describe first; then submit controllers, each answered with its outcome
and a trace; finish once, at the end. Each submission takes episodes of a budget."""


def create_server(submissions: Submissions) -> Server[Any]:
    """Return an MCP server with a tool for each verb."""

    async def list_tools(_context: Any, _params: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_tool(name) for name in VERBS])

    async def call_tool(_context: Any, params: types.CallToolRequestParams) -> types.CallToolResult:
        if params.name not in VERBS:
            return _failed(f"no tool {params.name[:60]!r}; known: {', '.join(VERBS)}")
        call = functools.partial(answer, submissions, params.name, params.arguments or {})
        try:
            # In a thread, since a submission takes as long as its episodes; abandoned where the client cancels.
            report: AgentAnswer = await anyio.to_thread.run_sync(call, abandon_on_cancel=True)
        except SubmissionError as error:
            return _failed(str(error))
        # JSON has no infinity, which a bound of an action may be.
        data = load_json(plain_json(report.data))
        return types.CallToolResult(content=[_text(report.text)], structured_content=data)

    return Server(
        "trace-robot",
        version=version("trace-robot"),
        instructions=INSTRUCTIONS,
        on_list_tools=list_tools,
        on_call_tool=call_tool,
    )


def _tool(name: str) -> types.Tool:
    meaning, fields = VERBS[name]
    schema = {
        "type": "object",
        "properties": {field: {"type": "string", "description": text} for field, text in fields.items()},
        "required": list(REQUIRED.get(name, ())),
        "additionalProperties": False,
    }
    return types.Tool(name=name, description=meaning, input_schema=schema)


def _text(text: str) -> types.TextContent:
    return types.TextContent(type="text", text=text.encode(errors="replace").decode())


def _failed(text: str) -> types.CallToolResult:
    return types.CallToolResult(content=[_text(text)], is_error=True)


def take_standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return standard input and output, which nothing else uses from now on.

    What the environment or a library prints goes to standard error: between two messages it would end the connection.
    """
    streams = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return streams


class _BoundedLines:
    """The lines of a stream, of which one that is too long becomes a short wrong one."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[str]:
        return self._lines()

    async def _lines(self) -> AsyncIterator[str]:
        while line := await anyio.to_thread.run_sync(self._next, abandon_on_cancel=True):
            yield line

    def _next(self) -> str:
        line = self._stream.readline(2 * MOST_BYTES)
        if line and not line.endswith(b"\n") and len(line) >= 2 * MOST_BYTES:
            while line and not line.endswith(b"\n"):
                line = self._stream.readline(BLOCK)
            return "too long\n"
        return line.decode("utf-8", "replace")


async def serve_streams(submissions: Submissions, reader: BinaryIO, writer: BinaryIO) -> None:
    """Serve one client until it closes its end.

    Args:
        submissions: of the run.
        reader: where its messages come from.
        writer: where the answers go.
    """
    server = create_server(submissions)
    lines = cast("anyio.AsyncFile[str]", _BoundedLines(reader))
    out = anyio.wrap_file(io.TextIOWrapper(writer, encoding="utf-8"))
    async with stdio_server(lines, out) as (read, write):
        await server.run(read, write, server.create_initialization_options())


def serve_in_background(submissions: Submissions, streams: tuple[BinaryIO, BinaryIO]) -> threading.Thread:
    """Serve standard streams in a thread, which ends when the client has left.

    Args:
        submissions: of the run; they learn that the client has left.
        streams: of ``take_standard_streams``.
    """

    def serve() -> None:
        try:
            anyio.run(serve_streams, submissions, *streams)
        except (
            Exception
        ) as error:  # of streams, in groups that differ by the Python: the client left while answered
            log.info("the connection ended: %s", error)
        finally:
            submissions.leave("the agent closed the connection before it called finish")

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return thread
