"""Maps: the outlines of Korea's provinces and of the world's countries as SVG paths, and the sites on them.

The outlines come from `maps/*.topo.json` (see maps/README.md). They are projected and rounded on first use. The page
decides which places are marked and linked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib import resources
from itertools import pairwise
from typing import Any

import msgspec
import pycountry
from msgspec import Struct

from registry.domain.deal import SiteState

Point = tuple[float, float]

# ISO 3166-2 codes by the English names of the source, whose ids are not unique.
KOREA = {
    "Seoul": "KR-11", "Busan": "KR-26", "Daegu": "KR-27", "Incheon": "KR-28", "Gwangju": "KR-29", "Daejeon": "KR-30",
    "Ulsan": "KR-31", "Gyeonggi": "KR-41", "Gangwon": "KR-42", "North Chungcheong": "KR-43",
    "South Chungcheong": "KR-44", "North Jeolla": "KR-45", "South Jeolla": "KR-46", "North Gyeongsang": "KR-47",
    "South Gyeongsang": "KR-48", "Jeju": "KR-49", "Sejong": "KR-50",
}  # fmt: skip

# The longitudes and latitudes that the map of Korea covers; distant islands are outside.
_WEST, _EAST, _SOUTH, _NORTH = 125.2, 129.8, 33.0, 38.75
_SCALE = 92.0
_WORLD_SCALE = 2.6


class Province(Struct, frozen=True):
    """The outline of a province or country, and the position of its label."""

    code: str
    path: str
    x: float
    y: float


class Outline(Struct, frozen=True):
    """A map: its size, its provinces or countries, and the outline of all land."""

    width: float
    height: float
    provinces: tuple[Province, ...]
    land: str = ""


def _topology(name: str) -> dict[str, Any]:
    text = (resources.files("registry.web") / "maps" / name).read_bytes()
    decoded: dict[str, Any] = msgspec.json.decode(text)
    return decoded


def _arcs(topology: dict[str, Any]) -> list[list[Point]]:
    """Every arc in degrees. Positions are stored as differences from the one before (TopoJSON 1.0 §2.1.4)."""
    (kx, ky), (dx, dy) = topology["transform"]["scale"], topology["transform"]["translate"]
    arcs: list[list[Point]] = []
    for arc in topology["arcs"]:
        x = y = 0
        points: list[Point] = []
        for step in arc:
            x, y = x + step[0], y + step[1]
            points.append((x * kx + dx, y * ky + dy))
        arcs.append(points)
    return arcs


def _rings(geometry: dict[str, Any], arcs: list[list[Point]]) -> Iterator[list[Point]]:
    polygons = geometry["arcs"] if geometry["type"] == "MultiPolygon" else [geometry["arcs"]]
    for polygon in polygons:
        for ring in polygon:
            points: list[Point] = []
            for index in ring:
                arc = arcs[index] if index >= 0 else arcs[~index][::-1]  # a negative index runs backwards
                points += arc[1:] if points else arc
            yield points


def _unwrap_antimeridian(rings: Iterable[list[Point]]) -> Iterator[list[Point]]:
    """Rings with those that cross the antimeridian continued beyond it, and repeated at the other side of the map."""
    for ring in rings:
        turned, unbroken = 0, ring[:1]
        for (before, _), (longitude, latitude) in pairwise(ring):
            if abs(longitude - before) > 180:
                turned += 360 if longitude < before else -360
            unbroken.append((longitude + turned, latitude))
        yield unbroken
        for beyond in (360, -360):
            inside = [-180 < longitude + beyond < 180 for longitude, _ in unbroken]
            if any(inside):
                # Outside points are kept only next to inside ones: lines between outside points are not visible.
                near = (any(inside[max(0, i - 1) : i + 2]) for i in range(len(inside)))
                yield [(x + beyond, y) for (x, y), shown in zip(unbroken, near, strict=True) if shown]


def _path(rings: Iterable[list[Point]], project: Callable[[Point], Point], least: float, thin: int = 0) -> str:
    """Rings as one SVG path in whole units.

    Args:
        rings: Closed rings in degrees.
        project: The projection.
        least: Rings smaller than this many units across are omitted.
        thin: Points at most this far from the point before are omitted.
    """
    parts: list[str] = []
    for ring in rings:
        points = [(round(x), round(y)) for x, y in map(project, ring)]
        kept: list[tuple[int, int]] = []
        for x, y in points:
            if not kept or max(abs(x - kept[-1][0]), abs(y - kept[-1][1])) > thin:
                kept.append((x, y))
        xs, ys = [p[0] for p in kept], [p[1] for p in kept]
        if len(kept) < 4 or max(max(xs) - min(xs), max(ys) - min(ys)) < least:
            continue
        steps = [f"{b[0] - a[0]} {b[1] - a[1]}" for a, b in pairwise(kept)]
        parts.append(f"M{kept[0][0]} {kept[0][1]}l{' '.join(steps)}z".replace(" -", "-"))
    return "".join(parts)


def korea_point(point: Point) -> Point:
    """Project a longitude and latitude onto the map of Korea (equirectangular, true to scale at 36° north)."""
    longitude, latitude = point
    return (longitude - _WEST) * _SCALE * math.cos(math.radians(36)), (_NORTH - latitude) * _SCALE


def world_point(point: Point) -> Point:
    """Project a longitude and latitude onto the map of the world (equirectangular)."""
    longitude, latitude = point
    return (longitude + 180) * _WORLD_SCALE, (84 - latitude) * _WORLD_SCALE


LOCATED = ("exact", "locality", "district")
"""How precisely a place must be known to be a point. Others stand for their region."""


class MapPoint(Struct, frozen=True):
    """A site on a map: its position, and what it belongs to."""

    x: float
    y: float
    name: str


class SiteMap(Struct, frozen=True):
    """The map of some sites: located ones as points, the others as the regions or countries that they are in."""

    outline: Outline
    is_korea: bool
    regions: frozenset[str]
    points: tuple[MapPoint, ...]


def is_in_korea(latitude: float, longitude: float) -> bool:
    """Whether a place is on the map of Korea."""
    return _SOUTH <= latitude <= _NORTH and _WEST <= longitude <= _EAST


def korea_points(sites: Iterable[tuple[str, float, float]]) -> tuple[MapPoint, ...]:
    """Those of the sites, each with a name, latitude and longitude, that are on the map of Korea."""
    return _points(((n, y, x) for n, y, x in sites if is_in_korea(y, x)), korea_point)


def world_points(sites: Iterable[tuple[str, float, float]]) -> tuple[MapPoint, ...]:
    """The sites, each with a name, latitude and longitude, on the map of the world."""
    return _points(sites, world_point)


def _points(sites: Iterable[tuple[str, float, float]], project: Callable[[Point], Point]) -> tuple[MapPoint, ...]:
    placed = ((name, project((longitude, latitude))) for name, latitude, longitude in sites)
    return tuple(MapPoint(round(x, 1), round(y, 1), name) for name, (x, y) in placed)


def site_map(sites: Iterable[SiteState]) -> SiteMap | None:
    """The map of a deal's sites: of Korea if all are there, else of the world. None: no region or place is known."""
    standing = [site for site in sites if site.status != "dropped"]
    located = [
        (site.site, float(site.latitude), float(site.longitude))
        for site in standing
        if site.latitude is not None and site.longitude is not None and (site.precision or "exact") in LOCATED
    ]
    points = {name for name, _, _ in located}
    regions = {site.place for site in standing if site.place is not None and site.site not in points}
    if all(region.startswith("KR") for region in regions) and all(is_in_korea(y, x) for _, y, x in located):
        provinces = frozenset(regions & set(KOREA.values()))
        if not provinces and not located:
            return None
        return SiteMap(korea(), True, provinces, korea_points(located))
    return SiteMap(world(), False, frozenset(region[:2] for region in regions), world_points(located))


