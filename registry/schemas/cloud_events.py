"""An event as a CloudEvent 1.0 (CNCF): one JSON document in the structured mode, headers and data in the binary one."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from urllib.parse import quote

import msgspec
from msgspec import Raw, Struct

from registry.events.store import StoredEvent
from registry.schemas.base import encode
from registry.schemas.log import logged_event

STRUCTURED_TYPE = "application/cloudevents+json"

TYPE_PREFIX = "investment-registry."
"""Before the event's type, so that a receiver of many sources can tell it apart."""


class CloudEvent(Struct, frozen=True, kw_only=True):
    """The attributes of a CloudEvent and its data, an event as in `GET /v1/events`.

    `source` is the log's name and `id` the event's: together they identify the event. `subject` is its stream.
    `position` is an extension.
    """

    specversion: str = "1.0"
    id: str
    source: str
    type: str
    subject: str
    time: str
    datacontenttype: str = "application/json"
    position: int
    data: Raw


def cloud_event(stored: StoredEvent, source: str) -> CloudEvent:
    """An event of the log that `source` names."""
    recorded = stored.recorded
    return CloudEvent(
        id=str(recorded.id),
        source=source,
        type=f"{TYPE_PREFIX}{recorded.type}",
        subject=f"{recorded.kind}/{recorded.slug}",
        time=f"{recorded.recorded_at.astimezone(UTC):%Y-%m-%dT%H:%M:%S.%fZ}",
        position=recorded.position,
        data=Raw(encode(logged_event(stored))),
    )


def binary_headers(event: CloudEvent) -> Mapping[str, str]:
    """The attributes as headers of HTTP (CloudEvents HTTP Protocol Binding §3.1.3)."""
    attributes = msgspec.structs.asdict(event)
    del attributes["data"], attributes["datacontenttype"]
    # Printable ASCII but for the characters that the binding has encoded.
    safe = "".join(chr(code) for code in range(0x21, 0x7F) if chr(code) not in '"%')
    return {f"ce-{name}": quote(str(value), safe=safe) for name, value in attributes.items()}
