"""Which names look alike, and the slugs of texts in any script."""

from unicodedata import normalize

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from domain.account import OpenAccount
from domain.story import PublishStory
from messages.commands import command_of
from messages.fields import SLUG, InvalidCommand
from messages.names import derived_slug, is_id, is_mixed, name_key, nfc
from tests.messages.digest import digest_of

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
VARIANTS = (
    str.upper, str.lower, str.title, str.swapcase,
    *(lambda text, form=form: normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")),
)  # fmt: skip
"""Ways to write a name that must not make another name of it."""


def folded(text: str) -> str:
    """NFKC and case folding, until nothing changes."""
    again = normalize("NFKC", normalize("NFKC", text).casefold())
    return again if again == text else folded(again)


@given(TEXTS, st.lists(st.sampled_from(VARIANTS), max_size=4))
def test_texts_that_are_equal_under_nfkc_and_case_folding_have_one_key(text: str, changes: list) -> None:  # type: ignore[type-arg]
    """However one is written."""
    other = text
    for change in changes:
        other = change(other)
    assume(folded(other) == folded(text))

    assert name_key(other) == name_key(text)
    assert name_key(folded(text)) == name_key(text)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ada", "ADA"),
        ("Ada", "Ａｄａ"),
        ("fix", "ﬁx"),
        ("STRASSE", "straße"),
        ("a b", "a  b"),
        ("a b", "a\u2800b"),  # a Braille pattern without dots
        ("❤", "❤️"),
        ("caf\u00e9", "cafe\u0301"),
        ("TACC", "ТАСС"),  # Latin and Cyrillic
        ("tacc", "тасс"),
        ("Het", "Нет"),
        ("カ", "力"),  # Katakana and Han
    ],
)
def test_names_that_look_alike_have_one_key(name: str, other: str) -> None:
    """In other letters, in letters of another script, with other blanks."""
    assert name != other
    assert name_key(name) == name_key(other)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("Ada", "Adah"),
        ("trader 1", "trader l"),
        ("0", "O"),
        ("Yes", "No"),
        ("да", "нет"),
        ("東京", "京都"),
        ("5%", "5"),
    ],
)
def test_other_names_have_other_keys(name: str, other: str) -> None:
    """Within one script nothing is confused: a digit 1 is no letter l."""
    assert name_key(name) != name_key(other)


@pytest.mark.parametrize(
    "name",
    [
        "pаypal",  # a Cyrillic a
        "Mосква",  # a Latin M
        "Mи",  # likewise, before a letter that looks like no Latin one
        "Yеs",
        "cοm",  # a Greek o
        "gооgle",
        "НАTО",
        "οдин",  # a Greek o among Cyrillic letters
    ],
)
def test_mixed_scripts_that_look_alike_are_found(name: str) -> None:
    """One letter is enough."""
    assert is_mixed(name)


@pytest.mark.parametrize(
    "name",
    [
        "Ada", "Ω", "Ελλάδα", "Москва-2024", "Республика Беларусь 🇧🇾", "株式会社ABCテスト", "トヨタ自動車 (Toyota)", "中国 Bank",
        "한국 KBS", "日本", "हिन्दी", "ไทย", "بنك HSBC", "ישראל", "München", "Łódź", "50 %", "👍", "iPhone الجديد",
    ],
)  # fmt: skip
def test_honest_names_of_every_script_are_not_mixed(name: str) -> None:
    """All Cyrillic, all Greek; Chinese, Japanese and Korean with Latin; digits and emoji with anything."""
    assert not is_mixed(name)


@pytest.mark.parametrize(
    ("text", "slug"),
    [
        ("Will they fight?", "will-they-fight"),
        ("Что будет завтра?", "chto-budet-zavtra"),
        ("Ελλάδα", "ellada"),
        ("東京", "dong-jing"),
        ("Élysée & Cie", "elysee-cie"),
        ("🔥🔥", "story-89abcdef"),
        ("?!", "story-89abcdef"),
    ],
)
def test_a_slug_is_readable_in_every_script(text: str, slug: str) -> None:
    """Where nothing can be read, it comes from the id: no two stories share it."""
    assert derived_slug(text, "story", "st_0123456789abcdef") == slug


@given(TEXTS)
def test_a_derived_slug_is_a_slug(text: str) -> None:
    """With room for a number after it."""
    slug = derived_slug(text * 30, "market", "mk_" + "0f" * 13)

    SLUG.check(slug, "slug")
    SLUG.check(f"{slug}-12345678", "slug")


@given(TEXTS)
def test_no_slug_is_an_id(text: str) -> None:
    """So a reference can be an id or a slug without a question."""
    assert not is_id(derived_slug(text, "story", "st_" + "0f" * 13))
    assert is_id("st_" + "0f" * 13)


def test_a_command_gets_what_its_names_need_wherever_it_comes_in() -> None:
    """A derived slug and the key of a name are like ids: no sender sets them, and they make no other command of it."""
    terms = {"question": "Quand ?", "outcomes": ["Oui", "Non"], "subsidy": "10", "resolution_source": "us"}
    market = terms | {"close_time": "2090-01-01T00:00:00Z"}
    data = {
        "title": "Élysée",
        "body": "b",
        "category": "c",
        "published_at": "2026-01-01T00:00:00Z",
        "markets": [market],
    }

    story = command_of("PublishStory", "one", data)
    account = command_of("OpenAccount", "one", {"name": "ADA"})

    assert isinstance(story, PublishStory)
    assert (story.slug, story.derived_slug, story.markets[0].derived_slug) == (None, "elysee", "quand")
    assert isinstance(account, OpenAccount)
    assert account.name_key == "ada"
    assert digest_of(account) == digest_of(OpenAccount("", "ADA"))
    for field in ("derived_slug", "name_key"):
        with pytest.raises(InvalidCommand, match="not a field"):
            command_of("OpenAccount", "one", {"name": "ADA", field: "x"})


@given(TEXTS)
def test_nfc_is_what_unicode_says(text: str) -> None:
    """Also where the text is in ASCII and nothing is asked."""
    assert nfc(text) == normalize("NFC", text)
