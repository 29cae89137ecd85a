"""The host names under which the service answers.

A page of another site can make a browser resolve the site's name to the service's address (DNS rebinding), and then
read the answers as if they were the site's. Such a request has the site's name in Host, so the service refuses names
that are not its own.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from functools import lru_cache
from urllib.parse import urlsplit

ANY = "*"


class HostNames:
    """The names that a Host header may have. Addresses and `localhost` are always accepted: they cannot be rebound.

    Not Litestar's AllowedHostsConfig: it sees only requests with a route, and answers without a problem document.

    Args:
        listens_on: The address that the service listens on.
        site: The service's public address.
        allowed: Further names. If there are none, a service that listens on its own machine only accepts no other name,
            and a service that other machines can reach accepts every name, because it cannot know theirs.
    """

    def __init__(self, listens_on: str, site: str | None, allowed: Sequence[str]) -> None:
        names = {name.lower() for name in allowed}
        self._any = ANY in names or (not names and not is_loopback(listens_on))
        if site is not None and (name := urlsplit(site).hostname):
            names.add(name)
        self._names = frozenset(names)
        self.accepts = lru_cache(maxsize=256)(self._accepts)

    def _accepts(self, host: bytes) -> bool:
        """Whether the service answers under the name in a valid Host header."""
        if self._any:
            return True
        name = host.decode("latin-1").lower()
        if name.startswith("["):
            return _is_address(name[1:].partition("]")[0])
        name = name.partition(":")[0].removesuffix(".")
        return name in self._names or name == "localhost" or name.endswith(".localhost") or _is_address(name)


def is_loopback(host: str) -> bool:
    """Whether only the same machine reaches an address, or the addresses of a name, to listen on."""
    try:
        found = {str(address[0]) for *_, address in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return False
    return all(ipaddress.ip_address(address).is_loopback for address in found)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
