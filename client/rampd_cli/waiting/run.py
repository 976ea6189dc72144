"""Waits: follows a release, shows each change, and ends when the goal is reached or can't be reached."""

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from rampd import v1
from rampd._contract.wording import one_line
from rampd.errors import DeadlineExceededError, InternalError, NotFoundError, RampdError, ReleaseFailedError
from rampd_cli.advice import after_pause
from rampd_cli.failures import TimedOutError
from rampd_cli.lost import why_lost
from rampd_cli.shown import Shown
from rampd_cli.streams import ending_with_reader
from rampd_cli.waiting.chosen import chosen
from rampd_cli.waiting.goal import Goal
from rampd_cli.waiting.verdict import Verdict, Where, verdict, where_of
from rampd_cli.waiting.views import view_of

if TYPE_CHECKING:
    from rampd_cli.session import Session

_FIND_S: Final = 5.0
"""How long to ask which release is meant. If no server answers by then, there is probably none."""


def wait(
    session: "Session", component: str, text: str, goal: Goal, *, timeout: timedelta | None, keeps_waiting: bool
) -> None:
    """Returns when the goal is reached. Raises ReleaseFailedError, TimedOutError, BrokenPipeError if nobody reads stdout any more, and
    the errors of a call.
    """
    limit_s = None if timeout is None else timeout.total_seconds()
    ends_s = None if limit_s is None else time.monotonic() + limit_s
    find_s = _FIND_S if limit_s is None else min(limit_s, _FIND_S)
    release = chosen(component, list(session.admin().list_releases(component, timeout=find_s)), text)
    last = _followed(session, component, release, goal, ends_s=ends_s, keeps_waiting=keeps_waiting)
    if session.output in {"json", "yaml"}:
        session.show(Shown(last, [], lambda _console: None))


def _followed(
    session: "Session", component: str, release: v1.Release, goal: Goal, *, ends_s: float | None, keeps_waiting: bool
) -> v1.Release:
    last = None
    lost = ""
    with ending_with_reader(), view_of(session, goal) as view:

        def lose(error: RampdError) -> None:
            nonlocal lost
            lost = why_lost(error)
            view.lose(lost)

        states = session.admin().follow_release(
            component,
            release.number,
            until_held=False,
            until_paused=False,
            timeout=None if ends_s is None else max(ends_s - time.monotonic(), 0.001),
            on_lost=lose,
        )
        try:
            for last in states:
                lost = ""
                view.show(last)
                match verdict(last, goal, keeps_waiting=keeps_waiting):
                    case Verdict.REACHED:
                        return last.release
                    case Verdict.FAILED:
                        raise _failed(component, last, goal, session.at)
        except DeadlineExceededError as error:
            raise TimedOutError(_over(component, release, goal, last, lost)) from error
        except NotFoundError as error:
            if last is None:
                raise
            told = f"{_name(component, release)} does not exist any more. {error.message}"
            raise _error(told, error.reason, component, release) from error
    raise InternalError("The server ended the stream before the release ended.")


def _over(component: str, release: v1.Release, goal: Goal, last: v1.WatchReleaseResponse | None, lost: str) -> str:
    name = _name(component, release)
    if lost:
        return f"The time is over, and no server answers, so nobody knows whether {name} is {goal}. {lost}"
    said = f" {one_line(last.message)}" if last else ""
    return f"The time is over, and {name} is not {goal}.{said}"


def _failed(component: str, seen: v1.WatchReleaseResponse, goal: Goal, at: str) -> ReleaseFailedError:
    where = where_of(seen)
    if where in {Where.HELD, Where.PAUSED}:
        told = f"{one_line(seen.message)} To wait until somebody acts: --keep-waiting"
    else:
        told = f"{_name(component, seen.release)} can't be {goal} any more. {one_line(seen.message)}"
    error = _error(told, where, component, seen.release)
    if where is Where.PAUSED:
        for line in after_pause(seen.rollout, at).splitlines():
            error.add_note(line)
    return error


def _error(told: str, reason: str, component: str, release: v1.Release) -> ReleaseFailedError:
    metadata = {"component": component, "release": str(release.number), "tag": release.tag}
    return ReleaseFailedError(told, reason=reason, metadata=metadata)


def _name(component: str, release: v1.Release) -> str:
    return f"{one_line(release.tag)} (release {release.number} of {component})"
