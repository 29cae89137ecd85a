"""The composition root: settings become services (`services.py`), and services become an application."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from litestar import Litestar
from litestar.di import Provide
from litestar.exceptions import MissingDependencyException
from litestar.routes import HTTPRoute

from registry import api
from registry.api.openapi import MsgspecSchemas, openapi_config
from registry.append.identities import SCOPES
from registry.errors import BadSetting
from registry.events.types import EVENT_TYPES
from registry.events.validation import load_places
from registry.events.write_batch import Head
from registry.exports.temporary import delete_left_files
from registry.http.access_log import AccessLogWriter
from registry.http.hosts import HostNames
from registry.http.middleware import RequestMiddleware, cors_config
from registry.http.problems import HANDLERS
from registry.http.process_metrics import Metrics
from registry.http.rate_limits import RateLimiter
from registry.infra.problems import SettingProblem
from registry.infra.settings import Settings
from registry.services import Services, open_services, witness_addresses
from registry.web import router as pages
from registry.web.page.errors import APPLICATION_HANDLERS, page_before_routes

if TYPE_CHECKING:
    from registry.http.tracing import Tracing


def create_app(settings: Settings) -> Litestar:
    """Make the application. Its database must exist and be migrated when it starts.

    Raises:
        BadSetting: The settings contradict each other, or name what this release does not know.
    """
    _check(settings)
    tracing = _tracing(settings)

    def provide(name: str) -> Provide:
        def provider() -> Any:
            return getattr(app.state.services, name)

        return Provide(provider, sync_to_thread=False)

    app = Litestar(
        route_handlers=[api.create_router(), pages.create_router()],
        dependencies={name: provide(name) for name in Services.__struct_fields__},
        lifespan=[_lifespan],
        exception_handlers={**HANDLERS, **APPLICATION_HANDLERS},
        openapi_config=openapi_config(),
        include_in_schema=False,
        plugins=[MsgspecSchemas(), *([tracing.plugin] if tracing else [])],
        before_send=[tracing.name_span] if tracing else [],
        cors_config=cors_config(settings.cors_origins) if settings.cors_origins else None,
        request_max_body_size=None,
        logging_config=None,
    )
    _list_all_methods(app)
    app.state.update(settings=settings, routes=app.asgi_handler, tracing=tracing)
    return app


def _check(settings: Settings) -> None:
    """Check settings that several packages must understand.

    Raises:
        BadSetting: They name what this release does not know.
    """
    if unknown := set(settings.four_eyes) - EVENT_TYPES.keys():
        problem = SettingProblem("event_type", value=min(unknown))
        raise BadSetting(setting="REGISTRY_FOUR_EYES (--four-eyes)", reason=problem)
    granted = {scope for scopes in settings.oidc_rights.values() for scope in scopes}
    if unknown := granted - set(SCOPES):
        problem = SettingProblem("oidc_scope", value=min(unknown), known=SCOPES)
        raise BadSetting(setting="REGISTRY_OIDC_RIGHTS (--oidc-rights)", reason=problem)
    witness_addresses(settings)


@asynccontextmanager
async def _lifespan(app: Litestar) -> AsyncIterator[None]:
    """Run the services of an application while it serves."""
    settings, tracing = app.state.settings, app.state.tracing
    metrics, access_log = Metrics(), AccessLogWriter()
    async with tracing.running() if tracing else nullcontext(), open_services(settings, metrics) as services:
        limiter = RateLimiter(settings.rate_limits, services.identities.find)
        app.asgi_handler = RequestMiddleware(
            app.state.routes,
            metrics,
            access_log,
            limiter,
            page_before_routes,
            HostNames(settings.host, settings.site, settings.allowed_hosts),
            settings.data_licence,
        )
        app.state.update(services=services, access_log=access_log)
        recorder = services.recorder

        def observe(_: Head) -> None:
            metrics.group.observe(recorder.last_batch_size)
            metrics.batch_seconds.observe(recorder.last_batch_seconds)
            metrics.projection_seconds.observe(recorder.last_projection_seconds)

        recorder.commit_listeners.append(observe)
        if tracing is not None:
            recorder.batch_span = tracing.batch_span
        # Before the service listens: else the first pages would compile templates on the event loop.
        await asyncio.to_thread(_prepare)
        yield
    access_log.write()


def _prepare() -> None:
    """Read and make what the first requests would hold the event loop for, and delete what a killed process left."""
    delete_left_files()
    load_places()
    pages.prepare_pages()


def _tracing(settings: Settings) -> Tracing | None:
    """The traces of the service, if a collector is set.

    Raises:
        BadSetting: The packages that send traces are not installed.
    """
    if settings.otlp_endpoint is None:
        return None
    # Imported here: the packages are those of an extra, and a service without traces starts without them.
    try:
        from registry.http.tracing import Tracing
    except (ImportError, MissingDependencyException):
        problem = SettingProblem("otel_missing")
        raise BadSetting(setting="REGISTRY_OTLP_ENDPOINT (--otlp-endpoint)", reason=problem) from None
    return Tracing(settings.otlp_endpoint)


def _list_all_methods(app: Litestar) -> None:
    """Make OPTIONS list every method of a path: Litestar keeps the answer that it made for the path's first handler."""
    for route in app.routes:
        if isinstance(route, HTTPRoute):
            first, parameters = route.route_handler_map["OPTIONS"]
            handler = route.create_options_handler(route.path)
            handler.owner = first.owner
            handler.on_registration(app)
            route.route_handler_map["OPTIONS"] = handler, parameters
