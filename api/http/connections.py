"""The connections of the HTTP server: how many there may be in all, and how many of one address.

uvicorn bounds none of this. `Connections` counts what is open; `api/http/bounded_http.py` is the protocol that reads from
each, with the limits of a request.
"""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Final

from api.http.addresses import network_of
from settings import listed

if TYPE_CHECKING:
    import asyncio

    from api.http.bounded_http import BoundedHttp
    from api.http.middleware import Metrics
    from settings import Settings

FILES_KEPT: Final = 256
"""The number of file descriptors that stay free for databases, the log and files."""


class Peer:
    """The connections of one address: their number, and those without a request, the longest silent one first."""

    __slots__ = ("address", "count", "waiting")

    def __init__(self, address: str) -> None:
        self.address = address
        self.count = 0
        self.waiting: dict[BoundedHttp, None] = {}


class Connections:
    """All open connections of one server. It belongs to the server's event loop."""

    def __init__(self, settings: Settings, metrics: Metrics) -> None:
        self.header_bytes_max = settings.header_bytes_max
        self.header_seconds = settings.header_ms / 1000
        self.body_seconds = settings.body_ms / 1000
        self.body_rate_min = settings.body_bytes_per_second
        self.body_bytes_max = settings.body_bytes_max
        self.idle_seconds = settings.idle_ms / 1000
        self.unread_seconds = settings.unread_ms / 1000
        self._max = min(settings.connections_max, descriptors_for(settings.connections_max))
        self._address_max = settings.address_connections_max
        self._proxies = frozenset(listed(settings.proxies))
        self._metrics = metrics
        self._open: dict[BoundedHttp, None] = {}
        self._handed_over: dict[asyncio.Transport, Peer] = {}
        self._waiting: dict[BoundedHttp, None] = {}
        self._peers: dict[str, Peer] = {}

    def admit(self, connection: BoundedHttp, host: str) -> Peer | None:
        """Count a new connection and return its peer; return None where there are too many.

        A new connection takes the place of the one that has been without a request for the longest time. So idle
        connections keep nobody out.
        """
        address = network_of(host)
        peer = self._peers.get(address) or Peer(address)
        if peer.count >= self._address_max and host not in self._proxies and not self._evict(peer.waiting):
            return None
        if len(self._open) + len(self._handed_over) >= self._max and not self._evict(self._waiting):
            return None
        self._enter(peer)
        self._open[connection] = None
        self._metrics.connections.inc()
        return peer

    def wait(self, connection: BoundedHttp, peer: Peer) -> None:
        """Note that a connection has no request now."""
        if connection in self._open:
            self._waiting[connection] = peer.waiting[connection] = None

    def work(self, connection: BoundedHttp, peer: Peer) -> None:
        """Note that a connection has a request."""
        self._waiting.pop(connection, None)
        peer.waiting.pop(connection, None)

    def release(self, connection: BoundedHttp, peer: Peer) -> None:
        """Count a connection no more; once is enough."""
        if connection not in self._open:
            return
        self.work(connection, peer)
        del self._open[connection]
        self._metrics.connections.dec()
        self._leave(peer)

    def hand_over(self, connection: BoundedHttp, peer: Peer) -> None:
        """Go on counting a connection whose transport has another protocol now, such as WebSocket."""
        self.release(connection, peer)
        self._enter(peer)
        self._handed_over[connection.transport] = peer

    async def check(self) -> None:
        """End the connections that take too long; uvicorn calls this every second."""
        for connection in list(self._open):
            connection.check()
        for transport in [each for each in self._handed_over if each.is_closing()]:
            self._leave(self._handed_over.pop(transport))

    def refused(self, reason: str) -> None:
        """Count a connection that was ended because of a limit."""
        self._metrics.connections_ended.labels(reason).inc()

    def _evict(self, waiting: dict[BoundedHttp, None]) -> bool:
        """End the connection that has waited the longest; return False where none waits."""
        oldest = next(iter(waiting), None)
        if oldest is None:
            return False
        oldest.end("evicted")
        return True

    def _enter(self, peer: Peer) -> None:
        peer.count += 1
        self._peers[peer.address] = peer

    def _leave(self, peer: Peer) -> None:
        peer.count -= 1
        if not peer.count:
            del self._peers[peer.address]


def descriptors_for(connections: int) -> int:
    """Return how many connections this process can have, at most `connections`; raise its limit of descriptors for them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + FILES_KEPT
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY:
        return connections
    return max(1, min(connections, soft - FILES_KEPT))
