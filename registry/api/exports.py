"""What the registry holds as files: deals and pledges at any point in time, and the log; written as they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, get_args

from litestar import Response, route
from litestar.response import Stream

from registry import tables
from registry.answers import logged
from registry.api import deals, events, http
from registry.api.deals import READ
from registry.api.http import Request
from registry.api.operation import Operation
from registry.errors import NotAcceptable
from registry.tables import Kind

PAGE = 1_000

PORTFOLIO = {**http.CLOCKS, **deals.FILTERS, "q": http.text}
LOG = {name: parameter for name, parameter in events.FEED.items() if name != "limit"}

Pages = AsyncIterator[Sequence[Any]]

WHAT = {
    "deals": "Deals at any point in time as a file: a row each.",
    "pledges": "What was pledged, at any point in time, as a file: a row for each pledge.",
    "events": "The log as a file: a row for each event, in order.",
}


async def _portfolio(request: Request, asked: dict[str, Any]) -> tuple[Pages, int]:
    reader = request.app.state.registry.reader
    clocks = deals.one_axis(http.clocks(asked))
    effective_on = clocks.effective_on or http.today()
    clock, known, position = await reader.known_at(clocks)

    async def pages() -> Pages:
        after: str | None = ""
        while after is not None:
            page = await reader.deals(clock, known, effective_on, deals.terms(asked), asked.get("q"), after, PAGE)
            yield page.rows
            after = page.next

    return pages(), position


async def _log(request: Request, asked: dict[str, Any]) -> tuple[Pages, int]:
    reader = request.app.state.registry.reader
    # What comes while the file is written belongs to the next one.
    last = (await reader.head()).position

    async def pages() -> Pages:
        after = asked.pop("after", 0)
        while found := await reader.events(after, PAGE, **asked):
            after = found[-1].recorded.position
            yield [logged(event) for event in found if event.recorded.position <= last]
            if len(found) < PAGE or after >= last:
                break

    return pages(), last


def _operation(kind: Kind, form: str) -> Operation:
    """The route of one file."""
    known = LOG if kind == "events" else PORTFOLIO
    pages_of: Callable[..., Any] = _log if kind == "events" else _portfolio

    async def get_file(request: Request) -> Response[Any] | Stream:
        await http.may_read(request)
        asked = http.query(request, known)
        if form == "parquet" and not tables.has_parquet():
            raise NotAcceptable("Parquet needs the library pyarrow, which is not here: ask for csv or ndjson.")
        pages, position = await pages_of(request, asked)
        headers = {
            "Cache-Control": "no-cache",
            "Content-Disposition": f'attachment; filename="{kind}-{position}.{form}"',
        }
        if request.method == "HEAD":
            return Response(None, media_type=tables.MEDIA[form], headers=headers)
        return Stream(tables.file(kind, form, pages), media_type=tables.MEDIA[form], headers=headers)

    get_file.__name__ = get_file.__qualname__ = f"get_{kind}_{form}"
    get_file.__doc__ = WHAT[kind]
    return Operation(
        handler=route(f"/v1/export/{kind}.{form}", http_method=READ)(get_file),
        tag="Log" if kind == "events" else "Portfolio",
        query=known,
        other={tables.MEDIA[form]: f"Columns: {', '.join(tables.COLUMNS[kind])}."},
        refuses=("not_acceptable",) if form == "parquet" else (),
    )


OPERATIONS = tuple(_operation(kind, form) for kind in get_args(Kind) for form in tables.MEDIA)
