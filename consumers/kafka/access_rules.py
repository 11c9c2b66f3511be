"""Who may do what on the broker: an access rule (ACL) for each principal, topic and operation, and none besides.

| principal | runs | trusted with |
|---|---|---|
| engine | `tidings engine` | the log, replies, dead letters |
| api | `tidings api`, `tidings projector` | every command: it checks the keys of its callers; shows dead letters |
| orders | `tidings orders` | every command: it checks the signatures of trading services |
| feed | `tidings feed` | the feed |
| service | a trading service | orders that it signs with a key of its account |

Topics are made by an administrator, with `tidings topics create`: no principal may create, alter or delete one.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, NamedTuple

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)
from eventsourcing.persistence import OperationalError

from consumers.kafka.log_settings import log_settings
from consumers.kafka.topics import (
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    FEED,
    HEARTBEATS,
    ORDERS,
    REPLIES,
    TRANSFERS,
    topic_name,
)
from eventsourcing_kafka.clients import new_client

if TYPE_CHECKING:
    from settings import Settings

_SEES: Final = ("Describe", "DescribeConfigs")
_READS: Final = ("Read", "Describe")
_ALL: Final = (COMMANDS, ORDERS, EVENTS, REPLIES, DEAD_LETTERS, FEED, HEARTBEATS)
_OF_SEVERAL: Final = (TRANSFERS,)
"""The topics that exist only where the log has several partitions."""

_TOPICS: Final[Mapping[str, Mapping[str, tuple[str, ...]]]] = {
    "engine": {
        COMMANDS: ("Read",),
        EVENTS: ("Read", "Write"),
        REPLIES: ("Write",),
        DEAD_LETTERS: ("Write",),
        HEARTBEATS: ("Read", "Write"),
        TRANSFERS: ("Read", "Write"),
    },
    "api": {COMMANDS: ("Write",), REPLIES: ("Read",), EVENTS: ("Read",), DEAD_LETTERS: ("Read",)},
    "orders": {ORDERS: ("Read",), COMMANDS: ("Write",), DEAD_LETTERS: ("Write",)},
    "feed": {EVENTS: ("Read",), FEED: ("Read", "Write")},
    "service": {ORDERS: ("Write",), REPLIES: ("Read",), FEED: ("Read",)},
}
"""What each principal does with which topic. All but a service also look at the settings of every topic."""

PRINCIPALS: Final = tuple(_TOPICS)

GROUP: Final = "tidings"
"""The consumer group that our clients name. Only `tidings orders` keeps an offset in it."""


_ANSWER_SECONDS: Final = 10.0
"""The longest wait for a broker."""


class AccessRule(NamedTuple):
    """One rule: this principal may do this with this resource, from any host."""

    principal: str
    resource: str
    """`topic` or `group`."""
    name: str
    operation: str

    def __str__(self) -> str:
        return f"{self.principal} {self.operation} {self.resource} {self.name}"


def access_rules(settings: "Settings", names: Mapping[str, str]) -> list[AccessRule]:
    """Return all rules. `names` gives the principals on the broker, by ours; by default `User:engine` and so on."""
    rules = []
    for principal, topics in _TOPICS.items():
        name = names.get(principal, f"User:{principal}")
        for topic in (*_ALL, *_OF_SEVERAL) if settings.partitions > 1 else _ALL:
            does = topics.get(topic, ())
            sees = _SEES if principal != "service" else ("Describe",) if does else ()
            rules += [AccessRule(name, "topic", topic_name(settings, topic), each) for each in (*does, *sees)]
        group = _READS if principal == "orders" else ("Describe",)
        rules += [AccessRule(name, "group", GROUP, each) for each in group]
    return rules


def apply_access_rules(settings: "Settings", rules: list[AccessRule]) -> None:
    """Make these rules; those that are there already stay.

    Raises:
        OperationalError: no broker answers, or it refuses.
    """
    wanted = [
        AclBinding(
            ResourceType[rule.resource.upper()],
            rule.name,
            ResourcePatternType.LITERAL,
            rule.principal,
            "*",
            AclOperation[_OPERATIONS[rule.operation]],
            AclPermissionType.ALLOW,
        )
        for rule in rules
    ]
    admin = new_client(AdminClient, log_settings(settings).rdkafka_client())
    for made in admin.create_acls(wanted, request_timeout=_ANSWER_SECONDS).values():
        try:
            made.result()
        except KafkaException as error:
            raise OperationalError(f"the access rules cannot be made: {error.args[0].str()}") from error


_OPERATIONS: Final = {
    "Read": "READ",
    "Write": "WRITE",
    "Describe": "DESCRIBE",
    "DescribeConfigs": "DESCRIBE_CONFIGS",
}
