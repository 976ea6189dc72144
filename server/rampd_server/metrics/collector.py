"""Writes a scrape, in pieces: other tasks of the event loop get their turns in between."""

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Final, Protocol

from rampd_server.access.globs import EVERY_COMPONENT, matcher
from rampd_server.domain.errors import RampdError
from rampd_server.metrics import families
from rampd_server.metrics.components import Components, Others, Sources
from rampd_server.metrics.counting import ByComponent, Count, Counts, Histogram, Labels
from rampd_server.metrics.families import FAMILIES, OTHERS, Family
from rampd_server.metrics.shown import Shown
from rampd_server.metrics.text import header, histogram_lines, line, slot_text
from rampd_server.replica.replica import Replica

_AT_ONCE: Final = 64
"""How many texts of components, or lines, are one piece."""
_TURN_S: Final = 0.002
"""How long a scrape may keep the event loop at a time."""
_SETTLE_S: Final = 60.0

Samples = Iterable[tuple[Labels, float]]
Read = Callable[[], Samples]


class Scraped(Protocol):
    """What answers a scrape."""

    def text(self, globs: Sequence[str] = EVERY_COMPONENT) -> AsyncIterator[bytes]:
        """The text of a scrape, in pieces, with the series of the components that one of the globs matches."""


class Collector:
    """The metrics of one process. What counts something is added once; a scrape reads it."""

    def __init__(self, replica: Replica, shown: Shown, sources: Sources) -> None:
        self._replica = replica
        self._shown = shown
        self._sources = sources
        self._components = Components(sources)
        self._reads: dict[Family, Callable[[], Iterable[str]]] = {}
        self._by_component: dict[Family, ByComponent] = {}
        self._settling: list[Callable[[], None]] = []
        self._gate = asyncio.Lock()

    def read(self, family: Family, samples: Read) -> None:
        """Adds a family whose samples are read at each scrape."""
        self._reads[family] = lambda: (line(family, labels, value) for labels, value in samples())

    def read_number(self, family: Family, number: Callable[[], float | None]) -> None:
        """Adds a family of one number; None: there is none now."""

        def samples() -> Iterator[tuple[Labels, float]]:
            value = number()
            if value is not None:
                yield (), value

        self.read(family, samples)

    def count(self, family: Family, counter: Count | Counts) -> None:
        """Adds a counter."""
        if isinstance(counter, Count):
            self.read_number(family, lambda: counter.value)
        else:
            self.read(family, counter.items)

    def histograms(self, family: Family, found: Callable[[], Iterable[tuple[Labels, Histogram]]]) -> None:
        """Adds the histograms of a family."""
        self._reads[family] = lambda: (
            sample for labels, histogram in found() for sample in histogram_lines(family, labels, histogram)
        )

    def count_by_component(self, family: Family, counts: ByComponent, *, settle: Callable[[], None]) -> None:
        """Adds a counter by component that is there also while the copy is not confirmed. `settle` is called before it is read."""
        self._by_component[family] = counts
        self._settling.append(settle)

    async def text(self, globs: Sequence[str] = EVERY_COMPONENT) -> AsyncIterator[bytes]:
        """As `Scraped.text`."""
        sees = seen_by(globs)
        found: defaultdict[Family, list[str]] = defaultdict(list)
        turn = await _Turn.begun(self._gate)
        for family, read in self._reads.items():
            found[family].extend(read())
            await turn.rest()
        await self._settle(turn)
        for family, counts in self._by_component.items():
            for name, slot in counts.items():
                if sees(name):
                    found[family].append(slot_text(family, name, slot))
                await turn.rest()
        if self._replica.is_confirmed:
            await self._of_copy(found, sees, turn)
        for family in FAMILIES:
            if not (samples := found.pop(family, None)):
                continue
            yield header(family).encode()
            for first in range(0, len(samples), _AT_ONCE):
                yield "".join(samples[first : first + _AT_ONCE]).encode()
                await turn.rest()

    async def _of_copy(
        self, found: defaultdict[Family, list[str]], sees: Callable[[str], object], turn: "_Turn"
    ) -> None:
        namespace, now_ms = self._replica.namespace, self._replica.now_ms()
        known = list(self._replica.components())
        others = Others()
        for each in known:
            rollout = each.rollout
            if each.damaged_since_s is not None:
                # Its state is old, and other servers may have read another one. What was counted stays.
                if self._shown.has(rollout.component) and sees(rollout.component):
                    for family, sample in self._components.counted(rollout.component):
                        found[family].append(sample)
            elif not self._shown.has(rollout.component):
                self._components.settle(rollout, now_ms)
                others.add(rollout, namespace, now_ms)
            elif sees(rollout.component):
                for family, sample in self._components.lines(rollout, namespace, now_ms):
                    found[family].append(sample)
            await turn.rest()
        if not sees(OTHERS):
            return
        found[families.COMPONENTS].append(line(families.COMPONENTS, (), len(known)))
        summed = max(0, len(known) - self._shown.count)
        found[families.COMPONENTS_SUMMED].append(line(families.COMPONENTS_SUMMED, (), summed))
        damaged = len(self._replica.damaged)
        found[families.COMPONENTS_DAMAGED].append(line(families.COMPONENTS_DAMAGED, (), damaged))
        for family, sample in (*others.lines(), *self._components.counted(OTHERS)):
            found[family].append(sample)

    async def keep(self) -> None:
        """Forgets from time to time, for ever, what a scrape would not read any more. This is also needed when nobody scrapes."""
        while True:
            await asyncio.sleep(_SETTLE_S)
            await self._settle(await _Turn.begun(self._gate))

    async def _settle(self, turn: "_Turn") -> None:
        """Forgets components that do not exist any more."""
        for settle in self._settling:
            settle()
            await turn.rest()
        for counts in (*self._by_component.values(), *(counts for _, counts in self._sources.counts)):
            counts.settle(self._replica.get)
            await turn.rest()
        self._components.forget(self._replica.get)


class _Turn:
    """The time that a scrape takes at once. All scrapes of a process have one gate, and only one goes through it while the other
    tasks of the event loop have a turn. So many scrapes at once take longer, and nothing else waits for all of them.
    """

    def __init__(self, gate: asyncio.Lock) -> None:
        self._gate = gate
        self._began_s = 0.0

    @classmethod
    async def begun(cls, gate: asyncio.Lock) -> "_Turn":
        turn = cls(gate)
        await turn.rest()
        return turn

    async def rest(self) -> None:
        """Lets other tasks have their turns, if this one has taken long enough."""
        if time.perf_counter() - self._began_s > _TURN_S:
            async with self._gate:
                await asyncio.sleep(0)
            self._began_s = time.perf_counter()


def seen_by(globs: Sequence[str]) -> Callable[[str], object]:
    """Whether a label `component` is for who sees the components that one of the globs matches. `_others` is only for who sees
    every component.
    """
    if "*" in globs:
        return lambda _name: True
    matches = matcher(globs)
    return lambda name: name != OTHERS and matches(name)


def age_s(replica: Replica) -> float | None:
    """The age of the copy; None if there is no copy yet."""
    try:
        return replica.age_s
    except RampdError:
        return None
