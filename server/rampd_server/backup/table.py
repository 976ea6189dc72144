"""Reads a table that a person has written: which tags each component runs, and the percentage of each.

It is CSV with the columns `component`, `tag` and `percent`, or a line of JSON with these names for each row. A component with one
row runs its tag everywhere. Of two rows, the first is current and the second is next. The rows go through the state machine, as if
somebody had typed Release, Release and Ramp.
"""

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from rampd._contract.grammar import COMPONENT, TAG, shown, word_violation
from rampd_server.backup.lines import About, Content, InputError
from rampd_server.domain.errors import RefusedError
from rampd_server.domain.rollout.commands import Command, Ramp, Release
from rampd_server.domain.rollout.model import FULL, Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition
from rampd_server.domain.wording import ended, percent
from rampd_server.storage.codec import texts

_COLUMNS: Final = ("component", "tag", "percent")
_NOTE: Final = "from a table"
_SHOWN: Final = 20
"""How many mistakes are shown at once."""
_SHARE: Final = re.compile(r"([0-9]{1,3})(?:\.([0-9]{1,2})0*)? *%?")
"""A percentage with at most two decimals, and zeros after them."""


class _Row(NamedTuple):
    line: int
    component: str
    tag: str
    basis_points: int


def read(content: bytes, *, actor: str, now_ms: int) -> Content:
    """Raises InputError with a sentence for each mistake."""
    mistakes: list[str] = []
    by_component: dict[str, list[_Row]] = {}
    for line, fields in _lines_of(content):
        try:
            row = _row(line, fields)
        except ValueError as error:
            mistakes.append(ended(f"Line {line}: {error}"))
        else:
            by_component.setdefault(row.component, []).append(row)
    rollouts = []
    context = Context(now_ms, actor, _NOTE)
    for component, rows in () if mistakes else by_component.items():
        try:
            rollouts.append(_rollout(component, rows, context))
        except (ValueError, RefusedError) as error:
            mistakes.append(f"Line {rows[-1].line}: {component} {error}")
    if not mistakes and not rollouts:
        mistakes.append("The table has no row.")
    if mistakes:
        more = [f"There are {len(mistakes) - _SHOWN} more mistakes."] if len(mistakes) > _SHOWN else []
        raise InputError(*mistakes[:_SHOWN], *more, "Nothing was written. docs/backup.md shows a table.")
    return Content(About("", "", "", now_ms), _NOTE, [(rollout, {}) for rollout in rollouts], is_table=True)


def _lines_of(content: bytes) -> Iterator[tuple[int, Mapping[str, object] | str]]:
    """Yields the number and the fields of each row; a row of JSON as its text. Raises InputError."""
    try:
        text = content.decode("utf-8-sig")
    except ValueError:
        raise _no_table("it is not UTF-8") from None
    if not text.strip():
        raise _no_table("it is empty")
    if text.lstrip().startswith("{"):
        yield from ((number, line) for number, line in enumerate(text.splitlines(), start=1) if line.strip())
        return
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        names = reader.fieldnames or ()
        if sorted(names) == sorted(_COLUMNS):
            yield from ((reader.line_num, fields) for fields in reader)
            return
    except csv.Error as error:
        # The number of the DictReader itself is that of the last row that it has read without a mistake.
        raise _no_table(f"line {reader.reader.line_num} is not CSV: {error}") from error
    raise _no_table(f"its first line is {shown(','.join(names))}")


def _no_table(problem: str) -> InputError:
    return InputError(
        f"The input is neither an export nor a table: {problem}. A table begins with the line {','.join(_COLUMNS)}. Nothing was "
        "written. docs/backup.md shows a table."
    )


def _row(line: int, row: Mapping[str, object] | str) -> _Row:
    """Raises ValueError."""
    fields = texts.read_object(row) if isinstance(row, str) else row
    if sorted(map(str, fields)) != sorted(_COLUMNS) or None in fields.values():
        raise ValueError(f"give {', '.join(_COLUMNS)}, and nothing else.")
    if not all(type(fields[name]) in {str, int} for name in ("component", "tag")):
        # JSON has no other form of 1.10 than 1.1.
        raise ValueError('write the component and the tag in quotation marks, such as "1.10".')
    component, tag, share = (str(fields[name]).strip() for name in _COLUMNS)
    for name, word, value in (("component", COMPONENT, component), ("tag", TAG, tag)):
        if wrong := word_violation(word, value, required=True):
            raise ValueError(f"the {name} {wrong}.")
    return _Row(line, component, tag, _basis_points(share))


def _basis_points(text: str) -> int:
    found = _SHARE.fullmatch(text)
    if found is None or (basis_points := int(found[1] + (found[2] or "").ljust(2, "0"))) > FULL:
        raise ValueError(f"{shown(text)} is not a percentage from 0 to 100 with at most two decimals.")
    return basis_points


def _rollout(component: str, rows: Sequence[_Row], context: Context) -> Rollout:
    """Raises ValueError, RefusedError."""
    if len(rows) > 2:
        raise ValueError("has more than two rows. Give current, and next if there is one.")
    total = sum(row.basis_points for row in rows)
    if total != FULL:
        raise ValueError(f"has {percent(total)} in all, and not 100 %.")
    if len({row.tag for row in rows}) < len(rows):
        raise ValueError(f"has {rows[0].tag} twice.")
    steps: list[Command] = [Release(row.tag) for row in rows]
    if len(rows) == 2 and rows[1].basis_points:
        steps.append(Ramp(rows[1].basis_points))
    rollout: Rollout | Absent = Absent(component)
    for step in steps:
        rollout = transition(rollout, step, context).after
    if not isinstance(rollout, Rollout):
        raise TypeError(f"{component} does not exist after {steps}")
    return rollout
