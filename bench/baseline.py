"""The baseline: a minimal Litestar application with the registry's server and connection pool.

It has no rules, hash tree, projections or API keys. `python -m bench.baseline DATABASE_URL` serves it on a free port
and prints `ready URL`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import msgspec
from eventsourcing.persistence import StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder
from litestar import Litestar, Request, Response, get, post
from litestar.params import FromPath

from bench.comparisons import datastore
from registry.events.types import Announcement
from registry.events.values import decode_hook
from registry.infra import postgres

TABLE = """
CREATE TABLE baseline (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    deal   text  NOT NULL,
    type   text  NOT NULL,
    body   bytea NOT NULL
)
"""
INSERT_ROW = "INSERT INTO baseline (deal, type, body) VALUES ($1, $2, $3)"
SELECT_BODY = "SELECT body FROM baseline WHERE number = $1"

# As many as there are threads that record, asyncio's default.
PEER_CONNECTIONS = 16

_decode = msgspec.json.Decoder(Announcement, dec_hook=decode_hook).decode
_encode = msgspec.json.Encoder().encode


def _json(content: bytes, status: int = 200) -> Response[bytes]:
    return Response(content, status_code=status, media_type="application/json")


@get("/baseline")
async def get_empty() -> Response[bytes]:
    """Return a constant."""
    return _json(b'{"ok":true}')


@get("/baseline/{number:int}")
async def get_row(request: Request[Any, Any, Any], number: FromPath[int]) -> Response[bytes]:
    """Return a row, with one SELECT by key."""
    return _json(await request.app.state.pool.fetchval(SELECT_BODY, number))


@post("/decode")
async def post_decode(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Decode an announcement and return it."""
    return _json(_encode(_decode(await request.body())), 201)


@post("/insert")
async def post_insert(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Decode an announcement, insert it, and return it."""
    body = await request.body()
    announcement = _decode(body)
    await request.app.state.pool.execute(INSERT_ROW, "deal", announcement.event.__struct_config__.tag, body)
    return _json(_encode(announcement), 201)


@post("/eventsourcing")
async def post_eventsourcing(request: Request[Any, Any, Any]) -> Response[bytes]:
    """Decode an announcement, record it with the library eventsourcing in a thread, and return it."""
    body = await request.body()
    announcement = _decode(body)
    stored = StoredEvent(uuid4(), 1, "bench:Event", body)
    await asyncio.to_thread(request.app.state.recorder.insert_events, [stored])
    return _json(_encode(announcement), 201)


def create(url: str) -> Litestar:
    """The application on a database."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        async with await postgres.pool(url, name="baseline") as pool:
            app.state.pool = pool
            app.state.recorder = PostgresApplicationRecorder(
                datastore(url, PEER_CONNECTIONS), events_table_name="eventsourcing_http"
            )
            await asyncio.to_thread(app.state.recorder.create_table)
            yield
            app.state.recorder.datastore.close()

    return Litestar(
        route_handlers=[get_empty, get_row, post_decode, post_insert, post_eventsourcing],
        lifespan=[lifespan],
        openapi_config=None,
        logging_config=None,
    )


def main() -> None:
    import uvicorn
    import uvloop

    listening = socket.create_server(("127.0.0.1", 0), backlog=2048)
    config = uvicorn.Config(
        create(sys.argv[1]),
        http="httptools",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
    )
    print(f"ready http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    with listening:
        uvloop.run(uvicorn.Server(config).serve(sockets=[listening]))


if __name__ == "__main__":
    main()
