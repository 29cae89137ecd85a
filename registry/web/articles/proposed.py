"""The form of what was proposed together, for a person who changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from registry.append.proposal import Proposal
from registry.events.types import Announcement, OrganizationAnnouncement, OrganizationRegistered, tag_of
from registry.events.values import Source
from registry.web.articles.form import MAX_ROWS, ArticleForm
from registry.web.forms.event_types import form_event_type
from registry.web.forms.parse import form_values

DIGEST = "digest/"
"""What the names of the fields begin with that name the content of a proposal."""

AnyAnnouncement = Announcement | OrganizationAnnouncement


def form_of(proposals: Sequence[Proposal]) -> ArticleForm | None:
    """The form of open proposals; None if one form cannot hold them: it has one source, and no corrections."""
    listed = [(proposal, one) for proposal in proposals for one in proposal.decoded()]
    announcements = [one for _, one in listed]
    if len(proposals) > MAX_ROWS or not all(_fits(proposal, one) for proposal, one in listed):
        return None
    shared = {(_without_quotations(one.sources), one.note) for proposal, one in listed if proposal.kind == "deal"}
    if len(shared) != 1 or len(announcements) > MAX_ROWS:
        return None
    [(sources, note)] = shared
    form = ArticleForm({"note": note or "", "submission": str(proposals[0].submission)})
    form.typed |= _texts("sources", msgspec.to_builtins(sources))
    dates = [(str(one.effective_on or ""), one.date or "") for one in announcements if one.effective_on or one.date]
    common = max(dates, key=dates.count, default=("", ""))
    form.typed |= {"effective_on": common[0] if not common[1] else "", "date": common[1]}
    for proposal in proposals:
        form.typed[f"{DIGEST}{proposal.id}"] = proposal.digest.hex()
        if proposal.kind == "organization":
            [registered] = proposal.decoded()
            assert isinstance(registered.event, OrganizationRegistered)
            form.add_organization(proposal.slug, proposal.slug, registered.event.name)
            form.typed[f"{form.organizations[-1].prefix}/id"] = str(registered.id)
        else:
            number = form.add_deal(proposal.slug)
            for one in proposal.decoded():
                form.add_announcement(number, tag_of(one.event), _fields(one, common))
    return form


def _fits(proposal: Proposal, one: AnyAnnouncement) -> bool:
    """Whether the form can hold an announcement."""
    if proposal.kind == "organization":
        is_alone = len(proposal.decoded()) == 1
        return is_alone and isinstance(one.event, OrganizationRegistered) and one.event.country is None
    return form_event_type(tag_of(one.event)) is not None and getattr(one.event, "about", None) is None


def _fields(one: AnyAnnouncement, common: tuple[str, str]) -> dict[str, str]:
    """The fields of an announcement, with its date where it differs from the common one, and with its quotation."""
    event: Any = one.event
    date = (str(one.effective_on or ""), one.date or "")
    has_own_date = date not in (common, ("", ""))
    fields = form_values(event, one.effective_on if has_own_date else None, (), one.date if has_own_date else None)
    fields["id"] = str(one.id)
    if one.sources and one.sources[0].quote and one.sources[0].locator:
        fields |= {"quote": one.sources[0].quote, "locator": one.sources[0].locator}
    return {name: text for name, text in fields.items() if text}


def _without_quotations(sources: tuple[Source, ...]) -> tuple[Source, ...]:
    """Sources without what a single announcement quotes from the first one."""
    if not sources or sources[0].quote is None or sources[0].url is None:
        return sources
    return (replace(sources[0], quote=None, locator=None), *sources[1:])


def _texts(pointer: str, sources: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {f"{pointer}/{n}/{name}": str(value) for n, one in enumerate(sources) for name, value in one.items()}
