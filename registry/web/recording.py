"""Recording by form: choose what happened, fill in its fields, see what would change, and only then record it.

A key is signed in with a cookie that scripts cannot read and other sites cannot send; every form carries a token that
only the key's holder can make. What is recorded goes through the intake and the recorder that a POST to the API meets.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, get_type_hints
from urllib.parse import parse_qsl, urlencode
from uuid import uuid4

import msgspec
from litestar import Response, post, route
from litestar.params import FromPath
from msgspec import UNSET, Struct

from registry.api.deals import required_scope
from registry.append.requests import AppendRequest as Record
from registry.domain import money
from registry.domain.admission import fill_defaults
from registry.domain.corrections import EffectiveEvent
from registry.domain.deal import ConditionState, Deal, MilestoneState, PartyState, PledgeState, RelationState, SiteState
from registry.domain.history import FoldedStream
from registry.domain.organization import Organization
from registry.domain.plausibility import Flag
from registry.errors import (
    FieldError,
    Invalid,
    InvalidParameter,
    NotFound,
    RedactionUnavailable,
    RegistryError,
    RuleBroken,
    TooLarge,
    Unauthorized,
)
from registry.events import intake
from registry.events.types import (
    Announcement,
    Event,
    EventCorrected,
    EventRedacted,
    EventVoided,
    OrganizationAnnouncement,
    Recorded,
    Replacement,
    tag_of,
)
from registry.i18n import LANGUAGES, Message
from registry.infra.keys import Key
from registry.web import render
from registry.web.fields import organizations_in
from registry.web.format import shown
from registry.web.forms import build
from registry.web.forms.build import FormContext
from registry.web.forms.event_types import DEAL_GROUPS, ORGANIZATION_GROUPS, REGISTRATIONS, form_event_type
from registry.web.forms.parse import form_values, parse
from registry.web.messages import messages
from registry.web import query as parameters
from registry.web.names import deal_page_names, organization_names
from registry.web.query import READ
from registry.web.render import Rendered
from registry.web.request import (
    COOKIE,
    Known,
    PageRequest,
    Redirected,
    Request,
    check_csrf,
    page_request,
    public_request,
    signed_in,
)

FORM_LIMIT = 256 * 1024
FORM_FIELDS = 600
SESSION_SECONDS = 12 * 60 * 60
SUGGESTED = 500

# What a form carries beside the announcement itself.
_OWN = frozenset({"csrf", "step", "id", "version", "type", "corrects", "voids", "redacts", "reason", "lang"})


async def form(request: Request) -> dict[str, str]:
    """A posted form's fields. Raises UnsupportedMediaType and TooLarge."""
    body = await parameters.body(request, "application/x-www-form-urlencoded")
    if len(body) > FORM_LIMIT:
        raise TooLarge(limit=FORM_LIMIT)
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=FORM_FIELDS))
    except ValueError:
        raise InvalidParameter("form", parameter="form") from None


# --- signing in -------------------------------------------------------------------------------------------------------


def safe_redirect_path(target: str) -> str:
    """An address of this site; the portfolio for any other."""
    safe = target.startswith("/") and not target.startswith(("//", "/\\")) and not set(target) & set("\r\n\t\\")
    return target if safe else "/"


@route("/sign-in", http_method=READ)
async def get_sign_in(request: Request) -> Response[bytes]:
    """The form that takes a key."""
    visit = await sign_in_visit(request)
    return render.send(visit, sign_in_page(visit, safe_redirect_path(visit.asked.get("then", "/")), None, 200))


async def sign_in_visit(request: Request) -> PageRequest:
    """A visit that needs no key even where reading does."""
    asked = parameters.query(request, {"then": parameters.text, "lang": parameters.choice(*LANGUAGES)})
    key, token = await signed_in(request)
    return public_request(request, asked, key, token)


def sign_in_page(visit: PageRequest, then: str, problem: str | None, status: int) -> Rendered:
    return render.render(visit, "sign_in.html", status, then=then, problem=problem)