@cache
def korea() -> Outline:
    """Korea's seventeen provinces."""
    topology = _topology("korea.topo.json")
    arcs = _arcs(topology)
    provinces = []
    for geometry in topology["objects"]["kor"]["geometries"]:
        code = KOREA.get((geometry.get("properties") or {}).get("name") or "")
        if code is None:
            continue
        rings = list(_rings(geometry, arcs))
        largest = max(rings, key=_extent)
        xs, ys = [p[0] for p in map(korea_point, largest)], [p[1] for p in map(korea_point, largest)]
        label = (round((min(xs) + max(xs)) / 2, 1), round((min(ys) + max(ys)) / 2, 1))
        provinces.append(Province(code, _path(rings, korea_point, 6, 1), *_LABELS.get(code, label)))
    east, south = korea_point((_EAST, _SOUTH))
    return Outline(round(east), round(south), tuple(provinces))


class MapLabel(Struct, frozen=True):
    """The name of a province on the map, in one line or two."""

    x: float
    y: float
    lines: tuple[str, ...]


LABEL_SIZE = 13
_LINE_HEIGHT = 14


def map_labels(names: Iterable[tuple[Province, str]]) -> list[MapLabel]:
    """The names of provinces that fit the map beside those before them; a name of two words has two lines."""
    placed: list[MapLabel] = []
    for province, name in names:
        lines = tuple(name.split(" ", 1))
        label = MapLabel(province.x, province.y - _LINE_HEIGHT / 2 * (len(lines) - 1), lines)
        if not any(_overlap(label, other) for other in placed):
            placed.append(label)
    return placed


