"""Correct, void and redact events by form, and add events to organizations: fill in, preview the changes, submit.

A form passes the same decoder and recorder as a POST to the API. The form of an article (`registry.web.articles`)
adds events to deals.
"""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias
from urllib.parse import urlencode
from uuid import uuid4

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency, Provide
from litestar.params import SkipValidation

from registry.append.proposals import Proposals
from registry.append.recorder import Recorder
from registry.append.requests import AppendRequest
from registry.domain import money
from registry.domain.principal import required_scope
from registry.errors import ApprovalRequired, Invalid, RedactionUnavailable, RuleBroken, VersionConflict
from registry.formatting.messages import messages
from registry.http.guards import check_scope
from registry.http.parameters import DealSlug, OrganizationSlug, text
from registry.queries.streams import StreamReader
from registry.web.articles.lookup import Lookup, chosen, picks, resolved, with_name
from registry.web.forms.parse import with_further_languages
from registry.web.page import render
from registry.web.page.request import READ, Page, PageRequest, Request, redirect
from registry.web.recording.pages import FormPages, amount_reading
from registry.web.recording.tasks import FormTask, StreamKind, build_announcement, load_task
from registry.web.sign_in.session import read_signed_form, require_key

MAX_AMOUNT_LENGTH = 300

# The fields of a form that are not part of the announcement.
_OWN_FIELDS = frozenset({"csrf", "step", "use", "type", "corrects", "voids", "redacts", "lang"})


FormQuery: TypeAlias = dict[str, str]
Tag: TypeAlias = Annotated[str | None, text("The type of the event to add.")]
EventId: TypeAlias = Annotated[str | None, text("The id of the event that the form changes.")]


def form_query(type: Tag = None, corrects: EventId = None, voids: EventId = None, redacts: EventId = None) -> FormQuery:
    """What a form is for, by its address."""
    given = {"type": type, "corrects": corrects, "voids": voids, "redacts": redacts}
    return {name: value for name, value in given.items() if value is not None}


def _typed(task: FormTask, sent: dict[str, str]) -> tuple[dict[str, str], str]:
    """The fields of a posted form, with the name that a button chose, and what to do with them."""
    typed = {"id": str(uuid4()), "version": str(task.version)}
    typed |= with_further_languages({name: text for name, text in sent.items() if name not in _OWN_FIELDS})
    choice = chosen(sent.get("use", ""))
    if choice is None:
        return typed, sent.get("step", "preview")
    pointer, old, new = choice
    return typed | {pointer: with_name(pointer, typed.get(pointer, ""), old, new)}, "edit"


