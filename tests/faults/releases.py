"""Two releases of the registry: the one before, from git, and the next one, with made-up migrations that only add.

docs/upgrading.md has the policy that they stand for.
"""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.faults.load import ServiceProcess, run_command

TOP = Path(__file__).parents[2]
PARTS = ("registry", "migrations")

# What a migration may do: a table that is filled slowly, columns with a default, an index without a lock. The locks on
# tables that services write to come last in the transaction.
NEXT_MIGRATIONS = {
    "9001_additions.py": '''"""A table, and columns of the log, of the facts of pledges and of API keys."""
from alembic import op

revision = "9001"
down_revision = "{head}"


def upgrade() -> None:
    op.execute("CREATE TABLE made_up (position bigint PRIMARY KEY, words text NOT NULL)")
    op.execute("INSERT INTO made_up SELECT position, type FROM events")
    op.execute("SELECT pg_sleep(3)")
    op.execute("ALTER TABLE events ADD COLUMN made_up text")
    op.execute("ALTER TABLE pledge_facts ADD COLUMN made_up text NOT NULL DEFAULT 'none'")
    op.execute("ALTER TABLE keys ADD COLUMN made_up boolean NOT NULL DEFAULT false")
''',
    "9002_index.py": '''"""An index that is built while services write."""
from alembic import op

revision = "9002"
down_revision = "9001"


def upgrade() -> None:
    with op.get_context().autocommit_block():
        op.execute("CREATE INDEX CONCURRENTLY events_made_up ON events (recorded_by, position)")
''',
}


def git(*words: str) -> str:
    """What a git command prints in this repository."""
    done = subprocess.run(["git", *words], cwd=TOP, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def previous_release(folder: Path) -> Path:
    """The registry as of the commit that changed the schema last: the oldest one that has today's schema.

    In a source distribution, which has no history, it is the registry itself.
    """
    folder.mkdir()
    if not (TOP / ".git").exists():
        return _copy(folder)
    commit = git("log", "-1", "--format=%H", "--", "migrations")
    archive = subprocess.run(["git", "archive", commit, *PARTS], cwd=TOP, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def first_release(folder: Path) -> Path:
    """The registry as of the last commit whose schema was that of 0.1.0."""
    folder.mkdir()
    newest = git("log", "-1", "--format=%H", "--diff-filter=A", "--", "migrations/versions/0002_vocabulary_facts.py")
    archive = subprocess.run(["git", "archive", f"{newest}~1", *PARTS], cwd=TOP, capture_output=True, check=True)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive.stdout, check=True)
    return folder


def next_release(folder: Path) -> Path:
    """This registry with migrations that it does not have yet."""
    folder.mkdir()
    _copy(folder)
    versions = folder / "migrations" / "versions"
    head = max(path.name.partition("_")[0] for path in versions.glob("[0-9]*.py"))
    for name, program in NEXT_MIGRATIONS.items():
        (versions / name).write_text(program.replace("{head}", head))
    return folder


def _copy(folder: Path) -> Path:
    for part in PARTS:
        shutil.copytree(TOP / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


async def migrate(checkout: Path, environ: Mapping[str, str]) -> None:
    """Run `registry migrate` of a release."""
    code, output = await run_command(["migrate"], environ, checkout=checkout)
    assert code == 0, output


async def replace_services(services: Sequence[ServiceProcess], checkout: Path | None) -> None:
    """Replace services one by one, as docs/upgrading.md says, by those of another release (None: this one)."""
    for service in services:
        # In a thread: a client of this process that has sent only a part of its request must be able to go on.
        await asyncio.to_thread(service.end)
        service.checkout = checkout
        service.start()
        await service.ready()
