"""Which components have series of their own: the oldest ones, whatever comes and goes."""

from dataclasses import replace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.rollout.model import Rollout
from rampd_server.metrics.shown import Shown
from rampd_server.ports import FeedEntry
from rampd_server.replica.replica import Replica
from tests.rollouts import steady

LIMIT = 3
SNAPSHOT = cast("ComponentSnapshot", object())


class Known:
    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout


class Copy:
    """A copy whose components the test makes and deletes."""

    def __init__(self, made: dict[str, int]) -> None:
        self.made = made
        self.asked = 0

    def subscribe(self, _listener: object) -> None:
        pass

    def get(self, component: str) -> Known | None:
        made_ms = self.made.get(component)
        return None if made_ms is None else Known(replace(steady(), component=component, create_ms=made_ms))

    def components(self) -> list[Known | None]:
        self.asked += 1
        return [self.get(name) for name in self.made]


changes = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(0, 3)), max_size=30)


@given(first=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)), changes=changes)
def test_the_oldest_components_have_series_of_their_own(first: dict[str, int], changes: list[tuple[str, int]]) -> None:
    copy = Copy(dict(first))
    shown = Shown(cast("Replica", copy), LIMIT)
    for name, made_ms in [("", 0), *changes]:
        before = SNAPSHOT if name in copy.made else None
        if name and before is None:
            copy.made[name] = made_ms
        elif name:
            del copy.made[name]
        after = SNAPSHOT if name in copy.made else None
        shown.applied(FeedEntry("1-0", "", name, 1), before, after)
        oldest = sorted(copy.made, key=lambda each: (copy.made[each], each))[:LIMIT]
        assert {each for each in "abcdefgh" if shown.name_of(each) == each} == set(oldest)
        assert shown.count == len(oldest)
    # Resolve must not wait until all components were looked at.
    assert copy.asked == 1


@given(
    first=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)),
    then=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 3)),
    between=st.sampled_from("abcdefgh"),
    pieces=st.integers(0, 9),
)
def test_after_a_reading_of_everything_the_oldest_components_have_series_of_their_own(
    first: dict[str, int], then: dict[str, int], between: str, pieces: int
) -> None:
    """Given a component that comes or goes between two pieces of the work, expect it to be in its place, too."""
    copy = Copy(dict(first))
    shown = Shown(cast("Replica", copy), LIMIT)
    copy.made = dict(then)
    left = shown.reloaded()
    for _ in range(pieces):
        next(left, None)
    before = SNAPSHOT if between in copy.made else None
    copy.made = {name: made_ms for name, made_ms in then.items() if name != between} | ({} if before else {between: 1})
    shown.applied(FeedEntry("1-0", "", between, 1), before, None if before else SNAPSHOT)
    for _ in left:
        pass
    oldest = sorted(copy.made, key=lambda each: (copy.made[each], each))[:LIMIT]
    assert {each for each in "abcdefgh" if shown.name_of(each) == each} == set(oldest)


def test_a_component_that_a_reading_of_everything_has_brought_has_its_series_at_once() -> None:
    copy = Copy({})
    shown = Shown(cast("Replica", copy), LIMIT)
    copy.made = {"a": 1, "b": 2}
    next(shown.reloaded())
    assert [shown.name_of(name) for name in "abc"] == ["a", "b", "_others"]


def test_without_any_series_all_components_are_others() -> None:
    shown = Shown(cast("Replica", Copy({"a": 1})), 0)
    assert (shown.name_of("a"), shown.count) == ("_others", 0)
