"""A free slug: found quickly, always free, never too long."""

from hypothesis import given
from hypothesis import strategies as st

from domain.slugs import SLUG_MAX, free_slug


class Counted(set[str]):
    """A set that counts how often it is asked."""

    asked = 0

    def __contains__(self, item: object) -> bool:
        self.asked += 1
        return super().__contains__(item)


@given(st.sampled_from(["a", "a-b", "x" * SLUG_MAX, "y" * 97 + "-z"]), st.sets(st.integers(1, 40)))
def test_the_slug_is_free_and_the_one_before_it_is_not(base: str, numbers: set[int]) -> None:
    """Whatever numbers are taken, the base among them or not."""
    taken = {base if number == 1 else free_slug(base, _all_before(base, number)) for number in numbers}

    found = free_slug(base, taken)

    assert found not in taken
    assert 1 <= len(found) <= SLUG_MAX
    assert found == base or base in taken


def _all_before(base: str, number: int) -> set[str]:
    taken: set[str] = set()
    for _ in range(number - 1):
        taken.add(free_slug(base, taken))
    return taken


def test_many_of_one_title_cost_few_questions() -> None:
    """The cost of a story does not grow with the number of stories that have its title."""
    taken = Counted({"a"} | {f"a-{number}" for number in range(2, 100_001)})

    assert free_slug("a", taken) == "a-100001"
    assert taken.asked < 50
