"""The pages of an article: its form, the preview, and what was recorded."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from litestar.di import NamedDependency
from msgspec import Struct
from msgspec.structs import replace

from registry.domain.deal import Deal
from registry.domain.organizations.mentions import mentioned_organizations
from registry.errors import FieldError
from registry.events.types import Announcement
from registry.formatting.fields import deals_in
from registry.formatting.language import N_
from registry.formatting.values import shown
from registry.i18n import LANGUAGES, Message
from registry.queries.streams import StreamReader
from registry.web.articles.announcements import Built, read_announcement
from registry.web.articles.form import AnnouncementForm, ArticleForm, DealForm, OrganizationForm
from registry.web.articles.lookup import FoundNames, Lookup, NamedCandidate, picks
from registry.web.articles.outcome import Preview
from registry.web.forms import build
from registry.web.forms.build import FormContext, InputField
from registry.web.forms.event_types import DEAL_GROUPS
from registry.web.page import render
from registry.web.page.names import new_item_names
from registry.web.page.render import Rendered
from registry.web.page.request import PageRequest
from registry.web.recording.pages import amount_reading

MAX_LIKELY_DEALS = 30
"""The most deals of a form for which the registry's likely deals are searched."""


class AnnouncementView(Struct):
    """One announcement of the form.

    Attributes:
        form: Its fields.
        fields: Those to show at once.
        more: Those to show on request: the empty ones of an announcement that was proposed from an article.
        summary: What it states, if its fields can be read.
        problem: Why it was refused.
        faults: What is wrong with it as a whole.
        number: The number of its sentence in the article's text; 0 for none.
        sentence: Its sentence.
    """

    form: AnnouncementForm
    fields: list[InputField]
    more: list[InputField]
    summary: Announcement | None
    problem: Message | None
    faults: list[FieldError]
    number: int
    sentence: str


class ArticleDeal(Struct):
    """One deal of the form.

    Attributes:
        form: Its fields.
        title: Its name.
        field: The field that names it.
        announcements: What is announced about it.
        problem: Why its announcements were refused.
        faults: What is wrong with it as a whole.
        likely: Deals of the registry that a new one may be.
    """

    form: DealForm
    title: str
    field: InputField
    announcements: list[AnnouncementView]
    problem: Message | None
    faults: list[FieldError]
    likely: list[NamedCandidate]


class TextPiece(Struct, frozen=True):
    """A piece of the article's text; `number` is that of a sentence that announcements rest on, else 0."""

    text: str
    number: int


