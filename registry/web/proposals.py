"""The review queue as pages: what was proposed together, what it would change, approval and rejection."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Literal
from urllib.parse import quote
from uuid import UUID

import msgspec
from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, QueryParameter, SkipValidation
from msgspec import Struct

from registry.append.proposal import Proposal, digest_of_all, may_review
from registry.append.proposals import Proposals
from registry.append.requests import SubmissionError
from registry.domain.checks.plausibility import Flag
from registry.domain.principal import AuthorNames, required_scope
from registry.errors import NotFound, RegistryError, RuleBroken
from registry.events.intake import as_uuid
from registry.events.types import DealRegistered, EventCorrected, OrganizationRegistered
from registry.events.values import Scope
from registry.formatting.language import words
from registry.http.parameters import text
from registry.i18n import Message
from registry.infra import freeing
from registry.infra.threads import offload_answer
from registry.web.articles.proposed import DIGEST, form_of
from registry.web.page import render
from registry.web.page.names import EventNames
from registry.web.page.render import Rendered
from registry.web.page.request import READ, Page, PageRequest, redirect
from registry.web.recording.state_types import typed_change
from registry.web.sign_in.session import read_signed_form, require_key

PAGE_SIZE = 100
"""The submissions of a page of the queue."""
MAX_SHOWN = 50
"""The proposals of a page of one submission. An import may have thousands."""
MAX_REASON_LENGTH = 4000
MAX_START = 10**6
AnyProposals = NamedDependency[SkipValidation[Proposals]]


class ProposalView(Struct):
    """A proposal, and what recording it now would change, or why it does not apply.

    `scopes` are needed to approve it. `needs_another` says that the reader has written a part of what a second person
    must approve.
    """

    proposal: Proposal
    announcements: list[Any]
    scopes: list[Scope]
    may_approve: bool
    needs_another: bool
    changes: list[Any]
    flags: list[Flag]
    refusal: Message | None


class ProposalPages(Controller):
    """The review queue."""

    @route("/proposals", http_method=READ)
    async def get_proposals(
        self,
        page: Page,
        proposals: AnyProposals,
        status: Annotated[
            Literal["open", "approved", "rejected"], QueryParameter(description="Proposals with this status.")
        ] = "open",
        before: Annotated[str | None, text("Proposals before the one with this id.")] = None,
    ) -> Response[bytes]:
        """What was proposed together and has a status, the newest first."""
        key = require_key(page)
        found = await proposals.submissions(key, status, as_uuid(before) if before else None, PAGE_SIZE + 1)
        shown = found[:PAGE_SIZE]
        first = [one.first for one in shown]
        rendered = render.render(
            page,
            "proposals.html",
            listed=status,
            submissions=shown,
            names=(await _names(page, first)).names,
            authors=await _authors(page, first),
            head=page.position,
            next=first[-1].submission if len(found) > PAGE_SIZE else None,
        )
        return render.send(page, rendered)

    @route("/proposals/{id:str}", http_method=READ)
    async def get_proposal(
        self,
        page: Page,
        id: FromPath[str],
        proposals: AnyProposals,
        start: Annotated[int, QueryParameter(description="The proposals before those shown.", ge=0, le=MAX_START)] = 0,
    ) -> Response[bytes]:
        """A proposal with those that were sent together with it, and what they would change now."""
        found = await _find(page, id, proposals)
        return await _show(page, found, proposals, start)

    @post("/proposals/{id:str}", status_code=303)
    async def post_proposal(
        self,
        page: Page,
        id: FromPath[str],
        proposals: AnyProposals,
    ) -> Response[bytes]:
        """Approve or reject the content that the form showed: of the selected proposals, or of all."""
        sent, key = await read_signed_form(page)
        found = await _find(page, id, proposals)
        decision, _, scope = sent.get("decision", "").partition("-")
        expected = _expected(sent, found, of_all=scope == "all")
        here = page.link(f"/proposals/{id}", start=sent.get("start"))
        if not expected:
            return redirect(here)
        try:
            if decision == "approve":
                decided, _ = await proposals.approve_all(key, expected)
                [*others, last] = decided
                home = f"/{last.kind}s/{quote(last.slug)}"
                return redirect(page.link(home) if not others else here)
            reason = sent.get("reason", "").strip()[:MAX_REASON_LENGTH] or None
            await proposals.reject_all(key, expected, reason)
        except RegistryError as error:
            message = message_of(error.error if isinstance(error, SubmissionError) else error)
            number = error.number if isinstance(error, SubmissionError) else 0
            current = await _find(page, id, proposals)
            refused = list(expected)[number]
            place = next((place for place, one in enumerate(current) if one.id == refused), 0)
            start, problems = place - place % MAX_SHOWN, {refused: message}
            return await _show(page, current, proposals, start, problems)
        return redirect(page.link("/proposals") if len(found) == len(expected) else here)


def _expected(sent: dict[str, str], found: Sequence[Proposal], *, of_all: bool) -> dict[UUID, bytes]:
    """The content that is decided on: of the selected proposals, or of all that are open, if the page showed these."""
    if not of_all:
        return {one.id: digest_of(sent[name]) for one in found if (name := f"{DIGEST}{one.id}") in sent}
    still_open = [one for one in found if one.status == "open"]
    is_same = digest_of_all(still_open) == digest_of(sent.get("all", ""))
    # No content has this digest, so the decision is refused.
    return {one.id: one.digest if is_same else b"" for one in still_open}


def message_of(error: RegistryError) -> Message:
    """Why something was refused."""
    return error.refusal if isinstance(error, RuleBroken) else error.message


def digest_of(sent: str) -> bytes:
    """The digest that a form sent; empty, which no content has, for anything else."""
    try:
        return bytes.fromhex(sent)
    except ValueError:
        return b""


async def _find(page: PageRequest, id: str, proposals: Proposals) -> list[Proposal]:
    """The proposals that were sent together with one, itself included. Deals first: a reviewer looks for them."""
    uuid, key = as_uuid(id), require_key(page)
    if uuid is None:
        raise NotFound("proposal", proposal=id[:80])
    found = await proposals.submission(key, (await proposals.get(key, uuid)).submission)
    return sorted(found, key=lambda one: one.kind != "deal")


async def _show(
    page: PageRequest,
    found: Sequence[Proposal],
    proposals: Proposals,
    start: int = 0,
    problems: dict[UUID, Message] | None = None,
) -> Response[bytes]:
    """The page of proposals that were sent together, from number `start`.

    `problems` are why a decision on them was refused.
    """
    key = require_key(page)
    shown = found[start : start + MAX_SHOWN]
    if not shown:
        raise NotFound("path", path=page.path)
    views = [await _view(page, one, proposals) for one in shown]
    is_open = [view for view in views if view.proposal.status == "open"]
    still_open = [one for one in found if one.status == "open"]
    may_approve = any(view.may_approve for view in is_open)
    decides = may_review(key)
    names = await _names(page, shown)
    size = sum(one.size for one in found)
    needs_another = await offload_answer(size, lambda: any(proposals.needs_another(key, one) for one in still_open))
    authors = await _authors(page, found)
    has_pages = len(found) > MAX_SHOWN
    waiting = [view.proposal for view in is_open]
    can_change = bool(is_open) and not has_pages and await offload_answer(size, form_of, waiting) is not None

    def rendered() -> Rendered:
        return render.render(
            page,
            "proposal.html",
            409 if problems else 200,
            views=views,
            first=found[0],
            total=len(found),
            start=start,
            page_size=MAX_SHOWN,
            all_digest=digest_of_all(still_open).hex() if has_pages else None,
            content_of=lambda one: one.event.replacement.event if isinstance(one.event, EventCorrected) else one.event,
            problems=problems or {},
            # Proposed announcements have no pages yet.
            ids=[str(one.id) for view in views for one in view.announcements],
            change_url=page.link(f"/proposals/{found[0].id}/change") if can_change else None,
            names=names.names,
            names_of=names.of,
            authors=authors,
            head=page.position,
            open=len(still_open),
            may_approve=may_approve,
            may_approve_all=all(view.may_approve for view in is_open) and not needs_another,
            is_own=all(one.proposed_by == key.id for one in still_open),
            may_reject=decides or all(key.id in view.proposal.writers for view in is_open),
        )

    return render.send(page, await offload_answer(size, rendered))


async def _view(page: PageRequest, proposal: Proposal, proposals: Proposals) -> ProposalView:
    key, announcements = require_key(page), await proposal.read()
    scopes = sorted({required_scope(one.event) for one in announcements})
    needs_another = await offload_answer(proposal.size, proposals.needs_another, key, proposal)
    may_approve = all(key.allows(scope) for scope in scopes) and not needs_another
    view = ProposalView(proposal, announcements, scopes, may_approve, needs_another, [], [], None)
    if proposal.status == "open":
        try:
            result = await proposals.preview(proposal)
            view.changes = await offload_answer(proposal.size, _changes_in, result.response)
            view.flags = list(result.flags)
        except RegistryError as error:
            # It may have been recorded since by its proposer, and can still be rejected.
            view.refusal = message_of(error)
    freeing.once_unused(announcements, view.changes)
    return view


def _changes_in(response: bytes) -> list[Any]:
    return [typed_change(one) for one in msgspec.json.decode(response).get("changes", [])]


async def _authors(page: PageRequest, proposals: Iterable[Proposal]) -> AuthorNames:
    ids = {id for one in proposals for id in (*one.writers, one.decided_by) if id is not None}
    return await page.names.principals(ids)


async def _names(page: PageRequest, proposals: Sequence[Proposal]) -> EventNames:
    """The names of the deals and organizations that proposals are about or refer to, those that they register too."""
    localized = words(page.language).localized
    events: list[tuple[str, str, Any]] = [(one.kind, one.slug, None) for one in proposals]
    new: dict[str, str] = {}
    for one in proposals:
        for announcement in await one.read():
            event = announcement.event
            events.append((one.kind, one.slug, event))
            if isinstance(event, OrganizationRegistered):
                new[one.slug] = localized(event.name, one.slug)
            elif isinstance(event, DealRegistered):
                new[f"deal/{one.slug}"] = localized(event.title, one.slug)
    names = await page.names.of_events(events)
    return EventNames(new | names.names, names.within)
