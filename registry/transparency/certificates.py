"""Make certificates: a deal's state, or an answer about all deals, with everything that it follows from."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from msgspec import Struct
from msgspec.structs import replace

from registry.domain.calendar import Calendar
from registry.domain.history import AsOf
from registry.domain.money.rates import Rates
from registry.infra import freeing
from registry.infra.postgres import Pool
from registry.infra.work_time import in_thread
from registry.queries.deal_conditions import SimilarWords
from registry.schemas import encode_long
from registry.schemas.deal_query import DealListQuery
from registry.transparency.evidence import Evidence
from registry.transparency.portfolio_bundles import PortfolioBundle
from registry.transparency.proofs import (
    CertifiedLog,
    CertifiedStreams,
    build_certificate,
    build_comparison_certificate,
    build_list_certificate,
    build_total_certificate,
)
from registry.transparency.total_state import CertifiedQuery


class Certificates:
    """Makes certificates, as JSON, against the newest checkpoint. Their points have effective dates.

    Each method raises EvidenceUnavailable if no checkpoint can be signed now.
    """

    def __init__(self, pool: Pool, evidence: Evidence, calendar: Calendar) -> None:
        self._pool = pool
        self._calendar = calendar
        self._evidence = evidence

    async def of_deal(self, deal: str, as_of: AsOf) -> bytes:
        """The certificate of a deal's state.

        Raises:
            NotFound: The deal was not known at that point.
        """
        async with self._evidence.signed_heads() as (newest, heads):
            head = heads.prove(f"deal/{deal}")
        certificate = await build_certificate(self._pool, deal, _until(as_of, newest.size), newest, head)
        return await _encoded(certificate)

    async def of_total(
        self, query: CertifiedQuery, as_of: AsOf, wanted: CertifiedStreams, rates: Rates, similar: SimilarWords
    ) -> bytes:
        """The certificate of a total. `similar` is what misspelt words of the query were taken for."""

        async def build(log: CertifiedLog) -> PortfolioBundle:
            bounded = _until(as_of, log.signed.size)
            return await build_total_certificate(self._pool, log, query, bounded, rates, similar)

        return await self._certify(build, wanted)

    async def of_list(
        self, query: DealListQuery, as_of: AsOf, wanted: CertifiedStreams, similar: SimilarWords
    ) -> bytes:
        """The certificate of a list of deals; `similar` as in `of_total`."""

        async def build(log: CertifiedLog) -> PortfolioBundle:
            return await build_list_certificate(self._pool, log, query, _until(as_of, log.signed.size), similar)

        return await self._certify(build, wanted)

    async def of_comparison(
        self,
        query: DealListQuery,
        points: tuple[AsOf, AsOf],
        wanted: CertifiedStreams,
        rates: Rates,
        similar: tuple[SimilarWords, SimilarWords],
    ) -> bytes:
        """The certificate of what changed between two points; `similar` as in `of_total`, at each."""

        async def build(log: CertifiedLog) -> PortfolioBundle:
            bounded = _until(points[0], log.signed.size), _until(points[1], log.signed.size)
            return await build_comparison_certificate(self._pool, log, query, bounded, rates, self._calendar, similar)

        return await self._certify(build, wanted)

    async def _certify(
        self, build: Callable[[CertifiedLog], Awaitable[PortfolioBundle]], wanted: CertifiedStreams
    ) -> bytes:
        async with self._evidence.signed_heads() as (newest, heads):
            certificate = await build(CertifiedLog(signed=newest, heads=heads, wanted=wanted))
        return await _encoded(certificate)


async def _encoded(certificate: Struct) -> bytes:
    """The JSON of a certificate, which is then freed in parts: for a deal of 10,000 events this takes 20 ms."""
    freeing.large_once_unused(certificate)
    return await in_thread(encode_long, certificate)


def _until(as_of: AsOf, size: int) -> AsOf:
    """The point with a position in the log of this size."""
    return replace(as_of, position=size if as_of.position is None else min(size, as_of.position))
