"""The facts of the deals that ever had a relation, in memory: totals examine these deals one by one.

Few deals have relations, and reading them from the copy costs a scan of each of its tables. The tables in memory follow
the copy: after a change, only the changed ones among these deals are read again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from threading import Lock

from duckdb import DuckDBPyConnection

from registry.domain.merges import survivor
from registry.projections.columnar.doubts import SELECT_STATE
from registry.projections.columnar.selection import run

PREFIX = "memory_rates.related_"

TABLES = ("deal_facts", "stage_facts", "site_facts", "party_facts", "metric_facts", "pledge_facts", "relation_facts")

CREATE_STATE = f"""
CREATE TABLE IF NOT EXISTS {PREFIX}state (position BIGINT NOT NULL, reset BIGINT NOT NULL)
"""

CREATE_DEALS = f"CREATE TABLE IF NOT EXISTS {PREFIX}deals (deal VARCHAR PRIMARY KEY)"

SELECT_EVER_RELATED = "SELECT deal, other_deal FROM relation_facts"

SELECT_CHANGED = "SELECT DISTINCT deal FROM deal_events WHERE position > $position"

_filling = Lock()


def prepare_related(cursor: DuckDBPyConnection, merged: Mapping[str, str]) -> None:
    """Bring the tables in memory to the state that the question's transaction sees, or beyond.

    Args:
        cursor: The copy; its transaction has not read the tables in memory yet.
        merged: What each merged deal was merged into: that deal is examined, too.
    """
    run(cursor, SELECT_STATE, {})
    with _filling, cursor.cursor() as own:
        own.execute("BEGIN")
        own.execute(CREATE_STATE)
        own.execute(CREATE_DEALS)
        (state,) = run(own, SELECT_STATE, {})
        known = run(own, f"SELECT position, reset FROM {PREFIX}state", {})
        if known and known[0][1] != state[1]:
            known = []
        if not known:
            run(own, f"DELETE FROM {PREFIX}deals", {})
            for table in TABLES:
                run(own, f"CREATE OR REPLACE TABLE {PREFIX}{table} AS SELECT * FROM {table} LIMIT 0", {})
        related: set[str] = set()
        for deal, other in run(own, SELECT_EVER_RELATED, {}):
            related |= {deal, other, survivor(other, merged)}
        held = {deal for (deal,) in run(own, f"SELECT deal FROM {PREFIX}deals", {})}
        changed = {deal for (deal,) in run(own, SELECT_CHANGED, {"position": known[0][0]})} if known else set()
        if stale := (related - held) | (changed & held):
            _read(own, stale)
        if known != [state]:
            run(own, f"DELETE FROM {PREFIX}state", {})
            run(own, f"INSERT INTO {PREFIX}state VALUES ($position, $reset)", dict(zip(_STATE, state, strict=True)))
        own.execute("COMMIT")


_STATE = ("position", "reset")


def _read(own: DuckDBPyConnection, deals: Collection[str]) -> None:
    """Read the facts of these deals again."""
    parameters = {"deals": sorted(deals)}
    for table in TABLES:
        run(own, f"DELETE FROM {PREFIX}{table} WHERE list_contains($deals, deal)", parameters)
        select = f"SELECT * FROM {table} WHERE deal IN (SELECT unnest($deals))"
        run(own, f"INSERT INTO {PREFIX}{table} {select}", parameters)
    run(own, f"INSERT OR IGNORE INTO {PREFIX}deals SELECT unnest($deals)", parameters)


def are_held(cursor: DuckDBPyConnection, deals: Iterable[str]) -> bool:
    """Whether all of these deals are in the tables in memory."""
    statement = f"SELECT count(*) FROM (SELECT unnest($deals) AS deal) ANTI JOIN {PREFIX}deals USING (deal)"
    return run(cursor, statement, {"deals": list(deals)}) == [(0,)]
