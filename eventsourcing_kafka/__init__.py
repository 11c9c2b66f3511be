"""An event store for the `eventsourcing` library on Apache Kafka: ``PERSISTENCE_MODULE=eventsourcing_kafka``.

Start with README.md. Read the modules in this order: ``protocol`` (which records count) and ``states``, ``reader``,
``producer``, ``writer`` (take over, append), ``fetcher``, ``index``, ``index_layout``, ``known_end`` and ``lookup`` (random
access), ``subscription``, ``recorders``, ``processing``, ``factory``, ``settings``, ``admin``, ``topics``, ``clients``,
``waits``, ``errors``. What differs between releases of the library is in ``library``.
"""

from eventsourcing_kafka.admin import Admin, TopicDescription
from eventsourcing_kafka.errors import (
    ClaimLost,
    Fenced,
    InDoubt,
    LogRolledBack,
    LogTruncated,
    RecordsMissing,
    UnsafeTopic,
)
from eventsourcing_kafka.factory import KafkaFactory
from eventsourcing_kafka.fetcher import Fetcher
from eventsourcing_kafka.known_end import accept_lost_log
from eventsourcing_kafka.processing import KafkaProcessRecorder, KafkaTrackingRecorder
from eventsourcing_kafka.producer import Producer
from eventsourcing_kafka.protocol import Batch, Checkpoint, Headers
from eventsourcing_kafka.reader import Reader
from eventsourcing_kafka.recorders import KafkaAggregateRecorder, KafkaApplicationRecorder
from eventsourcing_kafka.settings import Settings
from eventsourcing_kafka.topics import TopicWatch, ensure_topic, refuse_another_topic
from eventsourcing_kafka.writer import Append, Writer

__all__ = [
    "Admin",
    "Append",
    "Batch",
    "Checkpoint",
    "ClaimLost",
    "Fenced",
    "Fetcher",
    "Headers",
    "InDoubt",
    "KafkaAggregateRecorder",
    "KafkaApplicationRecorder",
    "KafkaFactory",
    "KafkaProcessRecorder",
    "KafkaTrackingRecorder",
    "LogRolledBack",
    "LogTruncated",
    "Producer",
    "Reader",
    "RecordsMissing",
    "Settings",
    "TopicDescription",
    "TopicWatch",
    "UnsafeTopic",
    "Writer",
    "accept_lost_log",
    "ensure_topic",
    "refuse_another_topic",
]
