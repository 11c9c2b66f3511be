"""`stream()` of both clients against the real stream: it reconnects, goes on where it was, and never repeats."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from contextlib import aclosing, closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from tests.tidings_client.cutting import Cutter, cutting
from tidings_client import AsyncClient, Client, Message, StreamResetError, UnauthenticatedError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.api.conftest import Exchange


@pytest.fixture
def cutter(exchange: Exchange) -> Iterator[Cutter]:
    """The way to the exchange, which breaks on demand."""
    with cutting(exchange.running.url) as found:
        yield found


def read(
    url: str,
    enough: Callable[[Message], bool],
    *,
    key: str | None = None,
    asynchronous: bool = False,
    retry_seconds: float | None = 20,
    **wanted: Any,
) -> list[Message]:
    """Return the messages of a stream up to the first one that is enough."""
    found: list[Message] = []

    async def ask() -> None:
        async with (
            AsyncClient(url, key, retry_seconds=retry_seconds) as client,
            aclosing(client.stream(**wanted)) as it,
        ):
            async for message in it:
                found.append(message)
                if enough(message):
                    return

    if asynchronous:
        asyncio.run(ask())
        return found
    with Client(url, key, retry_seconds=retry_seconds) as client, closing(client.stream(**wanted)) as stream:
        for message in stream:
            found.append(message)
            if enough(message):
                break
    return found


def is_halt(message: Message) -> bool:
    """Whether this is the last message of a market of these tests."""
    return message.channel == "lifecycle" and message.data.get("type") == "MarketHalted"


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("cuts", [25, pytest.param(200, marks=pytest.mark.chaos)])
def test_a_stream_that_is_cut_anywhere_has_each_message_once(
    exchange: Exchange, cutter: Cutter, *, asynchronous: bool, cuts: int
) -> None:
    """While the exchange trades, and again from any message that a program remembers."""
    chance = random.Random(47)  # noqa: S311  repeatable
    market, trader = exchange.market(), exchange.trader("1000")
    cutter.limits = [chance.randrange(300, 4_000) for _ in range(cuts)]

    def trade() -> None:
        for number in range(2 * cuts):
            trader.place(market["slug"], outcome=("Yes", "No")[number % 2])
        exchange.api.done(f"/markets/{market['slug']}/halt")

    trading = threading.Thread(target=trade)
    trading.start()
    wanted: dict[str, Any] = {"markets": [market["slug"]], "after": 0, "channels": ["trades", "prices", "lifecycle"]}
    cut = read(cutter.url, is_halt, asynchronous=asynchronous, **wanted)
    trading.join()
    whole = read(exchange.running.url, is_halt, **wanted)
    rows = exchange.api.data(f"/markets/{market['slug']}/trades", limit=1000)

    assert cutter.connections > cuts / 2
    assert [(each.channel, each.data) for each in cut] == [(each.channel, each.data) for each in whole]
    trades = [(each.data["position"], each.data["number"]) for each in cut if each.channel == "trades"]
    assert trades == sorted((row["position"], row["number"]) for row in rows)
    for number in chance.sample(range(len(whole) - 1), 5):
        if whole[number].id == str(whole[number].data["position"]):
            rest = read(exchange.running.url, is_halt, **wanted | {"after": whole[number].id})
            assert rest == whole[number + 1 :]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_deadline_counts_from_the_loss(exchange: Exchange, cutter: Cutter, *, asynchronous: bool) -> None:
    """A stream that was well for longer than `retry_seconds` goes on after a cut."""
    market, trader = exchange.market(), exchange.trader()

    def trade() -> None:
        while not cutter.connections:
            time.sleep(0.01)
        time.sleep(0.6)
        cutter.cut()
        trader.place(market["slug"])
        exchange.api.done(f"/markets/{market['slug']}/halt")

    after = exchange.head()
    trading = threading.Thread(target=trade)
    trading.start()
    found = read(
        cutter.url, is_halt, asynchronous=asynchronous, retry_seconds=0.5, markets=[market["slug"]], after=after
    )
    trading.join()

    assert [each.channel for each in found] == ["trades", "prices", "lifecycle"]
    cutter.close()
    with pytest.raises(UnreachableError):
        read(cutter.url, is_halt, asynchronous=asynchronous, retry_seconds=0.3)


def test_a_programs_own_orders_end_with_its_key(exchange: Exchange, cutter: Cutter) -> None:
    """`orders` are those of the key's account; a stream that is cut after the key's end is refused for good."""
    market, trader, other = exchange.market(), exchange.trader(), exchange.trader()
    after = exchange.head()
    trader.place(market["slug"], client_order_id="mine")
    other.place(market["slug"], client_order_id="theirs")
    with (
        Client(cutter.url, trader.api.key, retry_seconds=20) as client,
        closing(client.stream(["orders"], after=after)) as stream,
    ):
        first = next(stream)
        assert (first.data["type"], first.data["data"]["client_order_id"]) == ("OrderPlaced", "mine")
        exchange.api.send("DELETE", f"/keys/{client.get_me().data.key_id}")
        cutter.cut()
        with pytest.raises(UnauthenticatedError):
            next(stream)


def test_progress_comes_at_once(exchange: Exchange) -> None:
    """It belongs to no position, so it waits for none: a beat, which has the next one, comes after 12 seconds only."""
    market, trader = exchange.market(), exchange.trader()
    placed: list[int] = []

    def trade() -> None:
        time.sleep(0.5)
        placed.append(trader.place(market["slug"])["position"])

    trading = threading.Thread(target=trade)
    trading.start()
    began = time.monotonic()
    read(
        exchange.running.url, lambda each: bool(placed) and each.data["projected"] >= placed[0], channels=["progress"]
    )  # fmt: skip
    trading.join()

    assert time.monotonic() - began < 8


def test_only_a_line_feed_ends_a_line(exchange: Exchange, cutter: Cutter) -> None:
    """U+2028 ends lines elsewhere; in the JSON of the stream it is a character like others."""
    market, after = exchange.market(slug="line-0n0"), exchange.head() - 2
    cutter.change = lambda data: data.replace(b"0n0", "\u2028".encode())

    found = read(
        cutter.url, lambda each: each.channel == "lifecycle", markets=[market["slug"]], after=after,
        channels=["lifecycle"],
    )  # fmt: skip

    assert found[0].data["market"] == "line-\u2028"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_another_log_ends_the_stream(exchange: Exchange, cutter: Cutter, *, asynchronous: bool) -> None:
    """By a reset, where the log has lost its end; by a refusal, where the exchange has another log after a cut."""
    with pytest.raises(StreamResetError, match="another log"):
        read(exchange.running.url, is_halt, asynchronous=asynchronous, after=2**40)

    market, trader = exchange.market(), exchange.trader()
    cutter.change = lambda data: re.sub(rb'"log":"(.)', rb'"log":"-', data)
    cutter.limits = [900]
    after = exchange.head()
    for _ in range(5):
        trader.place(market["slug"])
    with pytest.raises(StreamResetError, match="another log than before"):
        read(cutter.url, is_halt, asynchronous=asynchronous, after=after)


def test_what_is_no_stream_is_said_to_be_none() -> None:
    """Another server's page is not read as a stream without events."""
    with Client("http://127.0.0.1:1") as client:
        client._http = httpx.Client(transport=httpx.MockTransport(lambda _: httpx.Response(200, html="<html>")))
        with pytest.raises(UnreachableError, match="is not Tidings"):
            next(client.stream())
