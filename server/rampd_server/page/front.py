"""All components, as the front page shows them: what waits for a person first, the steady ones last. Pure."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rampd import v1
from rampd._contract.wording import counted, evidence
from rampd._standing.clock import Clock, as_datetime
from rampd._standing.evidence import share_of_limit
from rampd._standing.outcomes import Count, jobs_of
from rampd._standing.share import failure_rate, percent
from rampd._standing.standing import Kind, frozen, next_fails, standing, told
from rampd_server.page.charts.axis import axis_of
from rampd_server.page.charts.course import Stretch
from rampd_server.page.charts.percent import small_line

_HEADINGS: Final = ("Waits for a person", "HELD", "Rolling out", "Paused", "Frozen", "Steady")
_MOST_OF_FILTER: Final = 300
"""How much of a filter is looked at. Each of its words is looked for in each row, and all of them in one turn of the event loop."""
_GROUP_OF = {Kind.HELD: 1, Kind.ROLLING_OUT: 2, Kind.PAUSED: 3, Kind.FROZEN: 4, Kind.STEADY: 5}


@dataclass(frozen=True, slots=True)
class Row:
    """One component."""

    name: str
    group: int
    """The index of its heading."""
    word: str
    tone: str
    said: str
    """Why it stands like this. Empty if there is nothing to say."""
    current: str
    next: str
    """Empty: there is none."""
    percent: str
    share: float
    """That of next, 0 to 100."""
    line: str
    """The percent over time, as the commands of an SVG path. Empty: it is not known."""
    failed_current: str
    failed_next: str
    evidence: str
    """`E 12 of 100`. Over its limit, its size says nothing more: `E over its limit 100`. Empty without evidence."""
    evidence_share: float
    """How near the evidence is to its limit, 0 to 100, on a logarithmic scale."""
    queue: int
    since: datetime | None
    revision: int
    can_confirm: bool
    """Whether a Ramp waits for its Confirm."""
    can_roll_back: bool
    """Whether next may get a part of the jobs."""
    can_revert: bool
    """Whether there is a version to go back to."""

    @property
    def key(self) -> str:
        """The id of the row in the page."""
        return key(self.name)

    @property
    def text(self) -> str:
        """What a filter looks at, in small letters."""
        return f"{self.name} {self.current} {self.next} {self.word}".lower()

    def has(self, words: Collection[str]) -> bool:
        """Whether a filter keeps the row: each of its words is in the text."""
        text = self.text
        return all(word in text for word in words)

    @property
    def order(self) -> str:
        """Rows are sorted by this text."""
        return f"{self.group}-{self.name}"


@dataclass(frozen=True, slots=True)
class Group:
    """The rows under one heading."""

    heading: str
    rows: Sequence[Row]
    is_shown: bool
    """Whether the filter keeps any of them."""


@dataclass(frozen=True, slots=True)
class Top:
    """What is said above the rows."""

    counts: str
    """`12 components: 1 HELD, 11 steady.`"""
    frozen: str
    """Says that everything is frozen. Empty if it is not."""
    held: int
    waiting: int
    """How many wait for a person."""

    @property
    def title(self) -> str:
        """The title of the page. It says HELD, because a person looks at it among many."""
        parts = (f"{self.held} HELD" if self.held else "", f"{self.waiting} waiting" if self.waiting else "")
        said = ", ".join(filter(None, parts))
        return f"{said} · rampd" if said else "rampd"

    @property
    def icon(self) -> str:
        """The file of the icon."""
        return "icon-held.svg" if self.held else "icon-waits.svg" if self.waiting else "icon.svg"


def filter_of(asked: str) -> str:
    """Returns the filter that an address asks for. Of a very long one, the beginning."""
    return asked.strip()[:_MOST_OF_FILTER]


def words_of(text: str) -> frozenset[str]:
    """Returns the words of a filter, in small letters."""
    return frozenset(text.lower().split())


def key(component: str) -> str:
    """Returns the id of a component's row."""
    return f"component-{component}"


def row(rollout: v1.Rollout, clock: Clock, course: Sequence[Stretch] = ()) -> Row:
    """Returns the row of one component. `course`: that of its next. Empty: not known."""
    stands, jobs = standing(rollout), jobs_of(rollout)
    e = rollout.evidence if rollout.HasField("evidence") else None
    return Row(
        name=rollout.component,
        group=0 if stands.kind.waits_for_person else _GROUP_OF[stands.kind],
        word=stands.kind.word,
        tone=stands.kind.tone,
        said=" ".join(filter(None, (told(rollout, clock), next_fails(rollout)))),
        current=rollout.current.tag,
        next=rollout.next.tag,
        percent=percent(rollout.next_percent) if rollout.HasField("next") else "",
        share=rollout.next_percent,
        line=small_line(course, axis_of(rollout, "", clock.now), clock.now) if course else "",
        failed_current=_failed(jobs.current),
        failed_next=_failed(jobs.next),
        evidence=_evidence(e) if e else "",
        evidence_share=100 * min(share_of_limit(e), 1.0) if e else 0.0,
        queue=len(rollout.queue),
        since=None if stands.since is None else as_datetime(stands.since),
        revision=rollout.revision,
        can_confirm=rollout.HasField("confirm_deadline"),
        can_roll_back=rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT,
        can_revert=any(each.tag != rollout.current.tag for each in rollout.previous),
    )


def grouped(rows: Iterable[Row], shown: Collection[str]) -> list[Group]:
    """Returns the rows under all headings, in order. `shown`: the names of those that the filter keeps."""
    of: list[list[Row]] = [[] for _ in _HEADINGS]
    for each in sorted(rows, key=lambda row: row.order):
        of[each.group].append(each)
    return [
        Group(heading, here, any(each.name in shown for each in here))
        for heading, here in zip(_HEADINGS, of, strict=True)
    ]


def top(groups: Iterable[int], everything: v1.FreezeStatus | None, clock: Clock) -> Top:
    """Returns what is said about all of them: the group of each, and the freeze of everything if there is one."""
    found = Counter(groups)
    words = (
        ("waits" if found[0] == 1 else "wait") + " for a person",
        "HELD",
        "rolling out",
        "paused",
        "frozen",
        "steady",
    )
    said = ", ".join(f"{found[group]:,} {word}" for group, word in enumerate(words) if found[group])
    return Top(
        counts=f"{counted(found.total(), 'component')}: {said}." if found else "",
        frozen="" if everything is None else frozen(everything, clock),
        held=found[1],
        waiting=found[0],
    )


def _evidence(found: v1.Evidence) -> str:
    e, limit = evidence(found.e, found.limit)
    return f"E over its limit {limit}" if found.e > found.limit else f"E {e} of {limit}"


def _failed(count: Count | None) -> str:
    return "" if count is None or not count.jobs else failure_rate(count.failures, count.jobs)
