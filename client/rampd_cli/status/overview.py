"""All components on one screen: what waits for a person first, then HELD, then what is rolled out, then the steady ones. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd._standing.clock import Clock
from rampd._standing.outcomes import failure_rates, job_counts, jobs_of
from rampd._standing.share import percent
from rampd._standing.standing import Kind, Standing, frozen, next_fails, standing, told, ways, ways_back
from rampd_cli.drawing import palette
from rampd_cli.drawing.bar import bar
from rampd_cli.drawing.columns import GAP, aligned, total, widest
from rampd_cli.drawing.paragraph import labelled, paragraph
from rampd_cli.drawing.screen import Screen
from rampd_cli.drawing.short import shortened
from rampd_cli.status.failing_view import failing_lines

EMPTY: Final = (
    "There is no component here, or none that you may see. Hand in the first tag: rampd release COMPONENT TAG"
)

_INDENT: Final = 4
_STEADY_TAG: Final = 24
_LEAST_TAG: Final = 8
_BETWEEN: Final = 3
"""The spaces between two steady components in a line."""
_GROUPS: Final = ("Waits for a person", "HELD", "Rolling out", "Steady")
_HEADER: Final = ("COMPONENT", "STATE", "CURRENT", "NEXT", "PERCENT", "", "FAILED", "JOBS", "QUEUE", "SINCE")
_RIGHT: Final = (4, 8)
"""The columns of numbers."""


class _Layout(NamedTuple):
    """How much of a row is drawn."""

    tag: int
    """The most characters of a tag."""
    bar: int
    """The characters of the bar."""
    is_wide: bool
    """Whether jobs, queue and time have a column. Otherwise the queue and the time are told beneath the row."""


_LAYOUTS: Final = (
    *(_Layout(24, 12, True), _Layout(24, 8, True)),
    *(_Layout(16, 8, False), _Layout(12, 5, False), _Layout(12, 0, False)),
)
"""From the widest to the narrowest, each with the fewest characters of a tag. The first that fits is drawn, with as many
characters of a tag as fit.
"""
_LONGEST_TAG: Final = 255


@dataclass(frozen=True, slots=True)
class _Row:
    rollout: v1.Rollout
    standing: Standing
    texts: tuple[str, ...]
    """What each column says, except the bar."""

    @property
    def group(self) -> str:
        kind = self.standing.kind
        if kind.waits_for_person:
            return _GROUPS[0]
        if kind is Kind.HELD:
            return _GROUPS[1]
        return _GROUPS[2] if self.rollout.HasField("next") else _GROUPS[3]


def overview(rollouts: Sequence[v1.Rollout], clock: Clock, screen: Screen, *, at: str = "") -> list[Text]:
    """Returns the lines to print. `at`: see `Session.at`."""
    if not rollouts:
        return paragraph(f"{EMPTY}{at}", screen.width)
    rows = sorted((_row(each, clock) for each in rollouts), key=_place)
    steady = [row for row in rows if row.standing.kind is Kind.STEADY]
    others = rows[: len(rows) - len(steady)]
    lines = [
        *_top(rows, clock, screen, at),
        *failing_lines(rollouts, clock, screen, at),
        *_others(others, clock, screen, at),
    ]
    if steady and not (others and others[-1].group == steady[0].group):
        lines += [Text(), Text(steady[0].group, style=palette.TITLE)]
    return [*lines, *_steady(steady, screen, len(lines), at)]


def _place(row: _Row) -> tuple[int, int, str]:
    return _GROUPS.index(row.group), row.standing.kind, row.rollout.component


def _row(rollout: v1.Rollout, clock: Clock) -> _Row:
    found, jobs = standing(rollout), jobs_of(rollout)
    has_next = rollout.HasField("next")
    return _Row(
        rollout,
        found,
        (
            one_line(rollout.component),
            found.kind.word,
            one_line(rollout.current.tag),
            one_line(rollout.next.tag),
            percent(rollout.next_percent) if has_next else "",
            "",
            failure_rates(jobs),
            job_counts(jobs),
            f"{len(rollout.queue)}" if rollout.queue else "",
            clock.age(found.since) if found.since is not None else "",
        ),
    )


def _top(rows: Sequence[_Row], clock: Clock, screen: Screen, at: str) -> Iterator[Text]:
    counts = dict.fromkeys(_GROUPS, 0)
    for row in rows:
        counts[row.group] += 1
    waits = "waits for a person" if counts[_GROUPS[0]] == 1 else "wait for a person"
    words = zip(counts.values(), (waits, "HELD", "rolling out", "steady"), strict=True)
    said = ", ".join(f"{count:,} {word}" for count, word in words if count)
    yield from paragraph(f"{counted(len(rows), 'component')}: {said}.", screen.width)
    everything = next((freeze for row in rows for freeze in row.rollout.freezes if freeze.all), None)
    if everything is not None:
        yield from paragraph(frozen(everything, clock, at=at), screen.width, style=palette.WAITS)


def _others(rows: Sequence[_Row], clock: Clock, screen: Screen, at: str) -> Iterator[Text]:
    """A line for each component that is not steady, and beneath it the reason and what to type."""
    if not rows:
        return
    layout = _layout(rows, screen.width)
    if layout is None:
        drawn = [_stacked(row, screen) for row in rows]
    else:
        header, *lines = aligned([_header(rows, layout), *(_cells(row, layout, screen) for row in rows)], right=_RIGHT)
        yield from (Text(), header)
        drawn = [[line] for line in lines]
    group = ""
    for row, lines in zip(rows, drawn, strict=True):
        if row.group != group:
            group = row.group
            yield from (Text(), Text(group, style=palette.TITLE))
        yield from lines
        yield from _about(row, clock, screen, layout, at)
    if without := sum(row.rollout.HasField("next") and not jobs_of(row.rollout).is_known for row in rows):
        said = f"Of {counted(without, 'rollout')} the jobs are not shown here. See them: rampd status COMPONENT{at}"
        yield from (Text(), *paragraph(said, screen.width))


def _layout(rows: Sequence[_Row], width: int) -> _Layout | None:
    """Returns the widest layout that fits. None: a row needs several lines."""
    needed = [max(map(len, column)) for column in zip(*(row.texts for row in rows), strict=True)]
    needed = [max(size, len(title)) if size else 0 for size, title in zip(needed, _HEADER, strict=True)]
    return next((found for layout in _LAYOUTS if (found := _with_longest_tags(layout, needed, width))), None)


def _with_longest_tags(layout: _Layout, needed: Sequence[int], width: int) -> _Layout | None:
    tag = widest(lambda size: _fits(needed, layout._replace(tag=size), width), layout.tag, _LONGEST_TAG)
    return None if tag is None else layout._replace(tag=tag)


def _fits(needed: Sequence[int], layout: _Layout, width: int) -> bool:
    widths = [min(size, layout.tag) if number in {2, 3} else size for number, size in enumerate(needed)]
    widths[5] = layout.bar
    return GAP + total(widths if layout.is_wide else widths[:7]) <= width


def _header(rows: Sequence[_Row], layout: _Layout) -> list[Text]:
    titles = [
        title if any(row.texts[number] for row in rows) else ""
        for number, title in enumerate(_HEADER if layout.is_wide else _HEADER[:7])
    ]
    titles[0] = " " * GAP + titles[0]
    return [Text(title, style=palette.FAINT) for title in titles]


def _cells(row: _Row, layout: _Layout, screen: Screen) -> list[Text]:
    texts, style = list(row.texts), palette.style_of(row.standing.kind.tone)
    texts[2:4] = (shortened(tag, layout.tag) for tag in texts[2:4])
    if row.rollout.HasField("next"):
        texts[5] = bar(row.rollout.next_percent / 100, layout.bar, is_ascii=screen.is_ascii)
    styles = [palette.TITLE, style, palette.GOOD, palette.MOVES, "", palette.MOVES, "", "", "", ""]
    cells = [Text(text, style=style) for text, style in zip(texts, styles, strict=True)]
    cells[0] = Text(" " * GAP).append_text(cells[0])
    return cells if layout.is_wide else cells[:7]


def _stacked(row: _Row, screen: Screen) -> list[Text]:
    """The lines of a row that does not fit into one."""
    component, word, current, following, share, _, failed, jobs, *_ = row.texts
    width = screen.width - _INDENT
    lines = [*paragraph(component, screen.width, indent=GAP, style=palette.TITLE)]
    lines += paragraph(word, screen.width, indent=_INDENT, style=palette.style_of(row.standing.kind.tone))
    for tag, channel, style in ((current, "current", palette.GOOD), (following, "next", palette.MOVES)):
        if tag:
            lines.append(Text(" " * _INDENT + f"{channel:7}  ").append(shortened(tag, width - 9), style))
    if share:
        drawn = bar(row.rollout.next_percent / 100, max(min(width - 18, 12), 0), is_ascii=screen.is_ascii)
        lines.append(Text(" " * _INDENT + f"percent  {share} ").append(drawn, palette.MOVES))
    lines += [Text(" " * _INDENT + f"{name:7}  {text}") for name, text in (("failed", failed), ("jobs", jobs)) if text]
    return lines


def _about(row: _Row, clock: Clock, screen: Screen, layout: _Layout | None, at: str) -> Iterator[Text]:
    said = told(row.rollout, clock)
    is_told = layout is not None and layout.is_wide and row.standing.kind is Kind.ROLLING_OUT
    waiting = "" if layout is not None and layout.is_wide else _queue(row.rollout)
    sentence = " ".join(filter(None, ("" if is_told else said, waiting)))
    yield from paragraph(sentence, screen.width, indent=_INDENT)
    yield from paragraph(next_fails(row.rollout), screen.width, indent=_INDENT, style=palette.BAD)
    yield from _ways(row, screen, at)


def _ways(row: _Row, screen: Screen, at: str) -> list[Text]:
    """What to type: all in one line, if it fits."""
    each = ways(row.rollout, at=at)
    if next_fails(row.rollout):
        each += ways_back(row.rollout, is_failing=False, at=at)
    line = Text(" " * _INDENT, no_wrap=True)
    line.append_text(Text("   ").join(Text(f"{why}: ").append(way, palette.TITLE) for why, way in each))
    if line.cell_len <= screen.width:
        return [line] if each else []
    return [
        line
        for why, way in each
        for line in labelled(f"{why}:", way, screen.width, indent=_INDENT, style=palette.TITLE)
    ]


def _queue(rollout: v1.Rollout) -> str:
    count = len(rollout.queue)
    return f"{counted(count, 'release')} wait{'s' * (count == 1)} in the queue." if count else ""


def _steady(rows: Sequence[_Row], screen: Screen, lines_before: int, at: str) -> list[Text]:
    """The steady components, several in a line."""
    if not rows:
        return []
    name = max(len(row.texts[0]) for row in rows)
    most = max(min(_STEADY_TAG, screen.width - GAP - name - 1), _LEAST_TAG)
    entries = [(row.texts[0], shortened(row.texts[2], most)) for row in rows]
    tag = max(len(entry[1]) for entry in entries)
    in_line = (screen.width - GAP + _BETWEEN) // (name + 1 + tag + _BETWEEN)
    if not in_line:
        return [line for entry in entries for line in paragraph(" ".join(entry), screen.width, indent=GAP)]
    count = -(-len(entries) // in_line)
    room = count if screen.height is None else max(screen.height - lines_before, 1)
    if count > room:
        count = room - 1
    lines = [_in_line(entries[first : count * in_line : count], name, tag) for first in range(count)]
    if (more := len(entries) - count * in_line) > 0:
        lines += paragraph(f"{more:,} more. All of them: rampd status -o plain{at}", screen.width, indent=GAP)
    return lines


def _in_line(entries: Sequence[tuple[str, str]], name_width: int, tag_width: int) -> Text:
    """A line of steady components. They go down the columns, so that the eye finds a name."""
    line = Text(" " * GAP, no_wrap=True, overflow="ignore")
    for name, tag in entries:
        line.append(f"{name:{name_width}} ").append(f"{tag:{tag_width}}", palette.GOOD).append(" " * _BETWEEN)
    line.rstrip()
    return line
