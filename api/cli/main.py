"""The command line `tidings`: what there is to do, and what each exit code says.

    0    done; for `verify`: everything agrees
    1    the answer is no: the server refused, `verify` found a difference, `simulate` a broken rule, a demo's check failed
    2    wrong use: an unknown option, a setting that is not valid, a file that is no story
    3    something that is needed is not there: database (in a version that we know), broker, or a server that answers
    130  interrupted

Each command is a function here, or a module of its own where it is larger; what it needs is imported when it runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

from pydantic import ValidationError

from local.compile import refuse_outdated
from settings import Settings, described, unknown_variables

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DONE: Final = 0
NO: Final = 1
WRONG_USE: Final = 2
NOT_THERE: Final = 3
INTERRUPTED: Final = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    refuse_outdated()
    options = _parser().parse_args(arguments)
    command: Callable[[argparse.Namespace, Settings], int] = options.run
    try:
        settings = Settings()
        for name in unknown_variables():
            print(f"tidings: {name} is not a setting (see `tidings settings`)", file=sys.stderr)
        return command(options, settings)
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = "_".join(str(part) for part in problem["loc"]).upper()
            print(f"tidings: TIDINGS_{name}: {problem['msg']}", file=sys.stderr)
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        return NO
    except Exception as error:
        if type(error) not in _not_there():
            raise
        print(f"tidings: {error}", file=sys.stderr)
        return NOT_THERE


def _not_there() -> tuple[type[Exception], ...]:
    """Return the errors that say that a server is missing, not that a program is wrong."""
    import eventsourcing.persistence as log
    import psycopg
    import psycopg_pool

    from local.processes import StartError
    from migrations import NewerDatabaseError

    return (
        ConnectionRefusedError,
        OSError,
        TimeoutError,
        NewerDatabaseError,
        StartError,
        psycopg.OperationalError,
        psycopg_pool.PoolTimeout,
        log.OperationalError,
        log.InterfaceError,
    )


def _parser() -> argparse.ArgumentParser:  # noqa: PLR0915  one statement an option
    parser = argparse.ArgumentParser(
        prog="tidings",
        description="Prediction markets on news stories, on a log you can replay.",
        epilog="exit codes: 0 done, 1 the answer is no, 2 wrong use, 3 something needed is not there, 130 interrupted",
    )
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    demo = _command(commands, "demo", _demo, "play ten weeks of trading on a real story, show it, serve it")
    demo.add_argument("--kafka", action="store_true", help="a local Kafka broker, and api, engine, projector apart")
    demo.add_argument("--once", action="store_true", help="end when it is shown")
    demo.add_argument("--json", action="store_true", help="one JSON object as the last line instead of text")
    demo.add_argument("--seed", type=int, default=1, help="another number, other weeks (default 1)")

    _command(commands, "serve", _serve, "the whole exchange in one process")
    _command(commands, "api", _api, "only the HTTP server (TIDINGS_LOG=kafka)")
    _add_engine(commands)
    _command(commands, "projector", _projector, "only the projector")
    _command(commands, "feed", _feed, "derive the topic feed, one record an event (TIDINGS_LOG=kafka)")

    load = _command(commands, "load", _load, "publish the stories and markets of a JSON file on a running server")
    load.add_argument("file", type=Path)
    load.add_argument("--url", help="the server (default: host and port of the settings)")
    load.add_argument("--key", help="an operator's key (default: TIDINGS_OPERATOR_KEY)")
    load.add_argument("--subsidy", default="500", help="credits for the maker of markets that name none (default 500)")
    load.add_argument("--json", action="store_true", help="print the stories as JSON")

    replay = _command(commands, "replay", _replay, "markets and accounts as they were, from the log alone")
    until = replay.add_mutually_exclusive_group()
    until.add_argument("--until-position", type=int, metavar="N")
    until.add_argument("--until-time", metavar="TIME", help="RFC 3339")
    replay.add_argument("--market", help="only this one: id or slug")
    replay.add_argument("--account", help="only this one: id or name")
    replay.add_argument("--format", choices=["table", "json"], default="table")

    verify = _command(
        commands, "verify", _read_models("verify_all"), "compare every read model and the ledger with the log"
    )
    verify.add_argument("--json", action="store_true")
    lag = _command(commands, "lag", _read_models("lag"), "how far each read model is behind the log")
    lag.add_argument("--json", action="store_true")
    rebuild = _command(commands, "rebuild", _read_models("rebuild"), "build a read model anew, beside the live one")
    rebuild.add_argument("name")
    _add_dead_letters(commands)

    simulation = _command(commands, "simulate", _simulate, "random commands with crashes, every invariant checked")
    simulation.add_argument("--seed", type=int, default=1, help="the same seed is the same run (default 1)")
    simulation.add_argument("--commands", type=int, default=10_000, metavar="N", help="how many (default 10000)")
    simulation.add_argument("--crashes", type=int, default=20, metavar="N", help="about how many (default 20)")
    simulation.add_argument("--json", action="store_true")

    keys = _command(commands, "keys", None, "API keys").add_subparsers(required=True, metavar="ACTION")
    create = _command(keys, "create", _keys_create, "make a key and print it, once")
    create.add_argument("--role", action="append", required=True, choices=["trader", "operator", "admin"])
    create.add_argument("--account", help="id or name; a trader's key needs one")
    create.add_argument("--label", default="", help="for people")
    create.add_argument("--json", action="store_true")
    listing = _command(keys, "list", _keys_list, "all keys, without what opens anything")
    listing.add_argument("--json", action="store_true")
    revoke = _command(keys, "revoke", _keys_revoke, "let a key open nothing any more")
    revoke.add_argument("key_id")

    role = _command(
        commands, "sql-role", _sql_role, "a database role that may read the views for dashboards (docs/sql.md)"
    )
    role.add_argument("name")
    role.add_argument("--json", action="store_true")

    shown = _command(commands, "settings", _settings, "every setting: its variable, value and meaning")
    shown.add_argument("--json", action="store_true")
    schemas = _command(commands, "schemas", _schemas, "the JSON Schemas of commands, events, replies and Kafka records")
    schemas.add_argument("--write", action="store_true", help="write them and the AsyncAPI page to docs instead")

    topics = _command(commands, "topics", None, "Kafka topics").add_subparsers(required=True, metavar="ACTION")
    _command(topics, "create", _topics_create, "make those that are missing, check all")
    _command(topics, "check", _topics_check, "name every setting of a topic that could lose data")
    return parser


def _add_engine(commands: Any) -> None:
    engine = _command(commands, "engine", _engine, "only the engine (TIDINGS_LOG=kafka)")
    how = engine.add_mutually_exclusive_group()
    how.add_argument("--standby", action="store_true", help="read along; take over when the engine that runs is silent")
    how.add_argument(
        "--take-over",
        action="store_true",
        help="have a standby take over from the engine that runs; if there is none, do so oneself",
    )


def _add_dead_letters(commands: Any) -> None:
    text = (
        "what could not be understood and was set aside: commands from Kafka, by their number, "
        "and events that a read model could not digest, by their position, with all that depends on them"
    )
    actions = _command(commands, "dead-letters", None, text).add_subparsers(required=True, metavar="ACTION")
    listing = _command(actions, "list", _dead_letters("list_all"), "all of them")
    listing.add_argument("name", nargs="?", help="only those of this read model, or of the `commands`")
    listing.add_argument("--json", action="store_true")
    show = _command(actions, "show", _dead_letters("show"), "one of them, as it came")
    retry = _command(actions, "retry", _dead_letters("retry"), "a command: send it again; a read model: fold all again")
    skip = _command(actions, "skip", _dead_letters("skip"), "go on without one, for ever")
    for action in (show, retry, skip):
        action.add_argument("name", help="the read model, or `commands`")
    for action in (show, skip):
        action.add_argument("position", type=int, help="its position, or number")
    retry.add_argument("position", type=int, nargs="?", help="number of the command")
    skip.add_argument("--reason", required=True, help="kept with it")


def _dead_letters(function: str) -> Callable[[argparse.Namespace, Settings], int]:
    """Return a command of `api.cli.dead_letters`, which is imported when it runs."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        from api.cli import dead_letters, read_models

        if options.name == dead_letters.COMMANDS and settings.log != "kafka":
            return _needs_kafka("dead-letters of commands")
        if options.name not in {None, dead_letters.COMMANDS} and read_models.unknown(options.name):
            return WRONG_USE
        command: Callable[[argparse.Namespace, Settings], int] = getattr(dead_letters, function)
        return command(options, settings)

    return run


