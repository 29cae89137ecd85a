"""Values in an unnamed file, so that memory does not grow with the rows of a sheet."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from typing import Any

import msgspec

READ_BYTES = 2**18


class Spool:
    """Values in order. They can be read several times, also by several readers at once."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by close()

    def add(self, value: Any) -> None:
        """Append a value."""
        data = msgspec.msgpack.encode(value)
        self._file.write(len(data).to_bytes(4, "big") + data)

    def read(self, type: type[Any]) -> Iterator[Any]:
        """The values from the start."""
        self._file.flush()
        decoder = msgspec.msgpack.Decoder(type)
        offset, buffer = 0, b""
        while True:
            while len(buffer) < 4 or len(buffer) < 4 + int.from_bytes(buffer[:4], "big"):
                chunk = os.pread(self._file.fileno(), READ_BYTES, offset)
                if not chunk:
                    return
                buffer, offset = buffer + chunk, offset + len(chunk)
            start = 0
            while len(buffer) - start >= 4:
                end = start + 4 + int.from_bytes(buffer[start : start + 4], "big")
                if len(buffer) < end:
                    break
                yield decoder.decode(buffer[start + 4 : end])
                start = end
            buffer = buffer[start:]

    def close(self) -> None:
        """Delete the file."""
        self._file.close()
