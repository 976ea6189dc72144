"""One component on one screen. Pure."""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, number, one_line
from rampd_cli.drawing import palette
from rampd_cli.drawing.bar import bar
from rampd_cli.drawing.clock import Clock
from rampd_cli.drawing.columns import aligned
from rampd_cli.drawing.outcomes import Count, jobs_of
from rampd_cli.drawing.paragraph import paragraph, wrapped
from rampd_cli.drawing.screen import Screen
from rampd_cli.drawing.share import failed, percent
from rampd_cli.drawing.short import shortened
from rampd_cli.status.known import Detail, Overrides
from rampd_cli.status.last_events import last_events
from rampd_cli.status.plan import steps_of, what_is_next
from rampd_cli.status.standing import Kind, Standing, frozen, standing, told, ways

EVENTS: Final = 5
"""The number of events that are shown."""
_LABEL: Final = 11
_BARS: Final = (24, 12, 6, 0)
_TAGS: Final = (300, 40, 24, 16, 12)
_LISTED: Final = 3


def detail(found: Detail, clock: Clock, screen: Screen) -> list[Text]:
    """Returns the lines to print."""
    rollout, stands = found.rollout, standing(found.rollout)
    lines = _head(rollout, stands, clock, screen)
    if rollout.HasField("current"):
        lines += _channels(rollout, screen)
    labelled: list[tuple[str, Iterable[Text]]] = [
        ("Now", _now(found, stands, clock, screen)),
        ("To type", (Text(f"{why}: ").append(way, palette.TITLE) for why, way in ways(rollout, stands))),
        ("Evidence", _evidence(rollout, screen)),
        ("Plan", _plan(rollout, screen)),
        ("Next", _paragraph(what_is_next(rollout, found.events, clock), screen)),
        ("Frozen", (line for freeze in rollout.freezes for line in _paragraph(frozen(freeze, clock), screen))),
        ("Queue", _paragraph(_tags(rollout.queue), screen)),
        ("Previous", _paragraph(_tags(rollout.previous), screen)),
        ("Quarantine", _paragraph(", ".join(map(one_line, found.quarantined)), screen)),
        ("Overrides", _paragraph(_overrides(found.overrides), screen)),
        ("History", last_events(found.events[:EVENTS], clock, screen.width - _LABEL)),
    ]
    for label, parts in labelled:
        lines += _labelled(label, parts)
    return lines


def _head(rollout: v1.Rollout, stands: Standing, clock: Clock, screen: Screen) -> list[Text]:
    name = one_line(rollout.component)
    state = Text(stands.kind.word, stands.kind.style)
    if stands.since is not None:
        state.append(f" since {clock.time(stands.since)}, {clock.ago(stands.since)}", palette.FAINT)
    if rollout.revision:
        state.append(f"  revision {rollout.revision}", palette.FAINT)
    head = Text.assemble((name, palette.TITLE), "  ", state)
    return [head] if head.cell_len <= screen.width else [Text(name, palette.TITLE), state]


# The table of the channels.


def _channels(rollout: v1.Rollout, screen: Screen) -> list[Text]:
    jobs, share = jobs_of(rollout), rollout.next_percent
    channels = [("current", rollout.current.tag, 100 - share, jobs.current, palette.GOOD)]
    if rollout.HasField("next"):
        channels.append(("next", rollout.next.tag, share, jobs.next, palette.MOVES))
    for tag_width, bar_width in ((tag, width) for width in _BARS for tag in _TAGS):
        rows = [_header(jobs_known=jobs.is_known)]
        for channel, tag, of_all, count, style in channels:
            drawn = bar(of_all / 100, bar_width, is_ascii=screen.is_ascii)
            texts = [(channel, ""), (shortened(tag, tag_width), style), (_percent(of_all), ""), (drawn, style)]
            texts += [(f"{count.jobs:,}" if count else "", ""), (_failures(count), "")]
            rows.append([Text(text, style=look) for text, look in texts])
        lines = aligned(rows, right={2, 4})
        if max(line.cell_len for line in lines) <= screen.width:
            return [*lines, *_others(channels, screen)]
    return [*_stacked(channels, screen), *_others(channels, screen)]


