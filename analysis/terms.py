"""Other terms for the markets of an exchange: another fee, subsidy, dispute window or tick, of some markets or of all."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from msgspec.structs import replace

from domain.market import MarketDrafted, OpenMarket
from domain.orders import AmendOrder, PlaceOrder
from domain.story import PublishStory

if TYPE_CHECKING:
    from analysis.recovered import RecoveredCommand
    from domain.exchange import Exchange
    from domain.money import Credits, Fraction, Price
    from messages.commands import Submitted


@dataclass(frozen=True)
class Terms:
    """What is different; None stays as it was. `markets` are ids or slugs; without any, all markets have other terms.

    `tick` is the step of limit prices, a multiple of the rules' own. A bid between two ticks is moved down to the next one, an
    ask up, so that nobody trades at a price that they did not name.
    """

    fee_rate: Fraction | None = None
    subsidy: Credits | None = None
    dispute_seconds: int | None = None
    tick: Price | None = None
    markets: frozenset[str] = frozenset()


@dataclass
class TermsInUse:
    """Terms, and the markets that have been opened with them; they change commands in the order of the log."""

    terms: Terms
    market_ids: set[str] = field(default_factory=set)
    found: set[str] = field(default_factory=set)
    """Which of the names in `terms.markets` a market had."""

    def change(self, recovered: RecoveredCommand, exchange: Exchange) -> Submitted:
        """Return a command as it would be sent to an exchange under these terms."""
        submitted = recovered.submitted
        assert submitted is not None, "the command is known"
        command = submitted.command
        match command:
            case PublishStory() if command.markets:
                command = replace(command, markets=tuple(self._open(market, recovered) for market in command.markets))
            case OpenMarket():
                command = self._open(command, recovered)
            case PlaceOrder() if self.terms.tick is not None and command.market_id in self.market_ids:
                command = replace(command, limit_price=self._on_tick(command.limit_price, command.side))
            case AmendOrder() if self.terms.tick is not None:
                command = self._amend(command, exchange)
            case _:
                return submitted
        return submitted if command is submitted.command else replace(submitted, command=command)

    def _open(self, market: OpenMarket, recovered: RecoveredCommand) -> OpenMarket:
        names = {market.market_id, market.slug or market.derived_slug}
        names.update(
            recorded.event.slug
            for recorded in recovered.events
            if isinstance(recorded.event, MarketDrafted) and recorded.event.market_id == market.market_id
        )
        if self.terms.markets and not self.terms.markets & names:
            return market
        self.found |= self.terms.markets & names
        self.market_ids.add(market.market_id)
        changed = {
            name: value
            for name in ("fee_rate", "subsidy", "dispute_seconds")
            if (value := getattr(self.terms, name)) is not None
        }
        return replace(market, **changed) if changed else market

    def _amend(self, command: AmendOrder, exchange: Exchange) -> AmendOrder:
        account = exchange.accounts.get(command.account_id)
        reservation = account.orders.get(command.order_id) if account is not None else None
        if reservation is None or reservation.market_id not in self.market_ids:
            return command
        side = exchange.markets[reservation.market_id].book.orders[command.order_id].side
        return replace(command, limit_price=self._on_tick(command.limit_price, side))

    def _on_tick(self, price: Price | None, side: str) -> Price | None:
        tick = self.terms.tick
        if price is None or tick is None or price % tick == 0:
            return price
        return price - price % tick + (0 if side == "buy" else tick)
