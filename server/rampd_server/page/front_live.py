"""The front page while somebody looks: which rows to draw again."""

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Final

from rampd import v1
from rampd._standing.clock import Clock
from rampd_server.page import front, reading
from rampd_server.page.front import Row
from rampd_server.page.live import Patch
from rampd_server.page.person import Person
from rampd_server.page.rendering import fragment
from rampd_server.page.verbs import verbs_for_all
from rampd_server.replica.replica import Replica

_MANY: Final = 100
"""From so many changed components on, all are read at once."""
TOP: Final = "top"
"""The id of what is said above the rows."""


class FrontLive:
    """Draws the rows of changed components, and what is said above them."""

    def __init__(self, person: Person, replica: Replica, may: Mapping[str, bool]) -> None:
        self._person = person
        self._replica = replica
        self._may = may
        self._known: dict[str, v1.Rollout] = {}
        """All components, as they were read last."""
        self._rows: dict[str, Row] = {}
        self._namespace: object = None
        """A freeze of everything is here. It is in every rollout, and a change of none."""

    async def draw(self, changed: Collection[str] | None) -> list[Patch]:
        """Draws changed components; None: what changes without a change of a component. Raises CallError."""
        clock = Clock(datetime.now(UTC), is_utc=True)
        names = set(changed or ())
        if self._namespace is not self._replica.namespace or len(names) >= _MANY:
            known = {each.component: each for each in await reading.everything(self._person)}
            shown = set(known) if self._known else {*names, *reading.moving(known.values())}
            self._namespace = self._replica.namespace
        else:
            shown = names if changed is not None else set(reading.moving(self._known.values()))
            found = {each.component: each for each in await reading.some(self._person, shown)}
            known = {name: each for name, each in self._known.items() if name not in shown} | found
        gone = (self._known.keys() | names) - known.keys()
        self._rows = {
            name: front.row(each, clock) if name in shown else self._row(each, clock) for name, each in known.items()
        }
        self._known = known
        patches = [self._patch(name) for name in shown if name in known]
        patches += [Patch(front.key(name), "") for name in gone]
        top = front.top(list(known.values()), list(self._rows.values()), clock)
        verbs = verbs_for_all(is_frozen=bool(top.frozen), may=self._may)
        return [*patches, Patch(TOP, fragment("top.html", top=top, verbs=verbs))]

    def _row(self, rollout: v1.Rollout, clock: Clock) -> Row:
        return self._rows.get(rollout.component) or front.row(rollout, clock)

    def _patch(self, name: str) -> Patch:
        row = self._rows[name]
        return Patch(row.key, fragment("row.html", row=row, may=self._may))
