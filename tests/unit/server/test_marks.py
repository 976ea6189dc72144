"""A server marks what it counts, not too often. Every server looks once all that a mark stands for is counted."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import pytest

from rampd_server.automation.marks import Marks
from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.service.marking import Marking


@dataclass
class World:
    """Time, and the marks of a store that every server shares. `ahead_ms` is set when a test sets the store's clock."""

    now_s: float = 1_000.0
    ahead_ms: float = 0.0
    marks: dict[str, float] = field(default_factory=dict)
    calls: list[Collection[str]] = field(default_factory=list)
    is_away: bool = False

    def monotonic(self) -> float:
        return self.now_s

    def now_ms(self) -> int:
        return int(self.now_s * 1000 + self.ahead_ms)

    async def mark(self, components: Collection[str]) -> None:
        self.calls.append(components)
        self.marks.update(dict.fromkeys(components, float(self.now_ms())))

    async def marked(self, since_ms: int) -> Mapping[str, float]:
        if self.is_away:
            raise StoreUnavailableError("away")
        return {component: marked_ms for component, marked_ms in self.marks.items() if marked_ms >= since_ms}


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def marks(world: World) -> Marks:
    return Marks(world, world, monotonic=world.monotonic)


async def looked_at(marks: Marks, world: World, seconds: int) -> list[tuple[int, str]]:
    """Reads the marks each second. Returns after how many seconds which component is looked at."""
    looks = []
    for second in range(1, seconds + 1):
        world.now_s += 1
        await marks.read()
        looks += [(second, component) for component in sorted(marks.counted._components)]
        marks.counted._components.clear()
    return looks


async def test_a_component_that_reports_without_a_pause_is_marked_every_two_seconds(world: World):
    marking = Marking(world, monotonic=world.monotonic)
    for _ in range(40):
        await marking.before_counting(["a"])
        world.now_s += 0.1
    await marking.before_counting(["a", "b"])
    await marking.before_counting([])

    assert world.calls == [["a"], ["a"], ["a", "b"]]


async def test_a_mark_that_failed_is_made_again(world: World):
    marking = Marking(world, monotonic=world.monotonic)

    async def fail(_components: Collection[str]) -> None:
        raise StoreUnavailableError("away")

    works, world.mark = world.mark, fail
    with pytest.raises(StoreUnavailableError):
        await marking.before_counting(["a"])
    world.mark = works
    await marking.before_counting(["a"])

    assert world.calls == [["a"]]


async def test_a_marked_component_is_looked_at_once_after_its_outcomes_are_counted(world: World, marks: Marks):
    await marks.read()
    await world.mark(["a"])

    assert await looked_at(marks, world, 60) == [(4, "a")]


async def test_a_component_that_is_marked_again_and_again_is_looked_at_after_the_last_mark_and_now_and_then(
    world: World, marks: Marks
):
    """The server that marks looks at once, so the others need not look while it lives."""
    looks = []
    for _ in range(40):
        await world.mark(["a"])
        looks += [2 * _ + second for second, _name in await looked_at(marks, world, 2)]
    last = await looked_at(marks, world, 10)

    assert [len(looks), len(last)] == [2, 1]
    assert looks[0] > 25
    assert last[0][0] <= 4


async def test_a_server_that_starts_hears_of_what_was_marked_just_before(world: World, marks: Marks):
    await world.mark(["a"])
    world.now_s += 2
    world.marks["long ago"] = world.now_ms() - 60_000

    assert await looked_at(marks, world, 10) == [(4, "a")]


async def test_marks_made_while_the_store_was_away_are_not_missed(world: World, marks: Marks):
    await marks.read()
    await world.mark(["a"])
    world.is_away = True
    for _ in range(60):
        world.now_s += 1
        with pytest.raises(StoreUnavailableError):
            await marks.read()
    world.is_away = False

    assert [component for _, component in await looked_at(marks, world, 10)] == ["a"]


@pytest.mark.parametrize("by_ms", [-3_600_000, 3_600_000])
async def test_a_clock_that_is_set_hides_no_mark(world: World, marks: Marks, by_ms: int):
    await marks.read()
    await world.mark(["before"])
    await looked_at(marks, world, 10)
    world.ahead_ms += by_ms
    await world.mark(["after"])
    # The next reading is late.
    world.now_s += 5

    assert "after" in {component for _, component in await looked_at(marks, world, 10)}


async def test_a_clock_that_is_set_forward_hides_no_mark_of_before_that(world: World, marks: Marks):
    await marks.read()
    world.now_s += 1
    await world.mark(["before"])
    world.ahead_ms += 3_600_000

    assert [component for _, component in await looked_at(marks, world, 10)] == ["before"]
