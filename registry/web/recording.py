"""Add events by form: choose the event type, fill in its fields, preview the changes, submit.

A form passes the same decoder and recorder as a POST to the API.
"""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import uuid4

import msgspec
from litestar import Controller, Response, post, route
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath

from registry.api.deals import required_scope
from registry.api.guards import check_scope
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain import money
from registry.errors import Invalid, RedactionUnavailable, RuleBroken, VersionConflict
from registry.i18n import LANGUAGES
from registry.queries.streams import StreamReader
from registry.web import query as parameters
from registry.web import render
from registry.web.form_pages import FormPages, amount_reading
from registry.web.form_tasks import StreamKind, build_announcement, load_task
from registry.web.messages import messages
from registry.web.query import READ, check_slug
from registry.web.request import Known, Redirected, Request, check_csrf, page_request, public_request
from registry.web.session import read_form, redirect, require_key

TASK_PARAMETERS: Known = dict.fromkeys(("type", "corrects", "voids", "redacts"), parameters.text)
MAX_AMOUNT_LENGTH = 300

# The fields of a form that are not part of the announcement.
_OWN_FIELDS = frozenset({"csrf", "step", "type", "corrects", "voids", "redacts", "lang"})


class RecordingPages(Controller):
    """The forms of deals and organizations."""

    dependencies = {"form_pages": Provide(FormPages, sync_to_thread=False)}  # noqa: RUF012 - Litestar's attribute

    @route("/record", http_method=READ)
    async def choose_deal(self, request: Request, form_pages: NamedDependency[FormPages]) -> Response[bytes]:
        """Ask which deal an event belongs to, and go to its form."""
        page = await page_request(request, {"deal": parameters.text, "new": parameters.text})
        require_key(page)
        if "deal" in page.params or "new" in page.params:
            new = "new" in page.params
            slug = check_slug(page.params["new" if new else "deal"].strip())
            query = {**({"type": "deal_registered"} if new else {}), **page.language_params()}
            raise Redirected(f"/deals/{slug}/record" + (f"?{urlencode(query)}" if query else ""))
        return render.send(page, await form_pages.choose_deal(page))

    @route("/record/amount", http_method=READ)
    async def parse_amount(self, request: Request) -> Response[bytes]:
        """How an amount is understood while the editor types it: a fragment of a page.

        The parameter has the name of the form field, whatever that is.
        """
        given = dict(request.query_params.items())
        text = next((value for name, value in given.items() if name != "lang"), "")[:MAX_AMOUNT_LENGTH]
        chosen = {"lang": given["lang"]} if given.get("lang") in LANGUAGES else {}
        page = public_request(request, chosen, None, None)
        reading, problem = "", ""
        if text.strip():
            try:
                reading = amount_reading(money.parse(text).amount, page.language)
            except money.AmountParseError as error:
                problem = messages(page.language).text(error.message)
        return render.send(page, render.render(page, "amount.html", reading=reading, problem=problem))

    @route("/deals/{deal:str}/record", http_method=READ)
    async def get_deal_form(
        self,
        request: Request,
        deal: FromPath[str],
        streams: NamedDependency[StreamReader],
        form_pages: NamedDependency[FormPages],
    ) -> Response[bytes]:
        """The form of an event of a deal."""
        return await show_form(request, "deal", deal, streams, form_pages)

    @route("/organizations/{organization:str}/record", http_method=READ)
    async def get_organization_form(
        self,
        request: Request,
        organization: FromPath[str],
        streams: NamedDependency[StreamReader],
        form_pages: NamedDependency[FormPages],
    ) -> Response[bytes]:
        """The form of an event of an organization."""
        return await show_form(request, "organization", organization, streams, form_pages)

    @post("/deals/{deal:str}/record", status_code=200)
    async def post_deal_form(
        self,
        request: Request,
        deal: FromPath[str],
        streams: NamedDependency[StreamReader],
        recorder: NamedDependency[Recorder],
        form_pages: NamedDependency[FormPages],
    ) -> Response[bytes]:
        """Preview or add an event of a deal."""
        return await submit_form(request, "deal", deal, streams, recorder, form_pages)

    @post("/organizations/{organization:str}/record", status_code=200)
    async def post_organization_form(
        self,
        request: Request,
        organization: FromPath[str],
        streams: NamedDependency[StreamReader],
        recorder: NamedDependency[Recorder],
        form_pages: NamedDependency[FormPages],
    ) -> Response[bytes]:
        """Preview or add an event of an organization."""
        return await submit_form(request, "organization", organization, streams, recorder, form_pages)


async def show_form(
    request: Request, kind: StreamKind, slug: str, streams: StreamReader, form_pages: FormPages
) -> Response[bytes]:
    """The form, with the content of the event that it corrects."""
    page = await page_request(request, TASK_PARAMETERS)
    task = await load_task(streams, require_key(page), kind, slug, page.params)
    typed = {**task.original_values(), "id": str(uuid4()), "version": str(task.version)}
    return render.send(page, await form_pages.form(page, task, typed))


async def submit_form(
    request: Request, kind: StreamKind, slug: str, streams: StreamReader, recorder: Recorder, form_pages: FormPages
) -> Response[bytes]:
    """Answer a posted form: the form again with its errors, a preview, or a redirect once the event is recorded."""
    sent = await read_form(request)
    page = await page_request(request, TASK_PARAMETERS)
    key = require_key(page)
    check_csrf(request, page.token, sent.get("csrf", ""))
    task = await load_task(streams, key, kind, slug, sent)
    typed = {"id": str(uuid4()), "version": str(task.version)}
    typed |= {name: text for name, text in sent.items() if name not in _OWN_FIELDS}
    step = sent.get("step", "preview")
    if step == "edit":
        return render.send(page, await form_pages.form(page, task, typed))
    try:
        announcement, readings = build_announcement(task, typed)
        check_scope(key, required_scope(announcement.event))
        outcome = await recorder.record(
            AppendRequest(
                kind=kind,
                slug=slug,
                announcements=[announcement],
                by=key.id,
                expected_version=int(typed["version"]) if typed["version"].isdigit() else None,
                dry_run=step != "record",
            )
        )
    except Invalid as error:
        return render.send(page, await form_pages.form(page, task, typed, errors=error.field_errors, status=422))
    except RuleBroken as error:
        return render.send(page, await form_pages.form(page, task, typed, problem=error.refusal, status=409))
    except RedactionUnavailable as error:
        return render.send(page, await form_pages.form(page, task, typed, problem=error.message, status=503))
    except VersionConflict as error:
        typed["version"] = str(error.params["actual"])
        return render.send(page, await form_pages.form(page, task, typed, problem=error.message, status=412))
    if step == "record":
        query = {**({"recorded": "true"} if kind == "deal" else {}), **page.language_params()}
        return redirect(f"{task.home}?{urlencode(query)}#event-{announcement.id}")
    content = {name: text for name, text in sent.items() if name not in ("csrf", "step")}
    dry_run = msgspec.json.decode(outcome.response)
    return render.send(page, await form_pages.preview(page, task, announcement, readings, dry_run, content))
