"""End reads that take too long, and those whose client has left.

A read whose own work took the time is refused as too long: its reader can narrow it. One that waited for most of the
time, for a connection, a lock, a free thread or work that all questions share, is refused as a failure of the service.

A request is watched after WATCH_AFTER seconds only: nearly all have ended by then, and a watch costs a task. One timer
looks for those that have not: a timer for each took 2 % of a GET. Writes are not ended: their outcome would be unknown.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context
from itertools import takewhile
from typing import Any

from litestar.types import Receive

from registry.errors import Overloaded, QueryTooLong, RegistryError
from registry.infra import work_time

# Seconds after which a read is watched, and between two looks whether there is such a read.
WATCH_AFTER = 0.5
LOOK_INTERVAL = 0.1

# Seconds that a read may take until its answer begins: without a key, and with one.
ANONYMOUS_SECONDS = 10.0
KEY_SECONDS = 60.0

# The part of this time that own work must have taken for the question to be too long.
OWN_PART = 0.5

# Seconds after which a read that waited in vain may be sent again.
RETRY_SECONDS = 5


def seconds_for(principal: str | None) -> float:
    """The seconds that a read may take with a principal's key, or without one."""
    return ANONYMOUS_SECONDS if principal is None else KEY_SECONDS


class Deadlines:
    """The reads of a service that are in progress and not watched yet, in the order in which they began."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._since: dict[Deadline, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, deadline: Deadline) -> float:
        """A read begins. Returns the loop's time."""
        now = self._since[deadline] = self.loop.time()
        if self._timer is None:
            self._timer = self.loop.call_later(WATCH_AFTER, self._look, context=Context())
        return now

    def remove(self, deadline: Deadline) -> None:
        """A read is answered, or has ended."""
        self._since.pop(deadline, None)

    def _look(self) -> None:
        begun = self.loop.time() - WATCH_AFTER
        for deadline, _ in list(takewhile(lambda read: read[1] <= begun, self._since.items())):
            del self._since[deadline]
            deadline.watch()
        self._timer = self.loop.call_later(LOOK_INTERVAL, self._look) if self._since else None


class Deadline:
    """The watch over one read; a context manager around its handler.

    Args:
        deadlines: Those of the service.
        receive: The request's receive function. A read has no body, so that only the client's end is expected.
        seconds: When to end the read.
        refuse: Answers the client with an error; called when the time is over.
    """

    def __init__(
        self,
        deadlines: Deadlines,
        receive: Receive,
        seconds: float,
        refuse: Callable[[RegistryError], Awaitable[None]],
    ) -> None:
        self._deadlines = deadlines
        self._receive = receive
        self._seconds = seconds
        self._refuse = refuse
        self._handler: asyncio.Task[Any] | None = None
        self._watch: asyncio.Task[None] | None = None
        self._is_ended = False

    def __enter__(self) -> Deadline:
        self._handler = asyncio.current_task(self._deadlines.loop)
        self._work = work_time.start()
        self._begin = self._deadlines.add(self)
        return self

    def watch(self) -> None:
        """Watch the read, which has not ended soon."""
        self._watch = asyncio.create_task(self._run())

    def stop(self) -> None:
        """The answer begins: the read is no longer watched."""
        self._deadlines.remove(self)
        if self._watch is not None and self._watch is not asyncio.current_task():
            self._watch.cancel()
            # Its error refers to this object: without such a cycle both are freed at once.
            self._watch = None

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        self.stop()
        if self._is_ended and kind is asyncio.CancelledError and self._handler is not None:
            # The same as asyncio.timeout: a cancellation by others goes on.
            return self._handler.uncancel() == 0
        return False

    def _error(self) -> RegistryError:
        if self._work.seconds >= self._seconds * OWN_PART:
            return QueryTooLong(seconds=f"{self._seconds:g}")
        return Overloaded("waited", seconds=RETRY_SECONDS)

    async def _run(self) -> None:
        try:
            async with asyncio.timeout_at(self._begin + self._seconds):
                while (await self._receive())["type"] != "http.disconnect":
                    pass
        except TimeoutError:
            # Before the handler is cancelled, which may have to wait for a database that does not answer.
            await self._refuse(self._error())
        self._is_ended = True
        assert self._handler is not None
        self._handler.cancel()
