"""Runs imports in the background: reads the sheets in a thread, then records the lines as a streamed import does.

One import runs at a time and the others wait, because reading a sheet keeps a processor busy that requests need too.
"""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import structlog
from msgspec import Struct

from registry.append.proposal import parts_of
from registry.append.proposals import Proposals
from registry.append.recorder import Recorder
from registry.domain.principal import Credential
from registry.errors import BadMapping, RegistryError, TooLarge, Unauthorized
from registry.events import intake
from registry.events.types import AnnouncedKind, Announcement, OrganizationAnnouncement, tag_of
from registry.http.bodies import BODY_LIMIT
from registry.http.import_session import ImportSession, NumberedLine
from registry.i18n import render
from registry.imports import mapping as mappings
from registry.imports import workbook
from registry.imports.encodings import ENCODINGS
from registry.imports.messages import ImportText
from registry.imports.report import write_report
from registry.imports.tracker import questions
from registry.imports.tracker.notes import notes_of
from registry.imports.tracker.plan import ParsedLine, Plan, make_plan
from registry.imports.tracker.questions import CHOICES, QuestionFile
from registry.imports.workbook import CellError
from registry.infra import tasks
from registry.queries.deals import DealQueries
from registry.queries.imports import ImportQueries
from registry.queries.log import LogQueries
from registry.queries.principals import Principals
from registry.web.imports.jobs import ImportProblem, ImportQuestion, Job, JobStore, in_each_language
from registry.web.imports.sample import MAX_UNPACKED_BYTES, take_sample
from registry.web.imports.service_registry import ServiceRegistry

log = structlog.get_logger(__name__)

MAPPING, QUESTIONS, REPORT, SAMPLE = "mapping.toml", "questions.toml", "refused.csv", "sample.json"
"""Files of an import that its page offers, and the sample that it shows."""

MAX_SHOWN = 100
"""Problems and questions that a page shows; all of them are in the files."""

RETRY_SECONDS = (1, 2, 4, 8)
"""Waits before lines that failed by no fault of theirs are sent again."""

SAVE_SECONDS = 2.0
EXPIRY_SECONDS = 3600.0

Run = Literal["check", "import", "propose"]
"""What happens to the rows: nothing, or they are recorded, or sent to review."""


class _Stopped(Exception):
    """The service stops, or the import was deleted."""


class _Results(Struct):
    """What the recorder answered."""

    errors: list[CellError]
    flagged: int = 0