class ArticlePages:
    """Makes the pages."""

    def __init__(
        self,
        streams: NamedDependency[StreamReader],
        lookup: NamedDependency[Lookup],
    ) -> None:
        self._streams = streams
        self._lookup = lookup

    async def form(
        self,
        page: PageRequest,
        form: ArticleForm,
        found: FoundNames,
        built: Built | None = None,
        problems: Mapping[str, Message] | None = None,
        status: int = 200,
    ) -> Rendered:
        """The form.

        Args:
            page: The request.
            form: What was typed.
            found: What the names in it mean.
            built: What is wrong with it, after it was submitted.
            problems: Why announcements were refused, by the prefixes of their fields.
            status: The HTTP status.
        """
        errors = built.errors if built is not None else []
        problems = problems or {}
        numbers = _numbers(form)
        deals = [await self._deal(page, form, deal, found, errors, problems, numbers) for deal in form.deals]
        frame = build.frame_fields(form.frame, page.language)
        organizations = [(one, _organization_fields(page, one)) for one in form.organizations]
        fields = [*frame, *(d.field for d in deals), *(field for _, row in organizations for field in row)]
        fields += [field for d in deals for a in d.announcements for field in (*a.fields, *a.more)]
        shown_errors = {f.name: error for f in fields if (error := build.field_error(f, errors))}
        placed = {e.pointer for f in fields for e in errors if build.field_error(f, [e])}
        placed |= {
            e.pointer for d in deals for faults in (d.faults, *(a.faults for a in d.announcements)) for e in faults
        }
        announced = [a.summary.event for d in deals for a in d.announcements if a.summary is not None]
        return render.render(
            page,
            "article.html",
            status,
            form=form,
            deals=deals,
            frame=frame,
            organizations=organizations,
            pieces=_pieces(form, numbers),
            groups=DEAL_GROUPS,
            errors=shown_errors,
            labels={f.name: f.label for f in fields},
            picks=picks(errors, found),
            other_errors=[e for e in errors if e.pointer not in placed],
            problem=problems.get(""),
            title=N_("Change a proposal") if "submission" in form.typed else N_("Add announcements"),
            problems=problems,
            names=await self._names(page, announced, form),
            count=len(errors) + len(problems),
        )

    async def preview(
        self, page: PageRequest, form: ArticleForm, built: Built, previews: Sequence[Preview], *, can_record: bool
    ) -> Rendered:
        """What the announcements would change."""
        events = [one.event for part in built.parts for one in part.announcements]
        deals = {part.slug for part in built.parts if part.kind == "deal"}
        names = await self._names(page, events, form)
        within = await page.names.within(deals)
        for part in built.parts:
            if part.kind == "deal":
                known = within.setdefault(part.slug, {})
                known |= new_item_names([one.event for one in part.announcements], page.language, names, known)
        return render.render(
            page,
            "article_preview.html",
            form=form,
            previews=previews,
            names=names | await page.names.deals(deals),
            names_of=lambda slug: names | within.get(slug, {}),
            can_record=can_record,
            amount_reading=amount_reading,
            # The announcements have no pages yet.
            ids=[str(one.id) for part in built.parts for one in part.announcements],
            typed=form.typed,
        )

    # --- parts of the form --------------------------------------------------------------------------------------------

    async def _deal(
        self,
        page: PageRequest,
        form: ArticleForm,
        deal: DealForm,
        found: FoundNames,
        errors: Sequence[FieldError],
        problems: Mapping[str, Message],
        numbers: Mapping[tuple[int, int], int],
    ) -> ArticleDeal:
        say = shown(page.language).words.gettext
        slug = known.slug if (known := found.get(("deal", deal.typed.strip()))) is not None else None
        stream = (await self._streams.load(f"deal/{slug}"))[0] if slug and deal.registration is None else None
        state: Deal | None = stream.state if stream is not None else None
        introduced: dict[str, tuple[str, ...]] = {}
        called = (await page.names.within([stream.slug])).get(stream.slug) if stream else None
        announcements = []
        for one in deal.announcements:
            context = FormContext(state, called or {}, dict(introduced))
            if id_field := build.introduced_id(one.tag):
                id = one.typed.get(f"event/{id_field}", "").strip() or build.free_id(id_field, context)
                one.typed[f"event/{id_field}"] = id
                introduced[id_field] = (*introduced.get(id_field, ()), id)
            announcements.append(_announcement(page, form, one, context, found, errors, problems, numbers))
        is_new = deal.registration is not None
        label = say(N_("Id of the new deal")) if is_new else say(N_("Deal"))
        hint = say(N_("Leave it empty for an id made from the title.")) if is_new else say(N_("Name or ID"))
        field = InputField(
            f"{deal.prefix}/deal", label, deal.typed, required=not is_new, hint=hint, lookup=None if is_new else "deals"
        )
        titles = (
            {tag: deal.registration.typed.get(f"event/title/{tag}", "") for tag in LANGUAGES}
            if deal.registration
            else {}
        )
        title = shown(page.language).words.localized(state.title if state is not None else titles)
        likely = await self._likely(page, deal, found) if is_new and deal.number < MAX_LIKELY_DEALS else []
        faults = [e for e in errors if e.pointer == f"/{deal.prefix}/add"]
        return ArticleDeal(deal, title, field, announcements, problems.get(deal.prefix), faults, likely)

    async def _likely(self, page: PageRequest, deal: DealForm, found: FoundNames) -> list[NamedCandidate]:
        """Deals of the registry that a new deal may be: those of its first party."""
        party = next((one.typed.get("event/parties/0/organization", "") for one in deal.kept), "")
        for one in deal.kept:
            party = one.typed.get("event/parties/0/organization", "").strip() or party
        known = found.get(("organization", party))
        if known is None or known.slug is None:
            return []
        return await self._lookup.deals_of(known.slug, page.language)

    async def _names(self, page: PageRequest, events: Iterable[Any], form: ArticleForm) -> dict[str, str]:
        """The names of the organizations and deals that events refer to, those of the form included."""
        events = list(events)
        localized = shown(page.language).words.localized
        named = {slug for event in events for slug in mentioned_organizations(event)}
        names = await page.names.organizations(named)
        names |= await page.names.deals(deals_in(events))
        return names | {one.slug: localized(one.name, one.text) for one in form.organizations if one.slug}