def _read_models(function: str) -> Callable[[argparse.Namespace, Settings], int]:
    """Return a command of `api.cli.read_models`, which is imported when it runs."""

    def run(options: argparse.Namespace, settings: Settings) -> int:
        from api.cli import read_models

        command: Callable[[argparse.Namespace, Settings], int] = getattr(read_models, function)
        return command(options, settings)

    return run


def _command(
    commands: Any, name: str, run: Callable[[argparse.Namespace, Settings], int] | None, text: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text)
    if run is not None:
        parser.set_defaults(run=run)
    return parser


# --- what runs


def _demo(options: argparse.Namespace, settings: Settings) -> int:
    from api.demo.run import run_demo

    return run_demo(settings, kafka=options.kafka, once=options.once, as_json=options.json, seed=options.seed)


def _serve(_: argparse.Namespace, settings: Settings) -> int:
    from api import logs
    from api.processes import Embedded, wait_for_stop
    from consumers.engine.log import Fenced
    from consumers.process_tuning import collect_rarely

    if settings.log == "kafka":
        print("tidings: `serve` keeps its log in PostgreSQL; run `api`, `engine` and `projector`", file=sys.stderr)
        return WRONG_USE
    logs.configure(settings)
    collect_rarely()
    try:
        with Embedded(settings) as running:
            _tell(running.url, running.first_key)
            problem = wait_for_stop(running)
    except Fenced as error:
        print(f"tidings: {error}", file=sys.stderr)
        return NOT_THERE
    return _ended(problem)


