"""Creates the log's topic, and refuses a topic that could lose data."""

from __future__ import annotations

from threading import Condition, Thread, current_thread
from time import monotonic
from typing import TYPE_CHECKING

from eventsourcing_kafka.admin import Admin
from eventsourcing_kafka.errors import LogRolledBack, UnsafeTopic
from eventsourcing_kafka.library import OperationalError, PersistenceError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from eventsourcing_kafka.settings import Settings

__all__ = ["TopicWatch", "ensure_topic", "refuse_another_topic", "topic_config", "unsafe_settings"]

RECORD_BYTES = 8 * 1024 * 1024
STOP_SECONDS = 1.0
CONFIRM_SECONDS = 1.0
LOOK_SECONDS = 60.0
"""The time between two looks at the settings of a topic that is written."""


def topic_config(replication_factor: int) -> dict[str, str]:
    """Return the settings that a log's topic must have."""
    return {
        "cleanup.policy": "delete",  # compaction would delete all records, because they have no key
        "retention.ms": "-1",
        "retention.bytes": "-1",
        "max.message.bytes": str(RECORD_BYTES),
        "min.insync.replicas": str(
            replication_factor // 2 + 1
        ),  # so that an acknowledged record survives the loss of a disk
        "unclean.leader.election.enable": "false",
        "message.timestamp.type": "LogAppendTime",  # a broker refuses records of a writer whose clock is an hour ahead
    }


def unsafe_settings(actual: Mapping[str, str], replication_factor: int, replicas: int) -> list[str]:
    """Return a sentence for each setting that could lose data or refuse a batch; an empty list if there is none."""
    wanted = topic_config(replication_factor)
    at_least = {"max.message.bytes", "min.insync.replicas"}
    problems = [
        f"{name} is {actual.get(name)}, must be {'at least ' if name in at_least else ''}{value}"
        for name, value in wanted.items()
        if (int(actual.get(name, "0")) < int(value) if name in at_least else actual.get(name) != value)
    ]
    if replicas < replication_factor:
        problems.append(f"replication factor is {replicas}, must be at least {replication_factor}")
    elif replicas > 1 and int(actual.get("min.insync.replicas", "1")) > replicas:
        problems.append(f"min.insync.replicas is over the replication factor {replicas}: nothing can be written")
    return problems


def ensure_topic(settings: Settings, *, create: bool | None = None) -> str:
    """Create the topic if it does not exist, check its settings, and return its unique id.

    ``create`` overrides ``Settings.create_topic``: if it is False, a missing topic is an error.

    Raises:
        UnsafeTopic: the topic does not exist, lacks the partition, or has a setting that could lose data.
        OperationalError: the broker cannot be reached, or refuses.
    """
    create = settings.create_topic if create is None else create
    admin = Admin(settings)
    found = admin.describe([settings.topic]).get(settings.topic)
    if found is None and create:
        admin.create(
            settings.topic,
            partitions=settings.partitions,
            replication=settings.replication_factor,
            config=topic_config(settings.replication_factor),
        )
        found = admin.describe([settings.topic]).get(settings.topic)
    if found is None:
        raise UnsafeTopic(f"Topic {settings.topic} does not exist")
    if settings.partition not in found.replicas:
        raise UnsafeTopic(f"Topic {settings.topic} has no partition {settings.partition}")
    actual = admin.configs([settings.topic])[settings.topic]
    problems = unsafe_settings(actual, settings.replication_factor, found.replicas[settings.partition])
    if problems:
        raise UnsafeTopic(f"Topic {settings.topic} could lose data: {'; '.join(problems)}")
    return found.id or settings.topic


def refuse_another_topic(settings: Settings, topic_id: str) -> None:
    """Check the topic again, as ``ensure_topic`` does without creating it.

    Raises:
        LogRolledBack: the topic was made anew: it has another id.
        UnsafeTopic, OperationalError: as ``ensure_topic``.
    """
    found = ensure_topic(settings, create=False)
    if found != topic_id:
        raise LogRolledBack(f"Topic {settings.topic} was made anew: its id is {found}, it was {topic_id}")


class TopicWatch:
    """Looks at a topic again and again, so that no append waits for it. Keeps what it finds.

    A topic that is compacted or expires while it is written loses what was acknowledged, without any error. All watches of
    a process share a thread.
    """

    def __init__(self, look: Callable[[], object]) -> None:
        """Begin. ``look`` raises ``UnsafeTopic`` or ``LogRolledBack``; other errors of the broker mean: look again later."""
        self._look = look
        self._problem: PersistenceError | None = None
        self._suspected = False
        self.next_look = monotonic() + LOOK_SECONDS
        _watcher.add(self)

    def raise_if_unsafe(self) -> None:
        """Raise what was found, if anything was. Never waits."""
        if self._problem is not None:
            raise self._problem

    def stop(self) -> None:
        """End. A look that waits for the broker ends by itself."""
        _watcher.remove(self)

    def look(self) -> bool:
        """Look once. Return whether to look again, at ``next_look``."""
        found = self._found()
        # A broker that has just started may not know the topic yet: what is found counts if it is found again.
        if found and self._suspected:
            self._problem = found
            return False
        self._suspected = found is not None
        self.next_look = monotonic() + (CONFIRM_SECONDS if found else LOOK_SECONDS)
        return True

    def _found(self) -> PersistenceError | None:
        try:
            self._look()
        except (UnsafeTopic, LogRolledBack) as error:
            return error
        except OperationalError:
            pass  # whoever appends notices that no broker answers
        return None


class _Watcher:
    """The thread that looks for all watches of this process. It ends with the last one."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._watches: list[TopicWatch] = []
        self._thread: Thread | None = None

    def add(self, watch: TopicWatch) -> None:
        with self._changed:
            self._watches.append(watch)
            self._changed.notify()
            if self._thread is None or not self._thread.is_alive():  # a forked process has none
                self._thread = Thread(target=self._run, name="topic-watch", daemon=True)
                self._thread.start()

    def remove(self, watch: TopicWatch) -> None:
        with self._changed:
            if watch in self._watches:
                self._watches.remove(watch)
            self._changed.notify()
            thread = self._thread if not self._watches else None
        if thread is not None and thread is not current_thread():  # it may run a destructor that closes a recorder
            thread.join(STOP_SECONDS)

    def _run(self) -> None:
        while (watch := self._next()) is not None:
            if not watch.look():
                with self._changed:
                    if watch in self._watches:
                        self._watches.remove(watch)

    def _next(self) -> TopicWatch | None:
        """Wait, by the monotonic clock, until a watch is due. Return None if there is none any more."""
        with self._changed:
            while (watch := min(self._watches, key=lambda each: each.next_look, default=None)) is not None:
                left = watch.next_look - monotonic()
                if left <= 0:
                    return watch
                self._changed.wait(left)
            self._thread = None
            return None


_watcher = _Watcher()
