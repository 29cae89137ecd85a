"""Connect to public addresses only, so that a webhook cannot reach the operator's own network (SSRF).

The check resolves the host name and connects to the address that was checked, so a DNS answer that changes in between
cannot bypass it.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import httpcore

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class PrivateAddress(OSError):
    """The host resolves to an address that is neither public nor allowed."""


class PublicOnlyBackend(httpcore.AnyIOBackend):
    """Network backend of httpcore that connects to public addresses and to the operator's allowed networks only."""

    def __init__(self, allowed: Iterable[Network]) -> None:
        self._allowed = tuple(allowed)

    def is_allowed(self, address: str) -> bool:
        """Whether messages may be sent to an IP address."""
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            ip = ip.ipv4_mapped
        public = ip.is_global and not ip.is_multicast
        return public or any(ip.version == network.version and ip in network for network in self._allowed)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        resolved = await asyncio.get_running_loop().getaddrinfo(host, port)
        addresses = list(dict.fromkeys(str(address[0]) for *_, address in resolved))
        # Check every address: a name with one private address among public ones is refused as well.
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise PrivateAddress(f"'{host}' is not a public address")
        return await super().connect_tcp(addresses[0], port, timeout, local_address, socket_options)


def is_ip_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
