"""What the mirror asks its origin, over HTTP. Every answer is bounded, and nothing of it is trusted here."""

from __future__ import annotations

import asyncio
from typing import TypeVar

import httpx
import msgspec

from registry import schemas
from registry.client import ApiError, AsyncClient, calls
from registry.client.calls import Call
from registry.client.retries import Retries
from registry.domain.quotes import Quotes
from registry.events.mirror_state import PrincipalName
from registry.mirror.contradiction import OriginUnreadable
from registry.transparency.merkle import ProofError
from registry.transparency.witness_request import WitnessRequest

T = TypeVar("T")

# Bytes of an answer. A page of entries ends soon after 8 MiB of content.
MAX_ANSWER_BYTES = 64 * 2**20

# Seconds that a whole answer may take.
ANSWER_SECONDS = 600.0

# Characters of what an origin answers that are logged and kept as the status.
MAX_PROBLEM = 500

# Entries and checkpoints of a page: few, because the mirror serves requests while it stores them.
PAGE = 256


class Origin:
    """The registry that is followed. Close it, or use it in an `async with` statement."""

    def __init__(self, url: str) -> None:
        self._client = AsyncClient(
            url,
            # The follower asks again by itself.
            retries=Retries(attempts=1),
            # A redirect could lead into the mirror's own network.
            follow_redirects=False,
            headers={"Accept-Encoding": "gzip"},
            event_hooks={"response": [_refuse_other_encodings]},
        )

    async def __aenter__(self) -> Origin:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._client.close()

    async def keys(self) -> list[str]:
        """The verifier keys that it states."""
        return await self._ask(calls.keys())

    async def checkpoint(self) -> str:
        """Its newest signed checkpoint."""
        return await self._ask(calls.checkpoint())

    async def checkpoints(self, start: int) -> tuple[schemas.CheckpointAndHeads, ...]:
        """A page of its checkpoints from a size on."""
        return (await self._ask(calls.checkpoints(start, limit=PAGE))).checkpoints

    async def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that its tree of `old` leaves is the beginning of that of `new`."""
        if not old:
            return ()
        text = await self._ask(calls.consistency(old, new))
        try:
            return WitnessRequest.parse(text).proof
        except ProofError as error:
            raise OriginUnreadable(problem=str(error)) from None

    async def entries(self, after: int, limit: int) -> tuple[schemas.LogEntry, ...]:
        """A page of the log's bytes."""
        return (await self._ask(calls.log_entries(after=after, limit=min(limit, PAGE)))).entries

    async def names(self) -> tuple[PrincipalName, ...]:
        """The display names of its principals."""
        return (await self._ask(calls.principal_names())).names

    async def rates(self, first: int) -> tuple[Quotes, ...]:
        """Its exchange rates from an import on."""
        return (await self._ask(calls.rate_imports(first=first))).imports

    async def _ask(self, call: Call[T]) -> T:
        """Send a request and read its answer.

        Raises:
            OriginUnreadable: There is no answer, it is a refusal, or it cannot be read.
        """
        content = bytearray()
        try:
            async with asyncio.timeout(ANSWER_SECONDS), self._client.stream(call) as response:
                async for chunk in response.aiter_bytes():
                    content += chunk
                    if len(content) > MAX_ANSWER_BYTES:
                        raise OriginUnreadable(problem=f"{call.path}: over {MAX_ANSWER_BYTES} bytes")
            return call.read(bytes(content))
        except (ApiError, httpx.HTTPError, httpx.InvalidURL, msgspec.MsgspecError, TimeoutError, ValueError) as error:
            problem = f"{call.path}: {(str(error) or type(error).__name__)[:MAX_PROBLEM]}"
            raise OriginUnreadable(problem=problem) from None


async def _refuse_other_encodings(response: httpx.Response) -> None:
    """Refuse an encoding that was not asked for before reading: 64 KiB compressed twice unpack to gigabytes."""
    if response.headers.get("content-encoding", "gzip") != "gzip":
        raise httpx.DecodingError("an encoding that was not asked for", request=response.request)
