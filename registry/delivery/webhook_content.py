"""What a message of a webhook has in it: as Standard Webhooks say, or as a CloudEvent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Raw, Struct

from registry.delivery.webhook_store import Format, Webhook
from registry.events.store import StoredEvent
from registry.schemas import encode, logged_event
from registry.schemas.cloud_events import STRUCTURED_TYPE, TYPE_PREFIX, CloudEvent, binary_headers, cloud_event


class WebhookContent(Struct, frozen=True):
    """A message's body, and the headers that belong to it."""

    body: bytes
    headers: Mapping[str, str]


def webhook_content(format: Format, event: StoredEvent, source: str) -> WebhookContent:
    """The message of an event of the log that `source` names."""
    recorded = event.recorded
    if format == "standard":
        return _json({"type": recorded.type, "timestamp": recorded.recorded_at, "data": logged_event(event)})
    return _cloud_event(format, cloud_event(event, source))


def test_content(webhook: Webhook, message: str, source: str) -> WebhookContent:
    """A test message."""
    return _own_content(webhook, message, source, "webhook.test", {"webhook": webhook.id})


def challenge_content(webhook: Webhook, message: str, source: str, challenge: str) -> WebhookContent:
    """The message that the receiver of a watch answers with its challenge."""
    return _own_content(webhook, message, source, "watch.challenge", {"watch": webhook.id, "challenge": challenge})


def _own_content(webhook: Webhook, message: str, source: str, type: str, data: dict[str, str]) -> WebhookContent:
    """A message that is no event."""
    now = datetime.now(UTC)
    if webhook.format == "standard":
        return _json({"type": type, "timestamp": now, "data": data})
    event = CloudEvent(
        id=message,
        source=source,
        type=f"{TYPE_PREFIX}{type}",
        subject=f"webhook/{webhook.id}",
        time=f"{now:%Y-%m-%dT%H:%M:%S.%fZ}",
        position=0,
        data=Raw(encode(data)),
    )
    return _cloud_event(webhook.format, event)


def _json(message: object) -> WebhookContent:
    return WebhookContent(encode(message), {"Content-Type": "application/json"})


def _cloud_event(format: Format, event: CloudEvent) -> WebhookContent:
    if format == "cloudevents":
        return WebhookContent(encode(event), {"Content-Type": STRUCTURED_TYPE})
    return WebhookContent(bytes(event.data), {"Content-Type": event.datacontenttype, **binary_headers(event)})
