"""`tidings whatif`: the commands of the log decided again under other terms, compared with what was."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from api.cli.command import DONE, UNREACHABLE, WRONG_USE, add_command, complain, show_progress
from api.cli.comparing import compared

if TYPE_CHECKING:
    from argparse import Namespace

    from analysis.comparison import ComparedWorlds, KeepWorlds
    from analysis.replay import History
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
    whatif.add_argument(
        "--export", type=Path, metavar="DIR", help="export both worlds too, as Parquet: DIR/same and DIR/other"
    )


def _whatif(options: Namespace, settings: Settings) -> int:
    from msgspec.json import encode

    from analysis.whatif import UnknownMarketsError, what_if
    from api.cli.whatif_report import whatif_json, whatif_text
    from api.export.errors import ExportRefusedError, MissingDuckDBError
    from messages.fields import InvalidCommand

    try:
        terms = _terms(options)
    except InvalidCommand as error:
        complain(error)
        return WRONG_USE

    def comparing(history: History, *, dsn: str, identity: str, **given: Any) -> ComparedWorlds:
        keep = None if options.export is None else _exporting(options.export, dsn, identity, terms, history.partition)
        return what_if(history, terms, dsn, keep=keep, **given)

    try:
        found = compared(options, settings, comparing, UnknownMarketsError, ExportRefusedError)
    except MissingDuckDBError as error:
        complain(error)
        return UNREACHABLE
    if isinstance(found, int):
        return found
    print(encode(whatif_json(found, terms)).decode() if options.json else whatif_text(found, terms))
    return DONE


def _exporting(folder: Path, dsn: str, identity: str, terms: Terms, partition: int) -> KeepWorlds:
    """Return what exports both worlds. The name of each world's log says of what it was made."""
    from analysis.comparison import OTHER, SAME
    from api.cli.exported_worlds import exporting_worlds
    from api.cli.whatif_report import terms_json

    changed = " ".join(f"{name}={value}" for name, value in terms_json(terms).items() if value is not None)
    names = {SAME: f"{identity} decided again", OTHER: f"{identity} decided with {changed or 'the same terms'}"}
    return exporting_worlds(folder, dsn, names, partition, show_progress)


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
