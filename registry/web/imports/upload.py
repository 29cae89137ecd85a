"""Receives the files of an import: writes each piece to disk as it arrives, and drops those beyond the limit.

Not Litestar's multipart data: it keeps the parts of a form in memory before a handler can check the sender.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct, field
from multipart import MultipartError, MultipartSegment, PushMultipartParser, parse_options_header

from registry.errors import BodyTimeout, IncompleteBody, InvalidParameter, TooLarge
from registry.http import bodies
from registry.http.bodies import header, require_content_type
from registry.web.page.request import Request

MAX_FIELD_BYTES = 256 * 1024
MAX_PARTS = 40

# Seconds for a whole form: the largest one needs 600 kbit/s.
UPLOAD_SECONDS = 900.0
_FILE_NAME = re.compile(r"[^\w .()+-]+")


class Upload(Struct):
    """The fields of a form, and the files that were stored, by the name of their field."""

    fields: dict[str, str] = field(default_factory=dict)
    files: list[tuple[str, Path]] = field(default_factory=list)


class FileTarget(Struct, frozen=True):
    """Where the files of a form go. `folder` is asked for at the first file, after the fields before it."""

    folder: Callable[[dict[str, str]], Path]
    max_bytes: int
    max_files: int


async def receive(request: Request, target: FileTarget) -> Upload:
    """Receive a form with files.

    Raises:
        UnsupportedMediaType, InvalidParameter: The body is not such a form, or has too many parts.
        BodyTimeout, IncompleteBody: The body did not arrive.
        TooLarge: The files are over the limit.
    """
    require_content_type(request, "multipart/form-data")
    _, options = parse_options_header(header(request, b"content-type") or "")
    receiver = _Receiver(target)
    try:
        parser = PushMultipartParser(options.get("boundary", ""), max_segment_count=MAX_PARTS, strict=True)
        size, more = 0, True
        ends_at = asyncio.get_running_loop().time() + UPLOAD_SECONDS
        while more:
            message = await _next_piece(request, ends_at)
            if message["type"] == "http.disconnect":
                raise IncompleteBody
            chunk, more = message.get("body", b""), message.get("more_body", False)
            size += len(chunk)
            # The rest is read and dropped, so that the client gets the answer instead of a reset connection.
            if size > 4 * target.max_bytes:
                break
            if chunk and size <= target.max_bytes + MAX_FIELD_BYTES:
                for part in parser.parse(chunk):
                    receiver.take(part)
        if size > target.max_bytes + MAX_FIELD_BYTES:
            raise TooLarge(limit=target.max_bytes)
        parser.close()
    except MultipartError:
        raise InvalidParameter("form", parameter="form") from None
    finally:
        receiver.close()
    return receiver.upload


async def _next_piece(request: Request, ends_at: float) -> Any:
    """The next piece of a body. Raises BodyTimeout if it does not arrive, or not before the end of the upload."""
    now = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout_at(min(now + bodies.BODY_SECONDS, ends_at)):
            return await request.receive()
    except TimeoutError:
        seconds = UPLOAD_SECONDS if ends_at < now + bodies.BODY_SECONDS else bodies.BODY_SECONDS
        raise BodyTimeout(seconds=f"{seconds:g}") from None


class _Receiver:
    """Takes the parts of a form."""

    def __init__(self, target: FileTarget) -> None:
        self.upload = Upload()
        self._target = target
        self._segment: MultipartSegment | None = None
        self._text = bytearray()
        self._file: BinaryIO | None = None

    def take(self, part: MultipartSegment | bytes | bytearray | None) -> None:
        """Take a piece: the beginning of a part, bytes of it, or its end."""
        if isinstance(part, MultipartSegment):
            self._segment = part
            if part.filename:
                self._open(part.name or "", part.filename)
        elif part is None:
            self._end()
        elif self._file is not None:
            self._file.write(part)
        else:
            self._text += part
            if len(self._text) > MAX_FIELD_BYTES:
                raise InvalidParameter("form", parameter="form")

    def close(self) -> None:
        """Close a file that was not received to its end."""
        if self._file is not None:
            self._file.close()

    def _open(self, name: str, filename: str) -> None:
        if len(self.upload.files) >= self._target.max_files:
            raise InvalidParameter("form", parameter="form")
        folder = self._target.folder(self.upload.fields)
        path = folder / safe_name(filename)
        while path.exists():
            path = path.with_name(f"_{path.name}")
        self._file = path.open("xb")
        self.upload.files.append((name, path))

    def _end(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        elif self._segment is not None and self._segment.filename is None:
            try:
                self.upload.fields[self._segment.name or ""] = self._text.decode()
            except UnicodeDecodeError:
                raise InvalidParameter("form", parameter="form") from None
        self._text.clear()


def safe_name(filename: str) -> str:
    """The name of an uploaded file without a path and without unusual characters; the ending stays."""
    name = _FILE_NAME.sub("_", filename.replace("\\", "/").rpartition("/")[2]).strip(" .")
    stem, dot, ending = name.rpartition(".")
    if not dot:
        return name[:60] or "file"
    return f"{stem[:60].encode()[:180].decode(errors='ignore')}.{ending[:5].lower()}"
