"""Texts and names on their way in: NFC, nothing hidden, nothing that passes for something else."""

import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.account import OpenAccount
from domain.market import DetermineMarket, OpenMarket
from domain.orders import PlaceOrder
from domain.story import PublishStory
from messages.codecs import command_codec
from messages.commands import command_of
from messages.fields import OUTCOME, InvalidCommand, line, prose
from messages.name_fields import NAME, Outcomes
from tests.messages.digest import digest_of

HIDDEN = [
    "\0", "\x1b", "\x7f", "\x85", "\xad", "\u200b", "\u200c", "\u200d", "\u2060", "\ufeff",  # control, zero-width
    "\u200e", "\u200f", "\u202a", "\u202e", "\u2066", "\u2069", "\u061c",  # bidirectional
    "\u2028", "\u2029", "\u3164", "\U000e0041",  # line separators, a filler, a tag
]  # fmt: skip
VISIBLE_FORMAT = set("\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd") | {
    chr(code) for code in range(0x13430, 0x13456)
}
"""Format characters that one sees: signs around Arabic numbers, and hieroglyphs."""

TEXT_FIELDS = [
    (PublishStory, "title"), (PublishStory, "body"), (PublishStory, "category"), (OpenMarket, "question"),
    (OpenMarket, "resolution_source"), (OpenAccount, "name"), (PlaceOrder, "outcome"),
]  # fmt: skip


def codec_of(command: Any, field: str) -> Any:
    """The codec of a field."""
    return command_codec(command).fields[field]


@pytest.mark.parametrize(("command", "field"), TEXT_FIELDS)
@pytest.mark.parametrize("char", HIDDEN)
def test_no_text_hides_anything(command: type, field: str, char: str) -> None:
    """Neither on the wire nor from Python code."""
    for text in (f"a{char}b", char):
        with pytest.raises(InvalidCommand):
            codec_of(command, field).parse(text, field)
        with pytest.raises(InvalidCommand):
            codec_of(command, field).check(text, field)


@pytest.mark.parametrize("codec", [line(100), prose(100)])
def test_all_control_format_and_separator_characters_are_refused(codec: Any) -> None:
    """The whole of Unicode is asked: every line or paragraph separator, control and invisible format character."""
    categories = {"Cc", "Cf", "Zl", "Zp", "Cs"}
    allowed = VISIBLE_FORMAT | ({"\n", "\t"} if codec.fits("a\nb") else set())

    hidden = [chr(c) for c in range(sys.maxunicode + 1) if unicodedata.category(chr(c)) in categories]

    assert [hex(ord(char)) for char in hidden if codec.fits(f"a{char}b") != (char in allowed)] == []


@pytest.mark.parametrize("blank", ["", " ", "\t", "\n \n", "\u3000", "\xa0", "\u2800", "\ufe0f", "\U000e0100"])
@pytest.mark.parametrize(("command", "field"), TEXT_FIELDS)
def test_no_text_is_blank(command: type, field: str, blank: str) -> None:
    """Nor made of characters that only change others."""
    with pytest.raises(InvalidCommand):
        codec_of(command, field).parse(blank, field)


@pytest.mark.parametrize("body", ["one\ntwo\n\n\tthree", "日本語。\n", "❤️ and ☎️"])
def test_a_body_has_lines(body: str) -> None:
    """A story is more than a line, in any script."""
    assert codec_of(PublishStory, "body").parse(body, "body") == body


@given(st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=20))
def test_a_text_in_any_form_is_the_same_command(text: str) -> None:
    """It becomes NFC as it comes in; code that makes commands must have it in NFC already."""
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD")} | {text}
    digests = set()
    for form in forms:
        data = {"title": f"T{form}", "body": form + "b", "category": "c", "published_at": "2026-01-01T00:00:00Z"}
        try:
            command = command_of("PublishStory", "one", data)
        except InvalidCommand:
            digests.add("refused")
            continue
        assert isinstance(command, PublishStory)
        assert unicodedata.is_normalized("NFC", command.title)
        digests.add(digest_of(command))

    assert len(digests) == 1


def test_code_that_makes_commands_gives_texts_in_nfc() -> None:
    """Otherwise the log would hold another form than the one by which it is found."""
    with pytest.raises(InvalidCommand, match="NFC"):
        OUTCOME.check("cafe\u0301", "outcome")
    assert OUTCOME.parse("cafe\u0301", "outcome") == "caf\u00e9"


@pytest.mark.parametrize("name", ["ac_" + "0f" * 13, "mk_" + "0f" * 13, ".", "..", "pаypal"])
def test_a_name_does_not_pass_for_something_else(name: str) -> None:
    """An id, a folder in an address, a name in another script."""
    with pytest.raises(InvalidCommand):
        NAME.parse(name, "name")


@pytest.mark.parametrize("name", ["Иван", "株式会社ABCテスト", "a/b", "50%", "#1?", "👍", "محمد", "...", "house cat"])
def test_honest_names_are_taken(name: str) -> None:
    """In every script, and with every sign."""
    assert NAME.parse(name, "name") == name


@pytest.mark.parametrize(
    "outcomes",
    [["Yes", "Yes"], ["Yes", "YES"], ["Yes", "Ｙes"], ["A", "А"], ["caf\u00e9", "cafe\u0301"], ["No", "Yes", "no"]],
)
def test_outcomes_of_a_market_differ_to_the_eye(outcomes: list[str]) -> None:
    """The refusal names both."""
    with pytest.raises(InvalidCommand) as refused:
        Outcomes().parse(outcomes, "outcomes")

    assert refused.value.details == {"field": "outcomes", "outcome": unicodedata.normalize("NFC", outcomes[-1])}


def test_payouts_name_outcomes_in_any_form() -> None:
    """Two forms of one outcome are one outcome, named twice: the rules refuse that."""
    parse = codec_of(DetermineMarket, "payouts").parse

    (payout,) = parse({"cafe\u0301": "1"}, "payouts")

    assert payout.outcome == "caf\u00e9"
    assert len({payout.outcome for payout in parse({"caf\u00e9": "1", "cafe\u0301": "0"}, "payouts")}) == 1