def _api(_: argparse.Namespace, settings: Settings) -> int:
    from api import logs
    from api.processes import HttpProcess, wait_for_stop
    from consumers.process_tuning import collect_rarely

    if settings.log != "kafka":
        return _needs_kafka("api")
    logs.configure(settings)
    collect_rarely()
    with HttpProcess(settings) as running:
        _tell(running.url, running.first_key)
        problem = wait_for_stop(running)
    return _ended(problem)


def _engine(options: argparse.Namespace, settings: Settings) -> int:
    from api import logs
    from consumers.engine.log import LogError
    from consumers.run_engine import run, take_over

    if settings.log != "kafka":
        return _needs_kafka("engine")
    logs.configure(settings)
    try:
        if options.take_over and (heir := take_over(settings)) is not None:
            print(f"The standby {heir} has taken over")
            return DONE
        run(settings, standby=options.standby, take_over=options.take_over)
    except LogError as error:
        print(f"tidings: {error}", file=sys.stderr)
        return NOT_THERE
    return DONE


def _projector(_: argparse.Namespace, settings: Settings) -> int:
    from api import logs
    from api.processes import run_projector
    from consumers.process_tuning import collect_rarely

    logs.configure(settings)
    collect_rarely()
    run_projector(settings)
    return DONE


def _feed(_: argparse.Namespace, settings: Settings) -> int:
    from api import logs
    from consumers.kafka.event_publisher import run

    if settings.log != "kafka":
        return _needs_kafka("feed")
    logs.configure(settings)
    run(settings)
    return DONE


def _tell(url: str, first_key: str | None) -> None:
    print(f"Tidings serves at {url} (try {url}/docs)", flush=True)
    if first_key is not None:
        print(f"The first key (operator and admin), shown only now: {first_key}", flush=True)


def _ended(problem: str | None) -> int:
    if problem is None:
        return DONE
    print(f"tidings: {problem}", file=sys.stderr)
    return NOT_THERE


def _needs_kafka(command: str) -> int:
    print(f"tidings: `{command}` needs TIDINGS_LOG=kafka; all in one process is `tidings serve`", file=sys.stderr)
    return WRONG_USE


# --- what asks and tells


def _load(options: argparse.Namespace, settings: Settings) -> int:
    from api.cli.load import load

    url = options.url or f"http://{settings.host}:{settings.port}"
    given = settings.operator_key.get_secret_value() if settings.operator_key else None
    key: str | None = options.key or given
    if key is None:
        print("tidings: an operator's key is needed: --key or TIDINGS_OPERATOR_KEY", file=sys.stderr)
        return WRONG_USE
    return load(options.file, url, key, subsidy=options.subsidy, as_json=options.json)


def _replay(options: argparse.Namespace, settings: Settings) -> int:
    from api.cli import replay
    from api.cli.database import with_database
    from consumers.wiring import open_recorder
    from messages.wire import parse_time

    try:
        until = None if options.until_time is None else parse_time(options.until_time)
    except ValueError as error:
        print(f"tidings: --until-time {error}", file=sys.stderr)
        return WRONG_USE
    with ExitStack() as stack:
        log = open_recorder(with_database(settings, stack) if settings.log == "postgres" else settings)
        exchange, position = replay.fold(
            log, until_position=options.until_position, until_time=until, told=_progress("position")
        )
    state = replay.state_of(exchange, position, market=options.market, account=options.account)
    print(json.dumps(state) if options.format == "json" else replay.table(state))
    if (options.market and not state["markets"]) or (options.account and not state["accounts"]):
        print("tidings: there was none of that name then", file=sys.stderr)
        return NO
    return DONE


def _progress(word: str) -> Callable[[int], None]:
    """Return what shows on a terminal how far long work is, and elsewhere nothing."""
    if not sys.stderr.isatty():
        return lambda _: None
    return lambda number: print(f"\r{word} {number:,} ", end="", file=sys.stderr, flush=True)


