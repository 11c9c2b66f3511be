"""While the demo serves, and after it: the lines that it prints lead the command line to its exchange."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from consumers.kafka.records import RecordReader
from consumers.kafka.topics import FEED, topic_name
from local.processes import free_port, polls
from settings import Settings, environment
from tests.consumers.webhooks.receiver import Receiver, listening
from tidings_client import Client

if TYPE_CHECKING:
    from collections.abc import Iterator


class ServingDemo:
    """A demo that has played and serves: its result, what it printed besides, and the settings that it printed."""

    def __init__(self, home: Path, *arguments: str) -> None:
        self._home = home
        self.port = free_port()
        # The database must not be used.
        given = environment(Settings(home=home, port=self.port, dsn="host=nowhere", webhook_private_addresses=True))
        with (home / "result").open("w") as result:
            self.child = subprocess.Popen(
                [sys.executable, "-m", "api", "demo", "--json", *arguments],
                env=given, stdout=result, stderr=subprocess.PIPE, text=True,
            )  # fmt: skip
        assert self.child.stderr is not None
        self.printed: list[str] = []
        for line in self.child.stderr:
            self.printed.append(line)
            if "tidings replay" in line:
                break
        assert self.child.poll() is None, "".join(self.printed)
        self.result: dict[str, Any] = json.loads((home / "result").read_text())
        exported = re.findall(r"^  export (\w+)=(.*)$", "".join(self.printed), re.MULTILINE)
        self.environment = given | {name: value.strip("'") for name, value in exported}

    def tidings(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a command in a shell that has executed the printed lines."""
        return subprocess.run(
            [sys.executable, "-m", "api", *arguments],
            env=self.environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip


@contextmanager
def serving(*arguments: str) -> Iterator[ServingDemo]:
    """Run the demo in a new home until the block ends."""
    home = Path(tempfile.mkdtemp(prefix="tidings test-"))  # with a space
    home.chmod(0o755)
    try:
        demo = ServingDemo(home, *arguments)
        try:
            yield demo
        finally:
            demo.child.send_signal(signal.SIGTERM)
            demo.child.communicate(timeout=60)
    finally:
        shutil.rmtree(home)


def check_that_it_is_seen(demo: ServingDemo) -> None:
    """Compare what the command line sees with what the demo shows."""
    replayed = demo.tidings("replay", "--market", "combat", "--format", "json")
    assert replayed.returncode == 0, replayed.stderr
    (market,) = json.loads(replayed.stdout)["markets"]
    shown = {market["slug"]: market for market in demo.result["markets"]}["combat"]
    assert [row["price"] for row in market["outcomes"]] == [row["price"] for row in shown["outcomes"]]
    lag = json.loads(demo.tidings("lag", "--json").stdout)
    assert lag["engine"]["position"] >= demo.result["position"]
    assert {row["lag_events"] for row in lag["projections"]} == {0}
    names = {key["name"] for key in json.loads(demo.tidings("keys", "list", "--json").stdout)}
    assert names == {"from TIDINGS_OPERATOR_KEY", "link of the demo", "link of the demo to the desk"}


def check_the_link(demo: ServingDemo) -> None:
    """Follow the link that signs in: looking at it does nothing, its button works once, as a trader with credits."""
    (link,) = re.findall(r"open within ten minutes: (\S+)", "".join(demo.printed))
    address, _, code = link.partition("?code=")
    headers = {"accept": "text/html", "sec-fetch-site": "same-origin"}
    with httpx.Client(headers=headers, follow_redirects=True) as client:
        assert "Sign in with this link" in client.get(link).text
        assert "Sign out" in client.post(address, data={"code": code}).text
        assert "1\u202f000.00" in client.get(address.replace("/sign-in", "/portfolio")).text
        assert client.post(address, data={"code": code}).status_code == 422


def test_the_demo_is_seen_while_it_runs_and_afterwards() -> None:
    """Progress is told without a terminal, too; the port is the one of the settings; a second demo is refused."""
    with serving() as demo:
        assert sum("0%" in line for line in demo.printed) == 10, demo.printed
        assert f"Serving at http://127.0.0.1:{demo.port} " in "".join(demo.printed)
        check_that_it_is_seen(demo)
        check_the_link(demo)
        story = {"title": "t", "body": "b", "category": "c", "published_at": "2024-10-24T10:02:00Z", "slug": "another"}
        file = Path(demo.environment["TIDINGS_HOME"], "stories.json")
        file.write_text(json.dumps({"stories": [story]}))
        loaded = demo.tidings("load", str(file))
        assert (loaded.returncode, f"127.0.0.1:{demo.port}/v1/stories/another" in loaded.stdout) == (0, True), (
            loaded.stderr
        )
        again = subprocess.run(
            [sys.executable, "-m", "api", "demo"],
            env=demo.environment | {"TIDINGS_HOME": str(Path(demo.environment["TIDINGS_HOME"]).parent)},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert (again.returncode, "another demo is running in" in again.stderr) == (3, True), again.stderr

        demo.child.send_signal(signal.SIGINT)
        assert demo.child.wait(30) == 0
        check_that_it_is_seen(demo)


def check_that_webhooks_are_sent(demo: ServingDemo) -> None:
    """Register a receiver for lifecycle events, draft a market, and wait for that to arrive."""
    receiver = Receiver(free_port())
    key = demo.environment["TIDINGS_OPERATOR_KEY"]
    with listening(receiver), Client(f"http://127.0.0.1:{demo.port}", key) as client:
        made = client.create_webhook(url=receiver.url, lifecycle=True)
        receiver.secrets.append(str(made.secret))
        story = client.list_stories().first().data[0].slug
        client.open_market(
            story, question="Told?", outcomes=["Yes", "No"], subsidy="10", resolution_source="us", draft=True,
            close_time="2090-01-01T00:00:00Z",
        )  # fmt: skip
        receiver.wait_for(lambda: any(each.body["type"] == "MarketDrafted" for each in receiver.received))


@pytest.mark.timeout(600)
@pytest.mark.usefixtures("kafka")
def test_the_demo_on_kafka_is_seen_while_it_runs() -> None:
    """It prints the broker's address, and its feed has the events, webhooks are sent; afterwards the missing broker is named."""
    with serving("--kafka") as demo:
        brokers = demo.environment["TIDINGS_KAFKA_BROKERS"]
        assert f"Kafka is at {brokers}." in "".join(demo.printed)
        check_that_it_is_seen(demo)
        settings = Settings(kafka_brokers=brokers, log="kafka", kafka_replication=1)
        with closing(RecordReader(settings, topic_name(settings, FEED), 0)) as reader:
            assert any(reader.ends()[1] > demo.result["orders"] for _ in polls(30)), "the feed follows the log"
        check_that_webhooks_are_sent(demo)

        demo.child.send_signal(signal.SIGINT)
        assert demo.child.wait(60) == 0
        gone = demo.tidings("replay", "--market", "combat")
        assert (gone.returncode, brokers in gone.stderr) == (3, True), gone.stderr
