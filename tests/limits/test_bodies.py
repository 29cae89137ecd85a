"""Request bodies: the bytes of those that are being received are bounded, and other clients are served meanwhile."""

from __future__ import annotations

import asyncio
import threading
from contextlib import AsyncExitStack

import psutil
import pytest

from registry.errors import Overloaded
from registry.http import bodies
from registry.http.bodies import LARGE_BODY, BodyDecoder
from tests.api.announcements import registered
from tests.conftest import PATIENCE
from tests.limits.conftest import connected
from tests.service import ADMIN_KEY, Service

UNFINISHED = 40


async def test_unfinished_bodies_are_refused_and_others_are_recorded(limited: Service) -> None:
    head = (
        "POST /v1/deals/unfinished/events HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {ADMIN_KEY}\r\nContent-Length: {bodies.BODY_LIMIT}\r\n\r\n"
    ).encode()
    almost = [b"x" * 2**20] * 7 + [b"x" * (2**20 - 1)]
    async with AsyncExitStack() as stack:
        memory = psutil.Process().memory_info().rss
        attackers = [await stack.enter_async_context(connected(limited)) for _ in range(UNFINISHED)]
        # The first one reads all the time: the answer is lost when the service ends the connection.
        first = asyncio.create_task(attackers[0].status())
        await asyncio.gather(*(attacker.send(head, *almost) for attacker in attackers))
        recorded = await limited.client.post("/v1/deals/meanwhile/events", json=registered())
        assert recorded.status_code == 201
        used = psutil.Process().memory_info().rss - memory
        assert await first == 503
    # This process holds the attackers' side too.
    assert used < UNFINISHED * bodies.BODY_LIMIT


async def test_form_of_a_visitor_is_refused_before_it_fills_memory(limited: Service) -> None:
    form = "key=" + "x" * (2 * 2**20)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    answer = await limited.visitor.post("/sign-in", content=form, headers=headers)
    assert answer.status_code == 413


async def test_others_are_answered_while_a_large_body_is_decoded(limited: Service) -> None:
    """The largest body with a fault at its end, and requests that arrive meanwhile."""
    fault = b"[" + b'{"event": {"type": "deal_registered", "title": {"en": "x"}}},' * 100_000 + b'{"event": {}}]'
    assert 4 * 2**20 < len(fault) < 8 * 2**20
    headers = {"Content-Type": "application/json"}
    posting = asyncio.create_task(limited.client.post("/v1/deals/large/events", content=fault, headers=headers))
    answered = 0
    while not posting.done():
        assert (await limited.visitor.get("/health/live")).status_code == 200
        answered += 1
    answer = await posting
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid")
    assert answered > 0


async def test_bodies_that_wait_to_be_decoded_are_bounded() -> None:
    decoder = BodyDecoder(3 * LARGE_BODY)
    running = threading.Event()

    def decode(body: bytes) -> int:
        running.wait(PATIENCE)
        return len(body)

    waiting = [asyncio.create_task(decoder.decode(decode, b"x" * LARGE_BODY)) for _ in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Overloaded):
        await decoder.decode(decode, b"x" * LARGE_BODY)
    running.set()
    assert await asyncio.gather(*waiting) == [LARGE_BODY] * 3
    assert await decoder.decode(decode, b"x" * LARGE_BODY) == LARGE_BODY
