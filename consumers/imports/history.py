"""A plan -> commands, in the order of their times: the history of a table as the exchange would have been told it.

    time of its first trade    the story and the market; the account, with its funds
    time of each trade         a market order of the account
    end of a market            closed, determined and finalized, or voided

What is kept of a trade: who, when, which outcome, which side and what amount. Its price is made by our rules: the AMM and the
orders before it. The commands are a function of the plan, so an import that was killed goes on with the same ones.
"""

from __future__ import annotations

from hashlib import blake2b
from heapq import merge
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple

from consumers.imports.cells import CellError, micros_of, number_of, scale_of
from domain.account import ACCOUNTS_MAX, DepositCash, OpenAccount
from domain.market import (
    SECOND,
    CloseMarket,
    DetermineMarket,
    Evidence,
    FinalizeMarket,
    OpenMarket,
    Payout,
    VoidMarket,
)
from domain.money import AMOUNT_MAX, MICRO, MONEY_MAX, divide_up, format_decimal
from domain.orders import PlaceOrder
from domain.story import STORY_ALL_MARKETS_MAX, PublishStory
from messages.commands import Command, check_command, new_id, order_command_id, with_ids
from messages.fields import InvalidCommand
from messages.name_fields import NAME
from messages.names import name_key, nfc
from messages.wire import TIME_MAX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from consumers.imports.plan import ImportedMarket, ImportedTrade, ImportPlan
    from domain.money import Credits, Fraction, Time

OPEN_FOR: Final = 100 * 365 * 24 * 3600 * SECOND
"""The life of a market without a close time: a hundred years from its last trade on, so that it can be traded on."""

_TITLE_MAX: Final = 300
_time_of: Final = attrgetter("time")


class TimedCommand(NamedTuple):
    """A command, its id, and the time at which it happened."""

    time: Time
    command_id: str
    command: Command


