"""The manifest of an export: which log it is of, up to where, and every file with its sums."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

import msgspec

from api.export.errors import ExportRefusedError
from api.export.files import write_file

if TYPE_CHECKING:
    from pathlib import Path

NAME: Final = "manifest.json"

Format = Literal["parquet", "jsonl"]


class FileEntry(msgspec.Struct):
    """A file that is whole: the rows of the positions from `first` to `last`, or the state at `last`.

    `sums` has the sum of each column of amounts, as decimal strings; NULL counts as 0.
    """

    name: str
    table: str
    first: int
    last: int
    rows: int
    bytes: int
    sha256: str
    sums: dict[str, str]


class TableEntry(msgspec.Struct):
    """A table: the position that it stands at, its columns with their types, and the columns that it is sorted by."""

    position: int
    columns: dict[str, str]
    key: list[str]


class Manifest(msgspec.Struct):
    """What an export holds. Every table stands at the position `until`, whose event happened at `time`."""

    log: str
    partition: int
    until: int
    time: str | None
    format: Format
    markets: list[str] | None
    tables: dict[str, TableEntry]
    files: list[FileEntry]
    layout: int = 1

    def save(self, folder: Path) -> None:
        """Write the manifest; a reader sees the old one or this one."""
        text = msgspec.json.format(msgspec.json.encode(self), indent=1)
        write_file(folder / NAME, text + b"\n")


def load(folder: Path) -> Manifest | None:
    """Return the manifest of a folder, None where there is none. Raises ExportRefusedError: it is not one of ours."""
    try:
        return msgspec.json.decode((folder / NAME).read_bytes(), type=Manifest)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise ExportRefusedError(f"{folder / NAME} is not the manifest of an export: {error}") from error
