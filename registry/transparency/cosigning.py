"""Ask witnesses to cosign each new checkpoint (C2SP tlog-witness): the log's side.

The checkpoint is signed and stored before; a witness that does not answer delays it by `TIMEOUT_SECONDS` once, and is
then left out for `RETRY_SECONDS`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from urllib.parse import urlsplit

import structlog
from msgspec import Struct

from registry.transparency.checkpoint import CheckpointError
from registry.transparency.cosignatures import WitnessKey, accept_lines
from registry.transparency.witness_request import WitnessRequest

log = structlog.get_logger(__name__)

TIMEOUT_SECONDS = 3.0
RETRY_SECONDS = 60.0

# The most that a witness may answer.
MAX_ANSWER_BYTES = 64 * 1024

# The consistency proof from an earlier size to the checkpoint's.
Prove = Callable[[int], Awaitable[Sequence[bytes]]]


class WitnessAddress(Struct, frozen=True):
    """A witness: its public key, and the prefix of its address for submissions."""

    key: WitnessKey
    url: str


class WitnessFailed(Exception):
    """A witness did not answer, or not with a cosignature."""


class Witnesses:
    """The witnesses of this log."""

    def __init__(self, addresses: Sequence[WitnessAddress]) -> None:
        self._addresses = addresses
        # What each has cosigned last, as far as this process knows; it says so itself if that is wrong.
        self._sizes: dict[WitnessAddress, int] = {}
        self._left_out_until: dict[WitnessAddress, float] = {}

    async def cosign(self, note: str, size: int, prove: Prove) -> list[str]:
        """The cosignatures of a checkpoint of `size` events, from the witnesses that answer in time."""
        now = monotonic()
        asked = [one for one in self._addresses if self._left_out_until.get(one, 0.0) <= now]
        answers = await asyncio.gather(*(self._ask(one, note, size, prove) for one in asked))
        return [line for lines in answers for line in lines]

    async def _ask(self, address: WitnessAddress, note: str, size: int, prove: Prove) -> list[str]:
        try:
            async with asyncio.timeout(TIMEOUT_SECONDS):
                lines = await self._submit(address, note, size, prove)
        except Exception as error:
            # The log goes on without a witness, whatever is wrong with it.
            self._left_out_until[address] = monotonic() + RETRY_SECONDS
            problem = str(error) or type(error).__name__
            log.warning("a witness did not cosign", witness=address.key.name, size=size, problem=problem)
            return []
        self._sizes[address] = size
        return lines

    async def _submit(self, address: WitnessAddress, note: str, size: int, prove: Prove) -> list[str]:
        old = min(self._sizes.get(address, 0), size)
        status, answer = await _post(address.url, WitnessRequest(old, tuple(await prove(old)), note))
        if status == 409:
            known = answer.removesuffix("\n")
            if not re.fullmatch(r"0|[1-9][0-9]{0,18}", known) or int(known) > size:
                raise WitnessFailed(f"it has cosigned a log of {known[:40]} events")
            old = self._sizes[address] = int(known)
            status, answer = await _post(address.url, WitnessRequest(old, tuple(await prove(old)), note))
        if status != 200:
            raise WitnessFailed(f"it answered {status}: {answer[:200]}")
        try:
            lines = accept_lines(note, answer, [address.key])
        except (CheckpointError, ValueError) as error:
            raise WitnessFailed(str(error)) from None
        if not lines:
            raise WitnessFailed("its answer has no signature of its key")
        return lines


async def _post(url: str, request: WitnessRequest) -> tuple[int, str]:
    # Imported here: a service without witnesses starts without an HTTP client.
    import httpx

    content = bytearray()
    async with (
        httpx.AsyncClient(timeout=TIMEOUT_SECONDS) as client,
        client.stream(
            "POST", f"{url}/add-checkpoint", content=str(request), headers={"Content-Type": "text/plain"}
        ) as response,
    ):
        async for chunk in response.aiter_bytes():
            content += chunk
            if len(content) > MAX_ANSWER_BYTES:
                raise WitnessFailed("its answer is too long")
        return response.status_code, content.decode()


def parse_addresses(text: str) -> tuple[WitnessAddress, ...]:
    """Parse pairs of a public key and an address, separated by spaces.

    Raises:
        ValueError, BadKey: They are no such pairs.
    """
    words = text.split()
    if len(words) % 2:
        raise ValueError(words[-1])
    addresses = []
    for key, url in zip(words[::2], words[1::2], strict=True):
        if urlsplit(url).scheme not in ("http", "https"):
            raise ValueError(url)
        addresses.append(WitnessAddress(WitnessKey.parse(key), url.rstrip("/")))
    return tuple(addresses)