class ImportHistory:
    """The commands of a plan, the same ones whenever they are made."""

    def __init__(self, plan: ImportPlan) -> None:
        """Work out what is opened, funded and ended. What breaks a limit becomes a bad row of the plan.

        Raises CellError for a value of the mapping that breaks one.
        """
        mapping = plan.mapping
        self._plan = plan
        self._funds = _amount(mapping.accounts.funds, "accounts.funds")
        self._fee_rate: Fraction = _amount(mapping.markets.fee_rate, "markets.fee_rate")
        self._last, self._end = _last_trades(plan.trades)
        self._stories = _stories_of(plan.markets)
        self._market_ids = [new_id("mk", _opening_id(market.key)) for market in plan.markets]
        self._account_ids = [new_id("ac", _account_command(text)) for text in plan.accounts]
        self.names = _account_names(plan.accounts)
        """The accounts' names in the exchange; a name that none may have is replaced."""
        self._check()

    @property
    def renamed(self) -> int:
        """The number of accounts whose name in the table could not be theirs here."""
        return sum(name != nfc(text) for name, text in zip(self.names, self._plan.accounts, strict=True))

    # --- all commands

    def commands(self) -> Iterator[TimedCommand]:
        """Yield the commands in the order of their times; at one time the trades first, in the order of the rows."""
        return merge(self._trading(), self._endings(), key=_time_of)

    def _trading(self) -> Iterator[TimedCommand]:
        plan = self._plan
        markets, accounts, stories = set[int](), set[int](), dict[str, str]()
        funds = _Funds(self._funds, self._fee_rate, top_up=plan.mapping.accounts.top_up)
        for trade in plan.trades:
            if trade.market not in markets:
                markets.add(trade.market)
                yield self._opening(trade, stories)
            account_id = self._account_ids[trade.account]
            if trade.account not in accounts:
                accounts.add(trade.account)
                name = self.names[trade.account]
                yield _timed(trade.time, _account_command(plan.accounts[trade.account]), OpenAccount("", name))
            if deposit := funds.needed(trade):
                number = funds.deposits[trade.account]
                yield TimedCommand(trade.time, f"import:funds:{account_id}:{number}", DepositCash(account_id, deposit))
            yield self._order(trade, account_id)

    def _order(self, trade: ImportedTrade, account_id: str) -> TimedCommand:
        file, row = trade.place
        client_order_id = f"row-{row}" if file == 1 else f"file-{file}-row-{row}"
        command_id = order_command_id(account_id, client_order_id)
        market = self._plan.markets[trade.market]
        command = PlaceOrder(
            account_id,
            self._market_ids[trade.market],
            new_id("or", command_id),
            client_order_id,
            market.names[trade.outcome],
            "sell" if trade.sells else "buy",
            "market",
            trade.shares or None,
            trade.credits or None,
            reduce_only=trade.sells and self._plan.mapping.amounts.sales == "held",
        )
        return TimedCommand(trade.time, command_id, command)

    # --- markets

    def _opening(self, trade: ImportedTrade, stories: dict[str, str]) -> TimedCommand:
        """Return the command that opens the market of a trade, together with its story if that is not in `stories` yet."""
        key, title = self._stories[trade.market]
        command_id = _opening_id(self._plan.markets[trade.market].key)
        opening = self._market(trade.market, stories.setdefault(key, new_id("st", command_id)))
        if opening.story_id != new_id("st", command_id):
            return _timed(trade.time, command_id, opening)
        return _timed(trade.time, command_id, self._story(trade.market, title, trade.time, opening))

    def _market(self, number: int, story_id: str) -> OpenMarket:
        market = self._plan.markets[number]
        return OpenMarket(
            "",
            story_id,
            None,
            _question(market),
            market.outcomes(),
            market.subsidy,
            self._close_time(number),
            f"As recorded in {self._plan.files[0]}.",
            fee_rate=self._fee_rate,
            dispute_seconds=0,
        )

    def _story(self, number: int, title: str, time: Time, opening: OpenMarket) -> PublishStory:
        said = self._plan.markets[number].said.get("category")
        category = _line(said.text) if said else self._plan.mapping.markets.category
        body = f"Imported from {self._plan.files[0]}: who traded what when is recorded, prices are made here."
        return PublishStory("", None, title, body, category, time, markets=(opening,))

    def _close_time(self, number: int) -> Time:
        """Return when a market closes: after its last trade, whatever the table says."""
        last, said = self._last[number], self._plan.markets[number].close_time
        return min(last + OPEN_FOR, TIME_MAX) if said is None else max(said, last + SECOND)

    def _endings(self) -> Iterator[TimedCommand]:
        """Yield the commands that end markets, in the order of their times."""
        ended = [
            (self._end_time(number), number)
            for number, market in enumerate(self._plan.markets)
            if number in self._last and (market.voided or market.resolved is not None)
        ]
        return chain.from_iterable(self._ending(number, time) for time, number in sorted(ended))

    def _end_time(self, number: int) -> Time:
        """Return when a market ends: when the table says, else when it closed, never before its last trade."""
        market, last = self._plan.markets[number], self._last[number]
        if market.resolution_time is not None:
            return max(market.resolution_time, last)
        closed = self._close_time(number)
        return closed if market.close_time is not None and closed <= self._end else last

    def _ending(self, number: int, time: Time) -> Iterator[TimedCommand]:
        market, market_id = self._plan.markets[number], self._market_ids[number]
        said = market.said["resolution"].text

        def named(step: str, command: Command) -> TimedCommand:
            return TimedCommand(time, f"import:{step}:{market_id}", command)

        if market.resolved is None:
            yield named("void", VoidMarket(market_id, f"The table says {said}."))
            return
        if time < self._close_time(number):
            yield named("close", CloseMarket(market_id))
        payouts = (Payout(market.names[market.resolved], MICRO),)
        yield named("determine", DetermineMarket(market_id, payouts, Evidence(f"The table says {said}.")))
        yield named("finalize", FinalizeMarket(market_id))

    # --- limits

    def _check(self) -> None:
        """Refuse what the exchange would refuse for its fields: nothing of a plan that has bad rows is sent."""
        plan = self._plan
        for number, market in enumerate(plan.markets):
            if number not in self._last:
                continue
            opening = self._market(number, "st")
            commands: list[Command] = [self._story(number, self._stories[number][1], 0, opening)]
            commands += [each.command for each in self._ending(number, 0)] if market.said.get("resolution") else []
            try:
                for command in commands:
                    check_command("import", command)
            except InvalidCommand as error:
                plan.refuse(market.place, "", f"makes a market that cannot be: {error}")
        if len(plan.accounts) > ACCOUNTS_MAX:
            raise CellError(f"the table has {len(plan.accounts)} accounts; an exchange has at most {ACCOUNTS_MAX}")
        self._check_money()

    def _check_money(self) -> None:
        plan = self._plan
        funds = _Funds(self._funds, self._fee_rate, top_up=plan.mapping.accounts.top_up)
        deposits = [funds.needed(trade) for trade in plan.trades]
        if deposits and max(deposits) > AMOUNT_MAX:
            raise CellError(
                f"a trade needs {format_decimal(max(deposits))} credits; at most a billion can be deposited"
            )
        for what, total in (
            ("accounts need", sum(deposits)),
            ("subsidies are", sum(plan.markets[number].subsidy for number in self._last)),
        ):
            if total > MONEY_MAX:
                raise CellError(
                    f"{what} {format_decimal(total)} credits in all; at most {format_decimal(MONEY_MAX)} can be"
                )


