"""What a form is for, and the announcement that it becomes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal
from uuid import UUID, uuid4

import msgspec
from msgspec import UNSET, Struct

from registry.domain.admission import fill_defaults
from registry.domain.fold.corrections import EffectiveEvent
from registry.domain.history import FoldedStream
from registry.domain.principal import Credential
from registry.errors import FieldError, Invalid, NotFound
from registry.events import intake
from registry.events.types import (
    Announcement,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationAnnouncement,
    Recorded,
    Replacement,
    tag_of,
)
from registry.events.values import Amount
from registry.http.guards import check_scope
from registry.queries.streams import StreamReader
from registry.web.forms.event_types import REGISTRATIONS, form_event_type
from registry.web.forms.parse import form_values, parse

StreamKind = Literal["deal", "organization"]
AnyAnnouncement = Announcement | OrganizationAnnouncement

MAX_ID_LENGTH = 80


class FormTask(Struct):
    """What a form is for.

    Args:
        kind: The kind of stream.
        slug: The stream.
        history: Its events; None for a new stream.
        event: The event type to correct, or to add to an organization; None while the editor chooses one.
        original: The event to correct.
        voids: The event to void.
        redacts: The event to redact.
    """

    kind: StreamKind
    slug: str
    history: FoldedStream[Any] | None
    event: type[Event] | None
    original: EffectiveEvent | None = None
    voids: EffectiveEvent | None = None
    redacts: EffectiveEvent | None = None

    @property
    def of_record(self) -> bool:
        """Whether it is about another event, and so needs a reason."""
        return any((self.original, self.voids, self.redacts))

    @property
    def quoting(self) -> list[Recorded]:
        """The corrections that quote the redacted event, and are redacted with it."""
        if self.history is None or self.redacts is None:
            return []
        redaction = fill_defaults(self.history, EventRedacted(redacts=self.redacts.recorded.id, reason=""))
        assert isinstance(redaction, EventRedacted)
        return [self.history.record.by_id[id].recorded for id in redaction.also]

    def original_values(self, language: str) -> dict[str, str]:
        """The text of the form that corrects the original event."""
        original = self.original
        if original is None or original.event is None:
            return {}
        return form_values(original.event, original.effective_on, original.sources, original.date, language)

    @property
    def version(self) -> int:
        return self.history.version if self.history is not None else 0

    @property
    def home(self) -> str:
        """The address of the deal's or organization's page."""
        return f"/{self.kind}s/{self.slug}"


async def load_task(
    streams: StreamReader, key: Credential, kind: StreamKind, slug: str, params: Mapping[str, str]
) -> FormTask:
    """Read what a form is for.

    Args:
        streams: Reads the stream.
        key: The editor's API key.
        kind: The kind of stream.
        slug: The stream.
        params: The id of the event that the form `corrects`, `voids` or `redacts`; of an organization also the `type`
            of a new event. The form of an article adds events to deals.

    Raises:
        NotFound: The stream has no such event, or its content was redacted; or a deal's form names none.
        Forbidden: The key may not redact.
    """
    history, _ = await streams.load(f"{kind}/{slug}")
    action = next((action for action in ("corrects", "voids", "redacts") if params.get(action)), None)
    if action is None and kind == "deal":
        raise NotFound("path", path=f"/deals/{slug}/record")
    if action is None:
        tag = params.get("type") if history is not None else REGISTRATIONS[kind]
        return FormTask(kind, slug, history, form_event_type(tag))
    if action == "redacts":
        check_scope(key, "redact")
    uuid = intake.as_uuid(params[action])
    effective = history.record.by_id.get(uuid) if history is not None and uuid is not None else None
    if effective is None or (effective.recorded.erased if action == "redacts" else effective.event is None):
        raise NotFound("changeable_event", stream=slug, event=params[action][:MAX_ID_LENGTH])
    match action:
        case "corrects":
            assert isinstance(effective.event, Event)
            return FormTask(kind, slug, history, type(effective.event), original=effective)
        case "voids":
            return FormTask(kind, slug, history, None, voids=effective)
        case _:
            return FormTask(kind, slug, history, None, redacts=effective)


def build_announcement(task: FormTask, typed: Mapping[str, str]) -> tuple[AnyAnnouncement, dict[str, Amount]]:
    """The announcement that a form contains, and the amounts that were parsed, by their form field.

    Raises:
        Invalid: With the pointer of each wrong field.
    """
    id_ = typed.get("id") or str(uuid4())
    reason = typed.get("reason", "").strip() or None
    if task.redacts is not None:
        event = {"type": tag_of(EventRedacted), "redacts": task.redacts.recorded.id}
        return _decode_action(task, {"id": id_, "event": event if reason is None else {**event, "reason": reason}}), {}
    if task.voids is not None:
        return _decode_action(task, {"id": id_, "event": EventVoided(voids=task.voids.recorded.id, reason=reason)}), {}
    if task.event is None:
        raise Invalid([FieldError("", "no_event_type")])
    form = parse(task.event, typed, task.original.event if task.original is not None else None)
    if form.field_errors:
        raise Invalid(form.field_errors)
    announcement = _decode(task, {"id": id_, **form.announcement})
    if task.original is None:
        return announcement, form.readings
    correction = _correction(task.original.recorded.id, announcement, reason)
    return _decode_action(task, {"id": id_, "event": correction, "note": announcement.note}), form.readings


def _decode(task: FormTask, announcement: Mapping[str, Any]) -> AnyAnnouncement:
    decoder: Any = intake.announcements if task.kind == "deal" else intake.organization_announcements
    decoded: AnyAnnouncement = decoder.decode_one(msgspec.json.encode(announcement))
    return decoded


def _decode_action(task: FormTask, announcement: Mapping[str, Any]) -> AnyAnnouncement:
    """Decode a correction, void or redaction. The form names its reason apart from that of a corrected event."""
    try:
        return _decode(task, announcement)
    except Invalid as error:
        raise Invalid([f.at(f.pointer.replace("/event/reason", "/reason")) for f in error.field_errors]) from None


def _correction(corrects: UUID, announcement: AnyAnnouncement, reason: str | None) -> EventCorrected:
    replacement = Replacement(
        effective_on=announcement.effective_on if announcement.effective_on is not None else UNSET,
        date=announcement.date if announcement.date is not None else UNSET,
        sources=announcement.sources,
        event=announcement.event,  # type: ignore[arg-type]
    )
    return EventCorrected(corrects=corrects, replacement=replacement, reason=reason)


def content_of(announcement: AnyAnnouncement) -> Any:
    """What an announcement states: the replacement of a correction, else the announcement itself."""
    event = announcement.event
    return event.replacement if isinstance(event, EventCorrected) else announcement
