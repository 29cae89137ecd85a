"""When a request is sent again: the service is overloaded or restarts, or the connection was lost.

Only requests that may be sent twice are sent again after a lost connection: GET, and a post with an idempotency key.
"""

from __future__ import annotations

import random
from typing import Protocol

import httpx
from msgspec import Struct

# The service refused these before it did anything (docs/api.md).
REFUSED_FOR_NOW = frozenset({429, 503})


class Retries(Struct, frozen=True):
    """How often and how soon a request is sent again.

    `attempts` counts the first one too. Where the service gives no Retry-After, the wait doubles from `first` seconds;
    no wait is longer than `longest`.
    """

    attempts: int = 5
    first: float = 0.5
    longest: float = 30.0


class Repeatable(Protocol):
    """A request that says whether it may be sent twice."""

    @property
    def repeatable(self) -> bool: ...


class Attempts:
    """The attempts of one request."""

    def __init__(self, call: Repeatable, policy: Retries) -> None:
        self._call = call
        self._policy = policy
        self._made = 0

    def after_response(self, response: httpx.Response) -> float | None:
        """Seconds to wait before the next attempt; None: the response is the answer."""
        self._made += 1
        if response.status_code not in REFUSED_FOR_NOW or self._made >= self._policy.attempts:
            return None
        stated = response.headers.get("retry-after", "")
        return min(float(stated), self._policy.longest) if stated.isdecimal() else self._backoff()

    def after_error(self) -> float | None:
        """Seconds to wait before the next attempt after a lost connection; None: the error stands."""
        self._made += 1
        if not self._call.repeatable or self._made >= self._policy.attempts:
            return None
        return self._backoff()

    def _backoff(self) -> float:
        # The half that is random keeps clients that failed together apart.
        longest: float = min(self._policy.first * 2.0 ** (self._made - 1), self._policy.longest)
        return longest * random.uniform(0.5, 1.0)  # noqa: S311 - not a secret
