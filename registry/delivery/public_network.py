"""Connect to public addresses only, so that a webhook cannot reach the operator's own network (SSRF).

The check resolves the host name and connects to the address that was checked, so a DNS answer that changes in between
cannot bypass it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import httpcore

from registry.delivery.bounded_stream import BoundedStream

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# IANA's registries of special-purpose addresses (RFC 6890) as of 2026, and multicast. Not `ipaddress.is_global`, whose
# list is another in each release of Python, and which counts 6to4 and NAT64 as public: they lead to IPv4 addresses.
SPECIAL_IPV4 = tuple(
    map(
        ipaddress.IPv4Network,
        (
            "0.0.0.0/8",  # this network
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # carrier-grade NAT
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, with the metadata services of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocol assignments
            "192.0.2.0/24",  # documentation
            "192.31.196.0/24",  # AS112
            "192.52.193.0/24",  # AMT
            "192.88.99.0/24",  # 6to4 relays
            "192.168.0.0/16",  # private
            "192.175.48.0/24",  # AS112
            "198.18.0.0/15",  # benchmarking
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)

# All global unicast addresses are in it (RFC 4291 §2.4). Outside are unspecified, loopback, IPv4-compatible,
# IPv4-mapped, NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), discard-only, SRv6, unique local, link-local, site-local and
# multicast addresses.
GLOBAL_IPV6 = ipaddress.IPv6Network("2000::/3")

SPECIAL_IPV6 = tuple(
    map(
        ipaddress.IPv6Network,
        (
            "2001::/23",  # protocol assignments: Teredo, benchmarking, ORCHID, AMT
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4
            "2620:4f:8000::/48",  # AS112
            "3ffe::/16",  # 6bone
            "3fff::/20",  # documentation
        ),
    )
)


class PrivateAddress(OSError):
    """The host resolves to an address that is neither public nor allowed."""

    def __init__(self, host: str) -> None:
        super().__init__(host)
        self.host = host


def is_public(ip: Address) -> bool:
    """Whether an address is an ordinary one of the public internet."""
    if isinstance(ip, ipaddress.IPv4Address):
        return not any(ip in network for network in SPECIAL_IPV4)
    return ip in GLOBAL_IPV6 and not any(ip in network for network in SPECIAL_IPV6)


class PublicOnlyBackend(httpcore.AnyIOBackend):
    """Network backend of httpcore that connects to public addresses and to the operator's allowed networks only.

    Args:
        allowed: Networks of the operator.
        lookups: Names that are looked up at the same time. Name servers may be as slow as their owners like, so this
            is as many as there are receivers at a time, in threads that nothing else waits for: no other work, and not
            the end of the process.
    """

    def __init__(self, allowed: Iterable[Network], lookups: int = 4) -> None:
        self._allowed = tuple(allowed)
        self._free = asyncio.Semaphore(lookups)

    def is_allowed(self, address: str) -> bool:
        """Whether messages may be sent to an IP address."""
        ip = ipaddress.ip_address(address)
        if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped is not None:
            # The operating system connects to the IPv4 address.
            ip = ip.ipv4_mapped
        return is_public(ip) or any(ip.version == network.version and ip in network for network in self._allowed)

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - the signature is httpcore's
        local_address: str | None = None,
        socket_options: Any = None,
    ) -> httpcore.AsyncNetworkStream:
        async with asyncio.timeout(timeout):
            addresses = await self._look_up(host, port)
        # Check every address: a name with one private address among public ones is refused as well.
        if not addresses or not all(self.is_allowed(address) for address in addresses):
            raise PrivateAddress(host)
        return BoundedStream(await super().connect_tcp(addresses[0], port, timeout, local_address, socket_options))

    async def _look_up(self, host: str, port: int) -> list[str]:
        """The addresses of a host. A lookup whose request has timed out keeps its place until it ends.

        Not in an executor: when the process ends, Python waits for its threads, and a lookup may take minutes.
        """
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Any]] = loop.create_future()

        def end(report: Callable[[Any], None], result: object) -> None:
            self._free.release()
            if not found.done():
                report(result)

        def look_up() -> None:
            outcome: tuple[Callable[[Any], None], object]
            try:
                outcome = found.set_result, socket.getaddrinfo(host, port, 0, socket.SOCK_STREAM)
            except Exception as error:
                outcome = found.set_exception, error
            # The service may have stopped meanwhile.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end, *outcome)

        threading.Thread(target=look_up, name="resolve", daemon=True).start()
        return list(dict.fromkeys(str(address[0]) for *_, address in await found))

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise PrivateAddress("unix")


def is_ip_address(host: str) -> bool:
    """Whether a host is an IP address rather than a name."""
    with suppress(ValueError):
        ipaddress.ip_address(host)
        return True
    return False
