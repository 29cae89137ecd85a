"""Pages of an import: upload, map the columns, look at the first rows, check all rows, import, answer questions.

Every step is a form and a redirect, so all steps work without scripts, and the Back button repeats none.
"""

from __future__ import annotations

import asyncio
import tempfile
import tomllib
from datetime import date
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from registry.domain.calendar import Calendar
from registry.domain.principal import Credential
from registry.errors import BadMapping, InvalidParameter, NotFound, Overloaded, TooLarge, UnreadableSheet
from registry.http.guards import check_scope
from registry.http.parameters import text
from registry.i18n import Message, render
from registry.imports.encodings import ENCODINGS
from registry.imports.mapping import document, form_data
from registry.imports.mapping.parse import check
from registry.imports.messages import ImportText
from registry.imports.tracker import questions
from registry.web.imports import views
from registry.web.imports.jobs import MAX_FILES, MAX_UPLOAD_BYTES, Job
from registry.web.imports.runner import MAPPING, QUESTIONS, REPORT, SAMPLE, ImportJobs, Run
from registry.web.imports.sample import read_sample
from registry.web.imports.upload import FileTarget, Upload, receive
from registry.web.page.request import READ, Page, PageRequest, Request, check_csrf, redirect
from registry.web.sign_in.session import read_signed_form, require_key

MAX_FORM_BYTES = 2 * 2**20
MAX_FORM_FIELDS = 6_000
MAX_TEXT_BYTES = 256 * 1024
"""Bytes of a mapping, or of a file of questions."""

DOWNLOADS = {MAPPING: "application/toml", QUESTIONS: "application/toml", REPORT: "text/csv"}

Jobs = NamedDependency[SkipValidation[ImportJobs]]


