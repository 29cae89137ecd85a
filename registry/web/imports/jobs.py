"""The imports that principals have begun: a folder for each, with its files, its mapping and its state.

The folder is in the service's data directory, so an import survives a reload of its page and a restart of the service.
Imports are limited in size and number, and deleted some days after their last use. The recorded events stay.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Literal
from uuid import UUID

import msgspec
from msgspec import Struct, field

from registry.errors import NotFound, Overloaded
from registry.i18n import LANGUAGES, Message, render

MAX_UPLOAD_BYTES = 64 * 2**20
"""Bytes of the files of one import."""

MAX_FILES = 8
MAX_JOBS_OF_PRINCIPAL = 10
MAX_TOTAL_BYTES = 2 * 2**30
"""Bytes of all imports together."""

LIFETIME = timedelta(days=3)
"""How long an import is kept after it was last used."""

Phase = Literal["mapping", "waiting", "reading", "recording", "checked", "done", "stopped", "failed"]
Texts = dict[str, str]
"""A text in each language of the pages."""

_ID = re.compile(r"[A-Za-z0-9_-]{22}")
_RUNNING = frozenset({"waiting", "reading", "recording"})


class ImportProblem(Struct):
    """What is wrong in a cell or a row."""

    at: str
    column: str
    value: str
    text: Texts


class ImportQuestion(Struct):
    """A question about a changed value, with the answer, if it has one."""

    id: str
    at: str
    text: Texts
    choices: list[str]
    answer: str = ""


class Job(Struct, kw_only=True):
    """An import.

    Attributes:
        id: A random name, which is the name of the folder too.
        owner: The principal who began it. Only this principal sees it.
        files: The names of the uploaded files.
        published_on: The day on which the sheet was published.
        sheet: The name of the sheet, if it was said.
        header: The number of the header's row, if it was said.
        encoding: The encoding of CSV files, if it was said.
        phase: What happens to it now.
        is_trial: Whether the last run was to record nothing.
        proposes: Whether the last run sent the announcements to review instead of recording them.
        proposal: The first proposal of that review.
        proposed: Announcements that wait for review.
        rows: Rows read so far.
        lines: Announcements to record.
        sent: Announcements that have a result.
        refused: Refused rows, each of which is in the report.
        problems: What is wrong, the first ones.
        problem_count: How many problems there are.
        notes: What else the owner should know.
        failure: Why the import ended without a result.
    """

    id: str
    owner: str
    created_at: datetime
    used_at: datetime
    published_on: date
    files: list[str] = field(default_factory=list)
    sheet: str = ""
    header: int | None = None
    encoding: str | None = None
    phase: Phase = "mapping"
    is_trial: bool = False
    proposes: bool = False
    proposal: UUID | None = None
    proposed: int = 0
    rows: int = 0
    lines: int = 0
    sent: int = 0
    recorded: int = 0
    repeated: int = 0
    refused: int = 0
    problems: list[ImportProblem] = field(default_factory=list)
    problem_count: int = 0
    questions: list[ImportQuestion] = field(default_factory=list)
    question_count: int = 0
    notes: list[Texts] = field(default_factory=list)
    failure: Texts | None = None

    @property
    def is_running(self) -> bool:
        """Whether it is being read or recorded, or waits for its turn."""
        return self.phase in _RUNNING

    @property
    def expires_at(self) -> datetime:
        """When it is deleted, if it is not used before."""
        return self.used_at + LIFETIME


def in_each_language(message: Message) -> Texts:
    """The texts of a message."""
    return {language: render(message, language) for language in LANGUAGES}


class JobStore:
    """The folders of imports."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._jobs: dict[str, Job] = {}

    def load(self) -> None:
        """Read the imports of an earlier start. One that was running has stopped: it is completed by a second run."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for folder in self._folder.iterdir():
            try:
                job = msgspec.json.decode((folder / "state.json").read_bytes(), type=Job)
            except (OSError, msgspec.DecodeError):
                shutil.rmtree(folder, ignore_errors=True)
                continue
            if job.is_running:
                job.phase = "stopped"
            self._jobs[job.id] = job

    def expire(self, now: datetime) -> None:
        """Delete the imports that were not used for a while."""
        for job in [one for one in self._jobs.values() if one.expires_at <= now and not one.is_running]:
            self.delete(job)

    def create(self, owner: str, published_on: date) -> Job:
        """Begin an import.

        Raises:
            Overloaded: The owner has as many as there may be, or the disk space for imports is used up.
        """
        now = datetime.now(UTC)
        self.expire(now)
        if len(list(self.of(owner))) >= MAX_JOBS_OF_PRINCIPAL or self.size() + MAX_UPLOAD_BYTES > MAX_TOTAL_BYTES:
            raise Overloaded("imports")
        job = Job(id=secrets.token_urlsafe(16), owner=owner, created_at=now, used_at=now, published_on=published_on)
        (self._folder / job.id / "files").mkdir(parents=True, mode=0o700)
        self._jobs[job.id] = job
        self.save(job)
        return job

    def find(self, owner: str, id: str) -> Job:
        """An import of a principal.

        Raises:
            NotFound: The principal has no such import.
        """
        job = self._jobs.get(id) if _ID.fullmatch(id) else None
        if job is None or job.owner != owner:
            raise NotFound("import", id=id[:40])
        return job

    def of(self, owner: str) -> Iterator[Job]:
        """The imports of a principal, the newest first."""
        own = (job for job in self._jobs.values() if job.owner == owner)
        return iter(sorted(own, key=lambda job: job.created_at, reverse=True))

    def save(self, job: Job) -> None:
        """Write the state of an import."""
        job.used_at = datetime.now(UTC)
        file = self.path(job, "state.json")
        new = file.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(job))
        new.replace(file)

    def delete(self, job: Job) -> None:
        """Delete an import with its files."""
        self._jobs.pop(job.id, None)
        shutil.rmtree(self._folder / job.id, ignore_errors=True)

    def path(self, job: Job, name: str) -> Path:
        """A file of an import, such as `mapping.toml`."""
        return self._folder / job.id / name

    def sheets(self, job: Job) -> list[Path]:
        """The uploaded files."""
        return [self.path(job, "files") / name for name in job.files]

    def size(self) -> int:
        """Bytes of all imports."""
        return sum(file.stat().st_size for file in self._folder.rglob("*") if file.is_file())
