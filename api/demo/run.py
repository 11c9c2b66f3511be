"""`tidings demo`: starts an exchange, plays ten weeks of trading on it, shows the result and goes on serving.

Every run starts with a new database (with `--kafka` also a new broker) under `TIDINGS_HOME/demo`. So the same seed gives the
same result however often it is played, on either store. Orders that somebody placed by hand in an earlier demo are lost.
That folder is a home like any other: with it as `TIDINGS_HOME`, the command line sees the demo's exchange. It never mixes
with the exchange in the home itself.
"""

from __future__ import annotations

import contextlib
import json
import secrets
import shlex
import shutil
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from pydantic import SecretStr

from api import logs, session_store
from api.database import DATABASE, connect_migrated
from api.demo.kafka_processes import KafkaProcesses
from api.demo.play import WEEKS, Play
from api.demo.progress import progress_bar, tell_progress
from api.demo.show import collect, show
from api.processes import Embedded
from api.stop_signals import wait_for_stop
from domain.money import MICRO
from local.postgres import Postgres, drop_database
from local.processes import StartError, free_port, locked
from tidings_client import Client, TidingsError

if TYPE_CHECKING:
    from settings import Settings

RETRY_SECONDS: Final = 60.0
"""The time for which the demo asks an exchange that does not answer."""


YOU: Final = "You"
CREDITS: Final = "1000"
"""The name and the credits of the trader that the demo's link signs in as."""


def run_demo(settings: Settings, *, kafka: bool, once: bool, as_json: bool, seed: int) -> int:
    """Run the demo and return its exit code: 1 when the ledger or the odds do not add up, 3 when the exchange failed.

    Progress goes to stderr, and with `as_json` everything but the result.
    """
    folder = settings.home.absolute() / "demo"
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / "lock", timeout_seconds=2))
        except StartError:
            raise StartError(f"another demo is running in {folder}") from None
        for name in ("engine", "index"):  # what is known of the log of an earlier run, which is made anew
            shutil.rmtree(folder / name, ignore_errors=True)
        tell_progress(f"Starting a PostgreSQL in {folder}")
        given = settings
        settings = settings.model_copy(
            update={
                "dsn": _fresh_database(given, folder, stack),
                "clock": "command",
                "log": "kafka" if kafka else "postgres",
                "operator_key": SecretStr(f"tdg_{secrets.token_urlsafe(32)}"),
                "host": "127.0.0.1",
                "port": 0 if once else free_or_other(settings.port),
                "home": folder,
                "public_reads": True,
                "withdrawal_hold_seconds": 0,
            }
        )
        logs.configure(settings, level="warning")
        running: KafkaProcesses | Embedded = (
            KafkaProcesses(settings, folder) if kafka else Embedded(settings, one_process=True)
        )
        tell_progress("Starting Kafka and the processes of the exchange" if kafka else "Starting the exchange")
        stack.enter_context(running)
        client = stack.enter_context(Client(running.url, _key_of(settings), retry_seconds=RETRY_SECONDS))
        play = Play(client, seed, progress=progress_bar())
        tell_progress(f"Playing {WEEKS} weeks of trading")
        try:
            play.run()
            result = collect(client, play)
        except TidingsError as error:
            logs.complain(running.problem() or error)
            return 3
        problems = _report(result, as_json=as_json)
        out = sys.stderr if as_json else sys.stdout
        if not once:
            print(_welcome(running, client), file=out)
        print(_how_to_look(given, running, once=once), file=out, flush=True)
        if once:
            return 1 if problems else 0
        problem = wait_for_stop(running.problem)
        if problem is not None:
            logs.complain(problem)
            return 3
        return 0


def _welcome(running: KafkaProcesses | Embedded, client: Client) -> str:
    return (
        f"\nServing at {running.url} (for programs: {running.url}/docs) until you press Ctrl-C.\n"
        f"To trade as {YOU}, open within ten minutes: {running.url}{sign_in_link(client, running.settings)}\n"
        f"To run the exchange at its desk, open: {running.url}{desk_link(client, running.settings)}\n"
        f"Key (operator, admin): {_key_of(running.settings)}"
    )


