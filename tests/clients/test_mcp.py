"""`registry mcp` answers the client of the MCP SDK, and what is no MCP message."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from registry.cli.mcp import TOOLS, respond
from registry.client import Client, Retries
from tests.clients.test_generators import EXAMPLES, PATH, run
from tests.missing import NO_GENERATOR
from tests.service import Service

COMMAND = str(Path(sys.executable).parent / "registry")


async def test_sdk_client_searches_reads_and_proves(demo: Service, tmp_path: Path) -> None:
    sdk = shutil.which("mcp", path=PATH)
    if sdk is None:
        pytest.skip(f"mcp: {NO_GENERATOR}")
    python = str(Path(sdk).parent / "python")
    printed = await run(
        tmp_path, python, str(EXAMPLES / "mcp_program.py"), REGISTRY_URL=demo.url, REGISTRY_COMMAND=COMMAND
    )
    lines = printed.splitlines()
    assert lines[0].split() == list(TOOLS)
    assert lines[1].startswith("sk-aws-ulsan 2025-06-17 ")
    assert lines[2] == "event@v1"
    assert lines[4].startswith("True ")
    assert lines[5] == "True"


async def ask(service: Service, line: Any) -> Any:
    data = line if isinstance(line, bytes) else json.dumps(line).encode()

    def once() -> Any:
        with Client(service.url) as client:
            return respond(client, data)

    return await asyncio.to_thread(once)


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        ([], -32600),
        ({"id": 1, "method": 7}, -32600),
        ({"id": 1, "method": "server/discover"}, -32601),
        ({"id": 1, "method": "tools/call", "params": []}, -32602),
        ({"id": 1, "method": "tools/call", "params": {"name": "record"}}, -32602),
    ],
)
async def test_message_that_is_not_understood_gets_the_error_of_json_rpc(
    service: Service, line: Any, code: int
) -> None:
    assert (await ask(service, line))["error"]["code"] == code


async def test_notification_gets_no_answer(service: Service) -> None:
    assert await ask(service, {"method": "notifications/initialized"}) is None


async def test_unknown_argument_is_refused_and_the_assistant_is_told_which(service: Service) -> None:
    call = {"name": "deal", "arguments": {"deal": "a", "effective": "2025-01-01"}}
    answer = await ask(service, {"id": 1, "method": "tools/call", "params": call})
    assert answer["result"]["isError"]
    assert "effective" in answer["result"]["content"][0]["text"]


@pytest.mark.parametrize("version", ["2024-11-05", "2025-06-18", "2025-11-25"])
async def test_handshake_takes_the_version_of_the_client(service: Service, version: str) -> None:
    answer = await ask(service, {"id": 1, "method": "initialize", "params": {"protocolVersion": version}})
    assert answer["result"]["protocolVersion"] == version


async def test_service_that_does_not_answer_is_told_to_the_assistant() -> None:
    def once() -> Any:
        with Client("http://127.0.0.1:9", retries=Retries(attempts=1)) as client:
            return respond(
                client,
                b'{"id": 1, "method": "tools/call", "params": {"name": "deal", "arguments": {"deal": "a"}}}',
            )

    assert (await asyncio.to_thread(once))["result"]["isError"]