def _organization_fields(page: PageRequest, one: OrganizationForm) -> list[InputField]:
    """The fields of a new organization: its name in each language, and its slug."""
    here = shown(page.language)
    label = here.words.label("field", "name")
    names = [
        InputField(
            f"{one.prefix}/name/{tag}",
            here.words.with_note(label, here.figures.language_name(tag)),
            one.name.get(tag, ""),
            lang=tag,
        )
        for tag in dict.fromkeys((*LANGUAGES, *one.name))
    ]
    return [*names, InputField(f"{one.prefix}/slug", here.words.gettext(N_("Id")), one.slug, required=True)]


def _announcement(
    page: PageRequest,
    form: ArticleForm,
    one: AnnouncementForm,
    context: FormContext,
    found: FoundNames,
    errors: Sequence[FieldError],
    problems: Mapping[str, Message],
    numbers: Mapping[tuple[int, int], int],
) -> AnnouncementView:
    """The form of one announcement."""
    own = build.content_fields(one.event, one.typed, context, page.language)
    dates = [f for f in build.frame_fields(one.typed, page.language) if f.name in ("effective_on", "date")]
    prefixed = [_at(field, one.prefix) for field in own]
    wrong = [e for e in errors if e.pointer.startswith(f"/{one.prefix}/")]
    # What a person adds has all its fields; a proposal those that it fills.
    is_proposed = one.sentence is not None
    first = [f for f in prefixed if not is_proposed or f.value or f.required or build.field_error(f, wrong)]
    more = [f for f in prefixed if f not in first] + [
        replace(
            _at(f, one.prefix),
            required=False,
            hint=shown(page.language).words.gettext(N_("If it differs from the article’s")),
        )
        for f in dates
    ]
    fields = [*first, *more]
    read = read_announcement(one, form.frame, found)
    number = numbers.get(one.sentence, 0) if one.sentence is not None else 0
    start, end = one.sentence or (0, 0)
    return AnnouncementView(
        one,
        first,
        more,
        None if isinstance(read, list) else read[0],
        problems.get(one.prefix),
        [e for e in wrong if not any(build.field_error(f, [e]) for f in fields)],
        number,
        form.text[start:end],
    )


def _at(field: InputField, prefix: str) -> InputField:
    clear = field.clear.replace("clear:", f"{prefix}/clear:", 1) if field.clear else None
    return replace(field, name=f"{prefix}/{field.name}", clear=clear)


def _numbers(form: ArticleForm) -> dict[tuple[int, int], int]:
    """The sentences that announcements rest on, numbered in the order of the text."""
    places = {a.sentence for deal in form.deals for a in deal.announcements if a.sentence is not None}
    return {place: number for number, place in enumerate(sorted(places), 1)}


def _pieces(form: ArticleForm, numbers: Mapping[tuple[int, int], int]) -> list[TextPiece]:
    """The text of the article, cut where a sentence that an announcement rests on begins and ends."""
    pieces, behind = [], 0
    for (start, end), number in numbers.items():
        if behind <= start < end <= len(form.text):
            pieces += [TextPiece(form.text[behind:start], 0), TextPiece(form.text[start:end], number)]
            behind = end
    return [*pieces, TextPiece(form.text[behind:], 0)] if form.text else []