@post("/sign-in", status_code=303)
async def post_sign_in(request: Request) -> Response[bytes]:
    """Keeps a key that is known in a cookie for some hours."""
    sent = await form(request)
    check_csrf(request, None, "")
    token = sent.get("key", "").strip()
    key = await request.app.state.services.keys.find(token) if token else None
    then = safe_redirect_path(sent.get("then", "/"))
    if key is None:
        visit = await sign_in_visit(request)
        return render.send(
            visit,
            sign_in_page(visit, then, shown(visit.language).words.gettext("Invalid or revoked API key."), 401),
        )
    secure = "; Secure" if request.url.scheme == "https" else ""
    cookie = f"{COOKIE}={token}; Path=/; Max-Age={SESSION_SECONDS}; HttpOnly; SameSite=Strict{secure}"
    return Response(b"", status_code=303, headers={"Location": then, "Set-Cookie": cookie, "Cache-Control": "no-store"})


@post("/sign-out", status_code=303)
async def post_sign_out(request: Request) -> Response[bytes]:
    """Forgets the key."""
    sent = await form(request)
    _, token = await signed_in(request)
    check_csrf(request, token, sent.get("csrf", ""))
    cookie = f"{COOKIE}=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    return Response(b"", status_code=303, headers={"Location": "/", "Set-Cookie": cookie, "Cache-Control": "no-store"})


# --- choosing what happened -------------------------------------------------------------------------------------------


@route("/record", http_method=READ)
async def get_record(request: Request) -> Response[bytes]:
    """Which deal is it about, or is it a new one?"""
    visit = await page_request(request, {"deal": parameters.text, "new": parameters.text})
    required(visit)
    if "deal" in visit.asked or "new" in visit.asked:
        new = "new" in visit.asked
        slug = parameters.slug(visit.asked["new" if new else "deal"].strip())
        query = {**({"type": "deal_registered"} if new else {}), **visit.language_params()}
        raise Redirected(f"/deals/{slug}/record" + (f"?{urlencode(query)}" if query else ""))
    return render.send(
        visit,
        render.render(
            visit,
            "record_choose.html",
            deals=await suggested(visit),
        ),
    )


def required(visit: PageRequest) -> Key:
    """The signed-in key. Raises Unauthorized, which leads to the sign-in page."""
    if visit.key is None:
        raise Unauthorized("sign_in_to_record")
    return visit.key


async def suggested(visit: PageRequest) -> list[tuple[str, str]]:
    """The deals that a form offers: their slugs, and what they are called."""
    clock, at, _ = await visit.registry.portfolio.known_axis(visit.clocks)
    found = await visit.registry.portfolio.page(clock, at, visit.times.today, [], None, "", SUGGESTED)
    own = shown(visit.language).words.localized
    return [(row["deal"], own(row.get("title"), row["deal"])) for row in map(msgspec.json.decode, found.rows)]


async def known(visit: PageRequest, history: FoldedStream[Any] | None) -> FormContext:
    """What a form offers to choose from."""
    organizations = await visit.registry.organizations.page("", None, SUGGESTED)
    return FormContext(
        history.state if history is not None and hasattr(history.state, "pledges") else None,
        tuple(msgspec.json.decode(o)["organization"] for o in organizations),
        tuple(slug for slug, _ in await suggested(visit)),
    )


@route("/record/amount", http_method=READ)
async def get_amount(request: Request) -> Response[bytes]:
    """How an amount that somebody types is read, as a line of a page."""
    given = dict(request.query_params.items())
    text = next((v for k, v in given.items() if k != "lang"), "")[:300]
    visit = public_request(request, {k: v for k, v in given.items() if k == "lang" and v in LANGUAGES}, None, None)
    reading, problem = "", ""
    if text.strip():
        try:
            parsed = money.parse(text)
            reading = reading_of(parsed.amount, visit.language)
        except money.AmountParseError as error:
            problem = messages(visit.language).text(error.message)
    return render.send(visit, render.render(visit, "amount.html", reading=reading, problem=problem))


