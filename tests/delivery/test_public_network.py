"""Webhooks are sent to public addresses and to networks that the operator allows, checked when they connect."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import subprocess
import sys
import threading
from typing import Any

import pytest

from registry.delivery.public_network import PrivateAddress, PublicOnlyBackend
from tests.conftest import PATIENCE

# An address of each range of IANA's registries of special-purpose addresses, and of multicast.
SPECIAL = [
    "0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.8.8.8", "169.254.169.254",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.0.170", "192.0.2.1", "192.31.196.1", "192.52.193.1",
    "192.88.99.1", "192.168.1.1", "192.175.48.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",  # IPv4-mapped
    "::127.0.0.1", "::10.0.0.1", "::8.8.8.8",  # IPv4-compatible
    "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b::808:808", "64:ff9b:1::7f00:1",  # NAT64
    "100::1", "100:0:0:1::1",  # discard-only
    "2001::1", "2001:0:7f00:1::", "2001:2::1", "2001:10::1", "2001:20::1", "2001:1::1",  # Teredo, benchmarking, ORCHID
    "2001:db8::1", "3fff::1",  # documentation
    "2002:7f00:1::", "2002:a9fe:a9fe::1", "2002:808:808::1",  # 6to4
    "2620:4f:8000::1", "3ffe::1", "5f00::1", "4000::1", "fc00::1", "fd12:3456::1", "fe80::1", "fe80::1%1", "febf::1",
    "fec0::1", "feff::1", "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", SPECIAL)
def test_special_addresses_are_not_allowed(address: str) -> None:
    assert not PublicOnlyBackend(()).is_allowed(address)


@pytest.mark.parametrize(
    "address", ["93.184.215.14", "8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "2606:4700::1111", "2a00::1"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert PublicOnlyBackend(()).is_allowed(address)


def test_networks_of_the_operator_are_allowed() -> None:
    allowed = PublicOnlyBackend([ipaddress.ip_network(text) for text in ("10.1.0.0/16", "fc00::/7", "64:ff9b::/96")])
    assert allowed.is_allowed("10.1.2.3")
    assert allowed.is_allowed("::ffff:10.1.2.3")
    assert allowed.is_allowed("fd00::1")
    assert allowed.is_allowed("64:ff9b::808:808")
    assert not allowed.is_allowed("10.2.0.1")
    assert not allowed.is_allowed("64:ff9b:1::808:808")


@pytest.mark.parametrize("address", SPECIAL)
async def test_name_that_leads_to_a_special_address_is_refused_when_it_connects(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to(address))
    with pytest.raises(PrivateAddress):
        await PublicOnlyBackend(()).connect_tcp("news.example", 443)


async def test_name_with_a_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "getaddrinfo", resolving_to("93.184.215.14", "127.0.0.1"))
    with pytest.raises(PrivateAddress):
        await PublicOnlyBackend(()).connect_tcp("news.example", 443)


@pytest.mark.parametrize("host", ["0x7f.1", "2130706433", "0177.0.0.1", "127.1", "localhost", "[::1]"])
async def test_other_spellings_of_loopback_are_refused(host: str) -> None:
    with pytest.raises((PrivateAddress, socket.gaierror)):
        await PublicOnlyBackend(()).connect_tcp(host.strip("[]"), 443)


async def test_slow_name_servers_keep_no_thread_from_others(monkeypatch: pytest.MonkeyPatch) -> None:
    may_end = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: may_end.wait(PATIENCE))
    connecting = [PublicOnlyBackend(()).connect_tcp("slow.example", 443, timeout=0.1) for _ in range(40)]
    try:
        tried = asyncio.gather(*connecting, return_exceptions=True)
        await asyncio.sleep(0)
        assert await asyncio.to_thread(threading.current_thread) is not threading.main_thread()
        assert not may_end.is_set()
        assert {type(error) for error in await tried} == {TimeoutError}
    finally:
        may_end.set()


def resolving_to(*addresses: str) -> Any:
    """A resolver whose answer is these addresses."""

    def resolve(host: str, port: int, *_: Any) -> list[Any]:
        return [(0, 1, 6, "", (address, port)) for address in addresses]

    return resolve


LOOKS_UP_FOR_EVER = """
import asyncio, socket, threading
from registry.delivery.public_network import PublicOnlyBackend

socket.getaddrinfo = lambda *_: threading.Event().wait()

async def connect(backend):
    try:
        await backend.connect_tcp("receiver.example", 443, timeout=0.1)
    except TimeoutError:
        print("timed out")

async def main():
    backend = PublicOnlyBackend((), lookups=2)
    await asyncio.gather(*(connect(backend) for _ in range(4)))

asyncio.run(main())
"""


def test_service_ends_while_name_servers_do_not_answer() -> None:
    command = [sys.executable, "-c", LOOKS_UP_FOR_EVER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout.split("\n") == ["timed out"] * 4 + [""]
