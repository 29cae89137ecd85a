"""Compares the API's answers and the pages of deals with independent models of states and labels."""

from __future__ import annotations

import re
from datetime import date, timedelta
from typing import Any
from uuid import UUID

from bench import workload
from registry.events.types import DealsRelated
from registry.formatting.language import words
from registry.formatting.numbers import figures
from registry.i18n import Label, render
from tests.properties import oracle, oracle_state
from tests.service import Service
from tests.web import flags_model, labels_model, stories
from tests.web.conftest import DEALS
from tests.web.html import plain, text_of
from tests.web.walker import parsed, unexplained
from tests.web.walks import Walk, compared, history_of, model_point


async def check_deal(walk: Walk, service: Service, slug: str) -> None:
    html = await walk.page(f"/deals/{slug}")
    events, point = await history_of(service, slug), await model_point(walk, service)
    model = oracle.state_of(slug, events, **point)
    if html is None:
        assert model is None
        return
    state = await walk.answer(f"/v1/deals/{slug}", expand="organizations,incoming")
    assert model is not None
    assert amounts_of(state) == amounts_of(model)
    assert stage_of(state) == stage_of(model)
    history = (await walk.answer(f"/v1/deals/{slug}/events"))["events"]
    labels = labels_model.labels_of(slug, events, **point)
    assert {entry["id"]: entry["label"] for entry in history} == {str(id): label for id, label in labels.items()}
    assert all(entry["kind"] == labels_model.KINDS[entry["label"]] for entry in history)
    parser = parsed(html)
    shown = [one.attributes["data-label"] for one in parser.marked if one.attributes.get("data-label")]
    latest = [labels[UUID(entry["id"])] for entry in reversed(history)][:40]
    assert shown[len(shown) - len(latest) :] == latest
    for one in parser.marked:
        if "data-label" in one.attributes:
            assert one.text == render(Label(f"what/{one.attributes['data-label']}"), walk.language)
    check_statuses(html, model, walk.language)
    check_sentence(html, model, walk.language)
    day = date.fromisoformat(state["effective_on"])
    is_quiet = labels_model.is_quiet(slug, events, day, **point)
    assert (words(walk.language).gettext("No recent updates") in parser.text) == is_quiet
    assert unexplained(html, walk.language, state, history) == []


def check_statuses(html: str, model: Any, language: str) -> None:
    """The page of a deal says of the stage, the pledges and the milestones what the model's state is."""

    def text(pattern: str) -> str:
        found = re.search(pattern, html, re.DOTALL)
        assert found is not None, pattern
        return text_of(found[0])

    def label(code: str) -> str:
        return render(Label(code), language)

    if model["stage"] is not None and model["stage"]["value"] in oracle_state.LADDER:
        assert label(f"stage/{model['stage']['value']}") in text(r"<li[^>]* aria-current=.*?</li>")
    for pledge in model["pledges"]:
        shown = text(rf'id="pledge-{pledge["pledge"]}".*?</dl>')
        for status in ("confirmed", "withdrawn"):
            is_said = f"· {label(f'status/{status}')}" in shown
            assert is_said == (pledge["status"] == status), (pledge["pledge"], status)
    for milestone in model["milestones"]:
        shown = text(rf'<li id="milestone-{milestone["milestone"]}".*?</li>')
        for field, pattern in (("reached", "reached on %(date)s"), ("planned", "planned for %(date)s")):
            if milestone[field] is not None:
                day = figures(language).edtf_date(milestone[field])
                assert plain(words(language).translate(pattern, date=day)) in shown


def sentence_of(html: str) -> str:
    return text_of(html.partition('<p class="lead">')[2].partition("</p>")[0])


def check_sentence(html: str, model: Any, language: str) -> None:
    """The sentence of a deal says which stage it has, and what that rests on."""
    spoken, shown = words(language), sentence_of(html)
    stage = model["stage"]
    if stage is None:
        said = spoken.gettext("Stage not reported.")
    else:
        is_observed = stage["since"] is None
        pattern = (
            "Stage: %(stage)s (observed on %(date)s)."
            if is_observed
            else "Stage: %(stage)s since %(date)s (%(basis)s)."
        )
        named = {"stage": f"stage/{stage['value']}", "basis": f"basis_of_stage/{stage['basis']}"}
        day = figures(language).edtf_date(stage["observed_on"] if is_observed else stage["since"])
        said = spoken.translate(
            pattern, date=day, **{name: render(Label(code), language) for name, code in named.items()}
        )
    assert plain(said) in shown


