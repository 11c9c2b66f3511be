"""`tidings backtest`: a strategy as one more trader among the commands of the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, WRONG_USE, add_command, complain
from api.cli.comparing import compared

if TYPE_CHECKING:
    from argparse import Namespace

    from analysis.backtest import BacktestResult, StrategyFile
    from analysis.replay import History
    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `backtest`."""
    text = "run a strategy in Python over the commands of the log, as one more trader (docs/backtests.md)"
    backtest = add_command(commands, "backtest", _backtest, text, json=True)
    backtest.add_argument("strategy", metavar="FILE.py:NAME", help="a function, or a class whose objects can be called")
    backtest.add_argument("--cash", default="1000", metavar="C", help="the credits that it begins with (default 1000)")
    backtest.add_argument(
        "--until-position", type=int, metavar="N", help="only the commands up to this position of the log"
    )


def _backtest(options: Namespace, settings: Settings) -> int:
    from msgspec.json import encode

    from analysis.backtest import backtest
    from analysis.strategy_process import StrategyError
    from messages.fields import InvalidCommand

    try:
        strategy = _strategy(options)
    except (InvalidCommand, ValueError) as error:
        complain(error)
        return WRONG_USE

    def comparing(history: History, *, identity: str, **given: Any) -> BacktestResult:  # noqa: ARG001
        return backtest(history, strategy, **given)

    found = compared(options, settings, comparing, StrategyError)
    if isinstance(found, int):
        return found
    print(encode(backtest_json(found, strategy)).decode() if options.json else backtest_text(found, strategy))
    return DONE


def _strategy(options: Namespace) -> StrategyFile:
    """Return the strategy that the options name. Raises InvalidCommand and ValueError."""
    from analysis.backtest import StrategyFile
    from domain.money import AMOUNT_MAX
    from messages.fields import Amount

    file, _, name = options.strategy.rpartition(":")
    if not file or not name.isidentifier():
        raise ValueError(f"expected FILE.py:NAME, not {options.strategy}")
    if not Path(file).is_file():
        raise ValueError(f"there is no file {file}")
    return StrategyFile(Path(file), name, cash=Amount(1, AMOUNT_MAX).parse(options.cash, "--cash"))


def backtest_json(found: BacktestResult, strategy: StrategyFile) -> dict[str, Any]:
    """Return the result in JSON's types: amounts as decimal strings."""
    from api.cli.whatif_report import comparison_json
    from api.http.serializers import serialize
    from domain.money import format_decimal

    record = found.record
    return {
        "strategy": f"{strategy.file}:{strategy.name}",
        "asked": record.asked,
        "orders": dict(record.orders),
        "refused": dict(record.refused.most_common()),
        "cancellations": record.canceled,
        "cash": format_decimal(0 if record.account is None else record.account.cash),
        "equity": format_decimal(record.equity),
        "profit": format_decimal(record.equity - strategy.cash),
        "standing": None if found.standing is None else serialize(found.standing),
        **comparison_json(found.result),
    }


def backtest_text(found: BacktestResult, strategy: StrategyFile) -> str:
    """Return the result as text."""
    from api.cli.whatif_report import comparison_lines
    from domain.money import format_decimal

    record, standing = found.record, found.standing
    orders = ", ".join(f"{count:,} {status}" for status, count in record.orders.most_common()) or "none"
    refused = ", ".join(f"{count:,} {code}" for code, count in record.refused.most_common()) or "none"
    place = "it never traded" if standing is None else f"rank {standing.rank} of {len(found.result.other.standings)}"
    lines = [
        f"strategy {strategy.file}:{strategy.name}, asked after {record.asked:,} commands",
        f"orders   {orders}; refused: {refused}; cancellations: {record.canceled:,}",
        f"profit   {format_decimal(record.equity - strategy.cash)} of {format_decimal(strategy.cash)} ({place})",
        "",
        *comparison_lines(found.result),
    ]
    return "\n".join(lines)
