"""The client of the service, for commands. An error of the service becomes a sentence and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Annotated, Any

import httpx
import msgspec
import typer

from registry.cli.options import stderr
from registry.cli.texts import Text, language, rendered
from registry.client import ApiError, Client, Retries, calls
from registry.client.calls import JSON, Call

Url = Annotated[str, typer.Option("--url", help="URL of the service. [REGISTRY_URL]", show_default=False)]
DEFAULT_URL = "http://127.0.0.1:8000"

# A service on this machine is reached directly, not through a proxy from the environment.
NO_PROXY_HOSTS = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}

# Exit codes by the status of the response.
EXIT_CODE_BY_STATUS = {400: 2, 404: 3, 409: 4, 412: 4, 413: 5, 415: 5, 422: 5}


# A person waits: an overloaded or unreachable service is reported at once.
NO_RETRIES = Retries(attempts=1)


@contextmanager
def client(url: str = "") -> Iterator[Client]:
    """A client of the service at `url`, else at REGISTRY_URL, else on this machine, with the API key in REGISTRY_KEY.

    An error of the service or of the connection ends the command with a sentence.
    """
    base = url or os.environ.get("REGISTRY_URL", "") or DEFAULT_URL
    headers = {"Accept-Language": language.get()}
    key = os.environ.get("REGISTRY_KEY") or None
    try:
        with Client(base, key=key, retries=NO_RETRIES, headers=headers, mounts=NO_PROXY_HOSTS) as made:
            yield made
    except ApiError as error:
        stderr.print(f"registry: {error.problem.detail}", soft_wrap=True, markup=False)
        for wrong in error.problem.errors:
            stderr.print(f"  {wrong.pointer or '/'}: {wrong.detail}", soft_wrap=True, markup=False)
        raise typer.Exit(EXIT_CODE_BY_STATUS.get(error.status, 1)) from None
    except httpx.TransportError as error:
        reason = rendered(Text("no_service", url=base.rstrip("/"), error=type(error).__name__))
        stderr.print(f"registry: {reason}", soft_wrap=True, markup=False)
        raise typer.Exit(1) from None


def segment(name: str) -> str:
    """An argument, which is a name or an id, as a segment of a path. Ends the command if it is empty."""
    try:
        return calls.segment(name)
    except ValueError:
        raise typer.BadParameter(rendered(Text("argument_empty"))) from None


def find(url: str, path: str) -> Any:
    """Like `get`, but None where the service finds nothing."""
    with client(url) as service:
        return _found(service, path)


def find_each(url: str, paths: Iterable[str]) -> Iterator[Any]:
    """Like `find`, for several paths over one connection. Ends early where the service refuses or cannot be reached.

    For what a table can do without, such as names: a rate limit or an overload then does not end the command.
    """
    with client(url) as service, suppress(ApiError, httpx.TransportError):
        for path in paths:
            yield _found(service, path)


def _found(service: Client, path: str) -> Any:
    try:
        return service.json(path)
    except ApiError as error:
        if error.status == HTTPStatus.NOT_FOUND:
            return None
        raise


def get(url: str, path: str, **parameters: Any) -> Any:
    """Send a GET request and return the response's JSON. Parameters that are None are left out."""
    with client(url) as service:
        return service.json(path, **parameters)


def send(
    url: str, method: str, path: str, body: dict[str, Any] | None = None, headers: dict[str, str] | None = None
) -> Any:
    """Send a request that changes something, and return the response's JSON; None if it is empty."""
    call = Call(
        path=path,
        method=method,
        headers={**(JSON if body is not None else {}), **(headers or {})},
        body=msgspec.json.encode(body) if body is not None else None,
        read=lambda answer: msgspec.json.decode(answer) if answer else None,
        repeatable=False,
    )
    with client(url) as service:
        return service.send(call)


def given(**fields: Any) -> dict[str, Any]:
    """The fields of a request's body whose options are given."""
    return {name: value for name, value in fields.items() if value not in (None, [])}
