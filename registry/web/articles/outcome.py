"""Preview, record or propose the announcements of an article: all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, AppendResult, SubmissionError
from registry.domain.checks.plausibility import Flag
from registry.domain.principal import Credential, required_scope
from registry.errors import Invalid, RegistryError, RuleBroken
from registry.web.articles.announcements import AnnouncementPart
from registry.web.recording.state_types import typed_change


class Refused(Exception):
    """An announcement of an article was refused, and with it the article. `place` is the form of the announcement."""

    def __init__(self, place: str, error: RegistryError) -> None:
        super().__init__(place)
        self.place = place
        self.error = error


class Preview(Struct):
    """What the announcements for one deal or organization would change, and the warnings that they raise."""

    part: AnnouncementPart
    version: int
    changes: list[Any]
    flags: list[Flag]


def may_record(key: Credential, parts: Sequence[AnnouncementPart]) -> bool:
    """Whether a principal may record all announcements by itself."""
    return all(key.allows(required_scope(one.event)) for part in parts for one in part.announcements)


async def preview(recorder: Recorder, key: Credential, parts: Sequence[AnnouncementPart]) -> list[Preview]:
    """What the announcements would change. A principal who may only propose sees it too, because it records nothing.

    Raises:
        Refused: An announcement was refused.
    """
    requests = [_request(key, part, as_proposer=not may_record(key, parts)) for part in parts]
    results = await _submit(recorder, parts, requests, dry_run=True)
    answers = [msgspec.json.decode(result.response) for result in results]
    return [
        Preview(
            part,
            result.version - len(part.announcements),
            [typed_change(change) for change in answer.get("changes", [])],
            list(result.flags),
        )
        for part, result, answer in zip(parts, results, answers, strict=True)
    ]


async def record(
    recorder: Recorder, key: Credential, parts: Sequence[AnnouncementPart], versions: dict[str, int]
) -> list[AppendResult]:
    """Record the announcements in one transaction.

    Args:
        recorder: The recorder.
        key: Who records them.
        parts: The announcements.
        versions: The version at which the preview showed each deal, by its slug.

    Raises:
        Refused: An announcement was refused; nothing was recorded.
    """
    requests = [
        replace(_request(key, part), expected_version=versions.get(part.slug) if part.kind == "deal" else None)
        for part in parts
    ]
    return await _submit(recorder, parts, requests, dry_run=False)


async def _submit(
    recorder: Recorder, parts: Sequence[AnnouncementPart], requests: Sequence[AppendRequest], *, dry_run: bool
) -> list[AppendResult]:
    try:
        return await recorder.record_all(requests, dry_run=dry_run)
    except SubmissionError as error:
        raise await _refused(recorder, parts, requests, error.number, error.error) from None
    except RegistryError as error:
        if len(parts) != 1:
            raise
        raise await _refused(recorder, parts, requests, 0, error) from None


async def _refused(
    recorder: Recorder,
    parts: Sequence[AnnouncementPart],
    requests: Sequence[AppendRequest],
    number: int,
    error: RegistryError,
) -> Refused:
    """Which announcement was refused: the last one of the shortest list that is refused."""
    part, request = parts[number], requests[number]
    if isinstance(error, Invalid):
        return Refused(part.prefix, error)
    if isinstance(error, RuleBroken):
        for length in range(1, len(part.announcements)):
            shorter = replace(request, announcements=request.announcements[:length])
            try:
                await recorder.record_all([*requests[:number], shorter], dry_run=True)
            except (SubmissionError, RuleBroken):
                return Refused(part.places[length - 1], error)
        return Refused(part.places[-1], error)
    return Refused(part.prefix, error)


def _request(key: Credential, part: AnnouncementPart, *, as_proposer: bool = False) -> AppendRequest:
    return AppendRequest(
        kind=part.kind,
        slug=part.slug,
        announcements=part.announcements,
        by=key.id,
        credential=None if as_proposer else key,
    )