class RecordingForms:
    """The forms that correct, void and redact events, and those of events of organizations."""

    def __init__(
        self,
        streams: NamedDependency[StreamReader],
        recorder: NamedDependency[Recorder],
        proposals: NamedDependency[SkipValidation[Proposals]],
        form_pages: NamedDependency[FormPages],
        lookup: NamedDependency[Lookup],
    ) -> None:
        self._streams = streams
        self._recorder = recorder
        self._proposals = proposals
        self._pages = form_pages
        self._lookup = lookup

    async def show(self, page: PageRequest, kind: StreamKind, slug: str, query: FormQuery) -> Response[bytes]:
        """The form, with the content of the event that it corrects."""
        task = await load_task(self._streams, require_key(page), kind, slug, query)
        typed = {
            **await self._lookup.with_names(task.original_values(page.language), page.language),
            "id": str(uuid4()),
            "version": str(task.version),
        }
        return render.send(page, await self._pages.form(page, task, typed))

    async def submit(self, page: PageRequest, kind: StreamKind, slug: str) -> Response[bytes]:
        """Answer a posted form: the form again with its errors, a preview, or a redirect once the event is recorded."""
        sent, key = await read_signed_form(page)
        task = await load_task(self._streams, key, kind, slug, sent)
        typed, step = _typed(task, sent)
        if step == "edit":
            return render.send(page, await self._pages.form(page, task, typed))
        found = await self._lookup.find_in(typed, page.language)
        try:
            self._lookup.check(typed, found)
            announcement, readings = build_announcement(task, resolved(typed, found))
            proposes = key.allows("propose") and not key.allows(required_scope(announcement.event))
            if not proposes:
                check_scope(key, required_scope(announcement.event))
            if proposes and step == "record":
                return await self._propose(page, kind, slug, announcement)
            request = AppendRequest(
                kind=kind,
                slug=slug,
                announcements=[announcement],
                by=key.id,
                # A principal who may only propose sees the preview too, because it records nothing.
                credential=None if proposes else key,
                expected_version=int(typed["version"]) if typed["version"].isdigit() else None,
                dry_run=step != "record",
            )
            try:
                outcome = await self._recorder.record(request)
            except ApprovalRequired:
                return await self._propose(page, kind, slug, announcement)
        except Invalid as error:
            offered = picks(error.field_errors, found)
            answer = await self._pages.form(page, task, typed, errors=error.field_errors, picks=offered, status=422)
            return render.send(page, answer)
        except RuleBroken as error:
            refused = await self._pages.form(
                page, task, typed, problem=error.refusal, stranded=error.events, status=409
            )
            return render.send(page, refused)
        except RedactionUnavailable as error:
            return render.send(page, await self._pages.form(page, task, typed, problem=error.message, status=503))
        except VersionConflict as error:
            typed["version"] = str(error.params["actual"])
            return render.send(page, await self._pages.form(page, task, typed, problem=error.message, status=412))
        if step == "record":
            query = {**({"recorded": "true"} if kind == "deal" else {}), **page.language_params()}
            return redirect(f"{task.home}?{urlencode(query)}#event-{announcement.id}")
        content = {name: text for name, text in sent.items() if name not in ("csrf", "step")}
        return render.send(page, await self._pages.preview(page, task, announcement, readings, outcome, content))

    async def _propose(self, page: PageRequest, kind: StreamKind, slug: str, announcement: Any) -> Response[bytes]:
        """Add an announcement to the review queue instead of recording it."""
        proposal = await self._proposals.propose(require_key(page), kind, slug, [announcement])
        return redirect(page.link(f"/proposals/{proposal.id}"))


class RecordingPages(Controller):
    """The forms of deals and organizations."""

    dependencies = {  # noqa: RUF012 - Litestar's attribute
        "form_pages": Provide(FormPages, sync_to_thread=False),
        "lookup": Provide(Lookup, sync_to_thread=False),
        "forms": Provide(RecordingForms, sync_to_thread=False),
        "form_query": Provide(form_query, sync_to_thread=False),
    }

    @route("/deals/{deal:str}/record", http_method=READ)
    async def get_deal_form(
        self,
        page: Page,
        deal: DealSlug,
        forms: NamedDependency[RecordingForms],
        form_query: NamedDependency[FormQuery],
    ) -> Response[bytes]:
        """The form that corrects, voids or redacts an event of a deal."""
        return await forms.show(page, "deal", deal, form_query)

    @route("/organizations/{organization:str}/record", http_method=READ)
    async def get_organization_form(
        self,
        page: Page,
        organization: OrganizationSlug,
        forms: NamedDependency[RecordingForms],
        form_query: NamedDependency[FormQuery],
    ) -> Response[bytes]:
        """The form of an event of an organization."""
        return await forms.show(page, "organization", organization, form_query)

    @post("/deals/{deal:str}/record", status_code=200)
    async def post_deal_form(
        self, page: Page, deal: DealSlug, forms: NamedDependency[RecordingForms]
    ) -> Response[bytes]:
        """Preview or record what corrects, voids or redacts an event of a deal."""
        return await forms.submit(page, "deal", deal)

    @post("/organizations/{organization:str}/record", status_code=200)
    async def post_organization_form(
        self, page: Page, organization: OrganizationSlug, forms: NamedDependency[RecordingForms]
    ) -> Response[bytes]:
        """Preview or add an event of an organization."""
        return await forms.submit(page, "organization", organization)


@route("/record/amount", http_method=READ)
async def parse_amount(request: Request, public_page: Page) -> Response[bytes]:
    """How an amount is understood while the editor types it: a fragment of a page.

    The parameter has the name of the form field, whatever that is, so its query is not checked.
    """
    texts = (value for name, value in request.query_params.multi_items() if name != "lang")
    text = next(texts, "")[:MAX_AMOUNT_LENGTH]
    reading, problem = "", ""
    if text.strip():
        try:
            reading = amount_reading(money.parse(text).amount, public_page.language)
        except money.AmountParseError as error:
            problem = messages(public_page.language).text(error.message)
    return render.send(public_page, render.render(public_page, "amount.html", reading=reading, problem=problem))
