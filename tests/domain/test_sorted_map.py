"""Maps that share their chunks also share what was found out about them."""

from __future__ import annotations

from datetime import date

from registry.domain.fold.sorted_map import _CHUNK_LIMIT, SortedMap


def test_each_map_of_a_batch_examines_only_its_new_chunk() -> None:
    """The recorder makes all maps of a batch, and then searches each of them."""
    entries, maps = SortedMap[int, date](), []
    for number in range(4_000):
        entries = entries.set(number, date(2024, 1, 1))
        maps.append(entries)
    examined = 0

    def published_from(day: date) -> date:
        nonlocal examined
        examined += 1
        return day

    assert all(one.first_published(0, date.min, published_from, after=False) is None for one in maps)
    assert maps[-1].first_published(3_000, date.max, published_from, after=True) == (3_001, date(2024, 1, 1))
    assert examined <= len(maps) * 2 * _CHUNK_LIMIT
