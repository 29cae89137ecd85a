"""The citation of a page: its title, the as-of point or the two points it compares, and the log position."""

from __future__ import annotations

from registry.domain.history import AsOf
from registry.web.format import shown
from registry.web.i18n import N_
from registry.web.request import PageRequest


def citation(page: PageRequest, title: str, position: int) -> str:
    """How to cite a page that shows one as-of point."""
    text = N_("Investment Registry (%(origin)s): %(title)s, %(point)s, log position %(n)s.")
    return shown(page.language).words.translate(
        text, origin=page.origin, title=title, point=_point(page, page.as_of), n=position
    )


def comparison_citation(page: PageRequest, title: str, position: int, start: AsOf, end: AsOf) -> str:
    """How to cite a page that compares two as-of points."""
    text = N_("Investment Registry (%(origin)s): %(title)s, compared: %(start)s; %(end)s; log position %(n)s.")
    return shown(page.language).words.translate(
        text,
        origin=page.origin,
        title=title,
        start=_point(page, start),
        end=_point(page, end),
        n=position,
    )


def _point(page: PageRequest, as_of: AsOf) -> str:
    texts, figures = shown(page.language).words, shown(page.language).figures
    date = figures.day(as_of.effective_on or page.times.today)
    if as_of.published_on is not None:
        known = figures.day(as_of.published_on)
        return texts.translate(N_("as of %(date)s, published by %(known)s"), date=date, known=known)
    if as_of.recorded_at is not None:
        known = figures.instant(as_of.recorded_at)
        return texts.translate(N_("as of %(date)s, recorded by %(known)s"), date=date, known=known)
    return texts.translate(N_("as of %(date)s, as currently known"), date=date)
