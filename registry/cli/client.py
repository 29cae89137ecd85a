"""The service as the commands meet it: over HTTP, with a key where there is one.

A problem becomes a sentence and an exit code.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import httpx
import msgspec
import typer

from registry.cli.options import stderr

Url = Annotated[str, typer.Option("--url", help="Where the service is. [REGISTRY_URL]", show_default=False)]
DEFAULT_URL = "http://127.0.0.1:8000"

# A service on this machine is asked directly, whatever proxy the environment names.
NO_PROXY_HOSTS = {f"all://{host}": None for host in ("127.0.0.1", "localhost", "[::1]")}

# What a command ends with, by the status of the answer (see EXIT_CODES for what happens without a service).
EXIT_CODE_BY_STATUS = {400: 2, 404: 3, 409: 4, 412: 4, 413: 5, 415: 5, 422: 5}


@contextmanager
def client(url: str = "") -> Iterator[httpx.Client]:
    """A client of the service at `url`, of REGISTRY_URL, or on this machine.

    With the key of REGISTRY_KEY if there is one.
    """
    with connection(url) as made:
        try:
            yield made
        except httpx.TransportError as error:
            base = str(made.base_url).rstrip("/")
            stderr.print(f"registry: no service answers at {base} ({type(error).__name__}): start one, or give --url")
            raise typer.Exit(1) from None


def connection(url: str = "") -> httpx.Client:
    """The same for those who know what to do when no service answers."""
    base = url or os.environ.get("REGISTRY_URL", "") or DEFAULT_URL
    key = os.environ.get("REGISTRY_KEY", "")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.Client(base_url=base, headers=headers, timeout=60, follow_redirects=True, mounts=NO_PROXY_HOSTS)


def answer(response: httpx.Response) -> Any:
    """The answer's JSON. Ends the command with a sentence, and the exit code of the problem, where it is one."""
    if response.is_success:
        return msgspec.json.decode(response.content)
    try:
        problem = msgspec.json.decode(response.content)
    except msgspec.DecodeError:
        problem = {"detail": response.text or response.reason_phrase}
    stderr.print(f"registry: {problem['detail']}", soft_wrap=True, markup=False)
    for wrong in problem.get("errors", ()):
        stderr.print(f"  {wrong['pointer'] or '/'}: {wrong['detail']}", soft_wrap=True, markup=False)
    raise typer.Exit(EXIT_CODE_BY_STATUS.get(response.status_code, 1))


def get(url: str, path: str, **parameters: Any) -> Any:
    """One question, and its answer's JSON."""
    asked = {name: value for name, value in parameters.items() if value is not None}
    with client(url) as service:
        return answer(service.get(path, params=asked))
