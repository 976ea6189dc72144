"""`rampd explain`: how an explanation is written."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from rampd import v1
from rampd._contract.wording import one_line
from rampd._standing.clock import Clock
from rampd._standing.explanation import Explanation, outcome, why, would
from rampd_cli.drawing import palette
from rampd_cli.drawing.screen import print_lines
from rampd_cli.drawing.short import shortened
from rampd_cli.explaining.comparison import Asked, age, difference, message
from rampd_cli.shown import Shown, as_data

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from rampd._decision.resolution import Resolution

_TAG: Final = 40


def shown(known: Explanation, asked: Sequence[Asked], clock: Clock, *, is_for_programs: bool) -> Shown:
    """Returns an explanation, with the answer of each server."""
    data = _data(known, asked, clock) if is_for_programs else {}
    return Shown(data, _rows(known, asked, clock), lambda console: _draw(known, asked, clock, console))


def _rows(known: Explanation, asked: Sequence[Asked], clock: Clock) -> Iterator[tuple[str, ...]]:
    yield ("computed", *_cells(known.answer), "", f"{why(known, clock)} {would(known)}")
    for each in asked:
        answer = each.answer
        cells = ("",) * 7 if isinstance(answer, Exception) else (*_cells(answer), "yes" if answer.stale else "no")
        yield (each.server, *cells, difference(known, each))


def _cells(answer: "Resolution") -> tuple[str, ...]:
    bucket = "" if answer.bucket is None else str(answer.bucket)
    return answer.tag, answer.channel or "", answer.reason, str(answer.release), bucket, str(answer.revision)


def _data(known: Explanation, asked: Sequence[Asked], clock: Clock) -> dict[str, Any]:
    rollout = known.rollout
    state = v1.Rollout(state=rollout.state, next_percent=rollout.next_percent, unit=rollout.unit)
    data: dict[str, Any] = {
        "component": rollout.component,
        "repo": known.repo,
        "jobId": known.job_id,
        "rollout": as_data(state),
        "answer": as_data(message(known.answer, has_age=False)),
        "why": why(known, clock),
        "would": would(known),
    }
    if known.override is not None:
        data["override"] = as_data(known.override)
    if known.next_from_percent is not None:
        data["nextFromPercent"] = known.next_from_percent
    data["servers"] = [_server(known, each) for each in asked]
    return data


def _server(known: Explanation, asked: Asked) -> dict[str, Any]:
    answer = asked.answer
    found: dict[str, Any] = {"server": asked.server}
    if isinstance(answer, Exception):
        found["error"] = {"reason": answer.reason, "message": answer.message, "metadata": answer.metadata}
    else:
        found["answer"] = as_data(message(answer))
    found["difference"] = difference(known, asked)
    return found


def _draw(known: Explanation, asked: Sequence[Asked], clock: Clock, console: "Console") -> None:
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    from rampd_cli.drawing.columns import aligned  # noqa: PLC0415
    from rampd_cli.drawing.paragraph import paragraph  # noqa: PLC0415

    lines = paragraph(outcome(known), console.width, style=palette.TITLE)
    lines += paragraph(why(known, clock), console.width)
    lines += paragraph(would(known), console.width)
    lines.append(Text())
    header = [
        Text(title, style=palette.FAINT) for title in ("SERVER", "TAG", "REASON", "BUCKET", "REVISION", "AGE", "")
    ]
    lines += aligned([header, *(_line(known, each) for each in asked)], right={3, 4})
    for each in asked:
        if told := difference(known, each):
            lines += paragraph(f"{one_line(each.server)}: {told}.", console.width, style=palette.BAD)
    print_lines(console, lines)


def _line(known: Explanation, asked: Asked) -> "list[Text]":
    from rich.text import Text  # noqa: PLC0415 - a pipe needs no rich

    answer = asked.answer
    server = Text(one_line(asked.server))
    if isinstance(answer, Exception):
        return [server, *(Text("-") for _ in range(5)), Text("no answer", style=palette.BAD)]
    is_same = not difference(known, asked)
    return [
        server,
        Text(shortened(answer.tag, _TAG)),
        Text(answer.reason),
        Text("-" if answer.bucket is None else str(answer.bucket)),
        Text(str(answer.revision)),
        Text(f"{age(answer)}, stale", style=palette.WAITS) if answer.stale else Text(age(answer)),
        Text("agrees", style=palette.GOOD) if is_same else Text("differs", style=palette.BAD),
    ]
