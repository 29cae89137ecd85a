"""What a browser is called, from its User-Agent header."""

from __future__ import annotations

import re

from msgspec import Struct

# In this order, because most browsers name other browsers as well: the first name that the header contains is right.
_BROWSERS = {
    "Edg": "Edge",
    "EdgA": "Edge",
    "OPR": "Opera",
    "Whale": "Whale",
    "SamsungBrowser": "Samsung Internet",
    "Firefox": "Firefox",
    "FxiOS": "Firefox",
    "CriOS": "Chrome",
    "HeadlessChrome": "Chrome",
    "Chrome": "Chrome",
    "Safari": "Safari",
}
_SYSTEMS = {
    "Android": "Android",
    "iPhone": "iOS",
    "iPad": "iPadOS",
    "Windows": "Windows",
    "Macintosh": "macOS",
    "CrOS": "ChromeOS",
    "Linux": "Linux",
}


class BrowserName(Struct, frozen=True):
    """The name of a browser or another client, and of its operating system; None where the header tells none."""

    name: str
    system: str | None


def browser_of(agent: str) -> BrowserName | None:
    """The browser that sends a User-Agent header; a client that is no browser has the first name in it."""
    products = re.findall(r"([\w.+-]+)/\d", agent)
    if not products:
        return None
    name = next((called for token, called in _BROWSERS.items() if token in products), products[0])
    return BrowserName(name, next((called for token, called in _SYSTEMS.items() if token in agent), None))
