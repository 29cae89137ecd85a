"""A connection that reads little more than the head of an answer: the receiver of a webhook may send any amount."""

from __future__ import annotations

from typing import Any

import httpcore

# Bytes that are read at once: each interim answer (1xx) in them, of 20 bytes, keeps the event loop for some 40 µs.
READ_BYTES = 4096

# Bytes of an answer that are read, with its head.
MAX_READ = 64 * 1024


class AnswerTooLong(httpcore.ReadError):
    """The receiver sent more than is read."""


class BoundedStream(httpcore.AsyncNetworkStream):
    """Reads at most MAX_READ bytes after what was written last."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream
        self._read = 0

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as in httpcore
        if self._read >= MAX_READ:
            raise AnswerTooLong
        data = await self._stream.read(min(max_bytes, READ_BYTES), timeout)
        self._read += len(data)
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as in httpcore
        self._read = 0
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: Any,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - as in httpcore
    ) -> httpcore.AsyncNetworkStream:
        return BoundedStream(await self._stream.start_tls(ssl_context, server_hostname, timeout))

    def get_extra_info(self, info: str) -> Any:
        return self._stream.get_extra_info(info)