def _simulate(options: argparse.Namespace, _: Settings) -> int:
    from dataclasses import asdict

    from consumers.simulation.simulation import SimulationFailedError, simulate

    def progress(done: int, total: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {total} commands", end="" if done < total else "\n", file=sys.stderr)

    try:
        report = simulate(options.seed, options.commands, crashes=options.crashes, progress=progress)
    except SimulationFailedError as error:
        print(f"tidings: {error}", file=sys.stderr)
        return NO
    if options.json:
        print(json.dumps(asdict(report)))
    else:
        for name, value in asdict(report).items():
            print(f"{name:<12} {value}")
    return DONE


def _settings(options: argparse.Namespace, settings: Settings) -> int:
    rows = described(settings)
    if options.json:
        print(json.dumps([row._asdict() for row in rows]))
        return DONE
    for row in rows:
        value = f"{row.value} (default {row.default})" if row.value != row.default else row.value
        print(f"{row.variable}={value}\n    {row.description}")
    return DONE


def _schemas(options: argparse.Namespace, _: Settings) -> int:
    from messages import schemas

    if options.write:
        schemas.write_schemas()
        schemas.write_page()
    else:
        print(json.dumps(schemas.all_schemas(), indent=2))
    return DONE


def _topics_create(_: argparse.Namespace, settings: Settings) -> int:
    return _topics(settings, create=True)


def _topics_check(_: argparse.Namespace, settings: Settings) -> int:
    return _topics(settings, create=False)


def _topics(settings: Settings, *, create: bool) -> int:
    from consumers.kafka.topics import check_topics

    problems = check_topics(settings, create=create)
    for problem in problems:
        print(f"tidings: {problem}", file=sys.stderr)
    return NO if problems else DONE


# --- keys


def _keys_create(options: argparse.Namespace, settings: Settings) -> int:
    from api import key_store
    from api.http.routes.keys import key_json

    roles: list[key_store.Role] = [role for role in get_args(key_store.Role) if role in options.role]
    if "trader" in roles and not options.account:
        print("tidings: a trader's key needs --account", file=sys.stderr)
        return WRONG_USE
    with ExitStack() as stack:
        connection = _database(settings, stack)
        account_id = None
        if options.account:
            account_id = _account_id(connection, options.account)
            if account_id is None:
                print(f"tidings: no account (or more than one) is called {options.account}", file=sys.stderr)
                return NO
        secret, key = key_store.create(connection, roles, account_id, options.label)
    if options.json:
        print(json.dumps({"key": secret, **key_json(key)}))
    else:
        print(secret)
    return DONE


def _keys_list(options: argparse.Namespace, settings: Settings) -> int:
    from api import key_store
    from api.http.routes.keys import key_json

    with ExitStack() as stack:
        keys = [key_json(key) for key in key_store.every(_database(settings, stack))]
    if options.json:
        print(json.dumps(keys))
        return DONE
    for key in keys:
        state = f"revoked {key['revoked_at']}" if key["revoked_at"] else "valid"
        who = key["account_id"] or ""
        print(f"{key['key_id']}  {key['prefix']}...  {','.join(key['roles']):<22} {state}  {who}  {key['label']}")
    return DONE


def _keys_revoke(options: argparse.Namespace, settings: Settings) -> int:
    from api import key_store

    with ExitStack() as stack:
        key = key_store.revoke(_database(settings, stack), options.key_id)
    if key is None:
        print("tidings: no such key", file=sys.stderr)
        return NO
    return DONE


def _sql_role(options: argparse.Namespace, settings: Settings) -> int:
    from secrets import token_urlsafe

    from psycopg.errors import InsufficientPrivilege

    from projections.dashboards.roles import SCHEMA, RoleError, make_role

    password = settings.sql_password.get_secret_value() if settings.sql_password else token_urlsafe(24)
    with ExitStack() as stack:
        try:
            make_role(_database(settings, stack), options.name, password)
        except (RoleError, InsufficientPrivilege) as error:
            print(f"tidings: {error}", file=sys.stderr)
            return NO
    print(json.dumps({"role": options.name, "password": password, "schema": SCHEMA}) if options.json else password)
    return DONE


def _database(settings: Settings, stack: ExitStack) -> Any:
    """Return a connection to the database of keys and read models, migrated."""
    import psycopg

    from api.cli.database import with_database
    from migrations import migrate
    from projections.machine.store import CONNECT_OPTIONS

    dsn = with_database(settings, stack).dsn
    assert dsn is not None, "just chosen"
    connection = stack.enter_context(psycopg.connect(dsn, autocommit=True, **CONNECT_OPTIONS))
    migrate(connection)
    return connection


def _account_id(connection: Any, reference: str) -> str | None:
    from projections import accounts
    from projections.reading import UnknownProjection, read

    try:
        with read(connection, accounts.get_account) as as_of:
            account = accounts.get_account(connection, as_of, reference)
    except UnknownProjection:
        return None
    return account.account_id if account else None


if __name__ == "__main__":
    sys.exit(main())
