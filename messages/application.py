"""An `Application` of the eventsourcing library over our log: it returns any market or account at any version.

    log = LogApplication(recorder)
    log.repository.get("market-mk_1", version=3, projector_func=project_market)
    log.account("ac_1")

It only reads: the engine alone writes the log.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NoReturn

from eventsourcing.application import Application
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import ApplicationRecorder, Mapper, StoredEvent

from domain.account import Account
from domain.account_rules import evolve_account
from domain.event_kinds import (
    is_account_event,
    is_invitation_event,
    is_order_event,
    is_partition_event,
    is_transfer_event,
)
from domain.events import Event
from domain.market_evolution import evolve_market
from domain.market_state import Market
from domain.money import Time
from domain.order_evolution import evolve_orders
from domain.story import StoryPublished
from domain.transfer_rules import evolve_balance
from messages.stored import decode_state


@dataclass(frozen=True, slots=True)
class LogEvent:
    """An event of an aggregate, with the attributes that the library needs."""

    originator_id: str
    originator_version: int
    event: Event
    time: Time
    command_id: str


class LogMapper(Mapper[str]):
    """Reads our stored events by their durable topics."""

    def to_domain_event(self, stored_event: StoredEvent) -> LogEvent:
        """Return the event. Raises UnreadableEventError."""
        state = decode_state(stored_event.topic, stored_event.state)
        return LogEvent(
            str(stored_event.originator_id),
            stored_event.originator_version,
            state.data,
            state.time,
            state.command_id,
        )

    def to_stored_event(self, domain_event: DomainEventProtocol[str]) -> NoReturn:
        """Refuse: only what the engine decides belongs in the log."""
        raise TypeError(f"only the engine writes the log, not an application: {domain_event}")


class LogApplication(Application[str]):
    """The library's application over the recorder of our log."""

    def __init__(self, recorder: ApplicationRecorder, env: dict[str, str] | None = None) -> None:
        """Read through this recorder. `env` may set other options of the library, such as the size of its cache."""
        self._given = recorder
        super().__init__(env)

    def construct_mapper(self) -> LogMapper:
        """Return the mapper for our topics."""
        return LogMapper(self.construct_transcoder())

    def construct_recorder(self) -> ApplicationRecorder:
        """Return the recorder from the constructor."""
        return self._given

    def market(self, market_id: str, version: int | None = None) -> Market:
        """Return the market at a version of its stream, by default the newest. Raises AggregateNotFoundError."""
        found: Market = self._get(f"market-{market_id}", version, project_market)
        return found

    def account(self, account_id: str, version: int | None = None) -> Account:
        """Return the account at a version of its stream, by default the newest. Raises AggregateNotFoundError."""
        found: Account = self._get(f"account-{account_id}", version, project_account)
        return found

    def _get(self, stream: str, version: int | None, projector_func: Any) -> Any:
        return self.repository.get(stream, version=version, projector_func=projector_func)


def project_market(market: Market | None, events: Iterable[LogEvent]) -> Market | None:
    """Fold the events of a market's stream: a projector function for the library's repository."""
    for found in events:
        event = found.event
        if is_order_event(event):
            assert market is not None, "a market is drafted first"
            evolve_orders(market, event)
        else:
            assert not is_account_event(event), "this is an account's stream"
            assert not is_transfer_event(event), "this is an account's stream"
            assert not is_partition_event(event), "this is a partition's stream"
            assert not is_invitation_event(event), "this is an invitation's stream"
            assert not isinstance(event, StoryPublished), "this is a story's stream"
            market = evolve_market(market, event)
    return market


def project_account(account: Account | None, events: Iterable[LogEvent]) -> Account | None:
    """Fold the events of an account's stream: a projector function for the library's repository."""
    for found in events:
        event = found.event
        if is_transfer_event(event):
            account = evolve_balance(account, event)
        else:
            assert is_account_event(event), "this is not an account's stream"
            account = evolve_account(account, event)
    return account