class _Funds:
    """What accounts must get so that no trade lacks cash: a bound, since what a trade costs is not known before it.

    A share costs less than a credit, and the fee is at most a quarter of the rate. Proceeds of sales do not count.
    """

    def __init__(self, funds: Credits, fee_rate: Fraction, *, top_up: bool) -> None:
        self._funds = funds
        self._fee_rate = fee_rate
        self._top_up = top_up
        self._left: dict[int, Credits] = {}
        self.deposits: dict[int, int] = {}
        """The number of deposits of each account so far."""

    def needed(self, trade: ImportedTrade) -> Credits:
        """Return what the account of the next trade must get before it; 0 if it has enough."""
        left = self._left.get(trade.account)
        deposit = self._funds if left is None else 0
        left = (left or 0) + deposit
        if not trade.sells:
            need = trade.credits + divide_up(trade.credits * self._fee_rate, MICRO)
            need += trade.shares + divide_up(trade.shares * self._fee_rate, 4 * MICRO)
            if self._top_up and need > left:
                more = max(self._funds, need - left)
                left, deposit = left + more, deposit + more
            left -= need
        self._left[trade.account] = left
        if deposit:
            self.deposits[trade.account] = self.deposits.get(trade.account, 0) + 1
        return deposit


def _timed(time: Time, command_id: str, command: Command) -> TimedCommand:
    return TimedCommand(time, command_id, with_ids(command_id, command))


def _hash(text: str) -> str:
    return blake2b(text.encode(errors="surrogatepass"), digest_size=13).hexdigest()


def _account_command(text: str) -> str:
    return f"import:account:{_hash(text)}"


def _opening_id(key: str) -> str:
    return f"import:market:{_hash(key)}"


def _amount(text: str, name: str) -> int:
    """Return the micro-units of an amount of the mapping, 0 included."""
    try:
        number = number_of(text, scale_of("1", "credits"))
        return micros_of(number) if number else 0
    except CellError as error:
        raise CellError(f"{name} {error}") from None


def _last_trades(trades: Sequence[ImportedTrade]) -> tuple[dict[int, Time], Time]:
    """Return the time of the last trade of each market that has one, and of all."""
    last = {trade.market: trade.time for trade in trades}
    return last, max(last.values(), default=0)


def _stories_of(markets: Sequence[ImportedMarket]) -> list[tuple[str, str]]:
    """Return for each market the key and the title of its story; a story that is full is followed by another one."""
    stories, counts = list[tuple[str, str]](), dict[str, int]()
    for market in markets:
        said = market.said.get("story")
        if said is None:
            stories.append((f"market:{market.key}", _question(market)[:_TITLE_MAX].rstrip()))
            continue
        title = _line(said.text)
        counts[title] = counts.get(title, 0) + 1
        part = (counts[title] - 1) // STORY_ALL_MARKETS_MAX
        stories.append((f"story:{part}:{title}", f"{title} ({part + 1})" if part else title))
    return stories


def _question(market: ImportedMarket) -> str:
    said = market.said.get("question")
    return _line(said.text if said else market.key)


def _line(text: str) -> str:
    """Return a text of the table as one line: a table may break a question over several."""
    return nfc(" ".join(text.split()))


def _account_names(texts: Sequence[str]) -> list[str]:
    """Return a name for each account: the text of the table, or where no account may have it, one made of its hash."""
    names, taken = list[str](), set[str]()
    for text in texts:
        name = nfc(text)
        try:
            NAME.check(name, "name")
        except InvalidCommand:
            name = ""
        if not name or name_key(name) in taken:
            name = f"account-{_hash(text)[:12]}"
        taken.add(name_key(name))
        names.append(name)
    return names
