"""JSON text from outside: HTTP bodies, Kafka records, files. It is UTF-8, its strings are Unicode, no object names a key twice.

Decoders keep the last of two values silently, so `{"quantity": "1", "quantity": "50"}` would buy 50. `check_keys` refuses
such a text, and every reader of outside JSON calls it.

A full scan takes 1.7 us for an order. So a caller that decoded the text passes what the value encodes to: a pair has one
colon, so equal numbers of colons prove that the value has all pairs of the text. This takes 0.4 us, and 0.1 us where the
text is the encoding itself.
"""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")

BOM: Final = b"\xef\xbb\xbf"
"""The byte order mark of UTF-8. Some editors and systems write it before the text."""


MEMBERS_MAX: Final = 256
"""The most members of one object. No object that we read has as many; each unknown one would be a problem to tell."""


ALL_MEMBERS_MAX: Final = 10_000
"""The most members of all objects of one body. The largest batch of orders has 1,600."""


class TooManyMembers(ValueError):  # noqa: N818  it says what is wrong
    """A JSON text has more members than any that we read."""


class RepeatedKey(ValueError):  # noqa: N818  it says what is wrong
    """An object names a key twice; `key` is its beginning."""

    def __init__(self, key: str) -> None:
        self.key = key[:64]
        super().__init__(f"an object names the key {json.dumps(self.key)} twice")


def without_bom(text: bytes) -> bytes:
    """Return the text without the byte order mark that it may begin with."""
    return text.removeprefix(BOM)


def decode_untrusted(decode: Callable[[bytes], T], text: bytes) -> T:
    """Return what a msgspec decoder makes of a text from outside. Raises ValueError for everything that it refuses.

    The decoder itself raises RecursionError for a text that is nested deeply, also in a part that it would skip.
    """
    try:
        return decode(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def parse_json(text: bytes) -> Any:
    """Return the value of a JSON text, with or without byte order mark. Raises ValueError and RecursionError."""
    value = json.loads(without_bom(text).decode(), object_pairs_hook=_unique)
    _check_unicode(text, value)
    return value


def check_json(text: bytes) -> None:
    """Raise ValueError or RecursionError unless the text is JSON in UTF-8, without BOM, and names no key twice.

    Objects with more members than `MEMBERS_MAX` and `ALL_MEMBERS_MAX` are refused too.
    """
    if text.count(b'":') - text.count(b'\\":') > ALL_MEMBERS_MAX:  # takes a thousandth of the scan
        raise TooManyMembers(f"the objects have more than {ALL_MEMBERS_MAX} members together")
    _check_unicode(text, _FEW_SCANNER.decode(text.decode()))


def check_keys(text: bytes, again: bytes = b"") -> None:
    """Raise RepeatedKey where an object of a decoded text names a key twice.

    `again` is the encoding of the decoded value. It spares the scan of most texts; fields that are missing from the text
    must be missing from it too.
    """
    if not _has_all_pairs(text, again):
        _SCANNER.decode(_lossless(text))


def check_outer_keys(text: bytes, again: bytes = b"") -> None:
    """Raise RepeatedKey where a decoded text, an object, names a key twice; the objects inside of it do not count."""
    if not _has_all_pairs(text, again):
        _unique(_OUTER_PAIRS.decode(_lossless(text)))


def _check_unicode(text: bytes, value: Any) -> None:
    r"""Raise ValueError where a string of a decoded text is not Unicode, as "\ud800" is: half of a surrogate pair.

    msgspec and pydantic refuse such a string themselves, Python's decoder does not.
    """
    if b"\\ud" in text.lower():  # only escapes can bring one: bytes that mean one are no UTF-8
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError:
            raise ValueError("a string has half of a surrogate pair, which is not a character") from None


def _has_all_pairs(text: bytes, again: bytes) -> bool:
    """Return whether a value surely has all pairs of its text, given its encoding.

    Our own gateways send the encoding itself. Otherwise the colons count: those in strings are the same in both, unless
    an escape hides one.
    """
    return text == again or (b"\\" not in text and text.count(b":") == again.count(b":"))


def _lossless(text: bytes) -> str:
    return text.decode(errors="surrogateescape")


def _unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise RepeatedKey(key)
            seen.add(key)
    return found


def _few_unique(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MEMBERS_MAX:
        raise TooManyMembers(f"an object has more than {MEMBERS_MAX} members")
    return _unique(pairs)


# Numbers stay texts: Python refuses to convert very long ones.
_SCANNER: Final = json.JSONDecoder(object_pairs_hook=_unique, parse_int=str, parse_float=str)
_FEW_SCANNER: Final = json.JSONDecoder(object_pairs_hook=_few_unique, parse_int=str, parse_float=str)
_OUTER_PAIRS: Final = json.JSONDecoder(object_pairs_hook=tuple, parse_int=str, parse_float=str)
