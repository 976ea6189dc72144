"""One component, as its page shows it. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from rampd import v1
from rampd._contract.wording import counted, evidence
from rampd._standing.clock import Clock, as_datetime
from rampd._standing.evidence import share_of_limit, tone_of
from rampd._standing.explanation import outcome, why, would
from rampd._standing.failing import failing_one, told_of_current, told_of_failing
from rampd._standing.outcomes import Count, Jobs, jobs_of
from rampd._standing.plan import PlanStep, is_driven, steps_of, what_is_next
from rampd._standing.share import failure_rate, percent
from rampd._standing.standing import (
    Kind,
    Standing,
    frozen,
    next_fails,
    said,
    standing,
    ways,
    ways_back,
)
from rampd_server.page.component.asked import Asked
from rampd_server.page.component.blast import Blast, blast
from rampd_server.page.component.entries import Entry, entry
from rampd_server.page.component.figure import Figure
from rampd_server.page.component.known import Explained, Known
from rampd_server.page.component.lists import (
    Listing,
    OverrideRow,
    QuarantineRow,
    Waiting,
    override_row,
    quarantined,
    waiting,
)
from rampd_server.page.component.settings import Setting, settings
from rampd_server.page.verbs import Button, May, entry_button, verbs_for

_BEGAN: Final = {
    Kind.HELD: "HELD",
    Kind.FROZEN: "Frozen",
    Kind.ROLLING_OUT: "Became next",
    Kind.STEADY: "Became current",
}
"""What began when it began to stand like this."""


@dataclass(frozen=True, slots=True)
class Head:
    """What the page begins with."""

    name: str
    word: str
    tone: str
    since: datetime | None
    began: str
    """What began then."""
    revision: int
    current: str
    next: str
    """Empty: there is none."""
    percent: str
    share: float
    """That of next, 0 to 100."""
    title: str
    icon: str
    verbs: tuple[Button, ...]
    """What this person can do now."""


@dataclass(frozen=True, slots=True)
class Now:
    """What is going on, and what a person can do."""

    said: str
    fails: tuple[str, ...]
    """Says that next fails, and that current does."""
    current: tuple[str, ...]
    """How the jobs of current went, in sentences."""
    coming: str
    """What comes next, and when."""
    freezes: tuple[str, ...]
    ways: tuple[tuple[str, str], ...]
    """What to type, and what for."""
    troubles: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Channel:
    """One of the two versions, with the jobs of the present trial."""

    name: str
    tag: str
    percent: str
    jobs: str
    failures: str
    rate: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Strength:
    """How strong the evidence against next is."""

    e: str
    limit: str
    share: float
    """Of the way to the limit, 0 to 100."""
    tone: str
    left_out: str
    later: str
    """Why E is another one than in the sentence about the hold. Empty if nothing is held."""
    reporters: int


@dataclass(frozen=True, slots=True)
class Plan:
    """The steps, and what follows them."""

    steps: tuple[PlanStep, ...]
    end: str


@dataclass(frozen=True, slots=True)
class Answer:
    """The rule and the version of a repo."""

    sentences: tuple[str, ...]
    refusal: str


@dataclass(frozen=True, slots=True)
class View:
    """The whole page."""

    head: Head
    now: Now
    figure: Figure | None
    """None: the rollout can't be read."""
    blast: Blast | None
    channels: tuple[Channel, ...]
    not_compared: str
    """The jobs that no guard looks at. Empty if there are none."""
    evidence: Strength | None
    plan: Plan | None
    queue: tuple[Waiting, ...]
    previous: tuple[Waiting, ...]
    answer: Answer | None
    overrides: tuple[OverrideRow, ...]
    overrides_end: Listing
    quarantine: tuple[QuarantineRow, ...]
    more_quarantine: str
    """How many more tags are in quarantine. Empty: none."""
    policy: tuple[Setting, ...]
    history: tuple[Entry, ...]
    history_end: Listing


def view(known: Known, charts: Figure | None, asked: Asked, clock: Clock, may: May) -> View:
    """Returns what the page shows to a person who may do some things. `charts` come from `figure`, because they take longest."""
    rollout, lasting = known.rollout, known.lasting
    stands = standing(rollout)
    is_readable = rollout.HasField("current")
    return View(
        head=_head(known, stands, may),
        now=_now(known, clock),
        figure=charts,
        blast=blast(rollout, known.release, lasting.reach, lasting.highest),
        channels=tuple(_channels(rollout)),
        not_compared=_not_compared(jobs_of(rollout)),
        evidence=_evidence(rollout),
        plan=_plan(rollout),
        queue=tuple(
            waiting(each, entry_button("CancelRelease", rollout, may, release=str(each.number)))
            for each in rollout.queue
        ),
        previous=tuple(waiting(each) for each in rollout.previous),
        answer=None if lasting.explained is None else _answer(lasting.explained, clock),
        overrides=tuple(
            override_row(each, entry_button("DeleteOverride", rollout, may, repo=each.repo))
            for each in lasting.overrides.overrides
        ),
        overrides_end=Listing(
            lasting.overrides.refusal,
            _link(asked, "overrides", lasting.overrides.token, "overrides"),
            f"{asked.link(overrides='')}#overrides" if asked.overrides else "",
        ),
        quarantine=tuple(quarantined(rollout, lasting.quarantine.tags, may)),
        more_quarantine=f"{lasting.quarantine.others:,}" if lasting.quarantine.others else "",
        policy=tuple(settings(lasting.policy, rollout.policy)) if is_readable else (),
        history=tuple(map(entry, lasting.history.events)),
        history_end=Listing(
            lasting.history.refusal,
            f"{asked.link(before=lasting.history.token, event='')}#history" if lasting.history.token else "",
            "" if asked.is_history_newest else f"{asked.link(before='', event='')}#history",
        ),
    )


