"""Stored events for the tests, made alike with every release of the library: since 10.0 their fields have to be named."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from eventsourcing.persistence import StoredEvent, Tracking

from eventsourcing_kafka.library import EVENTS_HAVE_METADATA

if TYPE_CHECKING:
    from uuid import UUID


def stored(originator_id: UUID | str, version: int, topic: str, state: bytes, **more: Any) -> StoredEvent:
    """Return an event. Release 10.0 takes further fields, and ids that are text."""
    name: Any = str(originator_id) if EVENTS_HAVE_METADATA else originator_id
    return StoredEvent(originator_id=name, originator_version=version, topic=topic, state=state, **more)


def tracking(name: str, position: int) -> Tracking:
    """Return a tracking; since 10.0 its name is that of a context."""
    return Tracking(name, position)
