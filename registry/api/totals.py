"""Totals over HTTP: the portfolio's amounts at a point in time, with what counted, what did not, and why."""

from __future__ import annotations

from typing import Any, get_args

from litestar import Response, route

from registry import schemas
from registry.api import parameters
from registry.api.deals import FILTERS, READ, filter_terms, require_single_axis
from registry.api.operation import Operation
from registry.api.parameters import CLOCKS, Request
from registry.domain.totals import GroupBy, TotalsQuery
from registry.errors import InvalidParameter
from registry.events.types import Currency
from registry.schemas import TotalsResponse, encode

TOTALS = {
    **CLOCKS,
    **{name: read for name, read in FILTERS.items() if name != "currency"},
    "group_by": parameters.choice(*get_args(GroupBy)),
    "roll_up": parameters.choice("parent"),
    "currency": parameters.choice(*get_args(Currency)),
    "rates_of": parameters.day,
    "explain": parameters.flag,
    "lines": parameters.integer(0, 10_000, 1000),
}


@route("/v1/totals", http_method=READ)
async def get_totals(request: Request) -> Response[Any]:
    """Amounts as intervals, from "without anything that may be counted twice" to "everything".

    With `roll_up=parent` an organization counts under the one that ultimately owned or controlled it on that day.
    """
    await parameters.may_read(request)
    asked = parameters.query(request, TOTALS)
    registry = request.app.state.registry
    clocks = require_single_axis(parameters.clocks(asked))
    effective_on = clocks.effective_on or parameters.today()
    clock, known, position = await registry.portfolio.known_axis(clocks)
    question = TotalsQuery(
        currency=asked.get("currency"),
        group_by=asked.get("group_by"),
        rates_of=asked.get("rates_of"),
        asked_on=effective_on,
        explain=asked.get("explain", False),
        lines=asked.get("lines", 1000),
    )
    asked.pop("currency", None)
    by_parent = asked.get("roll_up") == "parent"
    if by_parent and question.group_by != "organization":
        raise InvalidParameter("roll_up", parameter="roll_up")
    found = await registry.portfolio.totals(clock, known, effective_on, filter_terms(asked), question, by_parent)
    rules = {rule: str(rule.text) for group in (found.overall, *found.groups) for rule in group.rules}
    answer = TotalsResponse(
        effective_on=effective_on,
        published_on=clocks.published_on,
        recorded_at=clocks.recorded_at,
        position=position,
        totals=found,
        rules=rules,
    )
    return parameters.json_response(encode(answer), 200, {"Cache-Control": "no-cache"})


OPERATIONS = (Operation(handler=get_totals, tag="Portfolio", query=TOTALS, answer=schemas.TotalsResponse),)
