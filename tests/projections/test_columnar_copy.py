"""The columnar copy holds the rows of the fact tables at the log's position, whatever happens to its files.

Every test ends with the same comparison of rows; hence the length of the file.
"""

from __future__ import annotations

import asyncio
import gc
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from threading import get_native_id
from typing import Any
from uuid import uuid4

import pytest
from duckdb import DuckDBPyConnection

from registry.errors import Overloaded
from registry.infra import postgres
from registry.infra.postgres import Pool
from registry.projections.columnar import ColumnarCopy, following, search_index
from registry.projections.columnar import copy as columnar_copy
from registry.projections.columnar.files import NICE, CopyDirectory
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.tables import DERIVED
from registry.projections.facts import FACT_TABLES
from tests.append_helpers import REGISTERED, pledged, request, running_recorder
from tests.databases import APP_ROLE, ScratchDatabase, Server, at, copy_database

Rows = dict[str, list[tuple[Any, ...]]]

NAMED = {
    "effective_on": "2025-06-16",
    "event": {
        "type": "parties_joined",
        "parties": [
            {"organization": "acme", "role": "investor", "name": {"en": 'Acme\'s, "the" firm', "ko": "아크메"}}
        ],
    },
}
SITE = {"effective_on": "2025-06-16", "event": {"type": "site_announced", "site": "a", "place": "KR-31"}}


def comparable(row: Any) -> tuple[Any, ...]:
    return tuple(",".join(v) if isinstance(v, list) else f"{v:f}" if isinstance(v, Decimal) else str(v) for v in row)


def files(directory: Path) -> list[Path]:
    """The databases of all copies in a directory."""
    return sorted(directory.glob("*/*.duckdb"))


def contains(directory: Path, text: bytes) -> bool:
    """Whether any file in a directory contains a text."""
    return any(text in file.read_bytes() for file in directory.glob("*/*"))


async def rows_of_postgres(pool: Pool) -> Rows:
    """The fact rows of Postgres."""
    return {
        table.name: sorted(comparable(tuple(row)) for row in await pool.fetch(f"SELECT * FROM {table.name}"))
        for table in FACT_TABLES
    }


async def rows_of_copy(copy: ColumnarCopy, position: int) -> Rows:
    """The same columns of the copy, with numbers as they were stated."""

    def question(cursor: Any, _: QuestionCache) -> Rows:
        found: Rows = {}
        for table in FACT_TABLES:
            described = cursor.execute(f"DESCRIBE {table.name}").fetchall()
            names = [name for name, *_ in described]
            derived = DERIVED.get(table.name, {}).keys() | {n for n in names if n.endswith("_scale")}
            columns = ", ".join(
                f"left({name}::VARCHAR, length({name}::VARCHAR) - 7 + {name}_scale + ({name}_scale > 0)::INT)"
                if f"{name}_scale" in names
                else name
                for name in names
                if name not in derived
            )
            cursor.execute(f"SELECT {columns} FROM {table.name}")
            found[table.name] = sorted(map(comparable, cursor.fetchall()))
        return found

    return await copy.ask(position, question)


async def record(recorder: Any, slug: str, *announcements: Any) -> int:
    """Record announcements and return the position of the last one."""
    result = await recorder.record(request(slug, *announcements))
    return int(result.position)


@pytest.fixture
async def recorder(database: ScratchDatabase) -> AsyncIterator[Any]:
    async with running_recorder(database.app_url, database.owner_url) as running:
        yield running


@pytest.fixture
async def other_database(server: Server, admin: Any) -> ScratchDatabase:
    """Another registry."""
    name = f"{server.template}_other_{uuid4().hex}"
    await copy_database(admin, server.template, name)
    return ScratchDatabase(name, at(server.admin_url, name), at(server.admin_url, name, APP_ROLE, server.app_password))


async def assert_is_current(copy: ColumnarCopy, pool: Pool, position: int) -> None:
    copied, stored = await rows_of_copy(copy, position), await rows_of_postgres(pool)
    for name in stored:
        assert copied[name] == stored[name]


