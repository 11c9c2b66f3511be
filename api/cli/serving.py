"""`tidings serve | api | engine | projector | orders | feed | webhooks`: the commands that run until they are stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from api.cli.command import DONE, UNREACHABLE, WRONG_USE, add_command, check_kafka, complain, needs_kafka, start_logs
from api.cli.partitions import PartitionError, add_partitions, chosen_partitions

if TYPE_CHECKING:
    from argparse import Namespace

    from api.cli.command import Commands
    from api.processes import ServingProcess
    from settings import Settings


def add_commands(commands: Commands) -> None:
    """Declare the whole exchange as one command, and each of its parts."""
    serve = add_command(commands, "serve", _serve, "the whole exchange as one command, which starts its own projector")
    api = add_command(commands, "api", _api, "only the HTTP server (TIDINGS_LOG=kafka)")
    engine = add_command(commands, "engine", _engine, "only the engine (TIDINGS_LOG=kafka)", knows_partitions=True)
    how = engine.add_mutually_exclusive_group()
    how.add_argument(
        "--standby", action="store_true", help="follow the log; take over when the running engine falls silent"
    )
    how.add_argument(
        "--take-over",
        action="store_true",
        help="tell a standby to take over from the running engine; without a standby, take over oneself",
    )
    projector = add_command(commands, "projector", _projector, "only the projector", knows_partitions=True)
    add_partitions(projector)
    for command in (serve, api, engine, projector):
        command.add_argument(
            "--accept-lost-log",
            action="store_true",
            help="once, while all is stopped: go on with a log that has lost events; what was kept of them is put aside",
        )
    text = "pass signed orders of trading services on to the engine (TIDINGS_LOG=kafka)"
    add_command(commands, "orders", _orders, text)
    add_command(commands, "feed", _feed, "derive the topic feed, one record an event (TIDINGS_LOG=kafka)")
    add_command(commands, "webhooks", _webhooks, "only the sender of webhooks; `serve` has its own")


def _serve(options: Namespace, settings: Settings) -> int:
    from api.lost_log import accept_lost_log
    from api.processes import Embedded
    from consumers.engine.log import LogError
    from consumers.process_tuning import collect_rarely

    if settings.log == "kafka":
        complain("`serve` keeps its log in PostgreSQL; run `api`, `engine` and `projector`")
        return WRONG_USE
    start_logs(settings)
    if _port_is_taken(settings):
        return UNREACHABLE
    collect_rarely()
    try:
        if options.accept_lost_log:
            accept_lost_log(settings, engine=True, read_models=True)
        return _run_until_stopped(Embedded(settings))
    except LogError as error:
        complain(error)
        return UNREACHABLE


def _api(options: Namespace, settings: Settings) -> int:
    from api.lost_log import accept_lost_log
    from api.processes import HttpProcess
    from consumers.process_tuning import collect_rarely

    if settings.log != "kafka":
        return needs_kafka("api")
    start_logs(settings)
    if _port_is_taken(settings):
        return UNREACHABLE
    check_kafka(settings)
    collect_rarely()
    if options.accept_lost_log:
        accept_lost_log(settings)
    return _run_until_stopped(HttpProcess(settings))


def _run_until_stopped(process: ServingProcess) -> int:
    """Start the process, print where it serves, wait for a signal or a failure; return the exit code."""
    from api.logs import announce
    from api.stop_signals import wait_for_stop

    with process as running:
        url, key = running.url, running.first_key
        announce(f"Tidings serves at {url} (for programs: {url}/docs)", url=url)
        if key is not None:
            announce(f"The first key (operator and admin), shown only now: {key}", key=key)
        problem = wait_for_stop(running.problem)
    if problem is None:
        return DONE
    complain(problem)
    return UNREACHABLE


def _port_is_taken(settings: Settings) -> bool:
    """Return whether the server could not listen; if so, complain. Asked before anything is started."""
    import os
    import socket

    try:
        socket.create_server((settings.host, settings.port)).close()
    except OSError as error:
        why = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
        complain(
            f"cannot listen on port {settings.port} of {settings.host}: {why}; TIDINGS_PORT and TIDINGS_HOST choose others"
        )
        return True
    return False


def _warn_without_kafka(settings: Settings) -> None:
    """Log at once why no broker answers. Whoever calls this goes on, and tries until one does."""
    import structlog

    try:
        check_kafka(settings)
    except OSError as error:
        structlog.get_logger("tidings").warning("kafka_is_missing", error=str(error))


def _engine(options: Namespace, settings: Settings) -> int:
    from api.logs import announce
    from api.lost_log import accept_lost_log
    from consumers.engine.log import LogError
    from consumers.run_engine import run, take_over

    if settings.log != "kafka":
        return needs_kafka("engine")
    start_logs(settings)
    if options.take_over:
        check_kafka(settings)
    else:
        _warn_without_kafka(settings)
    try:
        if options.accept_lost_log:
            accept_lost_log(settings, engine=True)
        if options.take_over and (standby := take_over(settings)) is not None:
            announce(f"The standby {standby} has taken over")
            return DONE
        run(settings, standby=options.standby, take_over=options.take_over)
    except LogError as error:
        complain(error)
        return UNREACHABLE
    return DONE


def _projector(options: Namespace, settings: Settings) -> int:
    from api.lost_log import accept_lost_log
    from api.projecting import run_projector
    from consumers.process_tuning import collect_rarely

    try:
        partitions = chosen_partitions(options, settings)
    except PartitionError as error:
        complain(error)
        return WRONG_USE
    start_logs(settings)
    check_kafka(settings)
    collect_rarely()
    if options.accept_lost_log:
        for partition in partitions:
            accept_lost_log(settings.model_copy(update={"partition": partition}), read_models=True)
    run_projector(settings, partitions)
    return DONE


def _feed(_: Namespace, settings: Settings) -> int:
    from consumers.kafka.event_publisher import run

    if settings.log != "kafka":
        return needs_kafka("feed")
    start_logs(settings)
    _warn_without_kafka(settings)
    run(settings)
    return DONE


def _webhooks(_: Namespace, settings: Settings) -> int:
    from api.processes import run_webhooks

    start_logs(settings)
    check_kafka(settings)
    run_webhooks(settings)
    return DONE


def _orders(_: Namespace, settings: Settings) -> int:
    from api.processes import run_order_gate

    if settings.log != "kafka":
        return needs_kafka("orders")
    start_logs(settings)
    _warn_without_kafka(settings)
    run_order_gate(settings)
    return DONE
