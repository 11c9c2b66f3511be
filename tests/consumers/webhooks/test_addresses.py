"""Which addresses webhooks may reach: only public ones, however they are written, and only those that were checked."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest

from consumers.webhooks.addresses import AddressRefused, is_public, is_refused, resolve

REFUSED = [
    "127.0.0.1", "127.8.9.10", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",  # noqa: S104
    "224.0.0.1", "255.255.255.255", "240.0.0.1", "192.0.2.1", "::1", "::", "fe80::1", "fc00::1", "fd12::1", "ff02::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "2002:7f00:1::", "2002:a00:1::", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe",
    "2001:db8::1",
]  # fmt: skip


@pytest.mark.parametrize("address", REFUSED)
def test_addresses_that_are_not_public_are_refused(address: str) -> None:
    """Private, local and reserved ones, and IPv6 addresses that stand for them."""
    assert not is_public(address)
    assert is_refused(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses_are_allowed(address: str) -> None:
    """IPv4, IPv6, and IPv6 that stands for a public IPv4 address."""
    assert is_public(address)
    assert not is_refused(address)


def test_localhost_is_refused_by_its_name() -> None:
    """Other names are judged by the addresses that they have when something is sent."""
    assert all(map(is_refused, ["localhost", "LOCALHOST.", "a.localhost"]))
    assert not is_refused("example.org")


@pytest.mark.parametrize("host", ["localhost", "2130706433", "0x7f.1", "127.1"])
def test_what_is_resolved_is_checked(host: str) -> None:
    """Names, and the other ways to write an address."""
    with pytest.raises(AddressRefused):
        asyncio.run(resolve(host, 80, private=False))
    assert asyncio.run(resolve(host, 80, private=True)) in {"127.0.0.1", "::1"}


@pytest.mark.parametrize("host", ["a..b", f"{'x' * 64}.org"])
def test_what_is_no_name_has_no_address(host: str) -> None:
    """It fails like a name that does not exist, so the webhook is disabled after a day."""
    with pytest.raises(OSError, match="not the name of a host"):
        asyncio.run(resolve(host, 80, private=False))


def test_one_address_that_is_not_public_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with a public and a private address leads nowhere."""

    def answer(*_: Any, **__: Any) -> Any:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 80)) for each in ("8.8.8.8", "10.0.0.1")]

    monkeypatch.setattr(socket, "getaddrinfo", answer)
    with pytest.raises(AddressRefused):
        asyncio.run(resolve("two.example.org", 80, private=False))
