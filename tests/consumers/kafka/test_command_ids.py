"""A service that writes commands to Kafka cannot block a write over HTTP by taking its idempotency key."""

from pathlib import Path

import pytest

from consumers.errors import ReplyTimeout
from consumers.kafka.dead_letters import DeadLetters
from consumers.kafka.gateway import KafkaGateway
from domain.account import DepositCash, OpenAccount
from messages.commands import order_command_id
from tests.consumers.checks import command_ids, reading
from tests.consumers.exchange_fixtures import engine_over_kafka, open_market
from tests.consumers.processes import kafka_settings


def test_a_service_cannot_take_the_key_of_another_sender(tmp_path: Path, kafka: str, topic_prefix: str) -> None:
    """Its command is a dead letter, and the log does not have it; the admin's own write and ada's own order are done."""
    settings = kafka_settings(tmp_path, kafka, topic_prefix)
    admins = "OpenAccount:first"
    with engine_over_kafka(settings), KafkaGateway(settings) as service, KafkaGateway(settings, http=True) as http:
        market = open_market(service.submit_blocking, accounts=1)
        (ada,) = market.accounts
        order_id, order = market.buy("1")
        assert order_id == order_command_id(ada, "1")
        for command_id in (admins, f"{ada}:DepositCash:first", order_id):
            with pytest.raises(ReplyTimeout):
                service.submit_blocking(command_id, DepositCash(ada, 5), timeout_seconds=0.5)

        assert http.submit_blocking(admins, OpenAccount("", "bob")).code is None
        assert http.submit_blocking(order_id, order).code is None
        with DeadLetters(settings) as letters:
            reasons = {found.letter.reason for found in letters.open()}
    with reading(settings) as recorder:
        assert [found for found in command_ids(recorder) if not found.startswith("setup:")] == [admins, order_id]
    assert reasons == {"command_id is one of a write over HTTP", "command_id is that of another order"}
