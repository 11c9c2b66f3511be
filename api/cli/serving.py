"""`tidings serve | api | engine | projector | feed`: the commands that run until they are stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.command import DONE, UNREACHABLE, WRONG_USE, add_command, complain, needs_kafka

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from api.processes import ServingProcess
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare the exchange in one process, and each of its parts."""
    serve = add_command(commands, "serve", _serve, "the whole exchange in one process")
    api = add_command(commands, "api", _api, "only the HTTP server (TIDINGS_LOG=kafka)")
    engine = add_command(commands, "engine", _engine, "only the engine (TIDINGS_LOG=kafka)")
    how = engine.add_mutually_exclusive_group()
    how.add_argument(
        "--standby", action="store_true", help="follow the log; take over when the running engine falls silent"
    )
    how.add_argument(
        "--take-over",
        action="store_true",
        help="tell a standby to take over from the running engine; without a standby, take over oneself",
    )
    projector = add_command(commands, "projector", _projector, "only the projector")
    for command in (serve, api, engine, projector):
        command.add_argument(
            "--accept-lost-log",
            action="store_true",
            help="once, while all is stopped: go on with a log that has lost events; what was kept of them is put aside",
        )
    add_command(commands, "feed", _feed, "derive the topic feed, one record an event (TIDINGS_LOG=kafka)")


def _serve(options: Namespace, settings: Settings) -> int:
    from api import logs
    from api.lost_log import accept_lost_log
    from api.processes import Embedded
    from consumers.engine.log import LogError
    from consumers.process_tuning import collect_rarely

    if settings.log == "kafka":
        complain("`serve` keeps its log in PostgreSQL; run `api`, `engine` and `projector`")
        return WRONG_USE
    logs.configure(settings)
    collect_rarely()
    try:
        if options.accept_lost_log:
            accept_lost_log(settings, engine=True, read_models=True)
        return _run_until_stopped(Embedded(settings))
    except LogError as error:
        complain(error)
        return UNREACHABLE


def _api(options: Namespace, settings: Settings) -> int:
    from api import logs
    from api.lost_log import accept_lost_log
    from api.processes import HttpProcess
    from consumers.process_tuning import collect_rarely

    if settings.log != "kafka":
        return needs_kafka("api")
    logs.configure(settings)
    collect_rarely()
    if options.accept_lost_log:
        accept_lost_log(settings)
    return _run_until_stopped(HttpProcess(settings))


def _run_until_stopped(process: ServingProcess) -> int:
    """Start the process, print where it serves, wait for a signal or a failure; return the exit code."""
    from api.stop_signals import wait_for_stop

    with process as running:
        print(f"Tidings serves at {running.url} (try {running.url}/docs)", flush=True)
        if running.first_key is not None:
            print(f"The first key (operator and admin), shown only now: {running.first_key}", flush=True)
        problem = wait_for_stop(running.problem)
    if problem is None:
        return DONE
    complain(problem)
    return UNREACHABLE


def _engine(options: Namespace, settings: Settings) -> int:
    from api import logs
    from api.lost_log import accept_lost_log
    from consumers.engine.log import LogError
    from consumers.run_engine import run, take_over

    if settings.log != "kafka":
        return needs_kafka("engine")
    logs.configure(settings)
    try:
        if options.accept_lost_log:
            accept_lost_log(settings, engine=True)
        if options.take_over and (standby := take_over(settings)) is not None:
            print(f"The standby {standby} has taken over")
            return DONE
        run(settings, standby=options.standby, take_over=options.take_over)
    except LogError as error:
        complain(error)
        return UNREACHABLE
    return DONE


def _projector(options: Namespace, settings: Settings) -> int:
    from api import logs
    from api.lost_log import accept_lost_log
    from api.processes import run_projector
    from consumers.process_tuning import collect_rarely

    logs.configure(settings)
    collect_rarely()
    if options.accept_lost_log:
        accept_lost_log(settings, read_models=True)
    run_projector(settings)
    return DONE


def _feed(_: Namespace, settings: Settings) -> int:
    from api import logs
    from consumers.kafka.event_publisher import run

    if settings.log != "kafka":
        return needs_kafka("feed")
    logs.configure(settings)
    run(settings)
    return DONE
