"""Draws which currents fail. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from rich.text import Text

from rampd import v1
from rampd._contract.wording import one_line
from rampd._standing.clock import Clock
from rampd._standing.failing import FAILS, failing, told
from rampd_cli.drawing import palette
from rampd_cli.drawing.columns import GAP, aligned
from rampd_cli.drawing.paragraph import labelled, paragraph
from rampd_cli.drawing.screen import Screen

_MOST: Final = 10
"""How many components are named."""
_INDENT: Final = 4


def failing_lines(rollouts: Sequence[v1.Rollout], clock: Clock, screen: Screen, at: str) -> list[Text]:
    """Names the components whose current fails: a bad version may have become current, or current may have turned bad. `at`: see
    `Session.at`.
    """
    found = failing(rollouts)
    if not found:
        return []
    rows = [
        [
            Text(" " * GAP).append(one_line(each.rollout.component), palette.TITLE),
            Text(one_line(each.rollout.current.tag), style=palette.GOOD),
            Text(told(each, clock)),
        ]
        for each in found[:_MOST]
    ]
    lines = aligned(rows)
    if max(line.cell_len for line in lines) > screen.width:
        lines = [line for name, *rest in rows for line in _under_each_other(name, rest, screen)]
    if (more := len(found) - _MOST) > 0:
        lines += paragraph(f"{more:,} more. The counts of all: rampd status -o plain{at}", screen.width, indent=GAP)
    way = f"rampd status {one_line(found[0].rollout.component)}{at}"
    lines += labelled("to look closer:", way, screen.width, indent=_INDENT, style=palette.TITLE)
    return [Text(), *paragraph(FAILS, screen.width, style=palette.BAD), *lines]


def _under_each_other(name: Text, rest: Sequence[Text], screen: Screen) -> Iterator[Text]:
    yield from paragraph(name.plain.strip(), screen.width, indent=GAP, style=palette.TITLE)
    for each in rest:
        yield from paragraph(each.plain, screen.width, indent=_INDENT)