def sign_in_link(client: Client, settings: Settings) -> str:
    """Return the path of a link that signs in, once, as a new trader with credits. The trader's key is known to nobody."""
    account_id = client.open_account(YOU).account_id
    client.deposit(account_id, CREDITS)
    return _link(settings, client.create_key(["trader"], account=account_id, name="link of the demo").key_id)


def desk_link(client: Client, settings: Settings) -> str:
    """Return the path of a link that signs in, once, as an operator and admin, and leads to the desk."""
    key_id = client.create_key(["operator", "admin"], name="link of the demo to the desk").key_id
    return f"{_link(settings, key_id)}&next=/desk"


def _link(settings: Settings, key_id: str) -> str:
    with contextlib.ExitStack() as stack:
        return f"/sign-in?code={session_store.make_code(connect_migrated(settings, stack), key_id)}"


def check(result: dict[str, Any]) -> list[str]:
    """Return what does not add up: the sum of the ledger, or the odds of a market."""
    problems = []
    if result["ledger_sum"] != "0.000000":
        problems.append(f"the ledger sums to {result['ledger_sum']}")
    for market in result["markets"]:
        micros = sum(int(row["price"].replace(".", "")) for row in market["outcomes"])
        if micros != MICRO:
            problems.append(f"the odds of {market['slug']} sum to {micros / MICRO}")
    return problems


def free_or_other(wanted: int) -> int:
    """Return the wanted port, any free one for 0, or another one when it is taken, which is said."""
    with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", wanted)) as probe:
        return int(probe.getsockname()[1])
    port = free_port()
    tell_progress(f"Port {wanted} is in use: the demo serves at port {port}")
    return port


def _report(result: dict[str, Any], *, as_json: bool) -> list[str]:
    """Print the result, and on stderr what does not add up; return the latter."""
    if as_json:
        print(json.dumps(result), flush=True)
    else:
        show(result, sys.stdout)
    problems = check(result)
    for line in problems:
        logs.complain(line)
    return problems


def _how_to_look(given: Settings, running: KafkaProcesses | Embedded, *, once: bool) -> str:
    """Return how the command line finds the data of the demo: a shell's lines, which set what differs from here."""
    settings = running.settings
    seen = {
        "home": settings.home,
        "dsn": "" if given.dsn else None,
        "log": settings.log,
        "kafka_brokers": settings.kafka_brokers,
        "kafka_replication": settings.kafka_replication,
        "port": None if once else settings.port,
        "operator_key": None if once else _key_of(settings),
    }
    lines = [
        f"  export TIDINGS_{name.upper()}={shlex.quote(str(value))}"
        for name, value in seen.items()
        if value is not None and value != getattr(given, name)
    ]
    tidings = "tidings" if shutil.which("tidings") else shlex.quote(str(Path(sys.executable).parent / "tidings"))
    kafka = f"\nKafka is at {settings.kafka_brokers}." if settings.log == "kafka" and not once else ""
    if settings.log == "kafka":
        how_long = "its log is gone with its broker" if once else "while the demo runs"
    else:
        how_long = "its data stays until the next demo" if once else "also after its end, until the next demo"
    return "\n".join(
        [f"{kafka}\nTo look into it from a shell ({how_long}):\n", *lines, f"  {tidings} replay --market combat"]
    )


def _key_of(settings: Settings) -> str:
    assert settings.operator_key is not None, "the demo made it"
    return settings.operator_key.get_secret_value()


def _fresh_database(settings: Settings, folder: Path, stack: contextlib.ExitStack) -> str:
    """Return the DSN of an empty database, on a server that runs until the stack closes.

    It has the place and the name that it would have with the demo's folder as the home of a `tidings serve`.
    """
    server = stack.enter_context(Postgres.start(folder / "postgres", port=settings.sql_port, own=settings.home))
    drop_database(server.dsn(), DATABASE)
    return server.database(DATABASE)
