"""The time of placing, canceling and matching with 10 and with 100,000 resting orders: it should be the same.

    python -m bench book [--orders N] [--rounds N]

Each time is the median of all rounds.
"""

import argparse
import gc
from statistics import median
from time import perf_counter
from typing import Final

from bench.parts import show
from domain.account import DepositCash, OpenAccount
from domain.book import Side
from domain.commands import Command
from domain.exchange import Exchange
from domain.market import OpenMarket
from domain.money import MICRO
from domain.orders import OPEN_ORDERS_MAX, CancelOrder, PlaceOrder, SplitSets, TimeInForce
from domain.story import PublishStory

KEYS: Final = {
    "place_us": "microseconds to place a bid that rests, by number of resting orders",
    "cancel_us": "microseconds to cancel it, likewise",
    "match_us": "microseconds for a sale that matches the best bid, likewise",
    "sweep_us": "microseconds for a purchase after which the AMM fills a bid, likewise",
    "ratio": "for each of these, the time with many orders divided by the time with few",
}

FEW = 10
TIME = 1_700_000_000_000_000


class FilledExchange:
    """An exchange with one market and `resting` orders in its book: bids on B below its price, from many accounts."""

    def __init__(self, resting: int) -> None:
        self.exchange, self.number = Exchange(), 0
        opening = OpenMarket("m", "s", "m", "?", ("A", "B", "C"), 10_000 * MICRO, TIME * 2, "r")
        self.do(PublishStory("s", "s", "t", "b", "c", TIME, None, (opening,)))
        for name in ("taker", "maker"):
            self.open(name)
        per_account = OPEN_ORDERS_MAX - 1
        for number in range(resting):
            if number % per_account == 0:
                self.open(f"a{number // per_account}")
            self.place(f"a{number // per_account}", "B", 1_000 * (1 + number % 250))

    def do(self, command: Command) -> None:
        """Handle a command."""
        self.number += 1
        self.exchange.handle(command, TIME, f"c{self.number}")

    def open(self, name: str) -> None:
        """Open an account with plenty of cash."""
        self.do(OpenAccount(name, name))
        self.do(DepositCash(name, 10**8 * MICRO))

    def place(
        self,
        account: str,
        outcome: str,
        price: int,
        side: Side = "buy",
        *,
        quantity: int = MICRO,
        tif: TimeInForce = "GTC",
    ) -> str:
        """Place a limit order and return its id."""
        name = f"o{self.number}"
        self.do(PlaceOrder(account, "m", name, name, outcome, side, "limit", quantity, None, price, tif))
        return name


def measure(filled: FilledExchange, rounds: int) -> dict[str, float]:
    """Return the median microseconds of a bid that rests, its cancellation, a sale that matches, and a purchase that sweeps."""
    times: dict[str, list[float]] = {"place": [], "cancel": [], "match": [], "sweep": []}
    filled.do(SplitSets("taker", "m", 10**6 * MICRO))
    for number in range(rounds):
        begin = perf_counter()
        name = filled.place("maker", "B", 1_000 * (1 + number % 250))
        times["place"].append(perf_counter() - begin)
        begin = perf_counter()
        filled.do(CancelOrder("maker", name))
        times["cancel"].append(perf_counter() - begin)

        # The best bid is just below the AMM's price: the sale trades with the AMM first, then with the bid.
        filled.place("maker", "B", 332_000)
        begin = perf_counter()
        filled.place("taker", "B", 332_000, "sell", quantity=5_000 * MICRO, tif="IOC")
        times["match"].append(perf_counter() - begin)
        assert not filled.exchange.accounts["maker"].orders, "the bid was matched"
        filled.place("taker", "B", 334_000, quantity=5_000 * MICRO, tif="IOC")

        # A purchase of A makes B so cheap that the AMM fills the bid.
        filled.place("maker", "B", 332_000)
        begin = perf_counter()
        filled.place("taker", "A", 350_000, quantity=5_000 * MICRO, tif="IOC")
        times["sweep"].append(perf_counter() - begin)
        assert not filled.exchange.accounts["maker"].orders, "the bid was filled"
        filled.place("taker", "A", 332_000, "sell", quantity=5_000 * MICRO, tif="IOC")
        filled.place("taker", "B", 334_000, quantity=5_000 * MICRO, tif="IOC")
    return {name: median(values) * 1e6 for name, values in times.items()}


def main() -> None:
    """Run the measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=100_000, help="resting orders in the large book")
    parser.add_argument("--rounds", type=int, default=2_000)
    arguments = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    for resting in (FEW, arguments.orders):
        filled = FilledExchange(resting)
        gc.collect()
        gc.freeze()  # the book is not garbage, but every collection would look at all of it
        left = len(filled.exchange.markets["m"].book)
        for name, value in measure(filled, arguments.rounds).items():
            figures.setdefault(f"{name}_us", {})[str(resting)] = round(value, 1)
        assert left == len(filled.exchange.markets["m"].book) == resting, "the book is as it was"
    ratio = {
        name.removesuffix("_us"): round(by[str(arguments.orders)] / by[str(FEW)], 2) for name, by in figures.items()
    }
    for name, by in figures.items():
        print(f"{name:10} " + "  ".join(f"{resting:>7} orders {value:7.1f}" for resting, value in by.items()))
    show({**figures, "ratio": ratio}, KEYS)


if __name__ == "__main__":
    main()
