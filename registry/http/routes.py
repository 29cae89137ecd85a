"""Routers that are registered once."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any

from litestar import Controller, Router
from litestar.handlers import BaseRouteHandler


class Routes(Router):
    """A router that Litestar does not copy when it registers it.

    Litestar copies a router with all handlers, in case it is registered again: 0.3 of the 0.7 s that the application
    takes. Handlers that are no methods of a controller are copied here, because each refers to its application.
    """

    def __init__(
        self, path: str, *, route_handlers: Sequence[type[Controller] | BaseRouteHandler | Router], **more: Any
    ) -> None:
        own = [copy(each) if isinstance(each, BaseRouteHandler) else each for each in route_handlers]
        super().__init__(path, route_handlers=own, **more)

    def __deepcopy__(self, memo: dict[int, Any]) -> Routes:
        return self
