"""Merge many organizations, and undo it. Each merge is recorded independently; refused ones are reported.

An organization that only announcements name is registered first, under the name that they gave it, so that the merge
has a stream to be recorded in. Unmerged again, it is as before, with a record of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from msgspec import Struct

from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest, SubmissionError
from registry.domain.principal import Credential
from registry.domain.refusal import Refusal
from registry.errors import ApprovalRequired, Forbidden, NotFound, RegistryError, RuleBroken
from registry.events.types import (
    OrganizationAnnouncement,
    OrganizationMerged,
    OrganizationRegistered,
    OrganizationUnmerged,
)
from registry.events.values import Localized
from registry.queries.organizations import OrganizationQueries

REFUSALS = (RuleBroken, NotFound, Forbidden, ApprovalRequired)
"""Why one merge is refused; other errors concern all of them."""

Outcome = Literal["merged", "unmerged", "unchanged", "refused"]


class Merge(Struct, frozen=True):
    """A duplicate, and the organization that it is merged into."""

    organization: str
    into: str
    reason: str | None = None


class MergeResult(Struct, frozen=True):
    """What became of a merge; `error` says why it was refused."""

    merge: Merge
    outcome: Outcome
    error: RegistryError | None = None


class OrganizationMerges:
    """Records merges of organizations."""

    def __init__(self, recorder: Recorder, records: OrganizationQueries) -> None:
        self._recorder = recorder
        self._records = records

    async def merge(self, key: Credential, merges: Sequence[Merge], *, dry_run: bool = False) -> list[MergeResult]:
        """Merge organizations, in this order. A merge that is recorded already changes nothing."""
        names = await self._records.announced_names([slug for one in merges for slug in (one.organization, one.into)])
        results = []
        for one in merges:
            try:
                if await self._records.merged_into(one.organization) == one.into:
                    results.append(MergeResult(one, "unchanged"))
                    continue
                await self._recorder.record_all(await self._requests(key, one, names), dry_run=dry_run)
                results.append(MergeResult(one, "merged"))
            except SubmissionError as refused:
                results.append(MergeResult(one, "refused", refused.error))
            except REFUSALS as error:
                results.append(MergeResult(one, "refused", error))
        return results

    async def _requests(self, key: Credential, merge: Merge, names: Mapping[str, Localized]) -> list[AppendRequest]:
        """The requests that record a merge. Organizations that only announcements name are registered first.

        Raises:
            NotFound: Nothing names one of the organizations.
        """
        registrations = {}
        for slug in (merge.into, merge.organization):
            if not await self._records.exists(slug):
                if slug not in names:
                    raise NotFound("organization", organization=slug)
                registrations[slug] = OrganizationAnnouncement(event=OrganizationRegistered(name=names[slug]))
        merged = OrganizationAnnouncement(event=OrganizationMerged(into=merge.into, reason=merge.reason))
        own = [registrations[merge.organization]] if merge.organization in registrations else []
        requests = [_request(key, merge.organization, [*own, merged])]
        if merge.into in registrations and merge.into != merge.organization:
            requests.insert(0, _request(key, merge.into, [registrations[merge.into]]))
        return requests

    async def unmerge(self, key: Credential, merges: Sequence[Merge], *, dry_run: bool = False) -> list[MergeResult]:
        """Undo merges, the last one first. One that is undone already changes nothing."""
        results = []
        for one in reversed(merges):
            into = await self._records.merged_into(one.organization)
            if into is None:
                results.append(MergeResult(one, "unchanged"))
            elif into != one.into:
                results.append(MergeResult(one, "refused", RuleBroken(Refusal("already-merged", into=into))))
            else:
                undone = OrganizationAnnouncement(event=OrganizationUnmerged(reason=one.reason))
                try:
                    await self._recorder.record_all([_request(key, one.organization, [undone])], dry_run=dry_run)
                    results.append(MergeResult(one, "unmerged"))
                except SubmissionError as refused:
                    results.append(MergeResult(one, "refused", refused.error))
                except REFUSALS as error:
                    results.append(MergeResult(one, "refused", error))
        return results[::-1]


def _request(key: Credential, slug: str, announcements: list[OrganizationAnnouncement]) -> AppendRequest:
    return AppendRequest(kind="organization", slug=slug, announcements=announcements, by=key.id, credential=key)
