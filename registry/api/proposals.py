"""Proposals: announcements that wait for another principal, who approves or rejects their exact content.

A decision names the content by its ETag. What is approved is recorded as its proposer's, with the approver beside it.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
from litestar import Controller, post, put
from litestar.di import NamedDependency
from litestar.params import HeaderParameter, PathParameter, QueryParameter
from msgspec import UNSET, Meta, Raw, Struct

from registry.api.openapi import reading, writing
from registry.append.proposal import Proposal
from registry.append.proposals import Proposals
from registry.errors import FieldError, IdConflict, Invalid, InvalidParameter, NotFound, RuleBroken
from registry.events import intake
from registry.events.intake import as_uuid
from registry.events.types import AnnouncedKind
from registry.events.values import Slug, Text
from registry.http.bodies import Request, decoder, read_body
from registry.http.guards import ANY_SCOPE, may_read
from registry.http.parameters import Cursor, Limit
from registry.http.responses import RawResponse, json_response, page_headers
from registry.infra.threads import offload
from registry.schemas import ProposalChange, ProposalPage, ProposalPreview, ProposalResponse, encode
from registry.schemas.deals import refusal_response

ProposalId = Annotated[str, PathParameter(description="A proposal's id, a UUID.")]
Digest = Annotated[
    str | None,
    HeaderParameter(
        name="If-Match",
        description="The ETag of the content that is decided on or changed; 412 if the proposal has other content.",
        schema_extra={"examples": ['"' + "0f" * 32 + '"']},
    ),
]

_DIGEST = re.compile(r'\s*"([0-9a-f]{64})"\s*\Z')

# What a body documents: the announcements are decoded as those of their stream, as in a post to it.
Announcements = Annotated[list[dict[str, Any]], Meta(min_length=1, description="As posted to the stream's events.")]


class NewProposal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Announcements for one deal or one organization."""

    announcements: Announcements
    deal: Slug | None = None
    organization: Slug | None = None


class ChangedProposal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The announcements that replace the proposed ones."""

    announcements: Announcements


class Rejection(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Why a proposal is rejected."""

    reason: Text | None = None


