"""Ask the columnar copy about a point in time and a selection of deals."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any, Concatenate, ParamSpec, TypeVar

import msgspec
from duckdb import DuckDBPyConnection
from msgspec.structs import replace

from registry.projections.columnar import ColumnarCopy
from registry.projections.columnar.copy import CopyQuestion
from registry.projections.columnar.question_cache import QuestionCache
from registry.projections.columnar.search_at_point import SearchAtPoint, materialize_deals
from registry.projections.columnar.selection import Selection
from registry.projections.point import Point

P = ParamSpec("P")
T = TypeVar("T")


class CopyQuestions:
    """Asks the copy, and lets the search of a selection run before the question about the selection.

    The copy caches an answer under a key: all that the answer depends on. An answer about a position before the head
    never changes, so it is cached for longer.
    """

    def __init__(self, copy: ColumnarCopy) -> None:
        self._copy = copy

    async def answer(
        self,
        point: Point,
        function: Callable[Concatenate[DuckDBPyConnection, QuestionCache, Point, P], T],
        *asked: P.args,
        **named: P.kwargs,
    ) -> T:
        """Return what a function returns at a point. Its name and its arguments are the answer's key."""

        def question(cursor: DuckDBPyConnection, cache: QuestionCache) -> T:
            return function(cursor, cache, point, *asked, **named)

        selection = next((one for one in asked if isinstance(one, Selection)), None)
        return await self.ask(point, question, (function.__qualname__, *asked, *named.values()), selection)

    async def ask(
        self,
        point: Point,
        question: CopyQuestion[T],
        key: tuple[Any, ...],
        selection: Selection | None = None,
        *,
        others: Sequence[Point] = (),
        searches: bool = False,
    ) -> T:
        """Return the answer to a question, which the copy caches.

        Args:
            point: The point that the answer is about.
            question: Computes the answer.
            key: All that the answer depends on besides the point, with a name for the question first.
            selection: The deals that it is about, if a search may have found them.
            others: Points besides `point` at which it looks.
            searches: Whether the question itself searches.
        """
        question, selects = _after_search(question, (point, *others), selection)
        is_final = isinstance(point.known, int) and point.known < point.head
        given = replace(point, head=0) if is_final else point
        return await self._copy.ask(
            point.head, question, _encode_key((given, key)), is_final=is_final, searches=searches or selects
        )

    async def ask_once(
        self, point: Point, question: CopyQuestion[T], selection: Selection, *, is_long: bool = False
    ) -> T:
        """Return the answer to a question about a selection, which is not cached.

        With `is_long` it may take long: it does not delay the questions that wait for the same search.
        """
        question, searches = _after_search(question, (point,), selection, is_long=is_long)
        return await self._copy.ask(point.head, question, is_long=is_long, searches=searches)

    async def wait(self, point: Point) -> None:
        """Wait until questions about a point can be answered.

        Raises:
            PortfolioUnavailable: The copy takes longer than questions wait.
        """
        await self._copy.ask(point.head, lambda *_: None)


# Rates that were recorded by the same import are the same.
_encode_key = msgspec.msgpack.Encoder(enc_hook=lambda rates: rates.imports).encode


def _after_search(
    question: CopyQuestion[T], points: Sequence[Point], selection: Selection | None, *, is_long: bool = False
) -> tuple[CopyQuestion[T], bool]:
    """The question, preceded by the search of its selection at each point; and whether it has one.

    Questions with the same search wait for this one, unless it may take long.
    """
    found = selection.search if selection is not None else None
    if found is None:
        return question, False
    # In one order, so that two questions do not wait for each other.
    ordered = sorted(set(points), key=lambda point: (point.axis, str(point.known), point.day))

    def prepared(cursor: DuckDBPyConnection, cache: QuestionCache) -> T:
        with ExitStack() as stack:
            for point in ordered:
                if is_long:
                    materialize_deals(cursor, point, found)
                else:
                    stack.enter_context(SearchAtPoint(cursor, cache, point, found).deals())
            return question(cursor, cache)

    return prepared, True