def reading_of(amount: Any, language: str) -> str:
    """An amount as it was read, in full digits."""
    parts = []
    for stated in (amount, *amount.stated_as):
        figure = stated.value or "–".join(filter(None, (getattr(stated, "low", None), getattr(stated, "high", None))))
        digits = "–".join(f"{int(v):,}" if v.isdigit() else v for v in figure.split("–")) if figure else ""
        qualifier = f", {shown(language).words.label('qualifier', stated.qualifier)}" if stated.qualifier else ""
        parts.append(f"{stated.currency} {digits}{qualifier}")
    return " = ".join(parts)


# --- the form ---------------------------------------------------------------------------------------------------------


class FormTask(Struct):
    """What a form is for: the stream, the event type, and what it corrects, voids or redacts."""

    kind: str
    slug: str
    history: FoldedStream[Any] | None
    event: type[Event] | None
    original: EffectiveEvent | None = None
    voids: EffectiveEvent | None = None
    redacts: EffectiveEvent | None = None

    @property
    def of_record(self) -> bool:
        """Whether it is about another record, and so says why."""
        return any((self.original, self.voids, self.redacts))

    @property
    def quoting(self) -> list[Recorded]:
        """What is erased with the event that it redacts: the corrections that quote it."""
        if self.history is None or self.redacts is None:
            return []
        whole = fill_defaults(self.history, EventRedacted(redacts=self.redacts.recorded.id, reason=""))
        assert isinstance(whole, EventRedacted)
        return [self.history.record.by_id[id].recorded for id in whole.also]

    @property
    def version(self) -> int:
        return self.history.version if self.history is not None else 0

    @property
    def home(self) -> str:
        return f"/{self.kind}s/{self.slug}"


async def task_of(visit: PageRequest, kind: str, slug: str, said: Mapping[str, str]) -> FormTask:
    """Reads what a form is for. Raises NotFound for an event that is not this stream's, and Forbidden for an erasure by
    a key that may not erase: that is said before anything is filled in.
    """
    parameters.slug(slug)
    history, _ = await visit.registry.streams.load(f"{kind}/{slug}")
    task = FormTask(kind, slug, history, form_event_type(said.get("type")))
    way = next((way for way in ("corrects", "voids", "redacts") if said.get(way)), None)
    if way == "redacts":
        parameters.require_scope(required(visit), "redact")
    if way is not None:
        uuid = intake.as_uuid(said[way])
        reading = history.record.by_id.get(uuid) if history is not None and uuid is not None else None
        if reading is None or (reading.recorded.erased if way == "redacts" else reading.event is None):
            raise NotFound("changeable_event", stream=slug, event=said[way][:80])
        match way:
            case "corrects":
                task.original, task.event = reading, type(reading.event)
            case "voids":
                task.voids, task.event = reading, None
            case _:
                task.redacts, task.event = reading, None
    elif history is None:
        task.event = form_event_type(REGISTRATIONS[kind])
    return task


ASKED: Known = {
    "type": parameters.text,
    "corrects": parameters.text,
    "voids": parameters.text,
    "redacts": parameters.text,
}