class _RawProposal(NewProposal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    announcements: Raw  # type: ignore[assignment]


class _RawChange(ChangedProposal, frozen=True, kw_only=True, forbid_unknown_fields=True):
    announcements: Raw  # type: ignore[assignment]


class _Previewed(Struct, frozen=True):
    changes: Raw
    flags: Raw


_previewed = msgspec.json.Decoder(_Previewed)
_new = msgspec.json.Decoder(_RawProposal)
_change = msgspec.json.Decoder(_RawChange)
_rejection = msgspec.json.Decoder(Rejection)


class ProposalsController(Controller):
    """The review queue."""

    path = "/v1/proposals"
    tags = ("Proposals",)

    @writing(post, "/", body=NewProposal)
    async def post_proposal(
        self, request: Request, proposals: NamedDependency[Proposals]
    ) -> RawResponse[ProposalResponse]:
        """Propose announcements about one deal or organization. Needs the scope `propose`, or those to record them."""
        kind, slug, announcements = await decoder.decode(_new_proposal, await read_body(request))
        proposal = await proposals.propose(request.auth, kind, slug, announcements)
        return await _json(proposal, 201, {"Location": f"/v1/proposals/{proposal.id}"})

    @reading("/", "not_found", scope=ANY_SCOPE)
    async def get_proposals(
        self,
        request: Request,
        proposals: NamedDependency[Proposals],
        status: Annotated[
            Literal["open", "approved", "rejected"] | None, QueryParameter(description="Proposals with this status.")
        ] = None,
        cursor: Cursor = None,
        limit: Limit = 50,
    ) -> RawResponse[ProposalPage]:
        """Proposals, the newest first: all for keys that may decide on them, else those of the key's principal."""
        before = _id(cursor) if cursor is not None else None
        page = await proposals.page(request.auth, status, before, limit)
        following = None
        if page and await proposals.page(request.auth, status, page[-1].id, 1):
            following = {"cursor": str(page[-1].id)}
        body = await offload(
            sum(one.size for one in page), encode, ProposalPage(proposals=[_response(one) for one in page])
        )
        return json_response(body, page_headers(request, following, "no-store"))

    @reading("/{proposal:str}", "not_found", scope=ANY_SCOPE)
    async def get_proposal(
        self, request: Request, proposal: ProposalId, proposals: NamedDependency[Proposals]
    ) -> RawResponse[ProposalResponse]:
        """One proposal. While it is open, keys that may read see what recording it would change, or why it does not
        apply.
        """
        found = await proposals.get(request.auth, _id(proposal))
        preview = await preview_of(proposals, found) if found.status == "open" and may_read(request) else None
        return await _json(found, preview=preview)

    @writing(put, "/{proposal:str}", "not_found", "proposal_decided", "proposal_changed", body=ChangedProposal)
    async def put_proposal(
        self, request: Request, proposal: ProposalId, proposals: NamedDependency[Proposals], if_match: Digest = None
    ) -> RawResponse[ProposalResponse]:
        """Replace the announcements. Who changes them is noted, and is no second principal when they are approved."""
        change: _RawChange = await decoder.decode(partial(intake.decode, _change), await read_body(request))
        known = await proposals.get(request.auth, _id(proposal))
        announcements = await decoder.decode(partial(_decoded, known.kind), bytes(change.announcements))
        return await _json(await proposals.change(request.auth, known.id, _digest(if_match), announcements))

    @writing(
        post,
        "/{proposal:str}/approve",
        "not_found",
        "rule_broken",
        "proposal_decided",
        "proposal_changed",
        "proposal_forged",
        "redaction_unavailable",
        "overloaded",
        "clock_unsafe",
        status_code=200,
    )
    async def post_approve(
        self, request: Request, proposal: ProposalId, proposals: NamedDependency[Proposals], if_match: Digest = None
    ) -> RawResponse[ProposalResponse]:
        """Record the announcements. Needs the scopes to record them, and where a second principal is needed, not one's
        own.
        """
        decided, _ = await proposals.approve(request.auth, _id(proposal), _digest(if_match))
        return await _json(decided)

    @writing(
        post,
        "/{proposal:str}/reject",
        "not_found",
        "proposal_decided",
        "proposal_changed",
        body=Rejection,
        status_code=200,
    )
    async def post_reject(
        self, request: Request, proposal: ProposalId, proposals: NamedDependency[Proposals], if_match: Digest = None
    ) -> RawResponse[ProposalResponse]:
        """Reject the announcements, or withdraw one's own."""
        rejection: Rejection = intake.decode(_rejection, await read_body(request))
        return await _json(await proposals.reject(request.auth, _id(proposal), _digest(if_match), rejection.reason))


async def preview_of(proposals: Proposals, proposal: Proposal) -> ProposalPreview:
    """What recording a proposal now would change, or why it does not apply."""
    try:
        result = await proposals.preview(proposal)
    except RuleBroken as error:
        return ProposalPreview(changes=[], flags=(), refusal=refusal_response(error.refusal))
    except IdConflict as error:
        # Recorded since, as something else.
        return ProposalPreview(changes=[], flags=(), refusal=refusal_response(error.message))
    # As it was encoded: of a long proposal it is long.
    answer = await offload(proposal.size, _previewed.decode, result.response)
    return ProposalPreview(changes=answer.changes, flags=answer.flags, refusal=None)  # type: ignore[arg-type]


def _id(text: str) -> UUID:
    id = as_uuid(text)
    if id is None:
        raise NotFound("proposal", proposal=text[:80])
    return id


def _digest(if_match: str | None) -> bytes:
    found = _DIGEST.match(if_match or "")
    if found is None:
        raise InvalidParameter("if_match_digest", parameter="If-Match")
    return bytes.fromhex(found.group(1))


def _new_proposal(body: bytes) -> tuple[AnnouncedKind, str, list[Any]]:
    """The stream of a proposal, and its announcements."""
    new: _RawProposal = intake.decode(_new, body)
    if (new.deal is None) == (new.organization is None):
        raise Invalid([FieldError("", "one_stream")])
    kind: AnnouncedKind = "deal" if new.deal is not None else "organization"
    return kind, new.deal or new.organization or "", _decoded(kind, bytes(new.announcements))


def _decoded(kind: AnnouncedKind, body: bytes) -> list[Any]:
    """The announcements of a body. An error's pointer begins at the body."""
    announcements: Any = intake.announcements if kind == "deal" else intake.organization_announcements
    if not body.lstrip().startswith(b"["):
        raise Invalid([FieldError("/announcements", "type", expected="array", given="object")])
    try:
        decoded: list[Any] = announcements.decode_many(body)
    except Invalid as error:
        raise Invalid([one.at(f"/announcements{one.pointer}") for one in error.field_errors]) from None
    return decoded


def _response(proposal: Proposal, preview: ProposalPreview | None = None) -> ProposalResponse:
    return ProposalResponse(
        proposal=proposal.id,
        submission=proposal.submission,
        deal=proposal.slug if proposal.kind == "deal" else UNSET,
        organization=proposal.slug if proposal.kind == "organization" else UNSET,
        announcements=Raw(proposal.announcements or b"[]"),  # type: ignore[arg-type]
        digest=proposal.digest.hex(),
        **{
            name: getattr(proposal, name)
            for name in (
                *("author", "proposed_by", "proposed_at"),
                *("status", "decided_by", "decided_at", "reason", "position"),
            )
        },
        changed_at=proposal.changed_at[-1] if proposal.changed_at else None,
        changes=[ProposalChange(by=by, at=at) for by, at in zip(proposal.changed_by, proposal.changed_at, strict=True)],
        preview=preview if preview is not None else UNSET,
    )


async def _json(
    proposal: Proposal,
    status: int = 200,
    headers: dict[str, str] | None = None,
    preview: ProposalPreview | None = None,
) -> RawResponse[Any]:
    tag = {"ETag": f'"{proposal.digest.hex()}"', "Cache-Control": "no-store"}
    body = await offload(proposal.size, encode, _response(proposal, preview))
    return json_response(body, {**tag, **(headers or {})}, status)
