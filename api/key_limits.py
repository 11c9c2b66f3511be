"""The rates that single API keys have instead of those of the settings, in a table of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psycopg.types.json import Jsonb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from psycopg import Connection


def give(connection: Connection[Any], key_id: str, rates: Mapping[str, float]) -> None:
    """Give a key rates of its own, in requests a second by kind. The servers know them within a minute."""
    connection.execute(
        "INSERT INTO public.api_key_limits (key_id, rates) VALUES (%s, %s) "
        "ON CONFLICT (key_id) DO UPDATE SET rates = excluded.rates",
        [key_id, Jsonb(dict(rates))],
    )


def find(connection: Connection[Any], key_id: str) -> dict[str, float]:
    """Return the rates that a key has of its own; none for most keys."""
    row = connection.execute("SELECT rates FROM public.api_key_limits WHERE key_id = %s", [key_id]).fetchone()
    return dict(row[0]) if row else {}
