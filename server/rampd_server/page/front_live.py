"""The front page while somebody looks: which rows to draw again."""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Set
from datetime import UTC, datetime
from typing import Final, NamedTuple

from rampd import v1
from rampd._standing.clock import Clock
from rampd_server.page import front, reading
from rampd_server.page.charts.course import Stretch
from rampd_server.page.live import Patch
from rampd_server.page.person import Person
from rampd_server.page.rendering import fragment
from rampd_server.page.turns import in_turns
from rampd_server.page.verbs import verbs_for_all
from rampd_server.replica.replica import Replica
from rampd_server.rpc.call_error import CallError

_MANY: Final = 100
"""From so many changed components on, all are read at once."""
_PIECE: Final = 10
"""How many rows are drawn before other tasks get a turn. They take about a millisecond."""
_OTHERS: Final = 8
"""How many of the less urgent components that move are drawn at each look, in turn. So each has its jobs after a while."""
TOP: Final = "top"
"""The id of what is said above the rows."""


class _Known(NamedTuple):
    """What is kept of a component between two looks. All of it for each tab would fill the memory."""

    group: int
    place: reading.Place | None


class FrontLive:
    """Draws the rows of changed components, and what is said above them."""

    def __init__(self, person: Person, replica: Replica, may: Mapping[str, bool], *, draws_all: bool = False) -> None:
        """`draws_all`: the page has the buttons of other rights, so each row is drawn again."""
        self._person = person
        self._replica = replica
        self._may = may
        self._known: dict[str, _Known] = {}
        self._courses: dict[str, list[Stretch]] = {}
        """Of the components whose jobs are shown, too."""
        self._draws_all = draws_all
        self._last_other = ""
        """The last of the less urgent ones that was drawn."""
        self._namespace: object = None
        """A freeze of everything is here. It is in every rollout, and a change of none."""
        self._damaged: Set[str] = frozenset()
        """Damage is no change either."""

    async def draw(self, changed: Collection[str] | None) -> list[Patch]:
        """Draws changed components; None: what changes without a change of a component. Raises CallError."""
        if changed is None:
            self._require_confirmed()
        clock = Clock.of_page(datetime.now(UTC))
        for name in changed or ():
            self._courses.pop(name, None)
        if self._namespace is not self._replica.namespace or len(changed or ()) >= _MANY:
            patches = await self._all(set(changed or ()), clock)
        else:
            patches = await self._some(set(self._due() if changed is None else changed), clock)
        everything = reading.freeze_of_everything(self._replica)
        top = front.top((each.group for each in self._known.values()), everything, clock)
        verbs = verbs_for_all(is_frozen=bool(top.frozen), may=self._may)
        return [*patches, Patch(TOP, fragment("top.html", top=top, verbs=verbs))]

    def _require_confirmed(self) -> None:
        """Raises CallError if the store does not confirm what the page shows. While nothing is rolled out, a look asks for nothing, so
        nothing else would say so.
        """
        trouble = self._replica.trouble
        if trouble is not None and not self._replica.is_confirmed:
            raise CallError.of(trouble)

    def _due(self) -> Set[str]:
        """Returns the components to look at although they have not changed."""
        before, self._damaged = self._damaged, set(self._replica.damaged)
        moving = set(reading.moving(each.place for each in self._known.values()))
        self._courses = {name: each for name, each in self._courses.items() if name in moving}
        # Others may be hidden from the person.
        return moving | self._others(moving) | ((before ^ self._damaged) & self._known.keys())

    def _others(self, moving: Set[str]) -> Set[str]:
        names = sorted(name for name, each in self._known.items() if each.place is not None and name not in moving)
        after = bisect_right(names, self._last_other)
        found = [*names[after:], *names[:after]][:_OTHERS]
        self._last_other = found[-1] if found else ""
        return set(found)

    async def _all(self, changed: set[str], clock: Clock) -> list[Patch]:
        """Reads everything. At first it draws the changed components and those that move, if the page has the right buttons; later all
        of them.
        """
        # Taken before the reading, so that a change that comes meanwhile is looked at again.
        namespace, before = self._replica.namespace, self._known
        found = await reading.everything(self._person)
        await self._follow(found.moving.values())
        drawn = None if before or self._draws_all else changed | found.moving.keys()
        self._known, patches = {}, []
        async for each in in_turns(found.rollouts, _PIECE):
            row = self._row(each, clock)
            self._known[each.component] = _Known(row.group, reading.place(each))
            if drawn is None or each.component in drawn:
                patches.append(self._patch(row))
        self._namespace = namespace
        return [*patches, *_gone((before.keys() | changed) - self._known.keys())]

    async def _some(self, names: set[str], clock: Clock) -> list[Patch]:
        patches, gone = [], set(names)
        rollouts = await reading.some(self._person, names)
        await self._follow(rollouts)
        async for each in in_turns(rollouts, _PIECE):
            row = self._row(each, clock)
            self._known[each.component] = _Known(row.group, reading.place(each))
            patches.append(self._patch(row))
            gone.discard(each.component)
        for name in gone:
            self._known.pop(name, None)
        return [*patches, *_gone(gone)]

    async def _follow(self, rollouts: Iterable[v1.Rollout]) -> None:
        """Reads the courses that are not known, as many as are drawn at a look."""
        room = reading.MOST_WITH_JOBS + _OTHERS - len(self._courses)
        new = [each for each in rollouts if each.HasField("next") and each.component not in self._courses]
        self._courses |= await reading.courses(self._person, new[: max(room, 0)])

    def _row(self, rollout: v1.Rollout, clock: Clock) -> front.Row:
        return front.row(rollout, clock, self._courses.get(rollout.component, ()))

    def _patch(self, row: front.Row) -> Patch:
        return Patch(row.key, fragment("row.html", row=row, may=self._may))


def _gone(names: Collection[str]) -> list[Patch]:
    return [Patch(front.key(name), "") for name in sorted(names)]
