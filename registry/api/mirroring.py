"""What a mirror reads to copy the log and to answer as this registry does (`registry follow`, docs/mirror.md).

Entries and checkpoints are evidence, which the mirror verifies. Display names and exchange rates are stated only.
"""

from __future__ import annotations

from typing import Annotated

from litestar import Controller
from litestar.di import NamedDependency

from registry import schemas
from registry.api.openapi import reading
from registry.http.parameters import MAX_POSITION, After, Limit, integer
from registry.http.responses import RawResponse, json_response
from registry.queries.log import LogQueries
from registry.schemas import encode
from registry.transparency.evidence import Evidence

NO_CACHE = {"Cache-Control": "no-cache"}


class MirroringController(Controller):
    """The log and what belongs to it, in pages."""

    path = "/v1/log"
    tags = ("Log",)

    @reading("/entries")
    async def get_entries(
        self, log_queries: NamedDependency[LogQueries], after: After = 0, limit: Limit = 100
    ) -> RawResponse[schemas.LogEntries]:
        """The bytes of the events after a position: what the tree's leaves are computed from.

        A page that has a lot of content ends early; it has at least one event unless the log ends.
        """
        return json_response(encode(await log_queries.entries(after, limit)), NO_CACHE)

    @reading("/checkpoints")
    async def get_checkpoints(
        self,
        evidence: NamedDependency[Evidence],
        start: Annotated[int, integer("Checkpoints of this many events or more.", 0, MAX_POSITION, name="from")] = 0,
        limit: Limit = 100,
    ) -> RawResponse[schemas.Checkpoints]:
        """The checkpoints that were signed, smallest first, each with its statement of heads.

        A page never ends between two checkpoints of the same size.
        """
        signed = await evidence.checkpoints_from(start, limit)
        checkpoints = tuple(
            schemas.CheckpointAndHeads(size=one.size, note=one.note, heads=one.heads, signed_at=one.signed_at)
            for one in signed
        )
        return json_response(encode(schemas.Checkpoints(checkpoints=checkpoints)), NO_CACHE)

    @reading("/names")
    async def get_names(self, log_queries: NamedDependency[LogQueries]) -> RawResponse[schemas.PrincipalNames]:
        """The display names of principals, as histories show them beside events."""
        names = tuple(await log_queries.principal_names())
        return json_response(encode(schemas.PrincipalNames(names=names)), NO_CACHE)

    @reading("/rates")
    async def get_rate_imports(
        self,
        log_queries: NamedDependency[LogQueries],
        first: Annotated[int, integer("The number of the first import; 0 is the packaged history.", 0, 2**31 - 1)] = 0,
    ) -> RawResponse[schemas.RateImports]:
        """All recorded exchange rates from an import on, with the log position after which each applies."""
        imports = tuple(await log_queries.rate_imports(first))
        return json_response(encode(schemas.RateImports(imports=imports)), NO_CACHE)
