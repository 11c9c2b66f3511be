"""A client of a Tidings exchange, for programs of others: it knows the API and nothing of the application.

from tidings_client import Client, AsyncClient          # typed calls for all of the API, pages, the log, the stream
from tidings_client import models                       # what the answers are
from tidings_client import ApiError, RefusedError       # what can go wrong; the others stand in `errors`
"""

from tidings_client.call import new_id, plain
from tidings_client.client import AsyncClient, Client
from tidings_client.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    MalformedError,
    NotFoundError,
    RefusedError,
    TidingsError,
    UnauthenticatedError,
    UnavailableError,
    UnreachableError,
)
from tidings_client.streams import Message, StreamResetError

__all__ = [
    "ApiError",
    "AsyncClient",
    "Client",
    "ConflictError",
    "ForbiddenError",
    "MalformedError",
    "Message",
    "NotFoundError",
    "RefusedError",
    "StreamResetError",
    "TidingsError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnreachableError",
    "new_id",
    "plain",
]
