"""The folders of imports: they survive a restart, are limited in number, and expire."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from registry.errors import NotFound, Overloaded
from registry.web.imports.jobs import LIFETIME, MAX_JOBS_OF_PRINCIPAL, JobStore
from registry.web.imports.upload import safe_name

DAY = date(2026, 5, 20)


def store(folder: Path) -> JobStore:
    opened = JobStore(folder)
    opened.load()
    return opened


def test_import_survives_a_restart_and_a_running_one_has_stopped(tmp_path: Path) -> None:
    before = store(tmp_path)
    idle, running = before.create("ann", DAY), before.create("ann", DAY)
    idle.files, running.phase, running.rows = ["plants.csv"], "recording", 7
    before.save(idle)
    before.save(running)
    after = store(tmp_path)
    assert after.find("ann", idle.id).files == ["plants.csv"]
    found = after.find("ann", running.id)
    assert (found.phase, found.rows, found.is_running) == ("stopped", 7, False)


def test_import_is_found_by_its_owner_only(tmp_path: Path) -> None:
    opened = store(tmp_path)
    job = opened.create("ann", DAY)
    for owner, id in (("ben", job.id), ("ann", "x"), ("ann", "../../etc"), ("ann", job.id[:-1])):
        with pytest.raises(NotFound):
            opened.find(owner, id)


def test_principal_has_a_limited_number_of_imports(tmp_path: Path) -> None:
    opened = store(tmp_path)
    jobs = [opened.create("ann", DAY) for _ in range(MAX_JOBS_OF_PRINCIPAL)]
    with pytest.raises(Overloaded):
        opened.create("ann", DAY)
    opened.create("ben", DAY)
    opened.delete(jobs[0])
    assert opened.create("ann", DAY).owner == "ann"


def test_unused_import_expires_with_its_files_and_a_running_one_does_not(tmp_path: Path) -> None:
    opened = store(tmp_path)
    unused, running = opened.create("ann", DAY), opened.create("ann", DAY)
    running.phase = "recording"
    opened.expire(datetime.now(UTC) + LIFETIME + timedelta(seconds=1))
    assert [job.id for job in opened.of("ann")] == [running.id]
    assert not opened.path(unused, "state.json").exists()


def test_folder_without_a_readable_state_is_deleted(tmp_path: Path) -> None:
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "state.json").write_text("{", "utf-8")
    store(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("plants.csv", "plants.csv"),
        ("../../etc/passwd.csv", "passwd.csv"),
        ("C:\\lists\\plants.XLSX", "plants.xlsx"),
        ("투자 현황 (1).xlsx", "투자 현황 (1).xlsx"),
        ("a\x00b/..", "file"),
        ("<script>.csv", "_script_.csv"),
    ],
)
def test_name_of_a_file_has_no_path_and_no_unusual_sign(given: str, kept: str) -> None:
    assert safe_name(given) == kept
