"""The maps of the overview: shades by the number of deals in a place, and dots for the sites."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import Struct

from registry.web.charts import maps


def map_fields(
    counted: Sequence[tuple[str, int]], regions: Mapping[str, int], sites: Sequence[tuple[str, float, float]]
) -> dict[str, Any]:
    """What the template draws the maps from: shades by the number of deals, and dots for the sites."""
    places = [PlaceCount(code, deals) for code, deals in counted]
    korea, abroad = maps.korea(), deals_abroad(regions)
    provinces = {province.code for province in korea.provinces}
    return {
        "korea": korea,
        "world": maps.world() if abroad else None,
        "abroad": abroad,
        "scale": map_scale([*(place.deals for place in places if place.code in provinces), *abroad.values()]),
        "korea_sites": maps.korea_points(sites),
        "world_sites": maps.world_points(sites),
        "places": places,
        "place_by_code": {place.code: place for place in places},
    }


class PlaceCount(Struct, frozen=True):
    """A place with the number of deals that have a site in it."""

    code: str
    deals: int


class MapScale(Struct, frozen=True):
    """The shades of the maps, and the numbers of deals that each of them stands for.

    Attributes:
        step: How many numbers of deals a shade covers. The last shade has all larger ones.
        counts: The numbers of deals on the maps.
    """

    step: int
    counts: Collection[int]

    def shade(self, deals: int) -> int:
        """The shade of a place: 1, 2 or 3."""
        return min(-(-deals // self.step), 3)

    @property
    def legend(self) -> list[tuple[int, int, int]]:
        """The shades in use, each with the lowest and the highest number of deals that it stands for."""
        top = max(self.counts, default=0)
        used = sorted(set(map(self.shade, self.counts)))
        return [(s, (s - 1) * self.step + 1, top if s == 3 else min(s * self.step, top)) for s in used]


def map_scale(counts: Collection[int]) -> MapScale:
    """A scale of three equal shares of the largest number, rounded up to its first digit."""
    third = max(1, -(-max(counts, default=0) // 3))
    unit = 10 ** (len(str(third)) - 1)
    return MapScale(-(-third // unit) * unit if third >= 10 else third, counts)


def deals_abroad(regions: Mapping[str, int]) -> dict[str, int]:
    """The number of deals with a site in each country other than Korea, by its code.

    Args:
        regions: The number of deals by country and by part of a country. A deal may be in several parts.
    """
    return {code: deals for code, deals in regions.items() if len(code) == 2 and code != "KR"}
