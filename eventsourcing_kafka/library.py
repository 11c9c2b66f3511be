"""What differs between the releases of the `eventsourcing` library that this package works with: 9.5, and 10.0.

In 10.0 the errors live in a module of their own, a stored event also has a ``uuid`` and ``metadata``, every originator id is
text, and the name in a tracking is the name of a context. All other modules import from here what differs.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from uuid import UUID

from eventsourcing.persistence import StoredEvent, Tracking

if TYPE_CHECKING:
    from eventsourcing.persistence import (
        DataError,
        InfrastructureFactoryError,
        NotSupportedError,
        OperationalError,
        PersistenceError,
        ProgrammingError,
    )
else:
    try:
        from eventsourcing.errors import (
            DataError,
            InfrastructureFactoryError,
            NotSupportedError,
            OperationalError,
            PersistenceError,
            ProgrammingError,
        )
    except ImportError:  # 9.5
        from eventsourcing.persistence import (
            DataError,
            InfrastructureFactoryError,
            NotSupportedError,
            OperationalError,
            PersistenceError,
            ProgrammingError,
        )

__all__ = [
    "EVENTS_HAVE_METADATA",
    "NO_UUID",
    "UUID_PREFIX",
    "DataError",
    "InfrastructureFactoryError",
    "NotSupportedError",
    "OperationalError",
    "PersistenceError",
    "ProgrammingError",
    "id_from_text",
    "id_from_uuid",
    "id_to_text",
    "names_of",
    "tracked_name",
]

EVENTS_HAVE_METADATA: Final = "metadata" in StoredEvent.__dataclass_fields__
"""Whether stored events have a ``uuid`` and ``metadata``, and only text as originator id: the library is 10.0."""

NO_UUID: Final = UUID(int=0)
"""The ``uuid`` of an event that has none, in 10.0."""

UUID_PREFIX: Final = "urn:uuid:"

id_from_uuid: Final[type[UUID | str]] = str if EVENTS_HAVE_METADATA else UUID
"""Makes an originator id of the text of a UUID, as the installed library wants it."""

_uuid_text = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}").fullmatch
_tracked_field: Final = "context_name" if "context_name" in Tracking.__dataclass_fields__ else "application_name"


def id_to_text(originator_id: UUID | str) -> str:
    """Return the text of an id in records and in the index.

    In 10.0 an id is text, and one that was a UUID in 9.5 is its text: both are written alike, and remain one aggregate.

    Raises:
        DataError: a text id that would be decoded as a UUID.
    """
    if isinstance(originator_id, UUID):
        return UUID_PREFIX + str(originator_id)
    if originator_id.startswith(UUID_PREFIX):
        raise DataError(f"A text id must not begin with {UUID_PREFIX!r}: {originator_id!r}")
    if EVENTS_HAVE_METADATA and _uuid_text(originator_id):
        return UUID_PREFIX + originator_id
    return originator_id


def id_from_text(text: str) -> UUID | str:
    """Return the id that ``id_to_text`` encoded."""
    return id_from_uuid(text[len(UUID_PREFIX) :]) if text.startswith(UUID_PREFIX) else text


def names_of(text: str) -> tuple[str, str]:
    """Return the two texts under which a log may hold the aggregate whose text is this one; they are mostly the same.

    With 9.5 an application could give an aggregate the text of a UUID as its id, which was written without a prefix.
    """
    if EVENTS_HAVE_METADATA and text.startswith(UUID_PREFIX):
        return text, text[len(UUID_PREFIX) :]
    return text, text


def tracked_name(tracking: Tracking) -> str:
    """Return the name of the application whose event was processed."""
    return str(getattr(tracking, _tracked_field))
