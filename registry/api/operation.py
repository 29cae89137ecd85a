"""A route with what its documentation says of it, so that neither can be there without the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from litestar.handlers import HTTPRouteHandler
from msgspec import Struct

from registry.api.parameters import Parameter
from registry.infra.keys import Scope


class Operation(Struct, frozen=True, kw_only=True):
    """One handler, and its part of the API's contract; the handler's docstring is the summary, then the description.

    `answer` is the shape of the JSON answered, or None where there is none; `other` maps other media types to what they
    hold. `needs` names the parameters that must be given, `headers` the request's headers that count. `body` is what is
    posted, `examples` some of it by name. `refuses` lists the codes of problems beside those that all have in common.
    What `moves` leads on from a merged record (308) instead of answering for it.
    `scope` is what a key needs; None: reading, which is public unless the operator says otherwise. What is `open` never
    needs a key.
    """

    handler: HTTPRouteHandler
    tag: str
    answer: Any = None
    other: Mapping[str, str] = {}
    query: Mapping[str, Parameter[Any]] = {}
    needs: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    body: Any = None
    body_type: str = "application/json"
    examples: Mapping[str, Any] = {}
    statuses: tuple[int, ...] = (200,)
    refuses: tuple[str, ...] = ()
    moves: bool = False
    scope: Scope | None = None
    open: bool = False

    @property
    def path(self) -> str:
        """The path's template, as OpenAPI writes it."""
        return next(iter(self.handler.paths)).replace(":str}", "}").replace(":path}", "}").replace(":int}", "}")

    @property
    def methods(self) -> list[str]:
        """The HTTP methods, in order."""
        return sorted(str(getattr(method, "value", method)) for method in self.handler.http_methods)
