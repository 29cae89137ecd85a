"""`registry rates` and what `registry doctor` says about clocks and rates."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest

from registry.domain.calendar import Calendar
from tests.cli.test_service import run
from tests.databases import ScratchDatabase

FILE = "day,currency,per,source\n2025-10-29,TWD,36.5,CBC\n2025-10-28,TWD,36.4,CBC\n"


@pytest.fixture
def there(database: ScratchDatabase, tmp_path: Path) -> dict[str, str]:
    """The settings of the test's database."""
    return {"REGISTRY_DATA_DIR": str(tmp_path / "data"), "REGISTRY_DATABASE_URL": database.app_url}


def test_rates_of_a_file_are_imported_once_and_listed(there: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(FILE)
    for expected in ({"new": 2, "changed": 0, "unchanged": 0}, {"new": 0, "changed": 0, "unchanged": 2}):
        done = run("rates", "import", file, **there)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == [{**expected, "position": 0}]
    listed = run("rates", "list", "--day", "2025-10-30", "--currency", "TWD", **there)
    (rate,) = json.loads(listed.stdout)
    assert (rate["source"], rate["day"], rate["base"], rate["value"]) == ("CBC", "2025-10-29", "EUR", "36.5")


def test_rates_of_today_are_those_of_the_day_in_the_registrys_time_zone(there: dict[str, str], tmp_path: Path) -> None:
    ahead, behind = "Pacific/Kiritimati", "Pacific/Pago_Pago"  # Their days differ at every hour.
    today = Calendar(ahead).today()
    file = tmp_path / "rates.csv"
    lines = [f"{day},TWD,36.5,CBC" for day in (today, today - timedelta(days=3))]
    file.write_text("\n".join(["day,currency,per,source", *lines]))
    assert run("rates", "import", file, **there).returncode == 0
    for zone, expected in ((ahead, today), (behind, today - timedelta(days=3))):
        listed = json.loads(run("rates", "list", "--currency", "TWD", "--time-zone", zone, **there).stdout)
        assert [rate["day"] for rate in listed] == [str(expected)]


def test_wrong_file_of_rates_is_reported_in_one_sentence(there: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "rates.csv"
    file.write_text(FILE.replace("36.4", "about 36"))
    done = run("rates", "import", file, **there)
    assert (done.returncode, done.stdout) == (5, "")
    assert "line 3" in done.stderr
    assert json.loads(run("rates", "list", "--currency", "TWD", "--day", "2025-10-29", **there).stdout) == []


async def test_doctor_reports_a_log_that_ends_in_the_future_and_old_rates(
    there: dict[str, str], owner: asyncpg.Connection[asyncpg.Record]
) -> None:
    def rows() -> dict[str, dict[str, str]]:
        done = run("doctor", "--port", "0", **there)
        return {row["check"]: row for row in json.loads(done.stdout)}

    assert rows()["clock"]["found"] == "fine"
    assert rows()["exchange rates"]["found"] in ("fine", "warning")
    await owner.execute("DELETE FROM exchange_rates")
    await owner.execute(
        "INSERT INTO events (position, stream, version, id, type, schema, published_on, recorded_at, recorded_by,"
        " entry, leaf_hash) VALUES (1, 'deal/a', 1, gen_random_uuid(), 'deal_registered', 1, '2026-01-01',"
        " now() + interval '10 years', 'test', '', sha256(''))"
    )
    found = rows()
    assert found["clock"]["found"] == "wrong"
    assert "in the future" in found["clock"]["detail"]
    assert found["exchange rates"]["found"] == "warning"


def test_doctor_does_not_fail_because_of_old_rates(there: dict[str, str]) -> None:
    assert run("doctor", "--port", "0", **there).returncode == 0
