"""What the registry holds as files: deals and pledges at any point in time, and the log; written as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, get_args

from litestar import Response, route
from litestar.response import Stream

from registry import exports
from registry.api import deals, events, parameters
from registry.api.deals import READ
from registry.api.operation import Operation
from registry.api.parameters import Request
from registry.errors import NotAcceptable
from registry.exports import Kind
from registry.schemas import exported_event

PAGE = 1_000

PORTFOLIO = {**parameters.CLOCKS, **deals.FILTERS, "q": parameters.text}
LOG = {name: parameter for name, parameter in events.FEED.items() if name != "limit"}

Pages = AsyncIterator[Sequence[Any]]

EXPORTABLE = {
    "deals": "Deals at any point in time as a file: a row each.",
    "pledges": "What was pledged, at any point in time, as a file: a row for each pledge.",
    "events": "The log as a file: a row for each event, in order.",
}


async def _portfolio(request: Request, asked: dict[str, Any]) -> tuple[Pages, int]:
    registry = request.app.state.registry
    clocks = deals.require_single_axis(parameters.clocks(asked))
    effective_on = clocks.effective_on or parameters.today()
    clock, known, position = await registry.portfolio.known_axis(clocks)

    async def pages() -> Pages:
        after: str | None = ""
        while after is not None:
            page = await registry.portfolio.page(
                clock, known, effective_on, deals.filter_terms(asked), asked.get("q"), after, PAGE
            )
            yield page.rows
            after = page.next

    return pages(), position


async def _log(request: Request, asked: dict[str, Any]) -> tuple[Pages, int]:
    registry = request.app.state.registry
    # What comes while the file is written belongs to the next one.
    last = (await registry.log.head()).position

    async def pages() -> Pages:
        after = asked.pop("after", 0)
        while found := await registry.log.events(after, PAGE, **asked):
            after = found[-1].recorded.position
            yield [exported_event(event) for event in found if event.recorded.position <= last]
            if len(found) < PAGE or after >= last:
                break

    return pages(), last


def _operation(kind: Kind, form: str) -> Operation:
    """The route of one file."""
    known = LOG if kind == "events" else PORTFOLIO
    pages_of: Callable[..., Any] = _log if kind == "events" else _portfolio

    async def get_file(request: Request) -> Response[Any] | Stream:
        await parameters.may_read(request)
        asked = parameters.query(request, known)
        if form == "parquet" and not exports.has_parquet():
            raise NotAcceptable("parquet")
        pages, position = await pages_of(request, asked)
        headers = {
            "Cache-Control": "no-cache",
            "Content-Disposition": f'attachment; filename="{kind}-{position}.{form}"',
        }
        if request.method == "HEAD":
            return Response(None, media_type=exports.MEDIA[form], headers=headers)
        return Stream(exports.file(kind, form, pages), media_type=exports.MEDIA[form], headers=headers)

    get_file.__name__ = get_file.__qualname__ = f"get_{kind}_{form}"
    get_file.__doc__ = EXPORTABLE[kind]
    return Operation(
        handler=route(f"/v1/export/{kind}.{form}", http_method=READ)(get_file),
        tag="Log" if kind == "events" else "Portfolio",
        query=known,
        other={exports.MEDIA[form]: f"Columns: {', '.join(exports.COLUMNS[kind])}."},
        refuses=("not_acceptable",) if form == "parquet" else (),
    )


OPERATIONS = tuple(_operation(kind, form) for kind in get_args(Kind) for form in exports.MEDIA)
