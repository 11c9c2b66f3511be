"""A command whose sender can fetch funds: the engine leaves nothing of it in the log while they lack."""

from concurrent.futures import Future

from eventsourcing.popo import POPOApplicationRecorder

from consumers.engine.command_source import LocalCommand, LocalCommandSource
from domain.account import DepositCash
from domain.commands import Command
from messages.commands import body_and_digest
from messages.replies import Reply
from tests.consumers.checks import recorded
from tests.consumers.exchange_fixtures import MICRO, open_market, running


def ask(source: LocalCommandSource, command_id: str, command: Command) -> Reply:
    """Send a command with `top_up`, and wait for its reply."""
    body, digest = body_and_digest(command)
    future: Future[Reply] = Future()
    name = type(command).__name__
    source.put(LocalCommand(command_id, command, digest, None, None, name, body, top_up=True, waiter=(None, future)))
    return future.result(10)


def test_what_lacks_funds_leaves_nothing(recorder: POPOApplicationRecorder) -> None:
    """Its sender hears how much it takes, as often as it asks. With the funds the same command is decided, once."""
    with running(recorder) as (_, gateway, source):
        market = open_market(gateway.submit_blocking)
        command_id, order = market.buy("c-1", spend=1_500 * MICRO)
        before = len(recorded(recorder))

        for _ in range(2):
            needed = ask(source, command_id, order)
            assert (needed.code, needed.details) == (
                "FUNDS_NEEDED",
                {"required": "1500.000000", "available": "1000.000000"},
            )
        assert len(recorded(recorder)) == before

        gateway.submit_blocking("more", DepositCash(order.account_id, 500 * MICRO))
        done = ask(source, command_id, order)
        assert done.code is None
        assert ask(source, command_id, order) == done

    assert len([event for event in recorded(recorder) if event.command_id == command_id and event.digest]) == 1


def test_the_last_word_is_recorded(recorder: POPOApplicationRecorder) -> None:
    """Sent without `top_up` it is refused for ever, whoever asks how from then on; any other refusal always is."""
    with running(recorder) as (_, gateway, source):
        market = open_market(gateway.submit_blocking)
        command_id, order = market.buy("c-1", spend=1_500 * MICRO)

        assert ask(source, command_id, order).code == "FUNDS_NEEDED"
        refused = gateway.submit_blocking(command_id, order)
        assert refused.code == "INSUFFICIENT_FUNDS"
        gateway.submit_blocking("more", DepositCash(order.account_id, 500 * MICRO))
        assert ask(source, command_id, order) == refused

        assert ask(source, "d-1", DepositCash("ac_nobody", 1)).code == "ACCOUNT_NOT_FOUND"

    assert "d-1" in {event.command_id for event in recorded(recorder)}
