"""Cash between three engines over a real broker: nothing is lost and nothing comes twice, also when they are killed."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from random import Random
from time import monotonic, sleep
from typing import Any

import pytest
from kafka import KafkaAdminClient, TopicPartition

from api.cli.main import main
from consumers.engine.engine import Engine
from consumers.kafka.lanes import KafkaLanes
from consumers.kafka.records import RecordReader, RecordSender
from consumers.kafka.topics import COMMANDS, REPLIES, TRANSFERS, check_topics, ensure_topics, topic_name
from consumers.partitions_gateway import PartitionsGateway
from consumers.run_engine import make_engine
from consumers.wiring import open_recorder
from domain.account import DepositCash, OpenAccount
from domain.commands import Command
from domain.exchange import Entry
from domain.market import OpenMarket
from domain.orders import SplitSets
from domain.story import PublishStory
from domain.transfers import FundsCarried, FundsSent, TransferFunds
from messages.commands import AdvanceTime, dump_command, new_id
from messages.replies import Reply, parse_replies
from settings import Settings
from tests.consumers.checks import recorded
from tests.consumers.exchange_fixtures import MICRO, START, YEAR
from tests.consumers.processes import EngineProcess, kafka_settings
from tests.domain.partitions.audits import Audits, audit_logs

PARTITIONS = 3


@pytest.fixture
def settings(tmp_path: Path, kafka: str, topic_prefix: str) -> list[Settings]:
    """The settings of three engines on one machine."""
    one = kafka_settings(tmp_path, kafka, topic_prefix)
    return [one.model_copy(update={"partition": each, "partitions": PARTITIONS}) for each in range(PARTITIONS)]


class Desk:
    """Sends commands to partitions, and reads their replies."""

    def __init__(self, settings: list[Settings]) -> None:
        self._settings = settings
        ensure_topics(settings[0])
        self._commands, replies = (topic_name(settings[0], topic) for topic in (COMMANDS, REPLIES))
        self._sender, self._reader = RecordSender(settings[0]), RecordReader(settings[0], replies, 0)
        self._reader.seek_to_end()
        self.replies: dict[str, Reply] = {}
        self.account = new_id("ac", "open")
        self.markets = [new_id("mk", "story", 0, partition) for partition in range(PARTITIONS)]

    def send(self, partition: int, value: bytes) -> None:
        """Send a command."""
        self._sender.send(self._commands, value, partition=partition)

    def read(self) -> None:
        """Read the replies that have come."""
        for record in self._reader.take(100, 0.2):
            self.replies |= {reply.command_id: reply for reply in parse_replies(record.value() or b"")}

    def ask(self, partition: int, command_id: str, command: Command, **wishes: Any) -> Reply:
        """Send a command, again and again, until there is a reply."""
        self.replies.pop(command_id, None)
        deadline, again = monotonic() + 60, 0.0
        while command_id not in self.replies:
            assert monotonic() < deadline, f"no reply to {command_id}"
            if monotonic() > again:
                self.send(partition, dump_command(command_id, command, **wishes))
                again = monotonic() + 1.0
            self.read()
        return self.replies[command_id]

    def open(self, partitions: int = PARTITIONS) -> None:
        """Open a market in each partition, and an account with cash in the first."""
        opening = OpenMarket("", "", None, "Will it?", ("No", "Yes"), MICRO, START + 100 * YEAR, "source")
        for partition in range(partitions):
            story = PublishStory("", None, "Title", "body", "world", START, None, (opening,))
            assert self.ask(partition, "story", story).code is None
        assert self.ask(0, "open", OpenAccount("", "Ada")).code is None
        assert self.ask(0, "paid", DepositCash(self.account, 1_000 * MICRO)).code is None

    def logs(self) -> list[list[Any]]:
        """Return the events of all partitions."""
        logs = []
        for settings in self._settings:
            with open_recorder(settings) as recorder:
                logs.append(recorded(recorder))
        return logs

    def audit(self) -> Audits:
        """Audit all partitions."""
        rows = [
            [(Entry(row.stream, row.version, row.event), row.time, row.command_id) for row in log]
            for log in self.logs()
        ]
        return audit_logs(rows)

    def close(self) -> None:
        """Disconnect."""
        self._sender.close()
        self._reader.close()


@contextmanager
def engines(settings: list[Settings]) -> Iterator[list[Engine]]:
    """Run the three engines in threads."""
    with ExitStack() as stack:
        running = [make_engine(each) for each in settings]
        for engine in running:
            engine.start()
            stack.callback(engine.stop)
        for engine in running:
            engine.wait_until_ready(30)
        yield running


def wait_for(condition: Any, seconds: float = 30.0) -> None:
    """Wait until something holds."""
    deadline = monotonic() + seconds
    while not condition():
        assert monotonic() < deadline, "it never came to pass"
        sleep(0.05)


def test_a_command_travels_with_its_funds(settings: list[Settings]) -> None:
    """What an order lacks in its market's partition comes from home, with the order; the log is told that it was carried."""
    with closing(Desk(settings)) as desk, engines(settings) as running:
        desk.open()
        wish = SplitSets(desk.account, desk.markets[2], 30 * MICRO)
        assert desk.ask(2, "wish", wish, top_up=True).code == "FUNDS_NEEDED"
        desk.replies.clear()
        then = dump_command("wish", wish, top_up=True)
        sent_at = monotonic()
        sent = desk.ask(0, "t1", TransferFunds(desk.account, 2, 30 * MICRO, share=MICRO // 4), then=then)
        assert sent.result["amount"] == "250.000000"
        while "wish" not in desk.replies:
            desk.read()
        assert desk.replies["wish"].code is None
        assert monotonic() < sent_at + 5, "the engine was woken"
        wait_for(lambda: any(isinstance(row.event, FundsCarried) for row in desk.logs()[0]))
        assert running[0].exchange.channels.outgoing == {}

        assert desk.audit().in_transit() == 0
    assert check_topics(settings[0]) == []


def test_one_partition_has_no_such_topic(settings: list[Settings]) -> None:
    """It is neither made nor missed."""
    one = settings[0].model_copy(update={"partitions": 1})
    ensure_topics(one)

    assert check_topics(one) == []
    (missing,) = [line for line in check_topics(settings[0]) if "does not exist" in line]
    assert topic_name(one, TRANSFERS) in missing


def printed(capsys: pytest.CaptureFixture[str]) -> str:
    """What was printed, without what the engines in this process log."""
    lines = capsys.readouterr().out.splitlines()
    return "\n".join(line for line in lines if " [" not in line[:60] or line.startswith("["))


def test_what_the_topic_has_lost_is_sent_again(
    settings: list[Settings], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The receiver leaves the channel alone, until the records come again from the sender's log."""
    for name in ("home", "log", "kafka_brokers", "kafka_topic_prefix", "kafka_replication", "partitions"):
        monkeypatch.setenv(f"TIDINGS_{name.upper()}", str(getattr(settings[0], name)))
    topic = topic_name(settings[0], TRANSFERS)
    with closing(Desk(settings)) as desk:
        with engines(settings[:2]) as running:
            desk.open(2)
            for number in range(5):
                assert desk.ask(0, f"t{number}", TransferFunds(desk.account, 2, MICRO)).code is None
            wait_for(lambda: not running[0].exchange.channels.outgoing)
        with closing(KafkaAdminClient(bootstrap_servers=settings[0].kafka_brokers)) as admin:
            admin.delete_records({TopicPartition(topic, 2): 3})
        with engines(settings):
            assert desk.ask(0, "t5", TransferFunds(desk.account, 2, MICRO)).code is None
            assert main(["transfers", "list", "--json"]) == 0
            (channel,) = json.loads(printed(capsys))
            assert (channel["from"], channel["to"], channel["sent"], channel["received"]) == (0, 2, 6, 0)
            assert channel["in_transit"] == "6.000000"

            assert main(["transfers", "repair", "0", "2"]) == 0
            assert "6 of 6 have arrived" in printed(capsys)
            assert main(["transfers", "repair", "0", "2"]) == 0
            assert "0 transfers were sent again" in printed(capsys)
            assert main(["transfers", "list"]) == 0
            assert printed(capsys) == "0 -> 2: 6 sent, 6 received, 0.000000 credits in transit"
            assert main(["transfers", "repair", "0", "1"]) == 0
            assert main(["transfers", "repair", "0", "3"]) == 2
        assert desk.audit().total(desk.account) == 1_000 * MICRO


def test_replies_come_to_the_partition_of_their_receiver(settings: list[Settings]) -> None:
    """All lanes of a process read one partition of `replies`; nothing for them is in another one, whichever engine replies."""
    with engines(settings), ExitStack() as stack:
        processes = [stack.enter_context(KafkaLanes(settings[0], retry_seconds=20.0)) for _ in range(4)]
        for number, lanes in enumerate(processes):
            for lane in lanes.all:
                assert lane.submit_blocking(f"t:{number}", AdvanceTime()).code is None
        found: dict[str, set[int]] = {}
        for partition in range(PARTITIONS):
            with closing(RecordReader(settings[0], topic_name(settings[0], REPLIES), partition)) as reader:
                first, end = reader.ends()
                reader.seek(first)
                while first < end:
                    for record in reader.take(100, 1.0):
                        first += 1
                        found.setdefault((record.key() or b"").decode(), set()).add(partition)
    assert len(found) == 4 * PARTITIONS
    assert all(places == {int(key.split(".")[0])} for key, places in found.items())


def test_a_gateway_fetches_funds_over_kafka(settings: list[Settings]) -> None:
    """The order comes with its funds, and its reply to the lane that waits for it: nothing is sent twice."""
    with closing(Desk(settings)) as desk, engines(settings), KafkaLanes(settings[0], retry_seconds=20.0) as lanes:
        desk.open()
        gateway = PartitionsGateway(lanes.all, MICRO // 4)

        async def trade() -> None:
            for number, (partition, amount) in enumerate([(2, 30), (1, 400), (2, 300), (0, 200)]):
                wish = SplitSets(desk.account, desk.markets[partition], amount * MICRO)
                assert (await gateway.submit(f"w{number}", wish)).code is None
            wish = SplitSets(desk.account, desk.markets[1], 100 * MICRO)
            assert (await gateway.submit("more", wish)).code == "INSUFFICIENT_FUNDS"
            opened = await gateway.submit("bob", OpenAccount("", "Bob"), partition=1)
            assert opened.result["account_id"].startswith("ac1_")

        asyncio.run(trade())
        wait_for(lambda: desk.audit().in_transit() == 0)
        assert desk.audit().total(desk.account) == 70 * MICRO
        sent = [row.command_id for log in desk.logs() for row in log if isinstance(row.event, FundsSent)]
        assert sorted(command_id.split(":")[0] for command_id in sent) == ["topup"] * len(sent)


def killed_under_load(settings: list[Settings], folder: Path, rounds: int, seed: int) -> None:
    """Send cash round between engines, one of which is killed in each round, and audit all logs at the end."""
    random = Random(seed)  # noqa: S311  a simulation, no secret
    with closing(Desk(settings)) as desk, ExitStack() as stack:
        names = [{"TIDINGS_PARTITION": str(each.partition), "TIDINGS_PARTITIONS": str(PARTITIONS)} for each in settings]
        processes = [
            stack.enter_context(
                EngineProcess(each, folder / f"{each.partition}.log", environment=names[each.partition])
            )
            for each in settings
        ]
        desk.open()
        for number in range(rounds):
            wished = []
            for each in range(30):
                sender, receiver = random.sample(range(PARTITIONS), 2)
                amount = random.randrange(1, 40 * MICRO)
                wished.append((sender, f"t{number}-{each}", TransferFunds(desk.account, receiver, amount, at_least=1)))
            for sender, command_id, command in wished:
                desk.send(sender, dump_command(command_id, command))
            sleep(random.random() * 0.3)
            victim = random.choice(processes)
            victim.kill()
            sleep(random.random() * 0.3)
            victim.start()
            for sender, command_id, command in wished:
                if command_id not in desk.replies:
                    desk.ask(sender, command_id, command)
        wait_for(lambda: desk.audit().in_transit() == 0, 60)

        audits, logs = desk.audit(), desk.logs()
    assert audits.total(desk.account) == 1_000 * MICRO
    sent = [row.command_id for log in logs for row in log if isinstance(row.event, FundsSent)]
    assert len(sent) == len(set(sent)) > 10 * rounds


def test_nothing_is_lost_when_engines_are_killed(settings: list[Settings], tmp_path: Path) -> None:
    """Twice, in whatever they do just then."""
    killed_under_load(settings, tmp_path, rounds=2, seed=1)


@pytest.mark.chaos
@pytest.mark.parametrize("seed", range(5))
def test_nothing_is_lost_when_engines_are_killed_for_long(settings: list[Settings], tmp_path: Path, seed: int) -> None:
    """A hundred times in all."""
    killed_under_load(settings, tmp_path, rounds=20, seed=seed)