async def check_doubts(walk: Walk, service: Service, slug: str) -> None:
    """The sentence of a generated deal doubts its amount where the model has a flag on it."""
    html = await walk.page(f"/deals/{slug}")
    flags = flags_model.flags_of(slug, await history_of(service, slug), **await model_point(walk, service))
    state = await walk.answer(f"/v1/deals/{slug}", expand="organizations,incoming") if html is not None else None
    current = [pledge["pledge"] for pledge in state["pledges"] if pledge["status"] != "withdrawn"] if state else []
    if html is not None and current:
        is_doubted = words(walk.language).gettext("The registry doubts this amount.") in sentence_of(html)
        assert is_doubted == bool(flags_model.DOUBTING & set(flags[current[0]])), slug


async def check_flags(walk: Walk, service: Service, slug: str) -> None:
    """The history of a generated deal has the flags of the model at each event."""
    answer = await walk.client.get(f"/v1/deals/{slug}/events", params=walk.point)
    history = answer.json()["events"] if answer.status_code == 200 else []
    flags = {entry["id"]: {flag["rule"] for flag in entry["flags"]} for entry in history if entry["flags"]}
    events = await history_of(service, slug)
    related = {event.event.deal for event in events if isinstance(event.event, DealsRelated)}
    others = {other: await history_of(service, other) for other in related}
    raised = flags_model.raised(slug, events, others, **await model_point(walk, service))
    assert flags == {str(id): rules for id, rules in raised.items()}, slug


async def check_quiet_days(walk: Walk, service: Service, slug: str) -> None:
    """A deal is quiet from the day of the model on, and not the day before: in the API and on its page."""
    point, events = await model_point(walk, service), await history_of(service, slug)
    first = labels_model.first_quiet_day(slug, events, **point)
    if first is None or "effective_on" in walk.point:
        return
    for day, is_quiet in ((first - timedelta(days=1), False), (first, True)):
        # Until a day to come, sources may still be published.
        is_quiet = is_quiet and day <= point["effective"]
        state = await walk.answer(f"/v1/deals/{slug}", effective_on=day.isoformat())
        assert (state["remarks"]["quiet"] is not None) == is_quiet, (slug, day)
        html = await walk.page(f"/deals/{slug}", effective_on=day.isoformat())
        assert html is not None
        assert (words(walk.language).gettext("No recent updates") in parsed(html).text) == is_quiet, (slug, day)


async def check_every_deal(walk: Walk, service: Service) -> None:
    """The stage, the amounts with their status, and the flags of every generated deal are those of the model."""
    point = await model_point(walk, service)
    listed = {deal["deal"]: deal for deal in await walk.list("deal")}
    for slug in map(workload.slug, range(DEALS)):
        events = await history_of(service, slug)
        model = oracle.state_of(slug, events, **point)
        assert (slug in listed) == (model is not None), slug
        if model is None:
            continue
        deal = listed[slug]
        assert amounts_of(deal) == amounts_of(model), slug
        assert stage_of(deal) == stage_of(model), slug
        flags = flags_model.flags_of(slug, events, **point)
        assert {p["pledge"]: p["flags"] for p in deal["pledges"]} == flags, slug


async def check_every_change(walk: Walk, service: Service, day: str) -> None:
    """What the comparison with an earlier day says of each generated deal, and of which kind it is, is the model's."""
    start = {f"from.{name}": value for name, value in walk.point.items()} | {"from.effective_on": day}
    found = await compared(walk, start | {f"to.{name}": value for name, value in walk.point.items()})
    end = await model_point(walk, service)
    for number in range(DEALS):
        story, slug = stories.story_of(number), workload.slug(number)
        # What a source says has the day of the event that it is about; the stories below are compared with the record.
        if story is not None and {labels_model.KINDS[label] for label in story.labels} & {"source"}:
            continue
        events = await history_of(service, slug)
        states = [
            oracle.state_of(slug, events, **{**end, "effective": on})
            for on in (date.fromisoformat(day), end["effective"])
        ]
        assert found.get(slug, set()) == labels_model.changes_by_effective_date(states[0], states[1]), slug


def amounts_of(state: Any) -> list[tuple[Any, ...]]:
    return [
        (p["pledge"], p["status"], p["amount"] and (p["amount"]["currency"], p["amount"]["value"]))
        for p in state["pledges"]
    ]


def stage_of(state: Any) -> tuple[str, str] | None:
    return (state["stage"]["value"], state["stage"]["basis"]) if state["stage"] else None