def _overlap(one: MapLabel, other: MapLabel) -> bool:
    (left, top, right, bottom), (other_left, other_top, other_right, other_bottom) = label_box(one), label_box(other)
    return left < other_right and other_left < right and top < other_bottom and other_top < bottom


def label_box(label: MapLabel) -> tuple[float, float, float, float]:
    """The left, top, right and bottom of a label's text. Hangul is as wide as high; other letters take about half."""
    half = max(sum(LABEL_SIZE * (1 if "가" <= letter <= "힣" else 0.58) for letter in line) for line in label.lines) / 2
    return label.x - half, label.y - LABEL_SIZE + 2, label.x + half, label.y + 3 + _LINE_HEIGHT * (len(label.lines) - 1)


# Label positions of provinces that surround another one or are too small for their name.
_LABELS: dict[str, Point] = {
    "KR-28": (86, 124), "KR-41": (178, 138), "KR-43": (195, 193), "KR-44": (92, 212), "KR-47": (275, 212),
    "KR-48": (228, 314),
}  # fmt: skip


def _extent(ring: list[Point]) -> float:
    xs, ys = [p[0] for p in ring], [p[1] for p in ring]
    return (max(xs) - min(xs)) * (max(ys) - min(ys))


@cache
def world() -> Outline:
    """The land of the world without Antarctica, and its countries by ISO 3166-1 code."""
    topology = _topology("world.topo.json")
    arcs = _arcs(topology)
    land = [
        ring
        for geometry in topology["objects"]["land"]["geometries"]
        for ring in _rings(geometry, arcs)
        if max(latitude for _, latitude in ring) > -58
    ]
    lands = []
    for geometry in topology["objects"]["countries"]["geometries"]:
        country = pycountry.countries.get(numeric=geometry.get("id", "").zfill(3))
        if country is not None:
            lands.append(
                Province(country.alpha_2, _path(_unwrap_antimeridian(_rings(geometry, arcs)), world_point, 1, 1), 0, 0)
            )
    return Outline(
        round(360 * _WORLD_SCALE),
        round(142 * _WORLD_SCALE),
        tuple(lands),
        _path(_unwrap_antimeridian(land), world_point, 4, 1),
    )
