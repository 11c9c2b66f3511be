"""`tidings whatif`: the commands of the log decided again under other terms, compared with what was."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, WRONG_USE, add_command, complain
from api.cli.comparing import compared

if TYPE_CHECKING:
    from argparse import Namespace

    from analysis.terms import Terms
    from api.cli.command import Commands
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare `whatif`."""
    text = "what the log's commands would have done under other terms"
    whatif = add_command(commands, "whatif", _whatif, text, json=True)
    whatif.add_argument("--fee-rate", metavar="R", help="the fee rate of markets, as 0.02")
    whatif.add_argument("--subsidy", metavar="S", help="the credits that the house gives the AMM of a market")
    whatif.add_argument("--tick", metavar="T", help="the step of limit prices, a multiple of 0.001")
    whatif.add_argument("--dispute-seconds", type=int, metavar="N", help="the length of the dispute window")
    whatif.add_argument(
        "--market", action="append", default=[], metavar="M", help="only this market: id or slug; may be repeated"
    )
    whatif.add_argument(
        "--until-position", type=int, metavar="N", help="only the commands up to this position of the log"
    )


def _whatif(options: Namespace, settings: Settings) -> int:
    from msgspec.json import encode

    from analysis.whatif import UnknownMarketsError, what_if
    from api.cli.whatif_report import whatif_json, whatif_text
    from messages.fields import InvalidCommand

    try:
        terms = _terms(options)
    except InvalidCommand as error:
        complain(error)
        return WRONG_USE
    found = compared(options, settings, partial(what_if, terms=terms), UnknownMarketsError)
    if isinstance(found, int):
        return found
    print(encode(whatif_json(found, terms)).decode() if options.json else whatif_text(found, terms))
    return DONE


def _terms(options: Namespace) -> Terms:
    """Return the terms that the options name, held to the limits of commands. Raises InvalidCommand."""
    from analysis.terms import Terms
    from domain.market import DISPUTE_SECONDS_MAX, SUBSIDY_MAX, SUBSIDY_MIN
    from domain.money import MICRO, PRICE_TICK
    from messages.fields import FRACTION, Amount, InvalidCommand, Whole

    def parsed(name: str, codec: Any, value: Any) -> Any:
        return None if value is None else codec.parse(value, f"--{name}")

    tick = parsed("tick", Amount(PRICE_TICK, MICRO // 2), options.tick)
    if tick is not None and tick % PRICE_TICK:
        raise InvalidCommand("--tick", "must be a multiple of 0.001")
    return Terms(
        fee_rate=parsed("fee-rate", FRACTION, options.fee_rate),
        subsidy=parsed("subsidy", Amount(SUBSIDY_MIN, SUBSIDY_MAX), options.subsidy),
        dispute_seconds=parsed("dispute-seconds", Whole(DISPUTE_SECONDS_MAX), options.dispute_seconds),
        tick=tick,
        markets=frozenset(options.market),
    )
