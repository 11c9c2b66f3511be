"""A client that is cut at random bytes, and resumes, collects what the log has: each event once."""

from __future__ import annotations

import random
import threading
from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import Notification

from api.stream.frames import LogEntry, decoded
from api.stream.subscriber import BYTES_WAITING_MAX, FRAMES_MAX, Closed, Subscribed, Subscriber
from domain.exchange import Entry
from domain.market import MarketHalted
from messages.channels import FollowedMarket, messages_of
from messages.stored import to_stored
from tests.api.stream.reading import Blocks, opened

if TYPE_CHECKING:
    from tests.api.conftest import Exchange

CUTS = 60
"""The cuts of one run."""


class _CutBlocks(Blocks):
    """Blocks of a connection that is cut after some bytes of them."""

    left = 0

    def _chunk(self) -> bytes | None:
        chunk = None if self.cut else super()._chunk()
        if chunk is None:
            return None
        self.left -= len(chunk)
        if self.left < 0:
            self._rest += chunk[: self.left]
            self.cut = True
            return chunk[:0]
        return chunk

    cut = False


def test_a_client_that_is_cut_at_random_bytes_gets_each_event_once(exchange: Exchange) -> None:
    """Frames of a position count once its id has come: a client that is cut before gets all of them again."""
    chance = random.Random(21)  # noqa: S311  repeatable
    market, trader = exchange.market(), exchange.trader()
    start, end = exchange.head(), [0]

    def trade() -> None:
        for number in range(150):
            trader.place(market["slug"], outcome=("Yes", "No")[number % 2], quantity="0.2")
        end[0] = exchange.api.done(f"/markets/{market['slug']}/halt")["position"]

    trading = threading.Thread(target=trade)
    trading.start()
    collected: list[tuple[int, str, Any]] = []
    last, cuts = str(start), 0
    query = f"?market={market['slug']}&channels=trades,prices,lifecycle"
    while not collected or collected[-1][1] != "lifecycle":
        with opened(exchange.running.url, query, Last_Event_ID=last) as found:
            assert found.status == 200
            found.__class__ = _CutBlocks
            found.left = chance.randrange(400, 6_000) if cuts < CUTS else 10**9  # type: ignore[attr-defined]
            pending: list[tuple[int, str, Any]] = []
            for block in found:
                if "position" in block.data:
                    pending.append((block.data["position"], block.event, block.data.get("number")))
                if block.own_id:
                    collected += pending
                    pending, last = [], block.last_id
                if block.event == "lifecycle":
                    break
            cuts += 1
    trading.join()
    rows = exchange.api.data(f"/markets/{market['slug']}/trades", limit=1000, min_position=end[0])
    trades = sorted((row["position"], "trades", row["number"]) for row in rows)
    assert [each for each in collected if each[1] == "trades"] == trades
    assert len([each for each in collected if each[1] == "prices"]) == 150
    assert [each[0] for each in collected if each[1] == "lifecycle"] == [end[0]]
    assert cuts > 10


def _entry(position: int) -> LogEntry:
    stored = to_stored(Entry("market-m", position, MarketHalted("m")), time=position, command_id="c")
    notification = Notification(
        originator_id=stored.originator_id,
        originator_version=stored.originator_version,
        topic=stored.topic,
        state=stored.state,
        id=position,
    )
    recorded = decoded(notification)
    assert recorded is not None
    return LogEntry(notification, recorded, messages_of(recorded, {"m": FollowedMarket("slug", ("Yes", "No"), None)}))


async def _never(_: Subscriber) -> None:
    return None


def test_a_slow_reader_is_ended_with_a_bounded_queue() -> None:
    """It keeps the position to resume at, and nothing waits for it any more."""
    subscriber = Subscriber(Subscribed(frozenset({"lifecycle"})), "somebody", 0, _never)
    subscriber.live = True
    position = 0
    while subscriber.closed is None:
        position += 1
        subscriber.offer(_entry(position))
        assert position <= FRAMES_MAX + 1
    assert subscriber.closed == Closed(4008, "slow")
    assert subscriber.position == 0
    assert position * len(_entry(1).frames[0].block) <= BYTES_WAITING_MAX + 1_000