class ImportPages(Controller):
    """The pages of imports."""

    @route("/import", http_method=READ)
    async def get_imports(
        self, public_page: Page, import_jobs: Jobs, calendar: NamedDependency[Calendar]
    ) -> Response[bytes]:
        """The form that takes a sheet, and the imports that the principal has begun."""
        key = _editor(public_page)
        return views.listed(public_page, import_jobs, key, calendar.today())

    @post("/import", status_code=303)
    async def post_import(
        self, request: Request, public_page: Page, import_jobs: Jobs, calendar: NamedDependency[Calendar]
    ) -> Response[bytes]:
        """Take the files of a new import."""
        key = _editor(public_page)
        store = import_jobs.store
        begun: list[Job] = []

        def folder(fields: dict[str, str]) -> Path:
            if not begun:
                check_csrf(request, public_page.session.token, fields.get("csrf", ""))
                begun.append(store.create(key.id, _day(fields.get("published_on", ""), calendar.today())))
            return store.path(begun[0], "files")

        try:
            received = await receive(request, FileTarget(folder, MAX_UPLOAD_BYTES, MAX_FILES))
            check_csrf(request, public_page.session.token, received.fields.get("csrf", ""))
            if not begun:
                return views.listed(public_page, import_jobs, key, calendar.today(), ImportText("no-file"), 422)
            [job] = begun
            job.files = [path.name for name, path in received.files if name == "file"]
            job.encoding = _encoding(received.fields.get("encoding", ""))
            problem = await asyncio.to_thread(_take_mapping, import_jobs, job, received)
            if problem is None and not job.files:
                problem = ImportText("no-file")
            if problem is not None:
                store.delete(job)
                return views.listed(public_page, import_jobs, key, calendar.today(), problem, 422)
            await import_jobs.prepare(job)
        except (UnreadableSheet, Overloaded) as error:
            for job in begun:
                store.delete(job)
            return views.listed(public_page, import_jobs, key, calendar.today(), error.message, 422)
        except BaseException:
            for job in begun:
                store.delete(job)
            raise
        return redirect(public_page.link(f"/import/{job.id}"))

    @route("/import/{id:str}", http_method=READ)
    async def get_job(
        self,
        public_page: Page,
        id: FromPath[str],
        import_jobs: Jobs,
        show: Annotated[str | None, text("The place of a field of the mapping that is to be added.")] = None,
    ) -> Response[bytes]:
        """An import: its sheet and its mapping, or how far it is, or what came of it."""
        job = import_jobs.store.find(_editor(public_page).id, id)
        return await views.shown(public_page, import_jobs, job, show or "")

    @route("/import/{id:str}/{name:str}", http_method=READ)
    async def get_file(
        self, public_page: Page, id: FromPath[str], name: FromPath[str], import_jobs: Jobs
    ) -> Response[bytes]:
        """A file of an import: its mapping, the refused rows, the questions."""
        job = import_jobs.store.find(_editor(public_page).id, id)
        file = import_jobs.store.path(job, name)
        if name not in DOWNLOADS or not file.is_file():
            raise NotFound("path", path=public_page.path[:200])
        stem = job.files[0].rpartition(".")[0] if job.files else "import"
        headers = {
            "Content-Disposition": f"attachment; filename*=UTF-8''{quote(f'{stem}-{name}')}",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
        }
        return Response(file.read_bytes(), media_type=f"{DOWNLOADS[name]}; charset=utf-8", headers=headers)

    @post("/import/{id:str}/mapping", status_code=303)
    async def post_mapping(self, public_page: Page, id: FromPath[str], import_jobs: Jobs) -> Response[bytes]:
        """Save the mapping as the form has it, and add or remove a part of it."""
        job, sent = await _sent(public_page, id, import_jobs)
        file = import_jobs.store.path(job, MAPPING)
        before, encoding = file.read_text("utf-8"), import_jobs.encoding(job)
        if "toml" in sent:
            data_text = sent["toml"].replace("\r\n", "\n")
            try:
                await asyncio.to_thread(check, data_text, MAPPING)
            except BadMapping as error:
                return await views.shown(public_page, import_jobs, job, problem=error.message, status=422)
            file.write_text(data_text, "utf-8")
            anchor = ""
        else:
            table = read_sample(import_jobs.store.path(job, SAMPLE)).table(check(before, MAPPING)[0], job)
            data = form_data.data_of(sent, tomllib.loads(before), table.header if table is not None else ())
            anchor = form_data.edit(data, sent.get("do", ""))
            file.write_text(document.to_toml(data), "utf-8")
        problem = await _use_encoding(import_jobs, job, before, encoding)
        if problem is not None:
            return await views.shown(public_page, import_jobs, job, problem=problem, status=422)
        job.phase = "mapping"
        import_jobs.store.save(job)
        added = sent.get(f"add:{anchor}", "") if sent.get("do", "").startswith("field:") else ""
        at = f"#{anchor.replace('/', '-')}" if anchor else "#mapping"
        return redirect(public_page.link(f"/import/{job.id}", show=added or None) + at)

    @post("/import/{id:str}/header", status_code=303)
    async def post_header(self, public_page: Page, id: FromPath[str], import_jobs: Jobs) -> Response[bytes]:
        """Draft the mapping for another sheet, or for another row as the header."""
        job, sent = await _sent(public_page, id, import_jobs)
        number = sent.get("header", "")
        if number and not (number.isascii() and number.isdigit() and 1 <= int(number) <= 1000):
            raise InvalidParameter("integer", parameter="header", low=1, high=1000)
        names = [sampled.name for sampled in read_sample(import_jobs.store.path(job, SAMPLE)).sheets]
        if sent.get("sheet", "") not in names:
            raise InvalidParameter("choice", parameter="sheet", known=tuple(names))
        job.sheet, job.header = sent["sheet"], int(number) if number else None
        await import_jobs.prepare(job, replace=True)
        return redirect(public_page.link(f"/import/{job.id}"))

    @post("/import/{id:str}/files", status_code=303)
    async def post_files(
        self, request: Request, public_page: Page, id: FromPath[str], import_jobs: Jobs
    ) -> Response[bytes]:
        """Take a mapping, or a file with answered questions."""
        job = import_jobs.store.find(_editor(public_page).id, id)

        with tempfile.TemporaryDirectory(prefix="received-", dir=import_jobs.store.path(job, "")) as new:

            def folder(fields: dict[str, str]) -> Path:
                check_csrf(request, public_page.session.token, fields.get("csrf", ""))
                _check_idle(job)
                return Path(new)

            received = await receive(request, FileTarget(folder, MAX_TEXT_BYTES, 2))
            before, encoding = import_jobs.store.path(job, MAPPING).read_text("utf-8"), import_jobs.encoding(job)
            problem = await asyncio.to_thread(
                lambda: _take_mapping(import_jobs, job, received) or _take_answers(import_jobs, job, received)
            )
        problem = problem or await _use_encoding(import_jobs, job, before, encoding)
        if problem is not None:
            return await views.shown(public_page, import_jobs, job, problem=problem, status=422)
        import_jobs.store.save(job)
        return redirect(public_page.link(f"/import/{job.id}"))

    @post("/import/{id:str}/answers", status_code=303)
    async def post_answers(self, public_page: Page, id: FromPath[str], import_jobs: Jobs) -> Response[bytes]:
        """Keep the answers to questions; `rest` answers those that have none and may be answered so."""
        job, sent = await _sent(public_page, id, import_jobs)
        file = import_jobs.store.path(job, QUESTIONS)
        if file.is_file():
            answers = {name.removeprefix("answer:"): answer for name, answer in sent.items() if answer}
            text = file.read_text("utf-8")
            for one in tomllib.loads(text).get("question", []):
                if sent.get("rest") and not one["answer"] and sent["rest"] in one["choices"].split(" | "):
                    answers.setdefault(one["id"], sent["rest"])
            introduction = render(ImportText("questions-introduction"), public_page.language)
            try:
                file.write_text(questions.answer(text, QUESTIONS, answers, introduction), "utf-8")
            except BadMapping as error:
                return await views.shown(public_page, import_jobs, job, problem=error.message, status=422)
            _mark_answers(job, answers)
        import_jobs.store.save(job)
        return redirect(public_page.link(f"/import/{job.id}") + "#questions")

    @post("/import/{id:str}/run", status_code=303)
    async def post_run(self, public_page: Page, id: FromPath[str], import_jobs: Jobs) -> Response[bytes]:
        """Read all rows, and record them or send them to review unless it is a check."""
        job, sent = await _sent(public_page, id, import_jobs)
        text_of_mapping = import_jobs.store.path(job, MAPPING).read_text("utf-8")
        if check(text_of_mapping, MAPPING)[0] is None:
            return redirect(public_page.link(f"/import/{job.id}") + "#mapping")
        job.published_on = _day(sent.get("published_on", ""), job.published_on)
        key = _editor(public_page)
        run: Run = "import" if sent.get("do") == "import" else "propose" if sent.get("do") == "propose" else "check"
        if run == "import":
            check_scope(key, "record")
        import_jobs.start(job, key, public_page.language, run)
        return redirect(public_page.link(f"/import/{job.id}"))

    @post("/import/{id:str}/delete", status_code=303)
    async def post_delete(
        self, request: Request, public_page: Page, id: FromPath[str], import_jobs: Jobs
    ) -> Response[bytes]:
        """Delete the files and the state of an import. What it recorded stays."""
        job, _ = await _sent(public_page, id, import_jobs)
        import_jobs.store.delete(job)
        return redirect(public_page.link("/import"))


