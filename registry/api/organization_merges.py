"""Organizations that may be duplicates, and merges of many: nothing is merged without a person's decision."""

from __future__ import annotations

from typing import Annotated

import msgspec
from litestar import Controller, post
from litestar.di import NamedDependency

from registry import schemas
from registry.api.openapi import reading, writing
from registry.append.organization_merges import Merge, MergeResult, OrganizationMerges
from registry.domain.organizations.clusters import Cluster
from registry.events import intake
from registry.http.bodies import Request, read_body
from registry.http.guards import check_scope
from registry.http.parameters import DryRun, Limit, integer
from registry.http.problems import code_of, language_of
from registry.http.responses import RawResponse, json_response
from registry.i18n import render
from registry.queries.named_organizations import NamedOrganizations
from registry.schemas import OrganizationMergeRequest, encode
from registry.schemas.organizations import (
    ClusterMember,
    OrganizationCluster,
    OrganizationClusters,
    OrganizationMergeResult,
    OrganizationMergeResults,
)

NO_STORE = {"Cache-Control": "no-store"}

Skip = Annotated[int | None, integer("Clusters to leave out from the beginning.", 0, 1_000_000)]

_merge_request: msgspec.json.Decoder[OrganizationMergeRequest] = msgspec.json.Decoder(OrganizationMergeRequest)


class OrganizationMergesController(Controller):
    """Duplicates of organizations."""

    path = "/v1"
    tags = ("Organizations",)

    @reading("/organization-clusters")
    async def get_clusters(
        self, named_organizations: NamedDependency[NamedOrganizations], skip: Skip = None, limit: Limit = 100
    ) -> RawResponse[schemas.OrganizationClusters]:
        """Organizations that may be the same one, by all their names, clustered as OpenRefine does it.

        Nothing is merged automatically: a person reviews the clusters and posts the merges.
        """
        clusters = await named_organizations.clusters()
        page = tuple(_cluster(one) for one in clusters[skip or 0 : (skip or 0) + limit])
        return json_response(encode(OrganizationClusters(total=len(clusters), clusters=page)), NO_STORE)

    @writing(post, "/organization-merges", scope="correct", body=OrganizationMergeRequest, status_code=200)
    async def post_merges(
        self,
        request: Request,
        organization_merges: NamedDependency[OrganizationMerges],
        dry_run: DryRun = False,
    ) -> RawResponse[schemas.OrganizationMergeResults]:
        """Merge organizations into others. Each merge stands alone; one that is recorded already changes nothing.

        An organization that only announcements name is registered under that name first.
        """
        check_scope(request.auth, "record")
        merges = await _merges(request)
        return _answer(request, await organization_merges.merge(request.auth, merges, dry_run=dry_run))

    @writing(post, "/organization-unmerges", scope="correct", body=OrganizationMergeRequest, status_code=200)
    async def post_unmerges(
        self,
        request: Request,
        organization_merges: NamedDependency[OrganizationMerges],
        dry_run: DryRun = False,
    ) -> RawResponse[schemas.OrganizationMergeResults]:
        """Undo merges, given as they were posted. One that is undone already changes nothing."""
        merges = await _merges(request)
        return _answer(request, await organization_merges.unmerge(request.auth, merges, dry_run=dry_run))


async def _merges(request: Request) -> list[Merge]:
    asked = intake.decode(_merge_request, await read_body(request))
    return [Merge(one.organization, one.into, one.reason) for one in asked.merges]


def _answer(request: Request, results: list[MergeResult]) -> RawResponse[schemas.OrganizationMergeResults]:
    language = language_of(request)
    answers = tuple(
        OrganizationMergeResult(
            organization=one.merge.organization,
            into=one.merge.into,
            outcome=one.outcome,
            code=code_of(one.error) if one.error is not None else None,
            detail=render(one.error.message, language) if one.error is not None else None,
        )
        for one in results
    )
    return json_response(encode(OrganizationMergeResults(results=answers)), NO_STORE)


def _cluster(cluster: Cluster) -> OrganizationCluster:
    members = tuple(
        ClusterMember(
            organization=one.organization, names=one.names, registered=one.is_registered, deal_count=one.deals
        )
        for one in cluster.members
    )
    return OrganizationCluster(members=members, methods=cluster.methods)