_Channel = tuple[str, str, float, Count | None, str]


def _header(*, jobs_known: bool) -> list[Text]:
    titles = ("CHANNEL", "TAG", "PERCENT", "", *(("JOBS", "FAILED") if jobs_known else ("", "")))
    return [Text(title, style=palette.FAINT) for title in titles]


def _stacked(channels: Sequence[_Channel], screen: Screen) -> Iterator[Text]:
    for channel, tag, of_all, count, style in channels:
        yield Text(f"{channel}  {_percent(of_all)}")
        yield Text("  ").append(shortened(tag, screen.width - 2), style)
        yield Text("  ").append(bar(of_all / 100, min(screen.width - 2, 24), is_ascii=screen.is_ascii), style)
        if count is not None:
            yield from paragraph(f"{counted(count.jobs, 'job')}, {_failures(count)}", screen.width, indent=2)


def _others(channels: Sequence[_Channel], screen: Screen) -> Iterator[Text]:
    """Jobs that the guards do not compare."""
    said = [
        f"{failed(count.other_failures, count.other_jobs)} of {channel}"
        for channel, _, _, count, _ in channels
        if count is not None and count.other_jobs
    ]
    if said:
        yield from paragraph(f"Not by the percent, but by overrides and the like: {', '.join(said)}.", screen.width)


def _percent(value: float) -> str:
    return percent(round(value, 2))


def _failures(count: Count | None) -> str:
    if count is None:
        return ""
    return failed(count.failures, count.jobs).replace(" failed", "") if count.jobs else "-"


# The lines with a label.


def _labelled(label: str, lines: Iterable[Text]) -> Iterator[Text]:
    for number_, line in enumerate(lines):
        yield Text().append(f"{'' if number_ else label:{_LABEL}}", palette.FAINT).append_text(line)


def _paragraph(text: str, screen: Screen, style: str = "") -> Iterator[Text]:
    return (Text(line, style=style) for line in wrapped(text, screen.width - _LABEL))


def _now(found: Detail, stands: Standing, clock: Clock, screen: Screen) -> Iterator[Text]:
    """What the server says about it. If it says nothing, what the state says."""
    if stands.kind is Kind.UNCONFIRMED:
        said = f"{stands.reason} {found.says}"
    else:
        said = "" if stands.kind is Kind.DAMAGED else found.says
    said = said or told(found.rollout, stands, clock)
    yield from _paragraph(one_line(said), screen, palette.BAD if stands.kind is Kind.DAMAGED else "")


def _evidence(rollout: v1.Rollout, screen: Screen) -> Iterator[Text]:
    if not rollout.HasField("evidence"):
        return
    e, limit = rollout.evidence.e, rollout.evidence.limit
    # On a logarithmic scale, because evidence multiplies with each failure.
    share = math.log(e) / math.log(limit) if e > 1 and limit > 1 else 0.0
    room = min(max(screen.width - _LABEL - 40, 6), 24)
    style = palette.BAD if share >= 1 else palette.WAITS if share >= 0.5 else palette.GOOD
    line = Text().append(bar(share, room, is_ascii=screen.is_ascii), style)
    yield line.append(f" E = {number(e, limit)} of {number(limit, e)}")
    if rollout.evidence.assignment_mismatches:
        left_out = counted(rollout.evidence.assignment_mismatches, "outcome")
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


def _overrides(found: Overrides) -> str:
    count = found.to_current + found.to_next + found.to_tag
    if not count:
        return ""
    kinds = (("to current", found.to_current), ("to next", found.to_next), ("to a tag", found.to_tag))
    said = ", ".join(f"{each:,} {kind}" for kind, each in kinds if each)
    return f"more than {count:,}" if found.is_cut else f"{count:,}: {said}"