@pytest.mark.parametrize("few", [following.FEW_EVENTS, 0], ids=["as JSON", "as CSV"])
async def test_copy_follows_every_change_of_the_fact_tables(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(following, "FEW_EVENTS", few)
    async with ColumnarCopy(pool, tmp_path) as copy:
        await assert_is_current(copy, pool, 0)
        position = await record(recorder, "a", REGISTERED, pledged(value="5000000000.50"), NAMED, SITE)
        await assert_is_current(copy, pool, position)
        revised = {"effective_on": "2025-01-01", "event": {"type": "pledge_revised", "pledge": "total"}}
        revised["event"] |= {"amount": {"value": "7", "currency": "KRW"}}  # type: ignore[operator]
        revised["effective_on"] = "2025-09-01"
        position = await record(recorder, "a", revised)
        await assert_is_current(copy, pool, position)
        # Before everything else, so that rows on both axes change.
        position = await record(recorder, "a", {**pledged("early"), "effective_on": "2024-01-01"})
        await record(recorder, "b", REGISTERED, pledged())
        await assert_is_current(copy, pool, position + 2)
        events = await copy.ask(
            position + 2, lambda cursor, _: cursor.execute("FROM deal_events ORDER BY ALL").fetchall()
        )
    async with ColumnarCopy(pool, tmp_path / "other") as copy:
        await assert_is_current(copy, pool, position + 2)
        assert events == await copy.ask(
            position + 2, lambda cursor, _: cursor.execute("FROM deal_events ORDER BY ALL").fetchall()
        )


async def test_copy_is_read_again_by_the_next_process_and_follows_from_there(
    recorder: Any, pool: Pool, tmp_path: Path
) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        await copy.follow(position)
    (made,) = files(tmp_path)
    position = await record(recorder, "b", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        await assert_is_current(copy, pool, position)
        assert files(tmp_path) == [made]


@pytest.mark.parametrize("damage", [b"", b"torn", b"\0" * 40_000])
async def test_damaged_copy_is_made_again(recorder: Any, pool: Pool, tmp_path: Path, damage: bytes) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        await copy.follow(position)
    (file,) = files(tmp_path)
    content = file.read_bytes()
    file.write_bytes(damage + content[len(damage) :] if damage.strip(b"\0") else content[:12_288] + damage)
    async with ColumnarCopy(pool, tmp_path) as copy:
        await assert_is_current(copy, pool, position)


async def test_deleted_copy_is_made_again(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED, pledged())
        await assert_is_current(copy, pool, position)
        shutil.rmtree(tmp_path)
        position = await record(recorder, "b", REGISTERED, pledged())
        await assert_is_current(copy, pool, position)
    async with ColumnarCopy(pool, tmp_path) as copy:
        await assert_is_current(copy, pool, position)


async def test_copy_of_another_log_is_made_again(
    recorder: Any, database: ScratchDatabase, pool: Pool, other_database: ScratchDatabase, tmp_path: Path
) -> None:
    async with running_recorder(other_database.app_url) as other:
        await record(other, "foreign", REGISTERED, pledged(), pledged("more"))
    async with (
        await postgres.pool(other_database.app_url, name="other") as foreign,
        ColumnarCopy(foreign, tmp_path) as one,
    ):
        await assert_is_current(one, foreign, 3)
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        await assert_is_current(copy, pool, position)
    async with (
        await postgres.pool(other_database.app_url, name="other") as foreign,
        ColumnarCopy(foreign, tmp_path) as one,
    ):
        await assert_is_current(one, foreign, 3)


async def test_two_processes_share_a_data_directory(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as one, ColumnarCopy(pool, tmp_path) as two:
        await assert_is_current(one, pool, position)
        await assert_is_current(two, pool, position)
        position = await record(recorder, "b", REGISTERED, pledged())
        await assert_is_current(two, pool, position)
        await assert_is_current(one, pool, position)


def test_directory_that_is_forgotten_is_free_again(tmp_path: Path) -> None:
    first = CopyDirectory(tmp_path)
    second = CopyDirectory(tmp_path)
    del first
    gc.collect()
    third = CopyDirectory(tmp_path)
    assert [one.scratch("any").parent.name for one in (second, third)] == ["2", "1"]
    second.close()
    third.close()


@pytest.mark.skipif(sys.platform != "linux", reason="Only Linux gives threads priorities of their own.")
def test_threads_of_the_copy_give_way_to_those_of_the_service(tmp_path: Path) -> None:
    before = {int(task.name) for task in Path("/proc/self/task").iterdir()}
    directory = CopyDirectory(tmp_path)
    with directory.create() as connection:
        connection.execute("SELECT sum(hash(range)) FROM range(1000000)")
        started = {int(task.name) for task in Path("/proc/self/task").iterdir()} - before
        own = os.getpriority(os.PRIO_PROCESS, 0)
        priorities = set()
        for task in started:
            # A thread of an earlier test, which ends only now, is not one of them.
            with suppress(ProcessLookupError):
                priorities.add(os.getpriority(os.PRIO_PROCESS, task))
        assert priorities == {min(19, own + NICE)}
        assert os.getpriority(os.PRIO_PROCESS, get_native_id()) == own
    directory.close()


async def test_redaction_leaves_no_bytes_in_the_copy(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    secret = {"event": {"type": "deal_registered", "title": {"en": "Unmistakable"}}}
    async with ColumnarCopy(pool, tmp_path) as copy:
        result = await recorder.record(request("a", secret, pledged()))
        await assert_is_current(copy, pool, result.position)
        assert contains(tmp_path, b"nmistakable")
        redaction = {"event": {"type": "event_redacted", "redacts": str(result.events[0].id), "reason": "a name"}}
        position = await record(recorder, "a", redaction)
        await assert_is_current(copy, pool, position)
        assert not contains(tmp_path, b"nmistakable")
        await record(recorder, "b", REGISTERED)
        await assert_is_current(copy, pool, position + 1)


async def test_rows_that_are_written_again_are_copied_again(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED, pledged())
        await copy.follow(position)
        await pool.execute("UPDATE deal_facts SET title = NULL WHERE deal = 'a'")
        await pool.execute("INSERT INTO fact_resets (deal) VALUES ('a')")
        await record(recorder, "b", REGISTERED)
        await assert_is_current(copy, pool, position + 1)


KILLED = """
import asyncio, os, signal, sys
from pathlib import Path
from threading import get_native_id
from registry.errors import Overloaded
from registry.infra import postgres
from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar import following

async def main(url, directory, position):
    async with await postgres.pool(url, name="killed") as pool:
        copy = ColumnarCopy(pool, Path(directory))
        await copy.follow(0)
        print("ready", flush=True)
        while True:
            await copy.follow(copy.position + 1)

asyncio.run(main(sys.argv[1], sys.argv[2], 0))
"""


async def test_copy_survives_kill_9_while_it_writes(
    recorder: Any, database: ScratchDatabase, pool: Pool, tmp_path: Path
) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    for attempt in range(3):
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", KILLED, database.app_url, str(tmp_path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await process.stdout.readline()
        for number in range(20):
            position = await record(recorder, f"d{attempt}-{number}", REGISTERED, pledged(), SITE)
        process.send_signal(signal.SIGKILL)
        await process.wait()
        async with ColumnarCopy(pool, tmp_path) as copy:
            await assert_is_current(copy, pool, position)


async def test_copy_follows_a_merge_and_its_end(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    async with ColumnarCopy(pool, tmp_path) as copy:
        await record(recorder, "a", REGISTERED, pledged())
        position = await record(recorder, "b", REGISTERED, pledged())
        await assert_is_current(copy, pool, position)
        position = await record(recorder, "b", {"event": {"type": "deal_merged", "into": "a", "reason": "the same"}})
        await assert_is_current(copy, pool, position)
        position = await record(recorder, "b", {"event": {"type": "deal_unmerged", "reason": "two deals"}})
        await assert_is_current(copy, pool, position)
        held = "SELECT deal FROM deal_facts WHERE recorded_to > $1 AND effective_to > '9999-01-01' ORDER BY deal"
        assert [row["deal"] for row in await pool.fetch(held, position)] == ["a", "b"]


async def test_loading_goes_on_when_the_one_who_asked_has_left(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        asked = asyncio.create_task(copy.follow(position))
        await asyncio.sleep(0)
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        assert files(tmp_path) == []
        await assert_is_current(copy, pool, position)
        assert len(files(tmp_path)) == 1


async def test_copy_is_made_before_the_first_question(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    position = await record(recorder, "a", REGISTERED, pledged())
    async with ColumnarCopy(pool, tmp_path) as copy:
        copy.start()
        async with asyncio.timeout(30):
            while copy.position < position:  # noqa: ASYNC110 - the copy has no event for it
                await asyncio.sleep(0.01)
        await assert_is_current(copy, pool, position)


class EndedError(Exception):
    """A process ends."""


def indexed_terms(cursor: Any, _: QuestionCache) -> list[str]:
    """The terms of the index as they are stored."""
    return [term for (term,) in cursor.execute("SELECT term FROM search_terms").fetchall()]


async def test_index_of_texts_goes_on_where_the_last_process_ended(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search_index, "TEXTS_PER_STEP", 3)
    monkeypatch.setattr(search_index, "TEXTS_PER_INSERT", 2)
    monkeypatch.setattr(search_index, "MAX_UNORDERED", 3)
    positions = [await record(recorder, f"d{number}", REGISTERED, NAMED, SITE) for number in range(4)]
    position = positions[-1]
    done, last = 0, 2

    def step(connection: Any) -> tuple[int, int] | None:
        nonlocal done
        if done == last:
            raise EndedError
        done += 1
        return search_index.index_some(connection)

    monkeypatch.setattr(columnar_copy, "index_some", step)
    async with ColumnarCopy(pool, tmp_path / "one") as copy:
        with pytest.raises(EndedError):
            await copy.ask(position, indexed_terms, searches=True)
    last = -1
    async with ColumnarCopy(pool, tmp_path / "one") as copy:
        terms = await copy.ask(position, indexed_terms, searches=True)
    in_two_processes, done = done, 0
    async with ColumnarCopy(pool, tmp_path / "two") as copy:
        assert terms == await copy.ask(position, indexed_terms, searches=True)
    assert terms == sorted(terms)
    assert {"d0", "d1", "d2", "d3"} <= set(terms)
    assert done == in_two_processes > 2


@pytest.mark.parametrize("few", [following.FEW_EVENTS, 0], ids=["as JSON", "as CSV"])
async def test_copy_follows_many_events_in_slices(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, few: int
) -> None:
    monkeypatch.setattr(following, "FEW_EVENTS", few)
    monkeypatch.setattr(following, "DEALS_PER_SLICE", 3)
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED)
        await copy.follow(position)
        (made,) = files(tmp_path)
        for number in range(4):
            position = await record(recorder, f"d{number}", REGISTERED, pledged(), SITE)
            # A deal that is in several slices.
            position = await record(recorder, "a", pledged(f"p{number}"))
        await assert_is_current(copy, pool, position)
        assert files(tmp_path) == [made]


async def test_answer_about_the_past_is_kept_until_the_copy_is_made_again(
    recorder: Any, pool: Pool, tmp_path: Path
) -> None:
    asked = 0

    def question(cursor: Any, _: QuestionCache) -> int:
        nonlocal asked
        asked += 1
        return asked

    async with ColumnarCopy(pool, tmp_path) as copy:
        result = await recorder.record(request("a", REGISTERED, pledged()))
        assert [await copy.ask(2, question, "past", is_final=True) for _ in range(2)] == [1, 1]
        position = await record(recorder, "b", REGISTERED)
        assert await copy.ask(position, question, "past", is_final=True) == 1
        assert await copy.ask(position, question, "now") == 2
        redaction = {"event": {"type": "event_redacted", "redacts": str(result.events[0].id), "reason": "a name"}}
        position = await record(recorder, "a", redaction)
        assert await copy.ask(position, question, "past", is_final=True) == 3


async def test_copy_follows_by_itself_only_while_questions_are_asked(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar_copy, "FOLLOW_SECONDS", 0.01)
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED)
        await copy.follow(position)
        await record(recorder, "b", REGISTERED)
        copy.follow_soon()
        await asyncio.sleep(0.2)
        assert copy.position == position
        await rows_of_copy(copy, position)
        position = await record(recorder, "c", REGISTERED)
        copy.follow_soon()
        copy.follow_soon()
        async with asyncio.timeout(30):
            while copy.position < position:  # noqa: ASYNC110 - the copy has no event for it
                await asyncio.sleep(0.01)


async def test_copy_that_has_followed_rests_until_a_question_needs_more(
    recorder: Any, pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(columnar_copy, "FOLLOW_SECONDS", 0.01)
    monkeypatch.setattr(columnar_copy, "RESTS", 1e9)
    monkeypatch.setattr(columnar_copy, "MAX_REST_SECONDS", 60)
    async with ColumnarCopy(pool, tmp_path) as copy:
        position = await record(recorder, "a", REGISTERED)
        await rows_of_copy(copy, position)
        later = await record(recorder, "b", REGISTERED)
        copy.follow_soon()
        await asyncio.sleep(0.2)
        assert copy.position == position
        await rows_of_copy(copy, later)
        assert copy.position == later


async def test_question_that_finds_no_memory_is_refused(recorder: Any, pool: Pool, tmp_path: Path) -> None:
    def large(cursor: DuckDBPyConnection, _: QuestionCache) -> Any:
        return cursor.execute("SELECT len(list(number ORDER BY number)) FROM range(100000000) AS t(number)").fetchone()

    async with ColumnarCopy(pool, tmp_path) as copy:
        with pytest.raises(Overloaded):
            await copy.ask(0, large)
        assert await copy.ask(0, lambda cursor, _: cursor.execute("SELECT 1").fetchone()) == (1,)


def test_copy_can_be_read_by_its_owner_only(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = CopyDirectory(tmp_path / "columnar")
    finally:
        os.umask(before)
    directory.close()
    assert stat.S_IMODE((tmp_path / "columnar" / "1").stat().st_mode) == 0o700
