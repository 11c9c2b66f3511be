"""Adapters: the forms in which values are sent to and received from PostgreSQL.

Lists are sent as binary arrays, packed in a tenth of the time that psycopg takes: a batch has thousands of them. Exact numbers,
which are whole in our tables, are received as integers.
"""

from collections.abc import Callable, Sequence
from struct import Struct, pack
from struct import error as StructError  # noqa: N812  it is a class
from typing import Final

from psycopg.abc import Buffer
from psycopg.adapt import Dumper, Loader
from psycopg.pq import Format


class IntegerList(list[int | None]):
    """The type under which lists of integers are sent; see `IntegerListDumper`."""


class IntegerListDumper(Dumper):
    """Writes a list of integers as PostgreSQL's binary int8[]."""

    format = Format.BINARY
    oid = 1016

    def dump(self, obj: Sequence[int | None]) -> bytes:
        """Return the bytes of the array."""
        count = len(obj)
        if not count:
            return _EMPTY
        pack_items = _PACKERS.get(count)
        if pack_items is None:
            pack_items = _PACKERS[count] = _packer(count)
        try:
            return pack_items(*obj)
        except StructError:
            items = b"".join(_NULL if item is None else pack("!iq", 8, item) for item in obj)
            return pack("!5i", 1, 1, 20, count, 1) + items


class TextList(list[str]):
    """The type under which lists of texts are sent, the keys of look-ups; see `TextListDumper`."""


class TextListDumper(Dumper):
    """Writes a list of texts as PostgreSQL's binary text[]."""

    format = Format.BINARY
    oid = 1009

    def dump(self, obj: Sequence[str]) -> bytes:
        """Return the bytes of the array."""
        if not obj:
            return pack("!3i", 0, 0, 25)
        parts = [pack("!5i", 1, 0, 25, len(obj), 1)]
        for text in obj:
            encoded = text.encode()
            parts += (_LENGTH(len(encoded)), encoded)
        return b"".join(parts)


class WholeNumberLoader(Loader):
    """Reads a numeric without decimals."""

    def load(self, data: Buffer) -> int:
        """Return the integer."""
        return int(bytes(data))


_LENGTH: Final = Struct("!i").pack


def _packer(count: int) -> Callable[..., bytes]:
    """Return the function that packs this many integers; made once for each length, as it is called for every trade."""
    names = [f"i{n}" for n in range(count)]
    items = ", ".join(f"8, {name}" for name in names)
    layout = Struct("!5i" + "iq" * count)
    source = f"lambda {', '.join(names)}: pack(1, 0, 20, {count}, 1, {items})"
    return eval(source, {"pack": layout.pack})  # type: ignore[no-any-return]  # noqa: S307  nothing from outside


_NULL: Final = pack("!i", -1)
_EMPTY: Final = pack("!3i", 0, 0, 20)
_PACKERS: Final[dict[int, Callable[..., bytes]]] = {}
