"""The tables in memory have the rows that the columnar copy has of the deals that they hold."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy, following, memory_tables
from registry.projections.columnar.memory_tables import TABLES, MemoryState
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.tables import EVENTS, TEXTS
from tests.append_helpers import REGISTERED, pledged
from tests.projections.test_columnar_copy import NAMED, SITE, record, recorder

__all__ = ["recorder"]

SOURCE = {"publisher": "Publisher", "url": "https://publisher.example/1", "published_on": "2025-01-01"}
RELATED = {
    "effective_on": "2025-07-01",
    "event": {"type": "deals_related", "relation": "part_of", "deal": "d1"},
}


def held(cursor: Any, cache: QuestionCache) -> MemoryState:
    """What is in memory, compared with the copy."""
    state = cache.memory.prepare(cursor)
    cursor.execute("COMMIT")
    cursor.execute("BEGIN")
    for table in (*TABLES, TEXTS):
        deals = sorted(state.changed if table == TEXTS else state.deals)
        of_deals = f"SELECT * FROM main.{table} WHERE list_contains($1, deal) ORDER BY ALL"
        expected = cursor.execute(of_deals, [deals]).fetchall()
        assert cursor.execute(f"FROM cache.memory.{table} ORDER BY ALL").fetchall() == expected, table
    changed = f"SELECT deal, max(position) FROM {EVENTS} WHERE position > $1 GROUP BY deal"
    assert dict(state.changed) == dict(cursor.execute(changed, [state.since]).fetchall())
    return state


@pytest.mark.parametrize("changed", [memory_tables.MAX_CHANGED, 3], ids=["all changed", "few changed"])
@pytest.mark.parametrize("written", [memory_tables.MAX_WRITTEN, 0], ids=["known rows", "unknown rows"])
@pytest.mark.parametrize("few", [following.FEW_EVENTS, 0], ids=["as JSON", "as CSV"])
async def test_tables_in_memory_follow_the_copy(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int, written: int, changed: int
) -> None:
    monkeypatch.setattr(following, "FEW_EVENTS", few)
    monkeypatch.setattr(memory_tables, "MAX_WRITTEN", written)
    monkeypatch.setattr(memory_tables, "MAX_CHANGED", changed)
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED, pledged(), {**SITE, "sources": [SOURCE]})
        await copy.ask(position, held)
        # New deals, one with a relation, and one that is there.
        await record(recorder, "d0", REGISTERED, pledged(), {**SITE, "sources": [SOURCE]}, NAMED)
        await record(recorder, "d1", REGISTERED, pledged())
        position = await record(recorder, "a", {**pledged("more"), "sources": [SOURCE]})
        await copy.ask(position, held)
        position = await record(recorder, "d0", RELATED, {**pledged("more"), "sources": [SOURCE]})
        state = await copy.ask(position, held)
        assert state.related == ("d0", "d1")
        # Many, of which only those with a relation stay.
        for number in range(2, 6):
            await record(recorder, f"d{number}", REGISTERED, pledged(), {**SITE, "sources": [SOURCE]})
        position = await record(recorder, "d1", SITE, pledged("more"))
        state = await copy.ask(position, held)
        assert (len(state.deals) > 3) == (changed > 3)
        position = await record(recorder, "a", pledged("another"))
        await copy.ask(position, held)
