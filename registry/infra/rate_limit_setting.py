"""The setting REGISTRY_RATE_LIMITS: `key=1000/s address=200/s failure=20/m`, or `off`."""

from __future__ import annotations

import re

from msgspec import Struct

UNITS = {"s": 1, "m": 60, "h": 3_600}


class RateLimit(Struct, frozen=True):
    """Requests that a client may make in a period of seconds, all at once or spread over it."""

    count: int
    seconds: int


DEFAULT_RATE_LIMITS = {
    # A key of a program that is out of control, and no other.
    "key": RateLimit(1_000, 1),
    # A page and its files are about ten requests.
    "address": RateLimit(200, 1),
    # Wrong keys and failed sign-ins of an address.
    "failure": RateLimit(20, 60),
}


def parse_rate_limits(text: str) -> dict[str, RateLimit]:
    """Parse the setting. Classes that it does not name keep their default.

    Raises:
        ValueError: The text has another form. The error's text is the part that is wrong.
    """
    if text == "off":
        return {}
    limits = dict(DEFAULT_RATE_LIMITS)
    for part in text.split():
        found = re.fullmatch(r"(\w+)=(?:(off)|([1-9][0-9]{0,6})/([smh]))", part)
        if found is None or found[1] not in limits:
            raise ValueError(part)
        if found[2]:
            del limits[found[1]]
        else:
            limits[found[1]] = RateLimit(int(found[3]), UNITS[found[4]])
    return limits
