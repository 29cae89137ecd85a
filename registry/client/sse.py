"""Server-sent events (WHATWG HTML §9.2.6), as far as the registry sends them: id and data, a line each."""

from __future__ import annotations

from msgspec import Struct


class StreamMessage(Struct, frozen=True):
    """An event of the stream: its position and its JSON."""

    position: int
    data: str


class MessageParser:
    """Parses the lines of a stream into messages."""

    def __init__(self) -> None:
        self._id = ""
        self._data = ""

    def feed(self, line: str) -> StreamMessage | None:
        """Take a line without its end. Returns the message that it ends."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self._id = value
            case "data":
                self._data = value
            case "" if not line and self._data:
                message = StreamMessage(int(self._id), self._data)
                self._data = ""
                return message
        return None
