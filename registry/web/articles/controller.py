"""Routes of the form of an article: type it or paste an article, preview, record or propose, undo."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from litestar import Controller, Response, post, route
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter, SkipValidation
from msgspec import Struct

from registry.append.proposal import ProposedPart
from registry.append.proposals import Proposals
from registry.append.recorder import Recorder
from registry.append.requests import SubmissionError
from registry.domain.principal import Credential, required_scope
from registry.errors import (
    ApprovalRequired,
    FieldError,
    Invalid,
    NotFound,
    ProposalChanged,
    ProposalDecided,
    RegistryError,
)
from registry.events.intake import as_uuid
from registry.http.guards import IGNORES_QUERY, check_scope
from registry.http.parameters import text
from registry.infra.threads import offload_answer
from registry.queries.organizations import OrganizationQueries
from registry.queries.streams import StreamReader
from registry.web.articles import outcome
from registry.web.articles.announcements import Built, build, new_names
from registry.web.articles.form import ArticleForm
from registry.web.articles.lookup import FoundNames, Lookup, chosen, is_list
from registry.web.articles.pages import ArticlePages
from registry.web.articles.pasted import Pasted
from registry.web.articles.proposed import DIGEST, form_of
from registry.web.articles.recorded import RecordedPages, undo
from registry.web.page import render
from registry.web.page.request import READ, Page, PageRequest, Request, redirect
from registry.web.proposals import digest_of, message_of
from registry.web.sign_in.session import read_signed_form, require_key

MAX_FORM_BYTES = 4 * 2**20
MAX_FORM_FIELDS = 20_000
MAX_FIELD_LENGTH = 2_000

# Fields of a post that are not part of the form.
_OWN_FIELDS = frozenset({"csrf", "step", "use", "add", "register", "lang"})

DealName = Annotated[str | None, text("The slug or the name of a deal.")]
Tag = Annotated[str | None, text("The type of the first announcement.")]
Position = Annotated[int, QueryParameter(description="A position in the log.", ge=1, le=2**62)]

AnyProposals = NamedDependency[SkipValidation[Proposals]]


class Writers(Struct):
    """What records and proposes."""

    recorder: Recorder
    proposals: Proposals


class ArticleController(Controller):
    """The form of an article."""

    dependencies = {  # noqa: RUF012 - Litestar's attribute
        "lookup": Provide(Lookup, sync_to_thread=False),
        "article_pages": Provide(ArticlePages, sync_to_thread=False),
        "recorded_pages": Provide(RecordedPages, sync_to_thread=False),
    }

    @route("/record", http_method=READ)
    async def get_form(
        self,
        page: Page,
        lookup: NamedDependency[Lookup],
        article_pages: NamedDependency[ArticlePages],
        deal: DealName = None,
        type: Tag = None,
    ) -> Response[bytes]:
        """The empty form, with a deal and a first announcement if the address names them."""
        require_key(page)
        form = ArticleForm({})
        number = form.add_deal(deal or "")
        if type is not None:
            form.add_announcement(number, type)
        return render.send(page, await article_pages.form(page, form, await _found(page, form, lookup)))

    @post("/record", status_code=200)
    async def post_form(
        self,
        page: Page,
        lookup: NamedDependency[Lookup],
        article_pages: NamedDependency[ArticlePages],
        recorder: NamedDependency[Recorder],
        proposals: AnyProposals,
    ) -> Response[bytes]:
        """The form with what a button added, or its errors, or a preview; or record or propose it."""
        sent, key = await read_signed_form(page, MAX_FORM_BYTES, MAX_FORM_FIELDS)
        form = ArticleForm({name: text for name, text in sent.items() if name not in _OWN_FIELDS})
        step = sent.get("step", "edit")
        _press(form, sent)
        form.remove_unused_organizations()
        found = await _found(page, form, lookup)
        if step not in ("preview", "record", "propose"):
            return render.send(page, await article_pages.form(page, form, found))
        built = build(form, found)
        if not built.parts and not built.errors:
            built.errors.append(FieldError("", "no_announcement"))
        if built.errors:
            for name in built.unknown:
                form.add_organization(name)
            return render.send(page, await article_pages.form(page, form, found, built, status=422))
        try:
            if step == "preview":
                return await _preview(page, key, form, built, article_pages, recorder)
            return await _finish(page, key, form, built, Writers(recorder, proposals), proposes=step == "propose")
        except outcome.Refused as refused:
            problems = {refused.place: message_of(refused.error)}
            answer = await article_pages.form(page, form, found, built, problems, status=_status(refused.error))
            return render.send(page, answer)
        except (ProposalChanged, ProposalDecided) as error:
            answer = await article_pages.form(page, form, found, built, {"": error.message}, status=409)
            return render.send(page, answer)

    @route("/record/article", http_method=READ)
    async def get_article(self, page: Page) -> Response[bytes]:
        """The form that takes the text of an article."""
        require_key(page)
        return render.send(page, render.render(page, "article_paste.html", typed={}, errors={}))

    @post("/record/article", status_code=200)
    async def post_article(
        self,
        page: Page,
        lookup: NamedDependency[Lookup],
        article_pages: NamedDependency[ArticlePages],
        organization_queries: NamedDependency[OrganizationQueries],
        streams: NamedDependency[StreamReader],
    ) -> Response[bytes]:
        """The form with what the registry proposes from the text. Nothing is recorded."""
        sent, _ = await read_signed_form(page, MAX_FORM_BYTES)
        try:
            form = await Pasted(organization_queries, streams, lookup).form(sent, page.language)
        except Invalid as error:
            errors = {e.pointer.lstrip("/"): e for e in error.field_errors}
            return render.send(page, render.render(page, "article_paste.html", 422, typed=sent, errors=errors))
        return render.send(page, await article_pages.form(page, form, await _found(page, form, lookup)))

    @route("/proposals/{id:str}/change", http_method=READ)
    async def get_proposed(
        self,
        page: Page,
        id: FromPath[str],
        lookup: NamedDependency[Lookup],
        article_pages: NamedDependency[ArticlePages],
        proposals: AnyProposals,
    ) -> Response[bytes]:
        """The form of what was proposed together."""
        key, uuid = require_key(page), as_uuid(id)
        if uuid is None:
            raise NotFound("proposal", proposal=id[:80])
        found = await proposals.submission(key, (await proposals.get(key, uuid)).submission)
        still_open = [one for one in found if one.status == "open"]
        form = await offload_answer(sum(one.size for one in still_open), form_of, still_open)
        if form is None:
            return redirect(page.link(f"/proposals/{id}"))
        return render.send(page, await article_pages.form(page, form, await _found(page, form, lookup)))

    @route("/record/done", http_method=READ)
    async def get_recorded(
        self, page: Page, recorded_pages: NamedDependency[RecordedPages], first: Position, last: Position
    ) -> Response[bytes]:
        """What the reader has just recorded."""
        streams = await recorded_pages.find(require_key(page), first, last)
        return render.send(page, await recorded_pages.show(page, streams, first, last))

    @post("/record/undo", status_code=303)
    async def post_undo(
        self, page: Page, recorded_pages: NamedDependency[RecordedPages], recorder: NamedDependency[Recorder]
    ) -> Response[bytes]:
        """Void what the reader has just recorded."""
        sent, key = await read_signed_form(page)
        first, last = (int(sent[n]) if sent.get(n, "").isdecimal() else 0 for n in ("first", "last"))
        streams = await recorded_pages.find(key, first, last)
        try:
            await undo(recorder, key, streams, page.language)
        except RegistryError as error:
            problem = message_of(error.error if isinstance(error, SubmissionError) else error)
            return render.send(page, await recorded_pages.show(page, streams, first, last, problem))
        return redirect(page.link("/record/done", first=first, last=last))


def _press(form: ArticleForm, sent: dict[str, str]) -> None:
    """Do what the pressed button says."""
    if "use" in sent:
        choice = chosen(sent["use"])
        if choice is not None and choice[0] in form.typed:
            form.replace(*choice)
    elif sent.get("add", "").isdecimal():
        number = int(sent["add"])
        form.add_announcement(number, form.typed.get(f"deals/{number}/add", ""))
    elif sent.get("register", "").isdecimal():
        form.register(int(sent["register"]))
    elif sent.get("step") in ("add-deal", "add-new-deal"):
        form.add_deal(is_new=sent["step"] == "add-new-deal")


async def _found(page: PageRequest, form: ArticleForm, lookup: Lookup) -> FoundNames:
    """What the names of a form mean."""
    return await lookup.find(form.references(), page.language, new_names(form))


async def _preview(
    page: PageRequest, key: Credential, form: ArticleForm, built: Built, article_pages: ArticlePages, recorder: Recorder
) -> Response[bytes]:
    can_record = outcome.may_record(key, built.parts)
    if not can_record and not key.allows("propose"):
        for part in built.parts:
            for one in part.announcements:
                check_scope(key, required_scope(one.event))
    previews = await outcome.preview(recorder, key, built.parts)
    for shown in previews:
        if shown.part.kind == "deal":
            form.typed[f"{shown.part.prefix}/version"] = str(shown.version)
    return render.send(page, await article_pages.preview(page, form, built, previews, can_record=can_record))


async def _finish(
    page: PageRequest, key: Credential, form: ArticleForm, built: Built, writers: Writers, *, proposes: bool
) -> Response[bytes]:
    """Record the announcements, or add them to the review queue where a second person must approve them."""
    parts: list[ProposedPart] = [(part.kind, part.slug, part.announcements) for part in built.parts]
    if "submission" in form.typed:
        changed = await writers.proposals.revise(key, _digests(form), parts, None)
        return redirect(page.link(f"/proposals/{changed[0].id}"))
    if not proposes and (outcome.may_record(key, built.parts) or not key.allows("propose")):
        versions = {
            part.slug: int(version)
            for part in built.parts
            if (version := form.typed.get(f"{part.prefix}/version", "")).isdecimal()
        }
        try:
            results = await outcome.record(writers.recorder, key, built.parts, versions)
        except outcome.Refused as refused:
            if not isinstance(refused.error, ApprovalRequired):
                raise
        else:
            positions = [receipt.position for result in results for receipt in result.events]
            return redirect(page.link("/record/done", first=min(positions), last=max(positions)))
    proposed = await writers.proposals.propose_all(key, parts)
    return redirect(page.link(f"/proposals/{proposed[0].id}"))


def _digests(form: ArticleForm) -> dict[UUID, bytes]:
    """The content of each proposal that the form changes, as it was when the form was made."""
    digests: dict[UUID, bytes] = {}
    for name, digest in form.typed.items():
        id = as_uuid(name.removeprefix(DIGEST)) if name.startswith(DIGEST) else None
        if id is not None:
            digests[id] = digest_of(digest)
    return digests


def _status(error: RegistryError) -> int:
    return {"rule_broken": 409, "version_conflict": 412, "redaction_unavailable": 503, "forbidden": 403}.get(
        error.code, 422
    )


@route(
    "/record/names/{kind:str}",
    http_method=READ,
    opt={IGNORES_QUERY: True},
    dependencies={"lookup": Provide(Lookup, sync_to_thread=False)},
)
async def suggest_names(
    request: Request, page: Page, kind: FromPath[str], lookup: NamedDependency[Lookup]
) -> Response[bytes]:
    """What a field may name, while the editor types it: the options of its list.

    The parameter has the name of the form field, whatever that is, so its query is not checked.
    """
    require_key(page)
    pointer, typed = next(((n, t) for n, t in request.query_params.multi_items() if n != "lang"), ("", ""))
    before, comma, last = typed[:MAX_FIELD_LENGTH].rpartition(",") if is_list(pointer) else ("", "", typed)
    candidates = await lookup.suggest("deal" if kind == "deals" else "organization", last, page.language)
    rendered = render.render(
        page,
        "names.html",
        candidates=candidates,
        before=f"{before}{comma} " if comma else "",
        # A merge takes the id itself.
        takes_id=pointer.endswith("/into"),
    )
    return render.send(page, rendered)
