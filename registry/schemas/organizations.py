"""Organizations in a response."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from registry.domain.history import AsOf, StateAsOf
from registry.domain.organizations.clusters import Method
from registry.domain.organizations.deduplication import Suggestion
from registry.domain.organizations.organization import Organization
from registry.events.values import Control, Slug, Text
from registry.schemas.base import RequestedAsOf, ResponseModel
from registry.schemas.derive import response_to
from registry.schemas.sources import CitedSource, cited_sources
from registry.schemas.values import LocalizedResponse, convert

if TYPE_CHECKING:
    # A type checker sees the fields that `response_to` adds as those of the state.
    class _OrganizationFields(Organization, ResponseModel, frozen=True, kw_only=True): ...
else:
    _OrganizationFields = ResponseModel


@response_to(Organization)
class OrganizationFields(_OrganizationFields, frozen=True, kw_only=True):
    """The fields of an organization: each that `domain/organizations/organization.py` has."""

    organization: str


class ChildOrganization(ResponseModel, frozen=True, kw_only=True):
    """An organization that this one owns, controls or manages, from when until when; `share` in percent."""

    organization: str
    control: Control | None
    share: str | None
    since: date
    until: date | None


class DealRole(ResponseModel, frozen=True, kw_only=True):
    """A deal that the organization takes part in, and in which roles."""

    deal: str
    title: LocalizedResponse | None
    roles: tuple[str, ...]


class OrganizationLinks(ResponseModel, frozen=True, kw_only=True):
    """What other records state about the organization. `duplicates` are the records merged into it."""

    children: tuple[ChildOrganization, ...]
    duplicates: tuple[str, ...]
    deals: tuple[DealRole, ...]


class OrganizationResponse(OrganizationFields, frozen=True, kw_only=True):
    """An organization as of a point in time, with what other records state about it (`OrganizationLinks`).

    One without a record (`registered`) has the name that a deal gave it, and no events (`version` 0).
    """

    registered: bool
    effective_on: date
    published_on: date | None
    recorded_at: datetime | None
    children: tuple[ChildOrganization, ...]
    duplicates: tuple[str, ...]
    deals: tuple[DealRole, ...]
    version: int
    position: int
    sources: tuple[CitedSource, ...]


class ListedOrganization(OrganizationFields, frozen=True, kw_only=True):
    """An organization in a list. One without a record (`registered`) has the name that a deal gave it."""

    registered: bool
    deal_count: int


class OrganizationPage(RequestedAsOf, frozen=True, kw_only=True):
    """A page of organizations; with `count=true`, how many there are, and how many of them have a record."""

    position: int
    organizations: tuple[ListedOrganization, ...]
    total: int | None
    registered_total: int | None


class ClusterMember(ResponseModel, frozen=True, kw_only=True):
    """An organization of a cluster."""

    organization: str
    names: tuple[str, ...]
    registered: bool
    deal_count: int


class OrganizationCluster(ResponseModel, frozen=True, kw_only=True):
    """Organizations whose names collide: first the one to keep. `methods` found them."""

    members: tuple[ClusterMember, ...]
    methods: tuple[Method, ...]


class OrganizationClusters(ResponseModel, frozen=True, kw_only=True):
    """Organizations that may be the same one, those that most deals name first. A person decides."""

    total: int
    clusters: tuple[OrganizationCluster, ...]


class OrganizationMerge(ResponseModel, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A duplicate and the organization that it is merged into."""

    organization: Slug
    into: Slug
    reason: Text | None = None


class OrganizationMergeRequest(ResponseModel, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Merges to record, or to undo."""

    merges: Annotated[tuple[OrganizationMerge, ...], Meta(min_length=1, max_length=1000)]


class OrganizationMergeResult(ResponseModel, frozen=True, kw_only=True):
    """What became of a merge. `code` and `detail` say why it was refused."""

    organization: str
    into: str
    outcome: Literal["merged", "unmerged", "unchanged", "refused"]
    code: str | None
    detail: str | None


class OrganizationMergeResults(ResponseModel, frozen=True, kw_only=True):
    """What became of each merge, in the order of the request."""

    results: tuple[OrganizationMergeResult, ...]


class SimilarOrganizations(ResponseModel, frozen=True, kw_only=True):
    """Organizations that may be the same one, the likeliest first. A person decides."""

    organization: str
    suggestions: tuple[Suggestion, ...]


def organization_fields(state: Organization) -> OrganizationFields:
    """The fields of an organization."""
    return convert(state, OrganizationFields)


def listed_organization(state: Organization, *, registered: bool, deal_count: int) -> ListedOrganization:
    """An organization in a list."""
    fields = organization_fields(state)
    return ListedOrganization(
        **{name: getattr(fields, name) for name in OrganizationFields.__struct_fields__},
        registered=registered,
        deal_count=deal_count,
    )


def announced_organization(
    state: Organization, links: OrganizationLinks, as_of: AsOf, effective_on: date, position: int
) -> OrganizationResponse:
    """An organization that only announcements name, as of a point in time: it has no events and no sources."""
    fields = organization_fields(state)
    return OrganizationResponse(
        **{name: getattr(fields, name) for name in OrganizationFields.__struct_fields__},
        **{name: getattr(links, name) for name in OrganizationLinks.__struct_fields__},
        registered=False,
        version=0,
        position=position,
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        sources=(),
    )


def organization_response(
    state: Organization,
    snapshot: StateAsOf[Organization],
    links: OrganizationLinks,
    as_of: AsOf,
    effective_on: date,
    position: int,
) -> OrganizationResponse:
    """An organization as of a point in time, with what other records state about it.

    Args:
        state: The organization.
        snapshot: Its stream at the point.
        links: What other records state about it.
        as_of: The point that was asked for.
        effective_on: The day of the point.
        position: The position of the log at the point: the links may come from later events than the organization's.
    """
    fields = organization_fields(state)
    return OrganizationResponse(
        **{name: getattr(fields, name) for name in OrganizationFields.__struct_fields__},
        **{name: getattr(links, name) for name in OrganizationLinks.__struct_fields__},
        registered=True,
        version=snapshot.version,
        position=position,
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        sources=cited_sources(snapshot),
    )