@route("/deals/{deal:str}/record", http_method=READ)
async def get_deal_form(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """What happened to this deal?"""
    return await show_form(request, "deal", deal)


@route("/organizations/{organization:str}/record", http_method=READ)
async def get_organization_form(request: Request, organization: FromPath[str]) -> Response[bytes]:
    """What became of this organization?"""
    return await show_form(request, "organization", organization)


async def show_form(request: Request, kind: str, slug: str) -> Response[bytes]:
    """The form, empty or holding the record that is to be corrected."""
    visit = await page_request(request, ASKED)
    required(visit)
    task = await task_of(visit, kind, slug, visit.asked)
    typed: dict[str, str] = {}
    if task.original is not None:
        assert task.original.event is not None
        typed = form_values(task.original.event, task.original.effective_on, task.original.sources)
    typed |= {"id": str(uuid4()), "version": str(task.version)}
    return render.send(visit, await form_page(visit, task, typed, [], None, 200))


async def form_page(
    visit: PageRequest,
    task: FormTask,
    typed: dict[str, str],
    faults: list[FieldError],
    problem: str | Message | None,
    status: int,
) -> Rendered:
    """The page with the form, what was typed in it, and what is wrong with it."""
    offered = await known(visit, task.history)
    sections = (
        build.sections(task.event, typed, offered, visit.language, correcting=task.original is not None)
        if task.event is not None
        else []
    )
    if task.of_record:
        sections.append(build.reason_section(typed, visit.language, redacting=task.redacts is not None))
    found = {f.name: fault for s in sections for f in s.fields if (fault := build.field_error(f, faults))}
    told = {id(f) for f in faults for s in sections for field in s.fields if build.field_error(field, [f])}
    return render.render(
        visit,
        "record.html",
        status,
        task=task,
        names=await names_for(visit, task, None),
        title=shown(visit.language).words.localized(
            getattr(task.history.state, "title", None) or getattr(task.history.state, "name", None), task.slug
        )
        if task.history is not None
        else task.slug,
        groups=DEAL_GROUPS if task.kind == "deal" else ORGANIZATION_GROUPS,
        sections=sections,
        typed=typed,
        faults=found,
        others=[f for f in faults if id(f) not in told],
        problem=problem,
    )


@post("/deals/{deal:str}/record", status_code=200)
async def post_deal_form(request: Request, deal: FromPath[str]) -> Response[bytes]:
    """Shows what would change, or records it."""
    return await submit_form(request, "deal", deal)


@post("/organizations/{organization:str}/record", status_code=200)
async def post_organization_form(request: Request, organization: FromPath[str]) -> Response[bytes]:
    """Shows what would change, or records it."""
    return await submit_form(request, "organization", organization)


async def submit_form(request: Request, kind: str, slug: str) -> Response[bytes]:
    """A form that was sent: back with its faults, on with a preview, or recorded."""
    sent = await form(request)
    visit = await page_request(request, ASKED)
    key = required(visit)
    check_csrf(request, visit.token, sent.get("csrf", ""))
    task = await task_of(visit, kind, slug, sent)
    typed = {name: text for name, text in sent.items() if name not in _OWN or name in ("id", "version", "reason")}
    typed = {"id": str(uuid4()), "version": str(task.version), **typed}
    step = sent.get("step", "preview")
    if step == "edit":
        return render.send(visit, await form_page(visit, task, typed, [], None, 200))
    try:
        announcement, readings = announced(task, typed)
        parameters.require_scope(key, required_scope(announcement.event))
        record = Record(
            kind=task.kind,  # type: ignore[arg-type]
            slug=slug,
            announcements=[announcement],
            by=key.id,
            expected_version=int(typed["version"]) if typed.get("version", "").isdigit() else None,
            dry_run=step != "record",
        )
        outcome = await visit.registry.recorder.record(record)
    except Invalid as error:
        return render.send(visit, await form_page(visit, task, typed, error.field_errors, None, 422))
    except RuleBroken as error:
        return render.send(visit, await form_page(visit, task, typed, [], error.refusal, 409))
    except RedactionUnavailable as error:
        return render.send(visit, await form_page(visit, task, typed, [], error.message, 503))
    except RegistryError as error:
        if type(error).__name__ != "VersionConflict":
            raise
        typed["version"] = str(error.params["actual"])
        return render.send(visit, await form_page(visit, task, typed, [], error.message, 412))
    if step == "record":
        back = {"recorded": "true", **visit.language_params()} if task.kind == "deal" else visit.language_params()
        return Response(
            b"",
            status_code=303,
            headers={"Location": f"{task.home}?{urlencode(back)}#event-{announcement.id}", "Cache-Control": "no-store"},
        )
    answer = msgspec.json.decode(outcome.response)
    return render.send(
        visit,
        render.render(
            visit,
            "record_preview.html",
            task=task,
            announcement=announcement,
            readings=[(name, reading_of(amount, visit.language)) for name, amount in readings.items()],
            changes=[typed_change(c) for c in answer["changes"]],
            flags=msgspec.convert(answer.get("flags", []), list[Flag]),
            sent={k: v for k, v in sent.items() if k not in ("csrf", "step")},
            said=announced_last(announcement),
            names=await names_for(visit, task, announcement),
        ),
    )


async def names_for(
    visit: PageRequest, task: FormTask, announcement: Announcement | OrganizationAnnouncement | None
) -> dict[str, str]:
    """What the things are called that a form and its preview speak of."""
    event = announced_last(announcement).event if announcement is not None else None
    about = [r.event for r in (task.original, task.voids, task.redacts) if r is not None]
    queries, language = visit.registry.organizations, visit.language
    names = await organization_names(queries, language, organizations_in([event, *about]))
    if task.history is None or task.kind != "deal":
        return names
    return names | await deal_page_names(visit.registry.deals, queries, language, task.history.state)


def announced_last(announcement: Announcement | OrganizationAnnouncement) -> Any:
    """What an announcement says in the end: a correction's replacement, else itself."""
    event = announcement.event
    return event.replacement if isinstance(event, EventCorrected) else announcement


def announced(
    task: FormTask, typed: Mapping[str, str]
) -> tuple[Announcement | OrganizationAnnouncement, dict[str, Any]]:
    """The announcement that a form stands for. Raises Invalid, with each fault's place in the form."""
    reader: Any = intake.announcements if task.kind == "deal" else intake.organization_announcements
    id_ = typed.get("id") or str(uuid4())
    reason = typed.get("reason", "").strip() or None
    readings: dict[str, Any] = {}
    whole: Any = {"id": id_}
    if task.redacts is not None:
        named = {"type": tag_of(EventRedacted), "redacts": task.redacts.recorded.id}
        whole["event"] = named if reason is None else {**named, "reason": reason}
    elif task.voids is not None:
        whole["event"] = EventVoided(voids=task.voids.recorded.id, reason=reason)
    elif task.event is None:
        raise Invalid([FieldError("", "no_event_type")])
    else:
        found = parse(task.event, typed, task.original.event if task.original is not None else None)
        if found.field_errors:
            raise Invalid(found.field_errors)
        said, readings = reader.decode_one(msgspec.json.encode({"id": id_, **found.announcement})), found.readings
        if task.original is None:
            return said, readings
        replacement = Replacement(
            effective_on=said.effective_on if said.effective_on is not None else UNSET,
            sources=said.sources,
            event=said.event,
        )
        whole["event"] = EventCorrected(corrects=task.original.recorded.id, replacement=replacement, reason=reason)
        whole["note"] = said.note
    try:
        return reader.decode_one(msgspec.json.encode(whole)), readings
    except Invalid as error:
        # What is corrected can have a reason of its own: this one has a field that is named otherwise.
        raise Invalid([f.at(f.pointer.replace("/event/reason", "/reason")) for f in error.field_errors]) from None


_THINGS: dict[str, type[Struct]] = {
    "pledges": PledgeState,
    "sites": SiteState,
    "milestones": MilestoneState,
    "conditions": ConditionState,
    "parties": PartyState,
    "relations": RelationState,
}


@cache
def _hints(of: type[Struct]) -> dict[str, Any]:
    return get_type_hints(of)


def type_of_field(path: str) -> Any:
    """The type of a field of a deal's or an organization's state."""
    _, name, *rest = path.split("/", 3)
    if rest and name in _THINGS:
        return _hints(_THINGS[name]).get(rest[1], Any)
    return _hints(Deal).get(name) or _hints(Organization).get(name, Any)


class Changed(Struct, frozen=True):
    """A change of the dry run, its values read as what they are."""

    path: str
    before: Any
    after: Any


def typed_change(change: Mapping[str, Any]) -> Changed:
    """A change as JSON has it, with amounts, texts and dates as such."""
    shape = type_of_field(change["field"])
    sides = [None if v is None else msgspec.convert(v, shape) for v in (change["before"], change["after"])]
    return Changed(change["field"], *sides)


HANDLERS = [
    *(get_sign_in, post_sign_in, post_sign_out, get_record, get_amount),
    *(get_deal_form, post_deal_form, get_organization_form, post_organization_form),
]
