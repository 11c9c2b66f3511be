"""The connections of the HTTP server: how many there may be in all, and how many of one address.

uvicorn bounds none of this. `Connections` counts what is open; `api/http/bounded_http.py` is the protocol that reads from
each, with the limits of a request.
"""

from __future__ import annotations

import asyncio
import resource
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Final, Protocol

from api.http.addresses import network_of
from settings import listed

if TYPE_CHECKING:
    from api.http.middleware import Metrics
    from settings import Settings

PASSED_OVER_BYTES: Final = 8 * 1024 * 1024
"""The bytes of refused bodies that are read in a second, of all connections together."""

PASSED_OVER_AT_ONCE: Final = 256 * 1024
"""The most of them that are read without a pause."""

TURN_SECONDS: Final = 0.02
"""The pause of connections whose refused bodies are too much, before the next ones of them are read from."""

PIECE_BYTES: Final = 64 * 1024
"""What is read of one of them at its turn, about."""

CHECKED_AT_ONCE: Final = 32
"""The most connections that are looked at without a pause: if all of them have to end, that takes about a millisecond."""

CHECK_PAUSE_SECONDS: Final = 0.001
FILES_KEPT: Final = 256
"""The number of file descriptors that stay free for databases, the log and files."""


class CountedConnection(Protocol):
    """What `Connections` needs of an open connection."""

    transport: asyncio.Transport

    def check(self) -> None:
        """End it if it takes too long."""

    def end(self, reason: str) -> None:
        """End it at once, because of a limit."""

    def hold(self) -> bool:
        """Read no more, until `go_on`; return False if that is so already."""

    def go_on(self) -> None:
        """Read again."""


class Peer:
    """The connections of one address: their number, and those without a request, the longest silent one first."""

    __slots__ = ("address", "count", "waiting")

    def __init__(self, address: str) -> None:
        self.address = address
        self.count = 0
        self.waiting: dict[CountedConnection, None] = {}


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
        self._open: dict[CountedConnection, None] = {}
        self._handed_over: dict[asyncio.Transport, Peer] = {}
        self._waiting: dict[CountedConnection, None] = {}
        self._peers: dict[str, Peer] = {}
        self._allowance = (float(PASSED_OVER_AT_ONCE), 0.0)  # the bytes that may be passed over, and since when
        self._held: deque[CountedConnection] = deque()

    def admit(self, connection: CountedConnection, host: str) -> Peer | None:
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

    def wait(self, connection: CountedConnection, peer: Peer) -> None:
        """Note that a connection has no request now."""
        if connection in self._open:
            self._waiting[connection] = peer.waiting[connection] = None

    def work(self, connection: CountedConnection, peer: Peer) -> None:
        """Note that a connection has a request."""
        self._waiting.pop(connection, None)
        peer.waiting.pop(connection, None)

    def release(self, connection: CountedConnection, peer: Peer) -> None:
        """Count a connection no more; once is enough."""
        if connection not in self._open:
            return
        self.work(connection, peer)
        del self._open[connection]
        self._metrics.connections.dec()
        self._leave(peer)

    def hand_over(self, connection: CountedConnection, peer: Peer) -> None:
        """Go on counting a connection whose transport has another protocol now, such as WebSocket."""
        self.release(connection, peer)
        self._enter(peer)
        self._handed_over[connection.transport] = peer

    def pass_over(self, connection: CountedConnection, size: int) -> None:
        """Note that so much of a refused body was read. A flood of such bodies must not take the event loop from others."""
        if self._spend(size) < 0 and connection.hold():
            self._held.append(connection)
            if len(self._held) == 1:
                asyncio.get_running_loop().call_later(TURN_SECONDS, self._let_go_on)

    def _spend(self, size: int) -> float:
        """Return how many bytes may be passed over after these."""
        left, since = self._allowance
        now = monotonic()
        left = min(PASSED_OVER_AT_ONCE, left + PASSED_OVER_BYTES * (now - since)) - size
        self._allowance = left, now
        return left

    def _let_go_on(self) -> None:
        """Let those that have waited the longest go on."""
        left = self._spend(0)
        while self._held and left > 0:
            self._held.popleft().go_on()
            left -= PIECE_BYTES
        if self._held:
            asyncio.get_running_loop().call_later(TURN_SECONDS, self._let_go_on)

    async def check(self) -> None:
        """End the connections that take too long, a few at a time; uvicorn calls this every second."""
        for number, connection in enumerate(list(self._open), 1):
            if connection in self._open:
                connection.check()
            if number % CHECKED_AT_ONCE == 0:
                await asyncio.sleep(CHECK_PAUSE_SECONDS)
        for transport in [each for each in self._handed_over if each.is_closing()]:
            self._leave(self._handed_over.pop(transport))

    def refused(self, reason: str) -> None:
        """Count a connection that was ended because of a limit."""
        self._metrics.connections_ended.labels(reason).inc()

    def _evict(self, waiting: dict[CountedConnection, None]) -> bool:
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
