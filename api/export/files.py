"""Files that are whole or absent: each is written under another name, brought to disk, and renamed."""

from __future__ import annotations

import os
from hashlib import sha256
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

READ_BYTES: Final = 1 << 20


def part_of(path: Path) -> Path:
    """Return the name under which a file is written."""
    return path.with_name(f"{path.name}.part")


def write_file(path: Path, data: bytes) -> None:
    """Write a small file."""
    write_part(part_of(path), [data])
    finish(path)


def write_part(path: Path, blocks: Iterable[bytes]) -> None:
    """Write blocks into a file, and bring it to disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for block in blocks:
            file.write(block)
        file.flush()
        os.fsync(file.fileno())


def finish(path: Path) -> None:
    """Bring the part of a file and its new name to disk. From here on the file is whole."""
    part = part_of(path)
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.rename(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    total = sha256()
    with path.open("rb") as file:
        while block := file.read(READ_BYTES):
            total.update(block)
    return total.hexdigest()
