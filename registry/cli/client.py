"""An HTTP client of the service, for commands. A problem document becomes a sentence and an exit code."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import msgspec
import typer

from registry.cli.options import stderr
from registry.cli.texts import Text, language, rendered

Url = Annotated[str, typer.Option("--url", help="URL of the service. [REGISTRY_URL]", show_default=False)]
DEFAULT_URL = "http://127.0.0.1:8000"

# A service on this machine is reached directly, not through a proxy from the environment.
NO_PROXY_HOSTS = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}

# Exit codes by the status of the response.
EXIT_CODE_BY_STATUS = {400: 2, 404: 3, 409: 4, 412: 4, 413: 5, 415: 5, 422: 5}


@contextmanager
def client(url: str = "") -> Iterator[httpx.Client]:
    """A client of the service at `url`, else at REGISTRY_URL, else on this machine, with the API key in REGISTRY_KEY.

    A connection error ends the command with a sentence.
    """
    with connection(url) as made:
        try:
            yield made
        except httpx.TransportError as error:
            base = str(made.base_url).rstrip("/")
            reason = rendered(Text("no_service", url=base, error=type(error).__name__))
            stderr.print(f"registry: {reason}", soft_wrap=True, markup=False)
            raise typer.Exit(1) from None


def connection(url: str = "") -> httpx.Client:
    """The same client, without handling of connection errors."""
    base = url or os.environ.get("REGISTRY_URL", "") or DEFAULT_URL
    key = os.environ.get("REGISTRY_KEY", "")
    headers = {"Accept-Language": language.get()} | ({"Authorization": f"Bearer {key}"} if key else {})
    return httpx.Client(base_url=base, headers=headers, timeout=60, follow_redirects=True, mounts=NO_PROXY_HOSTS)


def answer(response: httpx.Response) -> Any:
    """The response's JSON. A problem document ends the command with its detail and its exit code."""
    if response.is_success:
        return msgspec.json.decode(response.content)
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        problem = {"detail": response.text or response.reason_phrase}
    stderr.print(f"registry: {problem['detail']}", soft_wrap=True, markup=False)
    for error in problem.get("errors", ()):
        stderr.print(f"  {error['pointer'] or '/'}: {error['detail']}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_CODE_BY_STATUS.get(response.status_code, 1))


def get(url: str, path: str, **parameters: Any) -> Any:
    """Send a GET request and return the response's JSON. Parameters that are None are left out."""
    given = {name: value for name, value in parameters.items() if value is not None}
    with client(url) as service:
        return answer(service.get(path, params=given))
