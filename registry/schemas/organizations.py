"""Organizations in a response."""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from registry.domain.deduplication import Suggestion
from registry.domain.history import AsOf, StateAsOf
from registry.domain.organization import Organization
from registry.events.values import Control
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
    """The fields of an organization: each that `domain/organization.py` has."""

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
    """An organization as of a point in time, with what other records state about it (`OrganizationLinks`)."""

    effective_on: date
    published_on: date | None
    recorded_at: datetime | None
    children: tuple[ChildOrganization, ...]
    duplicates: tuple[str, ...]
    deals: tuple[DealRole, ...]
    version: int
    position: int
    sources: tuple[CitedSource, ...]


class OrganizationPage(RequestedAsOf, frozen=True, kw_only=True):
    """A page of organizations."""

    position: int
    organizations: tuple[OrganizationFields, ...]


class SimilarOrganizations(ResponseModel, frozen=True, kw_only=True):
    """Organizations that may be the same one, the likeliest first. A person decides."""

    organization: str
    suggestions: tuple[Suggestion, ...]


def organization_fields(state: Organization) -> OrganizationFields:
    """The fields of an organization."""
    return convert(state, OrganizationFields)


def organization_response(
    state: Organization,
    snapshot: StateAsOf[Organization],
    links: OrganizationLinks,
    as_of: AsOf,
    effective_on: date,
) -> OrganizationResponse:
    """An organization as of a point in time, with what other records state about it."""
    fields = organization_fields(state)
    return OrganizationResponse(
        **{name: getattr(fields, name) for name in OrganizationFields.__struct_fields__},
        **{name: getattr(links, name) for name in OrganizationLinks.__struct_fields__},
        version=snapshot.version,
        position=snapshot.position,
        effective_on=effective_on,
        published_on=as_of.published_on,
        recorded_at=as_of.recorded_at,
        sources=cited_sources(snapshot),
    )
