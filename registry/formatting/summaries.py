"""An event in one line, and a deal in one sentence."""

from __future__ import annotations

from collections.abc import Sequence

from registry.domain.checks.plausibility import Flag
from registry.domain.deal import Deal, PledgeState
from registry.domain.totals.doubts import DOUBTING_FLAGS
from registry.events.types import ClaimPreferred, ClaimReported, DealsRelated, DealsUnrelated, Event
from registry.events.values import Horizon
from registry.formatting.language import DOT, N_
from registry.formatting.values import Names, ValueFormatter, capitalized

# The fields of an event that its line leaves out: ids, and what the page shows elsewhere.
_IDS = ("pledge", "site", "milestone", "condition", "claim")
_OMITTED = frozenset(
    {
        *_IDS,
        *("other_pledge", "replacement", "summary"),
        *("corrects", "voids", "redacts", "also", "effects", "about"),
    }
)

MAX_LISTED = 3
_LONG_WORD = 24


def summarize_event(
    here: ValueFormatter, event: Event | None, names: Names | None = None, limit: int | None = None
) -> str:
    """The content of an event in one line, without the name of its type; None was redacted.

    Args:
        here: The formatter.
        event: The event.
        names: The names of what the event refers to.
        limit: The most characters. A line that is cut keeps the name of the language of its reason.
    """
    text = _summary(here, event, names)
    if limit is None or len(text) <= limit:
        return text
    mark = here.language_mark(getattr(event, "reason", None) or "")
    return f"{_cut(text, limit - len(mark) - 1)}…{mark}"


def _cut(text: str, length: int) -> str:
    """The beginning of a text, up to the end of a word; within a word that is long."""
    end = text.rfind(" ", length - _LONG_WORD, length + 1)
    return text[: end if end > 0 else length].rstrip(" ,\u00a0·")


def _summary(here: ValueFormatter, event: Event | None, names: Names | None) -> str:
    if event is None:
        return here.words.gettext(N_("Its content was redacted."))
    if isinstance(event, ClaimReported):
        return f"{here.field(event.field, names)}: {here.change(event.field, event.value, names)}"
    if isinstance(event, ClaimPreferred):
        reason = here.noted(event.reason) if event.reason else ""
        return DOT.join(part for part in (here.field(event.field, names), reason) if part)
    if isinstance(event, DealsRelated | DealsUnrelated):
        return here.related(event.relation, event.pledge, event.deal, event.other_pledge, names)
    item = _item_of(event, names or {})
    stated = {name: getattr(event, name) for name in event.__struct_fields__ if name not in _OMITTED}
    parts = [part for part in (item, *here.parts(stated, names)) if part]
    if not parts:
        parts = [str(getattr(event, name)) for name in _IDS if getattr(event, name, None)]
    # A milestone is often named as its kind is.
    first: dict[str, str] = {}
    for part in parts:
        first.setdefault(part.casefold(), part)
    return DOT.join(first.values())


def _item_of(event: Event, names: Names) -> str:
    """What the site or milestone of an event is called."""
    for name in ("milestone", "site"):
        if isinstance(id := getattr(event, name, None), str):
            return capitalized(names.get(f"{name}s/{id}", ""))
    return ""


def own_wholes(deal: Deal) -> dict[str, str]:
    """The pledge of the same deal that each pledge is declared to be part of."""
    wholes: dict[str, str] = {}
    for r in deal.relations:
        if r.deal == deal.deal and r.pledge is not None and r.other_pledge is not None:
            if r.relation == "part_of":
                wholes[r.pledge] = r.other_pledge
            elif r.relation == "includes":
                wholes[r.other_pledge] = r.pledge
    return wholes


def amount_flags(deal: str, flags: Sequence[Flag]) -> dict[str, tuple[str, ...]]:
    """The rules of the flags on the amount of each pledge of a deal, as lists and totals have them.

    A member that is not below its aggregate doubts the member, not the aggregate.
    """
    found: dict[str, list[str]] = {}
    for flag in flags:
        _, *path = flag.field.split("/")
        if path[:1] != ["pledges"] or path[2:] != ["amount"]:
            continue
        if flag.rule != "member-not-below-aggregate" or flag.params.get("part") == f"{deal}/{path[1]}":
            found.setdefault(path[1], []).append(flag.rule)
    return {pledge: tuple(dict.fromkeys(rules)) for pledge, rules in found.items()}


def doubted_pledges(deal: str, flags: Sequence[Flag]) -> frozenset[str]:
    """The pledges of a deal whose amount the registry doubts."""
    by_pledge = amount_flags(deal, flags).items()
    return frozenset(pledge for pledge, rules in by_pledge if not DOUBTING_FLAGS.isdisjoint(rules))


