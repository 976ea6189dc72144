"""One component on one screen. Pure."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, evidence, one_line
from rampd._standing.clock import Clock
from rampd._standing.evidence import share_of_limit, tone_of
from rampd._standing.failing import Failing, failing_one, told_of_current, told_of_failing
from rampd._standing.plan import steps_of, what_is_next
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
from rampd_cli.drawing import palette
from rampd_cli.drawing.bar import bar
from rampd_cli.drawing.paragraph import labelled, wrapped
from rampd_cli.drawing.screen import Screen
from rampd_cli.status.channels import channels
from rampd_cli.status.known import Detail, Overrides
from rampd_cli.status.last_events import last_events

EVENTS: Final = 5
"""The number of events that are shown."""
_LABEL: Final = 11
_LISTED: Final = 3
_QUARANTINED: Final = 20


def detail(found: Detail, clock: Clock, screen: Screen, *, at: str = "") -> list[Text]:
    """Returns the lines to print. `at`: see `Session.at`."""
    rollout, stands = found.rollout, standing(found.rollout)
    fails = failing_one(rollout, found.usual_rate)
    lines = _head(rollout, stands, clock, screen)
    if rollout.HasField("current"):
        lines += channels(rollout, screen)
    about: list[tuple[str, Iterable[Text]]] = [
        ("Now", _now(found, stands, fails, clock, screen)),
        ("To type", _ways(rollout, screen, at, is_failing=fails is not None)),
        ("Current", (line for text in told_of_current(rollout, clock) for line in _paragraph(text, screen))),
        ("Evidence", _evidence(rollout, screen)),
        ("Plan", _plan(rollout, screen)),
        ("Next", _paragraph(what_is_next(rollout, found.events, clock), screen)),
        ("Frozen", (line for freeze in rollout.freezes for line in _paragraph(frozen(freeze, clock, at=at), screen))),
        ("Attributes", (line for text in _attributes(rollout) for line in _paragraph(text, screen))),
        ("Queue", _paragraph(_tags(rollout.queue), screen)),
        ("Previous", _paragraph(_tags(rollout.previous), screen)),
        ("Quarantine", _paragraph(_quarantined(found), screen)),
        ("Overrides", _paragraph(_overrides(found.overrides), screen)),
        ("History", last_events(found.events[:EVENTS][::-1], clock, screen.width - _LABEL)),
    ]
    for label, parts in about:
        lines += _labelled(label, parts)
    return lines


def _head(rollout: v1.Rollout, stands: Standing, clock: Clock, screen: Screen) -> list[Text]:
    name = one_line(rollout.component)
    parts = [Text(name, palette.TITLE), Text(stands.kind.word, palette.style_of(stands.kind.tone))]
    if stands.since is not None:
        parts.append(Text(f"since {clock.time(stands.since)}, {clock.ago(stands.since)}", palette.FAINT))
    if rollout.revision:
        parts.append(Text(f"revision {rollout.revision}", palette.FAINT))
    head = Text("  ", no_wrap=True).join(parts)
    return [head] if head.cell_len <= screen.width else parts


def _labelled(label: str, lines: Iterable[Text]) -> Iterator[Text]:
    for number_, line in enumerate(lines):
        yield Text().append(f"{'' if number_ else label:{_LABEL}}", palette.FAINT).append_text(line)


def _paragraph(text: str, screen: Screen, style: str = "") -> Iterator[Text]:
    return (Text(line, style=style) for line in wrapped(text, screen.width - _LABEL))


def _ways(rollout: v1.Rollout, screen: Screen, at: str, *, is_failing: bool) -> Iterator[Text]:
    for why, way in (*ways(rollout, at=at), *ways_back(rollout, is_failing=is_failing, at=at)):
        yield from labelled(f"{why}:", way, screen.width - _LABEL, style=palette.TITLE)


def _now(found: Detail, stands: Standing, fails: Failing | None, clock: Clock, screen: Screen) -> Iterator[Text]:
    """What the server says about it. If it says nothing, what the state says. Then, whether next or current fails."""
    text = one_line(said(found.rollout, found.says, clock))
    yield from _paragraph(text, screen, palette.BAD if stands.kind is Kind.DAMAGED else "")
    yield from _paragraph(next_fails(found.rollout), screen, palette.BAD)
    if fails is not None:
        yield from _paragraph(told_of_failing(fails, clock), screen, palette.BAD)


def _evidence(rollout: v1.Rollout, screen: Screen) -> Iterator[Text]:
    if not rollout.HasField("evidence"):
        return
    found = rollout.evidence
    room = min(max(screen.width - _LABEL - 40, 6), 24)
    drawn = bar(share_of_limit(found), room, is_ascii=screen.is_ascii)
    e, most = evidence(found.e, found.limit)
    yield Text().append(drawn, palette.style_of(tone_of(found))).append(f" E is {e}, limit {most}")
    meaning = f"E is the evidence against next. At {most}, next counts as worse."
    yield from _paragraph(meaning, screen, palette.FAINT)
    if found.assignment_mismatches:
        left_out = counted(found.assignment_mismatches, "outcome")
        yield from _paragraph(f"{left_out} left out: they do not match the weights.", screen, palette.WAITS)


def _plan(rollout: v1.Rollout, screen: Screen) -> Iterator[Text]:
    steps = steps_of(rollout)
    if not steps:
        return
    done, now, later = ("+", ">", "-") if screen.is_ascii else ("✓", "▶", "·")
    for step in steps:
        mark, style = (now, palette.TITLE) if step.is_now else (done, palette.FAINT) if step.is_over else (later, "")
        yield from _paragraph(f"{mark} {step.text}", screen, style)
    yield from _paragraph(
        f"{later} current{'' if rollout.policy.auto_finalize else ', when somebody finalizes it'}", screen
    )


def _tags(releases: Sequence[v1.Release]) -> str:
    shown = ", ".join(one_line(release.tag) for release in releases[:_LISTED])
    more = len(releases) - _LISTED
    return f"{len(releases)}: {shown}{f' and {more} more' if more > 0 else ''}" if releases else ""


def _attributes(rollout: v1.Rollout) -> Iterator[str]:
    """What was handed in with the tags of current and next, such as a commit."""
    for channel in ("current", "next"):
        release: v1.Release = getattr(rollout, channel)
        if release.attributes:
            pairs = (f"{one_line(key)}={one_line(value)}" for key, value in sorted(release.attributes.items()))
            yield f"{channel} {one_line(release.tag)}: {', '.join(pairs)}"


def _quarantined(found: Detail) -> str:
    """Names the tags in quarantine, those of current and next first."""
    channels_of = {found.rollout.next.tag: " (next)", found.rollout.current.tag: " (current)"}
    tags = sorted(found.quarantined, key=lambda tag: tag not in channels_of)
    shown = ", ".join(f"{one_line(tag)}{channels_of.get(tag, '')}" for tag in tags[:_QUARANTINED])
    more = len(tags) - _QUARANTINED
    return f"{shown} and {more:,} more" if more > 0 else shown


def _overrides(found: Overrides) -> str:
    count = found.to_current + found.to_next + found.to_tag
    if not count:
        return ""
    kinds = (("to current", found.to_current), ("to next", found.to_next), ("to a tag", found.to_tag))
    said = ", ".join(f"{each:,} {kind}" for kind, each in kinds if each)
    return f"more than {count:,}" if found.is_cut else f"{count:,}: {said}"
