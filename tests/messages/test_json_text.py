"""JSON from outside: no object names a key twice, and the quick proof of that is never wrong."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from messages.json_text import RepeatedKey, check_json, check_keys, check_outer_keys, parse_json

KEYS = st.sampled_from(["a", "b", ":", "a:", '"', "\\", "\u00e9"])
SCALARS = st.one_of(KEYS, st.booleans(), st.none(), st.integers(-3, 3))


class Pairs(list[tuple[str, Any]]):
    """An object with its pairs as they stand in the text, some of them twice."""


def trees() -> st.SearchStrategy[Any]:
    """Values whose objects may name a key twice."""
    return st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.lists(st.tuples(KEYS, inner), max_size=3).map(Pairs),
        max_leaves=8,
    )


def write(value: Any, ascii_only: bool, blank: str) -> str:
    """The value as JSON, with escapes or without them, with blanks or without them."""
    if isinstance(value, Pairs):
        parts = [
            f"{write(key, ascii_only, blank)}{blank}:{blank}{write(each, ascii_only, blank)}" for key, each in value
        ]
        return f"{{{','.join(parts)}}}"
    if isinstance(value, list):
        return f"[{','.join(write(each, ascii_only, blank) for each in value)}]"
    return json.dumps(value, ensure_ascii=ascii_only).replace(":", "\\u003a" if ascii_only else ":")


def repeats(value: Any) -> bool:
    """Whether an object names a key twice."""
    if isinstance(value, Pairs):
        return len(dict(value)) < len(value) or any(repeats(each) for _, each in value)
    return isinstance(value, list) and any(map(repeats, value))


@given(trees(), st.booleans(), st.sampled_from(["", " "]))
def test_a_repeated_key_is_found(value: Any, ascii_only: bool, blank: str) -> None:
    """With the encoding of the decoded value and without it, the answer is that of the pairs."""
    text = write(value, ascii_only, blank).encode()
    again = msgspec.json.encode(msgspec.json.decode(text))

    for check in (check_json, parse_json, check_keys, lambda each: check_keys(each, again)):
        try:
            check(text)
            found = False
        except RepeatedKey:
            found = True
        assert found == repeats(value)


@given(st.lists(st.tuples(KEYS, trees()), max_size=3).map(Pairs), st.booleans())
def test_only_the_outer_keys_count(value: Pairs, ascii_only: bool) -> None:
    """The objects inside of an envelope are judged later."""
    text = write(value, ascii_only, "").encode()
    again = msgspec.json.encode(msgspec.json.decode(text, type=dict[str, msgspec.Raw]))
    try:
        check_outer_keys(text, again)
        found = False
    except RepeatedKey:
        found = True

    assert found == (len(dict(value)) < len(value))


def test_a_bom_may_stand_before_a_file() -> None:
    """UTF-8 alone is read."""
    assert parse_json(b'\xef\xbb\xbf{"a":1}') == {"a": 1}
    with pytest.raises(ValueError, match="codec"):
        parse_json('{"a":1}'.encode("utf-16"))


@pytest.mark.parametrize("text", [b'"\\ud800"', b'{"\\uDFFF":1}', b'["a\\ud83d\\ud83d\\ude00"]'])
def test_a_string_is_unicode(text: bytes) -> None:
    """Half of a surrogate pair is none, in a file as in a body; a whole pair is a character."""
    for read in (parse_json, check_json):
        with pytest.raises(ValueError, match="surrogate"):
            read(text)
    assert parse_json(b'"\\ud83d\\ude00"') == "\U0001f600"


def test_the_error_names_the_key() -> None:
    """It has no more of it than a reader needs."""
    with pytest.raises(RepeatedKey) as raised:
        parse_json(json.dumps({"x" * 99: 1}).encode()[:-1] + b',"%b":2}' % (b"x" * 99))

    assert raised.value.key == "x" * 64
