"""A small export, written as `tidings export` writes its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import duckdb
import msgspec

from messages.events import public_event

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from domain.events import Recorded


def write_export(folder: Path, events: Sequence[Recorded], rows: int = 100) -> None:
    """Write events as JSON lines, this many positions a file."""
    path = folder / "events" / "partition=0"
    path.mkdir(parents=True)
    for start in range(0, len(events), rows):
        part = events[start : start + rows]
        name = f"events-{part[0].position:012}-{start + rows:012}.jsonl"
        (path / name).write_bytes(b"".join(msgspec.json.encode(_row(recorded)) + b"\n" for recorded in part))


def as_parquet(folder: Path) -> None:
    """Turn the JSON lines of an export into Parquet files, with the types that `tidings export` declares."""
    for path in (folder / "events" / "partition=0").glob("*.jsonl"):
        columns = (
            "{position: 'BIGINT', type: 'VARCHAR', version: 'SMALLINT', time: 'TIMESTAMPTZ', command_id: 'VARCHAR', "
            "digest: 'VARCHAR', stream: 'VARCHAR', stream_version: 'BIGINT', market_id: 'VARCHAR', account_id: 'VARCHAR', "
            "order_id: 'VARCHAR', data: 'VARCHAR'}"
        )
        with duckdb.connect() as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_json('{path}', format='newline_delimited', columns={columns})) "
                f"TO '{path.with_suffix('.parquet')}' (FORMAT parquet, COMPRESSION zstd)"
            )
        path.unlink()


def _row(recorded: Recorded) -> dict[str, Any]:
    public = public_event(recorded)
    named = {name: getattr(recorded.event, name, None) for name in ("market_id", "account_id", "order_id")}
    return public | named | {"digest": recorded.digest, "data": msgspec.json.encode(public["data"]).decode()}