# --- requests ---------------------------------------------------------------------------------------------------------


def _editor(page: PageRequest) -> Credential:
    key = require_key(page)
    if not key.allows("propose"):
        check_scope(key, "record")
    if not page.request.app.state.settings.public_read:
        # The rows are compared with what is recorded.
        check_scope(key, "read")
    return key


async def _sent(page: PageRequest, id: str, jobs: ImportJobs) -> tuple[Job, dict[str, str]]:
    """The import that a form is about, which is not running, and the form's fields."""
    sent, _ = await read_signed_form(page, MAX_FORM_BYTES, MAX_FORM_FIELDS)
    job = jobs.store.find(_editor(page).id, id)
    _check_idle(job)
    return job, sent


def _check_idle(job: Job) -> None:
    if job.is_running:
        raise Overloaded("import_running")


def _day(sent: str, otherwise: date) -> date:
    if not sent:
        return otherwise
    try:
        return date.fromisoformat(sent)
    except ValueError:
        raise InvalidParameter("date", parameter="published_on") from None


def _encoding(sent: str) -> str | None:
    if sent and sent not in ENCODINGS:
        raise InvalidParameter("choice", parameter="encoding", known=tuple(ENCODINGS))
    return sent or None


async def _use_encoding(jobs: ImportJobs, job: Job, before: str, encoding: str | None) -> Message | None:
    """Take the sample again if a new mapping names another encoding. One that is wrong leaves the mapping before."""
    if jobs.encoding(job) == encoding:
        return None
    try:
        await jobs.prepare(job)
    except UnreadableSheet as error:
        jobs.store.path(job, MAPPING).write_text(before, "utf-8")
        return error.message
    return None


def _take_mapping(jobs: ImportJobs, job: Job, received: Upload) -> Message | None:
    """Use an uploaded mapping. Returns what is wrong with it: it is not TOML."""
    for name, path in received.files:
        if name == "mapping":
            try:
                if path.stat().st_size > MAX_TEXT_BYTES:
                    raise TooLarge(limit=MAX_TEXT_BYTES)
                content = path.read_text("utf-8-sig")
                check(content, path.name)
            except UnicodeDecodeError as error:
                return ImportText("not-utf8", position=error.start)
            except BadMapping as error:
                return error.message
            finally:
                path.unlink()
            jobs.store.path(job, MAPPING).write_text(content, "utf-8")
            job.phase = "mapping"
    return None


def _take_answers(jobs: ImportJobs, job: Job, received: Upload) -> Message | None:
    """Use an uploaded file of questions with answers. Returns what is wrong with it."""
    for name, path in received.files:
        if name == "questions":
            try:
                content = path.read_text("utf-8-sig")
                answered = questions.read(content, path.name)
            except UnicodeDecodeError as error:
                return ImportText("not-utf8", position=error.start)
            except BadMapping as error:
                return error.message
            finally:
                path.unlink()
            jobs.store.path(job, QUESTIONS).write_text(content, "utf-8")
            _mark_answers(job, dict(answered.answers))
    return None


def _mark_answers(job: Job, answers: Any) -> None:
    for question in job.questions:
        question.answer = answers.get(question.id, question.answer)
