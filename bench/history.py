"""Compares the cost of an order at position 100 and at position 100,000: prints both costs and their ratio.

    python -m bench history [--position 100000]

Orders pass the exchange and the codec, as in the engine: decide, apply, encode as stored events. Machines are noisy, so the
cost is the least CPU time of many small samples, taken in turn at both positions.
"""

import argparse
from collections.abc import Iterator
from itertools import count
from random import Random
from time import process_time
from typing import Final

from bench.parts import show
from domain.account import DepositCash, OpenAccount
from domain.exchange import Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.stored import to_stored

KEYS: Final = {
    "early_us": "CPU per order near the beginning of the log, in microseconds",
    "late_us": "the same at `--position`",
    "ratio": "late divided by early",
}

ACCOUNTS = 100
SAMPLE_ORDERS = 50
SAMPLES = 40
TIME = 1_700_000_000_000_000


class Run:
    """An exchange with five markets and some accounts, and the number of its events so far."""

    def __init__(self) -> None:
        self.exchange = Exchange()
        self.position = 0
        markets = tuple(
            OpenMarket(f"m{n}", "s", f"m{n}", "Q?", ("No", "Yes"), 1_000_000 * MICRO, TIME + 10**15, "source")
            for n in range(5)
        )
        self.handle(PublishStory("s", "s", "Title", "Body", "world", TIME, None, markets), "story")
        for n in range(ACCOUNTS):
            self.handle(OpenAccount(f"a{n}", f"a{n}"), f"open{n}")
            self.handle(DepositCash(f"a{n}", 1_000_000 * MICRO), f"deposit{n}")
        self.orders = self._orders()

    def handle(self, command: object, command_id: str) -> None:
        """Do what the engine does with a command, except the append."""
        while self.exchange.step(TIME) is not None:
            pass
        entries = self.exchange.handle(command, TIME, command_id)  # type: ignore[arg-type]
        for entry in entries:
            to_stored(entry, time=TIME, command_id=command_id, digest=None)
        self.position += len(entries)

    def _orders(self) -> Iterator[tuple[PlaceOrder, str]]:
        random = Random(1)  # noqa: S311  the same orders in every run
        for n in count():
            account, market = f"a{random.randrange(ACCOUNTS)}", f"m{random.randrange(5)}"
            outcome = random.choice(["No", "Yes"])
            quantity = random.randrange(MICRO // 100, 5 * MICRO)
            order = PlaceOrder(account, market, f"o{n}", f"c{n}", outcome, "buy", "market", quantity=quantity)
            yield order, f"order:{account}:c{n}"

    def sample(self) -> float:
        """Return the CPU per order of the next few orders, in microseconds."""
        orders = [next(self.orders) for _ in range(SAMPLE_ORDERS)]
        began = process_time()
        for order, command_id in orders:
            self.handle(order, command_id)
        return (process_time() - began) / SAMPLE_ORDERS * 1_000_000


def main() -> None:
    """Measure near the beginning and at a late position."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--position", type=int, default=100_000)
    options = parser.parse_args()
    early, late = Run(), Run()
    while late.position < options.position:
        late.handle(*next(late.orders))
    early_position, late_position = early.position, late.position
    pairs = [(early.sample(), late.sample()) for _ in range(SAMPLES)]  # in turn, so that noise affects both
    early_us, late_us = (min(times) for times in zip(*pairs, strict=True))
    print(f"position {early_position:>9,}: {early_us:.1f} us per order")
    print(f"position {late_position:>9,}: {late_us:.1f} us per order, {late_us / early_us:.2f} times as much")
    show({"early_us": round(early_us, 1), "late_us": round(late_us, 1), "ratio": round(late_us / early_us, 3)}, KEYS)


if __name__ == "__main__":
    main()