def summarize_deal(here: ValueFormatter, deal: Deal, names: Names, doubted: frozenset[str] = frozenset()) -> str:
    """The pledges, the stage and the sites of a deal in one sentence each.

    Args:
        here: The formatter.
        deal: The deal.
        names: The names of organizations, deals and items.
        doubted: The pledges whose amount the registry doubts.
    """
    return " ".join((_pledges(here, deal, names, doubted), _stage(here, deal), _sites(here, deal)))


def _pledges(here: ValueFormatter, deal: Deal, names: Names, doubted: frozenset[str]) -> str:
    current = [p for p in deal.pledges if p.status != "withdrawn"]
    wholes = own_wholes(deal)
    main = next((p for p in current if p.pledge not in wholes), None)
    if main is not None:
        parts = [p for p in current if wholes.get(p.pledge) == main.pledge]
        others = sum(p.pledge not in wholes for p in current) - 1
        return _main_pledge(here, main, names, others, parts, is_doubted=main.pledge in doubted)
    if any(pledge.amount is not None for pledge in deal.pledges):
        return here.words.gettext(N_("What was pledged has been withdrawn."))
    parties = [names.get(p.organization, p.organization) for p in deal.parties if p.left_on is None]
    if not parties:
        return here.words.gettext(N_("Amount not disclosed."))
    return here.words.translate(N_("%(who)s: amount not disclosed."), who=_listed(here, parties[:MAX_LISTED]))


def _main_pledge(
    here: ValueFormatter,
    pledge: PledgeState,
    names: Names,
    others: int,
    parts: Sequence[PledgeState],
    *,
    is_doubted: bool,
) -> str:
    translate = here.words.translate
    investors = [names.get(slug, slug) for slug in pledge.by]
    who = _listed(here, investors) or here.words.gettext(N_("An unnamed investor"))
    if pledge.amount is None:
        return translate(N_("%(who)s: amount not disclosed."), who=who)
    amount = here.figures.money(pledge.amount, pledge.amount_basis)
    match pledge.commitment == "intention", len(investors) > 1:
        case True, False:
            pattern = N_("%(who)s intends to invest %(amount)s%(time)s.")
        case True, True:
            pattern = N_("%(who)s intend to invest %(amount)s%(time)s.")
        case False, True:
            pattern = N_("%(who)s jointly pledge %(amount)s%(time)s; the split is not disclosed.")
        case _:
            pattern = N_("%(who)s pledges %(amount)s%(time)s.")
    time = _period(here, pledge.horizon)
    text = translate(pattern, who=who, amount=amount, time=f" {time}" if time else "")
    if is_doubted:
        text += " " + here.words.gettext(N_("The registry doubts this amount."))
    included = []
    for part in parts:
        if part.amount is not None:
            by = _listed(here, [names.get(slug, slug) for slug in part.by]) if part.by != pledge.by else ""
            included.append(here.words.with_note(here.figures.money(part.amount), by))
    if included:
        text += " " + translate(N_("Of which: %(amounts)s."), amounts=_listed(here, included))
    if others:
        more = here.words.ngettext("There is one more pledge.", "There are %(n)s more pledges.", others)
        text += " " + more % {"n": others}
    return text


def _period(here: ValueFormatter, horizon: Horizon | None) -> str:
    """The period of an amount, inside a sentence."""
    if horizon is None or horizon.from_ is None or horizon.until is None:
        return here.figures.horizon(horizon)
    start, end = here.figures.edtf_date(horizon.from_), here.figures.edtf_date(horizon.until)
    return here.words.translate(N_("from %(start)s to %(end)s"), start=start, end=end)


def _stage(here: ValueFormatter, deal: Deal) -> str:
    if deal.stage is None:
        return here.words.gettext(N_("Stage not reported."))
    if deal.stage.since is None:
        return here.words.translate(
            N_("Stage: %(stage)s (observed on %(date)s)."),
            stage=here.words.label("stage", deal.stage.value),
            date=here.figures.day(deal.stage.observed_on),
        )
    return here.words.translate(
        N_("Stage: %(stage)s since %(date)s (%(basis)s)."),
        stage=here.words.label("stage", deal.stage.value),
        basis=here.words.label("basis_of_stage", deal.stage.basis),
        date=here.figures.day(deal.stage.since),
    )


def _sites(here: ValueFormatter, deal: Deal) -> str:
    current = [s for s in deal.sites if s.status != "dropped"]
    named = [here.words.localized(s.name) or here.figures.place(s.place) for s in current if s.precision != "country"]
    if not named:
        text = N_("Exact location not disclosed.") if current else N_("Location not disclosed.")
        return here.words.gettext(text)
    return here.words.translate(N_("Sites: %(sites)s."), sites=_listed(here, named))


def _listed(here: ValueFormatter, items: Sequence[str]) -> str:
    """A list in a sentence: up to three items by name, or two and the number of the others."""
    if len(items) <= MAX_LISTED:
        return here.figures.listed(items)
    return here.words.translate(N_("%(names)s, and %(n)s more"), names=", ".join(items[:2]), n=len(items) - 2)
