"""The index of the log: every search finds what reading the whole log would find."""

from __future__ import annotations

import random
from itertools import product
from typing import TYPE_CHECKING, Any

from projections import log_index
from projections.log_index import TYPE_NAMES, Search
from projections.reading import read
from tests.projections.simulation import simulate

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from domain.events import Recorded
    from tests.projections.folding import ReadModels


def about(recorded: Recorded, search: Search, stories: dict[str, str]) -> bool:
    """Return whether a search wants an event. `stories` are those of the markets."""
    event: Any = recorded.event
    market_id = getattr(event, "market_id", None)
    story_id = getattr(event, "story_id", None) or stories.get(market_id or "")
    return (
        (not search.types or TYPE_NAMES[type(event)] in search.types)
        and search.market_id in {None, market_id}
        and search.account_id in {None, getattr(event, "account_id", None)}
        and search.story_id in {None, story_id}
        and search.after < recorded.position < (search.before or 2**62)
        and (search.start or 0) <= recorded.time < (search.end or 2**62)
    )


def searches(log: Sequence[Recorded], chosen: random.Random) -> Iterator[Search]:
    """Yield searches with and without each condition."""

    def one(field: str) -> str:
        return chosen.choice([value for each in log if (value := getattr(each.event, field, None))])

    for of_types, market, account, story, bounded, timed in product([False, True], repeat=6):
        times = sorted(chosen.choice(log).time for _ in range(2)) if timed else [None, None]
        places = sorted(chosen.choice(log).position for _ in range(2)) if bounded else [0, None]
        yield Search(
            types=chosen.sample(sorted(set(TYPE_NAMES.values())), 8) if of_types else (),
            market_id=one("market_id") if market else None,
            account_id=one("account_id") if account else None,
            story_id=one("story_id") if story else None,
            after=places[0] or 0, before=places[1], start=times[0], end=times[1],
            newest_first=chosen.random() < 0.5,
        )  # fmt: skip


def test_a_search_finds_what_the_log_has(read_models: ReadModels) -> None:
    """Any conditions together, from either end, up to the position of the read; a limit takes the first ones."""
    log = simulate(4, 700)
    copy = read_models.copy(("log_index", "timeline")).fold(log, 64)
    stories = {
        each.event.market_id: each.event.story_id for each in log if TYPE_NAMES[type(each.event)] == "MarketDrafted"
    }  # type: ignore[union-attr]
    chosen = random.Random(4)  # noqa: S311  repeatable
    sizes = []
    for at in (None, len(log) * 2 // 3):
        with read(copy.connection, log_index.positions, at=at) as as_of:
            for search in searches(log, chosen):
                wanted = [each.position for each in log[:at] if about(each, search, stories)]
                expected = wanted[::-1] if search.newest_first else wanted
                assert expected == log_index.positions(copy.connection, as_of, search, 100_000), search
                assert expected[:3] == log_index.positions(copy.connection, as_of, search, 3), search
                sizes.append(len(expected))
    assert sum(size > 3 for size in sizes) > 30


def test_what_no_event_is_about_is_unknown(read_models: ReadModels) -> None:
    """What a later event is about is not known in the past."""
    log = simulate(4, 50)
    copy = read_models.copy(("log_index", "timeline")).fold(log, 64)
    drafted = next(each for each in log if TYPE_NAMES[type(each.event)] == "MarketDrafted")
    market_id: str = drafted.event.market_id  # type: ignore[union-attr]
    for at, known in ((drafted.position, True), (drafted.position - 1, False)):
        with read(copy.connection, log_index.exists, at=at) as as_of:
            assert log_index.exists(copy.connection, as_of, "market_id", market_id) is known
            assert not log_index.exists(copy.connection, as_of, "account_id", "nobody")
