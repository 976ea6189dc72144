"""The table of one component: for each channel its tag, its share, and how its jobs went. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import counted, one_line
from rampd._standing.outcomes import Count, jobs_of
from rampd._standing.share import failure_rate, percent
from rampd_cli.drawing import palette
from rampd_cli.drawing.bar import bar
from rampd_cli.drawing.columns import GAP, aligned
from rampd_cli.drawing.paragraph import paragraph
from rampd_cli.drawing.screen import Screen
from rampd_cli.drawing.short import shortened

_LEAST_TAG: Final = 12
_WHOLE: Final = 255
_LAYOUTS: Final = ((24, _WHOLE), (12, _WHOLE), (6, _WHOLE), (12, _LEAST_TAG), (6, _LEAST_TAG), (0, _LEAST_TAG))
"""The characters of the bar, and the fewest of a tag. The first that fits is drawn."""


@dataclass(frozen=True, slots=True)
class _Channel:
    name: str
    tag: str
    percent: float
    count: Count | None
    style: str

    @property
    def share(self) -> str:
        return percent(round(self.percent, 2))

    @property
    def failures(self) -> str:
        if self.count is None:
            return ""
        count = self.count
        return f"{count.failures:,} ({failure_rate(count.failures, count.jobs)})" if count.jobs else "-"


def channels(rollout: v1.Rollout, screen: Screen) -> list[Text]:
    """Returns the lines of the table."""
    jobs, of_next = jobs_of(rollout), rollout.next_percent
    found = [_Channel("current", one_line(rollout.current.tag), 100 - of_next, jobs.current, palette.GOOD)]
    if rollout.HasField("next"):
        found.append(_Channel("next", one_line(rollout.next.tag), of_next, jobs.next, palette.MOVES))
    return [*_table(found, screen), *_not_compared(found, screen)]


def _table(found: Sequence[_Channel], screen: Screen) -> list[Text]:
    longest = max(len(each.tag) for each in found)
    for bar_width, least in _LAYOUTS:
        # The tags get what the other columns leave.
        left = screen.width - max(line.cell_len for line in _drawn(found, 0, bar_width, screen)) - GAP
        if left >= min(least, longest):
            return _drawn(found, left, bar_width, screen)
    return list(_stacked(found, screen))


def _drawn(found: Sequence[_Channel], tag_width: int, bar_width: int, screen: Screen) -> list[Text]:
    has_jobs = any(each.count is not None for each in found)
    titles = ("CHANNEL", "TAG" if tag_width else "", "PERCENT", "", *(("JOBS", "FAILED") if has_jobs else ("", "")))
    rows = [[Text(title, style=palette.FAINT) for title in titles]]
    for each in found:
        texts = [(each.name, ""), (shortened(each.tag, tag_width), each.style), (each.share, "")]
        texts.append((bar(each.percent / 100, bar_width, is_ascii=screen.is_ascii), each.style))
        texts += [(f"{each.count.jobs:,}" if each.count else "", ""), (each.failures, "")]
        rows.append([Text(text, style=style) for text, style in texts])
    return aligned(rows, right={2, 4})


def _stacked(found: Sequence[_Channel], screen: Screen) -> Iterator[Text]:
    for each in found:
        yield Text(f"{each.name}  {each.share}")
        yield Text("  ").append(shortened(each.tag, screen.width - 2), each.style)
        yield Text("  ").append(
            bar(each.percent / 100, min(screen.width - 2, 24), is_ascii=screen.is_ascii), each.style
        )
        if each.count is not None:
            said = f"{counted(each.count.jobs, 'job')}, failed: {each.failures}"
            yield from paragraph(said, screen.width, indent=2)


def _not_compared(found: Sequence[_Channel], screen: Screen) -> Iterator[Text]:
    """Jobs that no guard looks at."""
    said = "; ".join(
        f"{counted(each.count.other_jobs, 'job')} of {each.name}, {each.count.other_failures:,} failed"
        for each in found
        if each.count is not None and each.count.other_jobs
    )
    if said:
        why = "Not compared, because the percent did not decide (an override did, for example)"
        yield from paragraph(f"{why}: {said}.", screen.width)