class ImportJobs:
    """The imports of the page, and the task that runs each."""

    def __init__(
        self,
        folder: Path,
        recorder: Recorder,
        proposals: Proposals,
        principals: Principals,
        queries: tuple[ImportQueries, DealQueries, LogQueries],
        four_eyes: frozenset[str],
    ) -> None:
        self.store = JobStore(folder)
        self._recorder = recorder
        self._proposals = proposals
        self._principals = principals
        self._queries = queries
        self._four_eyes = four_eyes
        self._slot = asyncio.Semaphore(1)
        self._stopping = asyncio.Event()
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._expiry: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.store.load()
        self._expiry = asyncio.create_task(self._expire())
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop the imports. What was recorded stays, and a second run completes them."""
        self._stopping.set()
        await tasks.end(self._expiry)
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _expire(self) -> None:
        while True:
            self.store.expire(datetime.now(UTC))
            await asyncio.sleep(EXPIRY_SECONDS)

    async def prepare(self, job: Job, *, replace: bool = False) -> None:
        """Take a sample of the uploaded sheets, and draft a mapping unless there is one that is not to be replaced.

        Raises:
            UnreadableSheet: A file is not a sheet.
        """
        async with self._slot:
            sample, draft = await asyncio.to_thread(
                take_sample, self.store.sheets(job), job.sheet, job.header, self.encoding(job)
            )
        self.store.path(job, SAMPLE).write_bytes(msgspec.json.encode(sample))
        file = self.store.path(job, MAPPING)
        if replace or not file.exists():
            file.write_text(draft, "utf-8")
        self.store.save(job)

    def encoding(self, job: Job) -> str | None:
        """The encoding of CSV files that the mapping or the upload named."""
        file = self.store.path(job, MAPPING)
        named = tomllib.loads(file.read_text("utf-8")).get("encoding") if file.exists() else None
        return named if isinstance(named, str) and named in ENCODINGS else job.encoding

    def start(self, job: Job, credential: Credential, language: str, run: Run) -> None:
        """Begin to read an import, and to record or propose it. Nothing happens while it is running."""
        if job.is_running:
            return
        job.phase, job.is_trial, job.proposes = "waiting", run == "check", run == "propose"
        job.proposal, job.proposed = None, 0
        job.rows = job.lines = job.sent = job.recorded = job.repeated = job.refused = 0
        job.problems, job.questions, job.notes = [], [], []
        job.problem_count = job.question_count = 0
        job.failure = None
        self.store.save(job)
        task = asyncio.create_task(self._run(job, credential, language))
        self._tasks[job.id] = task
        task.add_done_callback(lambda _: self._tasks.pop(job.id, None))

    # --- one import ---------------------------------------------------------------------------------------------------

    async def _run(self, job: Job, credential: Credential, language: str) -> None:
        try:
            async with self._slot:
                await self._import(job, credential, language)
        except _Stopped:
            job.phase = "stopped"
        except RegistryError as error:
            job.phase, job.failure = "failed", in_each_language(error.message)
        except Exception as error:
            log.error("import failed", import_id=job.id, exc_info=error)
            job.phase, job.failure = "failed", in_each_language(RegistryError().message)
        self.store.save(job)

    async def _import(self, job: Job, credential: Credential, language: str) -> None:
        if self._stopping.is_set():
            raise _Stopped
        job.phase = "reading"
        self.store.save(job)
        registry = ServiceRegistry(asyncio.get_running_loop(), *self._queries)
        plan = await asyncio.to_thread(self._plan, job, registry)
        try:
            job.lines = await asyncio.to_thread(lambda: sum(1 for _ in plan.lines()))
            results = _Results(list(plan.errors))
            if not job.is_trial:
                job.proposes = job.proposes or await asyncio.to_thread(self._needs_review, plan)
            if job.proposes:
                await self._propose(job, plan, credential)
            elif not job.is_trial:
                job.phase = "recording"
                self.store.save(job)
                await self._record(job, plan, credential, language, results)
            self._keep_texts(job, plan, results, language)
            job.refused = await asyncio.to_thread(self._report, job, plan, results.errors, language)
        finally:
            plan.spool.close()
        job.phase = "checked" if job.is_trial else "done"

    def _plan(self, job: Job, registry: ServiceRegistry) -> Plan:
        """The plan. This runs in a thread."""
        text = self.store.path(job, MAPPING).read_text("utf-8")
        mapping = mappings.parse(text, MAPPING)
        answers = self._answered(job).answers

        def progress(rows: int) -> None:
            job.rows = rows
            if self._stopping.is_set():
                raise _Stopped

        with workbook.open_sheets(self.store.sheets(job), MAX_UNPACKED_BYTES, self.encoding(job)) as sheets:
            plan = make_plan(sheets, mapping, job.published_on, registry, answers, progress)
        if plan is None:
            columns = tuple(" / ".join(names) for names in mapping.key_columns)
            raise BadMapping(reason=ImportText("key-columns-missing", columns=columns))
        job.rows = plan.rows
        return plan

    def _answered(self, job: Job) -> QuestionFile:
        file = self.store.path(job, QUESTIONS)
        return questions.read(file.read_text("utf-8"), QUESTIONS) if file.exists() else QuestionFile()

    # --- review -------------------------------------------------------------------------------------------------------

    def _needs_review(self, plan: Plan) -> bool:
        """Whether a second principal must approve a line. This runs in a thread."""
        return bool(self._four_eyes) and any(tag_of(one.event) in self._four_eyes for _, _, one in _decoded(plan))

    async def _propose(self, job: Job, plan: Plan, credential: Credential) -> None:
        """Send all lines to review, as one submission.

        Raises:
            TooLarge: They are more than one review may have.
            Unauthorized: The principal has lost its rights since it began the import.
        """
        if await asyncio.to_thread(lambda: sum(len(one.line) for one in plan.lines())) > BODY_LIMIT:
            raise TooLarge(limit=BODY_LIMIT)
        parts = await asyncio.to_thread(lambda: parts_of(_decoded(plan)))
        current = await self._principals.credential(credential.id, credential.key)
        if current is None:
            raise Unauthorized("unknown_key")
        found = await self._proposals.propose_import(current, parts)
        waiting = [*found.proposals, *found.waiting]
        job.proposal = waiting[0].id if waiting else None
        job.repeated = len(found.recorded)
        job.proposed = job.lines - job.repeated

    # --- recording ----------------------------------------------------------------------------------------------------

    async def _record(self, job: Job, plan: Plan, credential: Credential, language: str, results: _Results) -> None:
        failed = await self._send(job, plan, credential, language, results, None)
        for seconds in RETRY_SECONDS:
            if not failed:
                return
            await tasks.wait_for(self._stopping, seconds)
            if self._stopping.is_set():
                raise _Stopped
            failed = await self._send(job, plan, credential, language, results, failed)
        for number, line in enumerate(plan.lines()):
            if number in failed:
                results.errors.append(_refused(plan, line, failed[number]))

    async def _send(
        self,
        job: Job,
        plan: Plan,
        credential: Credential,
        language: str,
        results: _Results,
        only: dict[int, str] | None,
    ) -> dict[int, str]:
        """Record lines, or only those with these numbers. Returns those that failed by no fault of theirs."""
        failed: dict[int, str] = {}
        sent = _numbered(plan, only)
        session = ImportSession(self._recorder, credential, self._stopping, language)
        saved = asyncio.get_running_loop().time()
        async for answer in _answers(session.run(_lines(_numbered(plan, only)))):
            number, line = next(sent)
            status = answer["status"]
            if status >= 500:
                failed[number] = str(answer["detail"])
                continue
            job.sent += 1
            job.recorded += status == 201
            job.repeated += status == 200
            results.flagged += bool(answer.get("flags"))
            if status >= 400:
                results.errors.append(_refused(plan, line, str(answer["detail"])))
            if asyncio.get_running_loop().time() - saved > SAVE_SECONDS:
                self.store.save(job)
                saved = asyncio.get_running_loop().time()
        if self._stopping.is_set():
            raise _Stopped
        return failed

    # --- results ------------------------------------------------------------------------------------------------------

    def _keep_texts(self, job: Job, plan: Plan, results: _Results, language: str) -> None:
        job.notes = [in_each_language(note) for note in notes_of(plan)]
        if results.flagged:
            job.notes.append(in_each_language(ImportText("lines-flagged", count=results.flagged)))
        job.problem_count = len(results.errors)
        job.problems = [
            ImportProblem(error.at, error.column, error.value[:80], in_each_language(error.problem))
            for error in results.errors[:MAX_SHOWN]
        ]
        job.question_count = len(plan.questions)
        job.questions = [
            ImportQuestion(one.id, one.at, in_each_language(one.message), list(CHOICES[one.kind]))
            for one in plan.questions[:MAX_SHOWN]
        ]
        introduction = render(ImportText("questions-introduction"), language)
        text = questions.write(self._answered(job), plan.questions, lambda one: render(one, language), introduction)
        self.store.path(job, QUESTIONS).write_text(text, "utf-8")

    def _report(self, job: Job, plan: Plan, errors: Sequence[CellError], language: str) -> int:
        """Write the refused rows. This runs in a thread. Returns how many there are."""
        file = self.store.path(job, REPORT)
        file.unlink(missing_ok=True)
        if not errors:
            return 0
        with workbook.open_sheets(self.store.sheets(job), MAX_UNPACKED_BYTES, self.encoding(job)) as sheets:
            header_rows = {plan.sheet: plan.header_row}
            return write_report(file, sheets, header_rows, errors, lambda text: render(text, language))


def _decoded(plan: Plan) -> Iterator[tuple[AnnouncedKind, str, Announcement | OrganizationAnnouncement]]:
    return (intake.import_line(one.line) for one in plan.lines())


def _refused(plan: Plan, line: ParsedLine, detail: str) -> CellError:
    at = workbook.position(plan.sheet, line.row, 0)
    problem = ImportText("refused-by-registry", deal=line.slug, problem=detail)
    return CellError(at, problem, plan.sheet, line.row)


def _numbered(plan: Plan, only: dict[int, str] | None) -> Iterator[tuple[int, ParsedLine]]:
    return ((number, line) for number, line in enumerate(plan.lines()) if only is None or number in only)


async def _lines(lines: Iterator[tuple[int, ParsedLine]]) -> AsyncIterator[NumberedLine]:
    for number, line in lines:
        yield NumberedLine(number + 1, line.line)


async def _answers(chunks: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
    """The result of each line."""
    rest = b""
    async for chunk in chunks:
        *complete, rest = (rest + chunk).split(b"\n")
        for line in complete:
            if line:
                yield msgspec.json.decode(line)
