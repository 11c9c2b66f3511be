"""Which addresses a webhook may reach. A name is resolved once, and the request goes to an address that was checked.

So a name that is resolved to another address a moment later (DNS rebinding) leads nowhere else.
"""

from __future__ import annotations

import asyncio
import socket
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Final

_NAT64: Final = IPv6Network("64:ff9b::/96")
"""Addresses whose last 32 bits are an IPv4 address, behind a translator (RFC 6052)."""


class AddressRefused(Exception):  # noqa: N818  named for what a caller has to tell
    """The host is, or is resolved to, an address that is not public."""


def is_public(address: str) -> bool:
    """Return whether an address is one of the public internet, and so is each IPv4 address that it stands for."""
    found = ip_address(address)
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour or (_low_bits(found) if found in _NAT64 else None)
        if inner is not None:
            return is_public(str(inner))
    return found.is_global and not found.is_multicast and not found.is_reserved


def is_refused(host: str) -> bool:
    """Return whether a host is refused for what it says itself, before any name is resolved."""
    name = host.rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return not is_public(name)
    except ValueError:
        return False


async def resolve(host: str, port: int, *, private: bool) -> str:
    """Return the address to connect to. With `private` any address will do.

    Raises:
        AddressRefused: one of the host's addresses is not public.
        OSError: there is no such host.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:  # an empty part, or one that is too long
        raise OSError(f"{host} is not the name of a host") from error
    addresses = [str(each[4][0]) for each in found]
    refused = [] if private else [each for each in addresses if not is_public(each)]
    if refused:
        raise AddressRefused(f"{host} has an address that is not public")
    return addresses[0]


def _low_bits(address: IPv6Address) -> IPv4Address:
    return IPv4Address(int(address) & 0xFFFF_FFFF)