def _link(asked: Asked, name: str, token: str, section: str) -> str:
    return f"{asked.link(**{name: token})}#{section}" if token else ""


def _head(known: Known, stands: Standing, may: May) -> Head:
    rollout = known.rollout
    waits = stands.kind.waits_for_person
    word = stands.kind.word
    is_held = stands.kind is Kind.HELD
    return Head(
        name=rollout.component,
        word=word,
        tone=stands.kind.tone,
        since=None if stands.since is None else as_datetime(stands.since),
        began=_BEGAN.get(stands.kind, "Paused"),
        revision=rollout.revision,
        current=rollout.current.tag,
        next=rollout.next.tag,
        percent=percent(rollout.next_percent) if rollout.HasField("next") else "",
        share=rollout.next_percent,
        title=f"{f'{word}: ' if waits or is_held else ''}{rollout.component} · rampd",
        icon="icon-held.svg" if is_held else "icon-waits.svg" if waits else "icon.svg",
        verbs=tuple(verbs_for(rollout, may, is_driven=is_driven(known.lasting.newest))),
    )


def _now(known: Known, clock: Clock) -> Now:
    rollout = known.rollout
    fails = failing_one(rollout, known.lasting.usual_rate)
    # While it is frozen, automation waits for nothing else, and the freeze says more.
    is_frozen = rollout.frozen and rollout.state == v1.ROLLOUT_STATE_ROLLING_OUT and not rollout.paused
    goes_on = said(rollout, "" if is_frozen else known.says, clock)
    freezes = (frozen(freeze, clock) for freeze in rollout.freezes)
    typed = [*ways(rollout), *ways_back(rollout, is_failing=fails is not None)]
    return Now(
        said=goes_on,
        fails=tuple(filter(None, (next_fails(rollout), "" if fails is None else told_of_failing(fails, clock)))),
        current=tuple(told_of_current(rollout, clock)),
        coming=what_is_next(rollout, known.lasting.newest, clock),
        freezes=tuple(each for each in freezes if each not in goes_on),
        ways=tuple(typed),
        troubles=tuple(known.troubles),
    )


def _channels(rollout: v1.Rollout) -> Iterator[Channel]:
    if not rollout.HasField("current"):
        return
    jobs = jobs_of(rollout)
    has_next = rollout.HasField("next")
    yield _channel("current", rollout.current, 100 - rollout.next_percent, jobs.current)
    if has_next:
        yield _channel("next", rollout.next, rollout.next_percent, jobs.next)


def _channel(name: str, release: v1.Release, share: float, count: Count | None) -> Channel:
    return Channel(
        name=name,
        tag=release.tag,
        percent=percent(round(share, 2)),
        jobs="" if count is None else f"{count.jobs:,}",
        failures="" if count is None else f"{count.failures:,}",
        rate="" if count is None else failure_rate(count.failures, count.jobs),
        attributes=tuple(sorted(release.attributes.items())),
    )


def _not_compared(jobs: Jobs) -> str:
    return "; ".join(
        f"{counted(count.other_jobs, 'job')} of {name}, {count.other_failures:,} failed"
        for name, count in (("current", jobs.current), ("next", jobs.next))
        if count is not None and count.other_jobs
    )


def _evidence(rollout: v1.Rollout) -> Strength | None:
    if not rollout.HasField("evidence"):
        return None
    found = rollout.evidence
    e, limit = evidence(found.e, found.limit)
    mismatches = found.assignment_mismatches
    return Strength(
        e=e,
        limit=limit,
        share=round(min(100 * share_of_limit(found), 100.0), 1),
        tone=tone_of(found),
        later="Jobs that ended after it was held count, too." if rollout.state == v1.ROLLOUT_STATE_HELD else "",
        left_out=f"{counted(mismatches, 'outcome')} left out: they do not match the weights." if mismatches else "",
        reporters=found.reporters,
    )


def _plan(rollout: v1.Rollout) -> Plan | None:
    steps = steps_of(rollout)
    if not steps:
        return None
    return Plan(tuple(steps), "current" if rollout.policy.auto_finalize else "current, when somebody finalizes it")


def _answer(explained: Explained, clock: Clock) -> Answer:
    known = explained.explanation
    if known is None:
        return Answer((), explained.refusal)
    sentences = [outcome(known), why(known, clock), would(known)]
    found = explained.answer
    if found is not None and not known.are_jobs_apart and found.tag != known.answer.tag:
        reason = v1.ResolveReason.Name(found.reason).removeprefix("RESOLVE_REASON_")
        sentences.append(
            f"This server answers {found.tag} ({reason}), of revision {found.revision}. A change may have come in between, or "
            "the server's state is old. Ask again."
        )
    return Answer(tuple(filter(None, sentences)), "")
