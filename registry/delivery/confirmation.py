"""Confirmation of watches: an e-mail address or a receiver must confirm before the service sends events to it."""

from __future__ import annotations

import math
import time
from collections import deque
from datetime import timedelta

from registry.errors import RateLimited

# Hours in which an address must be confirmed; then the watch is deleted with it.
CONFIRM_WITHIN = timedelta(hours=48)

# Questions to addresses that a principal may cause in an hour: they may be strangers' addresses.
MAX_PER_HOUR = 20
_HOUR_SECONDS = 3600.0


class ConfirmationLimit:
    """How many addresses a principal has asked lately, in the memory of this process."""

    def __init__(self) -> None:
        self._asked: dict[str, deque[float]] = {}

    def take(self, principal: str) -> None:
        """Count one question. Raises RateLimited."""
        now = time.monotonic()
        for other, times in list(self._asked.items()):
            while times and times[0] <= now - _HOUR_SECONDS:
                times.popleft()
            if not times:
                del self._asked[other]
        asked = self._asked.setdefault(principal, deque())
        if len(asked) >= MAX_PER_HOUR:
            seconds = math.ceil(asked[0] + _HOUR_SECONDS - now)
            raise RateLimited("confirmations", limit=MAX_PER_HOUR, seconds=seconds)
        asked.append(now)
