"""Addresses of clients."""

from __future__ import annotations

import ipaddress


def network_of(host: str) -> str:
    """Return the part of an address that stands for one client: all of IPv4, the /64 network of IPv6."""
    if ":" not in host:
        return host
    try:
        address = ipaddress.IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((address, 64), strict=False).network_address)
