"""The layout of the index's file: its tables, and the checksums of its rows."""

from __future__ import annotations

import struct

from crc32c import crc32c

__all__ = ["FORMAT", "SCHEMA", "SUM", "name_check", "row_check"]

FORMAT = 3
"""The version of this layout. A file with another one is rebuilt."""

SCHEMA = {
    "log": (
        'CREATE TABLE log (format INTEGER NOT NULL, identity TEXT NOT NULL, "offset" INTEGER NOT NULL,'
        " epoch INTEGER NOT NULL, writer TEXT NOT NULL, next INTEGER NOT NULL,"
        ' aggregates INTEGER NOT NULL, "sum" INTEGER NOT NULL, "check" INTEGER NOT NULL)'
    ),
    "batch": (
        'CREATE TABLE batch (first INTEGER PRIMARY KEY, "offset" INTEGER NOT NULL, count INTEGER NOT NULL,'
        " epoch INTEGER NOT NULL) WITHOUT ROWID"
    ),
    "writer": "CREATE TABLE writer (epoch INTEGER PRIMARY KEY, name TEXT NOT NULL) WITHOUT ROWID",
    "aggregate": "CREATE TABLE aggregate (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID",
    "run": (
        "CREATE TABLE run (aggregate INTEGER NOT NULL, low INTEGER NOT NULL, first INTEGER NOT NULL,"
        " high INTEGER NOT NULL, PRIMARY KEY (aggregate, low, first)) WITHOUT ROWID"
    ),
    "tracking": (
        "CREATE TABLE tracking (name TEXT PRIMARY KEY, position INTEGER NOT NULL,"
        ' "offset" INTEGER NOT NULL, epoch INTEGER NOT NULL) WITHOUT ROWID'
    ),
}

SUM = """
SELECT (SELECT coalesce(sum(row_check(1, first, "offset", count, epoch)), 0) FROM batch)
    + (SELECT coalesce(sum(row_check(2, aggregate, low, first, high)), 0) FROM run)
    + (SELECT coalesce(sum(name_check(3, CAST(name AS BLOB), epoch)), 0) FROM writer)
    + (SELECT coalesce(sum(name_check(4, CAST(name AS BLOB), number)), 0) FROM aggregate)
    + (SELECT coalesce(sum(name_check(5, CAST(name AS BLOB), position, "offset", epoch)), 0) FROM tracking)
"""

_four = struct.Struct("<4q").pack


def row_check(table: int, a: int, b: int, c: int, d: int) -> int:
    """Return the checksum of a row of numbers; the number of its table makes equal rows of two tables different."""
    try:
        return int(crc32c(_four(a, b, c, d), table))
    except struct.error:  # no numbers: the file is damaged
        return -1


def name_check(table: int, name: bytes, *numbers: int) -> int:
    """Return the checksum of a row of a name and numbers."""
    try:
        return int(crc32c(name + struct.pack(f"<{len(numbers)}q", *numbers), table))
    except (struct.error, TypeError):
        return -1
