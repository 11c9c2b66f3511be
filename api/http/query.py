"""Query strings: every route refuses parameters that it does not know, and parameters that stand there twice."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection  # noqa: TC002  # FastAPI reads the annotation

from api.http.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi.dependencies.models import Dependant
    from fastapi.routing import APIRoute


async def check_query(connection: HTTPConnection) -> None:
    """Refuse the request unless its route knows every parameter of its query string. A dependency of all routes.

    Raises:
        ApiError: UNKNOWN_PARAMETER or INVALID_QUERY; `details.parameters` names them.
    """
    if not connection.scope["query_string"]:
        return
    counts = Counter(name for name, _ in connection.query_params.multi_items())
    known = parameters_of(connection.scope["route"])
    if unknown := [name for name in counts if name not in known]:
        raise ApiError(
            "UNKNOWN_PARAMETER",
            f"this path has no parameter {', '.join(unknown)}",
            {"parameters": unknown, "known": sorted(known)},
        )
    if repeated := [name for name, count in counts.items() if count > 1]:
        raise ApiError("INVALID_QUERY", f"{', '.join(repeated)}: given more than once", {"parameters": repeated})


def parameters_of(route: APIRoute) -> frozenset[str]:
    """Return the names of the query parameters of a route and of all that it depends on."""
    return frozenset(_names(route.dependant))


def _names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for each in dependant.dependencies:
        yield from _names(each)
