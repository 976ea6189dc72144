"""Which rows of the front page are drawn again, and what is kept meanwhile."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from google.rpc import code_pb2

from rampd import v1
from rampd_server.domain.errors import RampdError, StoreUnavailableError
from rampd_server.domain.rollout.model import Freeze
from rampd_server.page import reading
from rampd_server.page.front_live import _OTHERS as OTHERS
from rampd_server.page.front_live import TOP, FrontLive
from rampd_server.ports import Namespace
from rampd_server.rpc.call_error import CallError
from tests.unit.server.page.test_front import freeze, rollout, under_way

MAY = {"Confirm": True, "Rollback": True, "Revert": True, "Freeze": True, "Unfreeze": True, "all": True}
NOW_MS = 1_795_780_800_000
FREEZE = Freeze("ada", "a launch", NOW_MS - 60_000)


class World:
    """A person who may read, and what they read."""

    def __init__(self, *rollouts: v1.Rollout) -> None:
        self.rollouts = {each.component: each for each in rollouts}
        self.asked: Counter[str] = Counter()
        self.namespace = Namespace()
        self.damaged: set[str] = set()
        self.trouble: RampdError | None = None
        self.is_confirmed = True
        self.drawing = FrontLive(self, self, MAY)  # type: ignore[arg-type]

    def likely_ms(self) -> int:
        return NOW_MS

    async def ask(self, message: Any, _answer: Any) -> Any:
        await asyncio.sleep(0)
        if isinstance(message, v1.ListRolloutsRequest):
            self.asked["list"] += 1
            names = sorted(self.rollouts)
            first = int(message.page_token or 0)
            end = first + message.page_size
            token = str(end) if end < len(names) else ""
            found = [self.rollouts[name] for name in names[first:end]]
            return v1.ListRolloutsResponse(rollouts=found, next_page_token=token)
        if isinstance(message, v1.ListEventsRequest):
            return v1.ListEventsResponse()
        self.asked[message.component] += 1
        if message.component not in self.rollouts:
            raise CallError.plain(code_pb2.NOT_FOUND, "none")
        return v1.GetRolloutResponse(rollout=self.rollouts[message.component])

    async def drawn(self, *changed: str) -> dict[str, str]:
        """What is drawn after a change of some components; without one, what changes by itself."""
        return dict(await self.drawing.draw(set(changed) if changed else None))


async def test_at_first_what_moves_is_drawn_and_what_is_above_the_rows() -> None:
    world = World(rollout("a"), under_way("b"))
    found = await world.drawn()
    assert found.keys() == {"component-b", TOP}
    assert "2 components: 1 rolling out, 1 steady." in found[TOP]


async def test_where_the_page_has_the_buttons_of_other_rights_each_row_is_drawn() -> None:
    world = World(rollout("a"), under_way("b"))
    world.drawing = FrontLive(world, world, MAY, draws_all=True)  # type: ignore[arg-type]
    assert (await world.drawn()).keys() == {"component-a", "component-b", TOP}


async def test_a_changed_component_is_read_and_drawn_alone() -> None:
    world = World(rollout("a"), rollout("b"), under_way("c"))
    await world.drawn()
    world.asked.clear()
    world.rollouts["a"] = under_way("a")
    found = await world.drawn("a")
    assert found.keys() == {"component-a", TOP}
    assert "v2" in found["component-a"]
    assert "2 rolling out, 1 steady." in found[TOP]
    assert world.asked == {"a": 1}


async def test_a_look_reads_what_moves_and_nothing_at_rest() -> None:
    world = World(rollout("a"), under_way("b"), under_way("c", state=v1.ROLLOUT_STATE_HELD, next_percent=0))
    await world.drawn()
    world.asked.clear()
    assert (await world.drawn()).keys() == {"component-b", "component-c", TOP}
    assert world.asked == {"b": 1, "c": 1}


async def test_a_page_where_nothing_moves_says_that_the_store_does_not_answer() -> None:
    world = World(rollout("a"))
    await world.drawn()
    world.trouble = StoreUnavailableError("Redis can't be reached.")
    assert (await world.drawn()).keys() == {TOP}, "it is confirmed still"
    world.is_confirmed = False
    with pytest.raises(CallError, match="Redis can't be reached"):
        await world.drawn()
    world.trouble, world.is_confirmed = None, True
    assert (await world.drawn()).keys() == {TOP}


async def test_of_very_many_that_move_the_most_urgent_ones_are_read() -> None:
    world = World(
        *(under_way(f"c{number:03}") for number in range(100)), under_way("z", confirm_deadline={"seconds": 1})
    )
    await world.drawn()
    world.asked.clear()
    assert len(await world.drawn()) == reading.MOST_WITH_JOBS + OTHERS + 1
    assert world.asked["z"] == 1


async def test_of_very_many_that_move_each_has_its_jobs_after_a_while() -> None:
    world = World(*(under_way(f"c{number:03}") for number in range(reading.MOST_WITH_JOBS + 20)))
    await world.drawn()
    world.asked.clear()
    looks = [await world.drawn() for _ in range(3)]
    assert world.asked == dict.fromkeys(world.rollouts, 3) | {
        f"c{number:03}": 2 if number < reading.MOST_WITH_JOBS + 4 else 1 for number in range(40, 60)
    }
    assert [f"component-c{number:03}" in look for number in (40, 47, 48, 59) for look in looks] == [
        *(True, False, True),
        *(True, False, False),
        *(False, True, False),
        *(False, False, True),
    ]


async def test_a_deleted_component_is_gone_and_a_new_one_is_there() -> None:
    world = World(rollout("a"), rollout("b"))
    await world.drawn()
    del world.rollouts["a"]
    world.rollouts["c"] = rollout("c")
    found = await world.drawn("a", "c")
    assert found["component-a"] == ""
    assert "v1" in found["component-c"]
    assert "2 components: 2 steady." in found[TOP]


async def test_a_component_that_goes_while_it_is_looked_at_is_gone() -> None:
    world = World(rollout("a"), under_way("b"))
    await world.drawn()
    del world.rollouts["b"]
    assert (await world.drawn())["component-b"] == ""


async def test_a_freeze_of_everything_is_seen_although_no_component_has_changed() -> None:
    world = World(rollout("a"), under_way("b"))
    await world.drawn()
    world.namespace = Namespace(FREEZE)
    for each in world.rollouts.values():
        each.freezes.append(freeze(is_of_all=True))
    found = await world.drawn()
    assert "Everything is frozen by ada" in found[TOP]
    assert found.keys() == {"component-a", "component-b", TOP}
    assert "Everything is frozen" in (await world.drawn("a"))[TOP]


@pytest.mark.parametrize(
    ("freeze", "verb"),
    [
        (FREEZE, "Unfreeze everything"),
        (replace(FREEZE, expire_ms=NOW_MS + 1), "Unfreeze everything"),
        (replace(FREEZE, expire_ms=NOW_MS), "Freeze everything"),
        (None, "Freeze everything"),
    ],
    ids=["for ever", "until soon", "until now", "none"],
)
async def test_a_freeze_of_everything_is_said_to_who_sees_no_component(freeze: Freeze | None, verb: str) -> None:
    world = World()
    world.namespace = Namespace(freeze)
    top = (await world.drawn())[TOP]
    assert f">{verb}</a>" in top
    assert ("Everything is frozen by ada" in top) == (verb == "Unfreeze everything")


async def test_a_damaged_component_hides_no_other_one() -> None:
    world = World(rollout("a"), under_way("b", damage=v1.Damage(problem="cut")), under_way("c"))
    found = await world.drawn("b")
    assert "cut" in found["component-b"]
    assert found.keys() == {"component-b", "component-c", TOP}
    assert "1 waits for a person" in found[TOP]


async def test_damage_is_seen_although_the_component_has_not_changed_and_so_is_its_end() -> None:
    world = World(rollout("a"), rollout("b"))
    await world.drawn()
    world.asked.clear()
    for damage, said in ((v1.Damage(problem="cut"), "cut"), (None, "steady")):
        world.rollouts["a"] = rollout("a", damage=damage)
        world.damaged = {"a", "hidden"} if damage else set()
        found = await world.drawn()
        assert found.keys() == {"component-a", TOP}
        assert said in found["component-a"]
        assert (await world.drawn()).keys() == {TOP}
    assert world.asked == {"a": 2}


async def test_many_changes_at_once_are_read_in_pages() -> None:
    names = [f"c{number:04}" for number in range(600)]
    world = World(*map(rollout, names))
    await world.drawn()
    world.asked.clear()
    found = await world.drawn(*names)
    assert len(found) == 601
    assert world.asked == {"list": 3}


async def test_only_little_is_kept_of_each_component() -> None:
    """Given 200 tabs on 10,000 components, expect tens of megabytes, not gigabytes."""
    world = World(rollout("a"), under_way("b"))
    await world.drawn()
    kept = world.drawing._known
    assert all(isinstance(each, int | tuple | None) for known in kept.values() for each in known)


async def test_a_thousand_components_leave_turns_to_other_tasks() -> None:
    world = World(*(under_way(f"c{number:04}") for number in range(1_000)))
    await world.drawn()
    world.namespace = Namespace()
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(others())
    assert len(await world.drawn()) == 1_001
    other.cancel()
    assert turns > 100


async def test_a_refusal_goes_to_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(rollout("a"))

    async def refuse(*_: object) -> None:
        raise CallError.plain(code_pb2.UNAUTHENTICATED, "revoked")

    monkeypatch.setattr(world, "ask", refuse)
    with pytest.raises(CallError, match="revoked"):
        await world.drawn()
