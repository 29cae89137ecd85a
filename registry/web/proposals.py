"""The review queue as pages: the proposals, one proposal with what it would change, approval and rejection."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import msgspec
from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from registry.api.parameters import text
from registry.append.proposals import Proposal, Proposals, may_review
from registry.domain.principal import AuthorNames, required_scope
from registry.errors import NotFound, RegistryError, RuleBroken
from registry.events.intake import as_uuid
from registry.events.types import Event, EventCorrected
from registry.i18n import Message
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader
from registry.web import render
from registry.web.names import EventNames, names_of_events
from registry.web.request import READ, Page, PageRequest, Request, check_csrf, redirect
from registry.web.session import read_form, require_key
from registry.web.state_types import typed_change

PAGE_SIZE = 50
MAX_REASON_LENGTH = 4000

AnyProposals = NamedDependency[SkipValidation[Proposals]]


class ProposalPages(Controller):
    """The review queue."""

    @route("/proposals", http_method=READ)
    async def get_proposals(
        self,
        page: Page,
        proposals: AnyProposals,
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
        before: Annotated[str | None, text("Proposals before the one with this id.")] = None,
    ) -> Response[bytes]:
        """The proposals, the newest first."""
        key = require_key(page)
        found = await proposals.page(key, None, as_uuid(before) if before else None, PAGE_SIZE + 1)
        shown = found[:PAGE_SIZE]
        return render.send(
            page,
            render.render(
                page,
                "proposals.html",
                proposals=shown,
                names=(await _names(page, organization_queries, streams, shown)).names,
                authors=await _authors(streams, shown),
                head=page.position,
                next=shown[-1].id if len(found) > PAGE_SIZE else None,
            ),
        )

    @route("/proposals/{id:str}", http_method=READ)
    async def get_proposal(
        self,
        page: Page,
        id: FromPath[str],
        proposals: AnyProposals,
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
    ) -> Response[bytes]:
        """A proposal, and what it would change now."""
        key = require_key(page)
        proposal = await _find(page, id, proposals)
        return await _show(page, proposal, proposals, organization_queries, streams, may_decide=may_review(key))

    @post("/proposals/{id:str}", status_code=303)
    async def post_proposal(
        self,
        request: Request,
        page: Page,
        id: FromPath[str],
        proposals: AnyProposals,
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
    ) -> Response[bytes]:
        """Approve or reject the content that the form showed."""
        sent = await read_form(request)
        key = require_key(page)
        check_csrf(request, page.session.token, sent.get("csrf", ""))
        proposal = await _find(page, id, proposals)
        try:
            expected = bytes.fromhex(sent.get("digest", ""))
        except ValueError:
            expected = b""
        try:
            if sent.get("decision") == "approve":
                decided, _ = await proposals.approve(key, proposal.id, expected)
                return redirect(page.link(f"/{decided.kind}s/{quote(decided.slug)}"))
            reason = sent.get("reason", "").strip()[:MAX_REASON_LENGTH] or None
            await proposals.reject(key, proposal.id, expected, reason)
        except RegistryError as error:
            problem = error.refusal if isinstance(error, RuleBroken) else error.message
            current = await _find(page, id, proposals)
            return await _show(
                page, current, proposals, organization_queries, streams, may_decide=may_review(key), problem=problem
            )
        return redirect(page.link("/proposals"))


async def _find(page: PageRequest, id: str, proposals: Proposals) -> Proposal:
    uuid = as_uuid(id)
    if uuid is None:
        raise NotFound("proposal", proposal=id[:80])
    return await proposals.get(require_key(page), uuid)


async def _show(
    page: PageRequest,
    proposal: Proposal,
    proposals: Proposals,
    organization_queries: OrganizationQueries,
    streams: StreamReader,
    *,
    may_decide: bool,
    problem: Message | None = None,
) -> Response[bytes]:
    """The page of a proposal; `problem` is why a decision on it was refused."""
    key = require_key(page)
    changes: Any = []
    refusal: Message | None = None
    announcements = proposal.decoded()
    if proposal.status == "open":
        try:
            dry_run = msgspec.json.decode((await proposals.preview(key, proposal)).response)
            changes = [typed_change(change) for change in dry_run["changes"]]
        except RuleBroken as error:
            refusal = error.refusal
    status = 200 if problem is None else 409
    names = await _names(page, organization_queries, streams, [proposal])
    return render.send(
        page,
        render.render(
            page,
            "proposal.html",
            status,
            proposal=proposal,
            announcements=announcements,
            content_of=lambda one: one.event.replacement.event if isinstance(one.event, EventCorrected) else one.event,
            changes=changes,
            refusal=refusal,
            problem=problem,
            names=names.names,
            own_names=names.of(proposal.slug),
            authors=await _authors(streams, [proposal]),
            head=page.position,
            may_approve=may_decide and all(key.allows(required_scope(one.event)) for one in announcements),
            may_reject=may_decide or key.id in (proposal.author, proposal.proposed_by),
        ),
    )


async def _authors(streams: StreamReader, proposals: list[Proposal]) -> AuthorNames:
    ids = {id for one in proposals for id in (one.author, one.proposed_by, one.decided_by) if id is not None}
    return await streams.author_names_of(ids)


async def _names(
    page: PageRequest, organization_queries: OrganizationQueries, streams: StreamReader, proposals: list[Proposal]
) -> EventNames:
    """The names of the deals and organizations that proposals are about or refer to."""
    events: list[tuple[str, str, Event | None]] = [(one.kind, one.slug, None) for one in proposals]
    events += [(one.kind, one.slug, announcement.event) for one in proposals for announcement in one.decoded()]
    return await names_of_events(organization_queries, streams, page.language, events)
