"""Following a release until it ends, over one stream after the other. No I/O."""

from collections.abc import Callable

from rampd import v1
from rampd._calls.timeout import checked_timeout
from rampd._contract.release_end import is_reverted
from rampd._runtime.backoff import Backoff, after
from rampd._runtime.backoff import chance as of_the_system
from rampd._verbs.verbs import watch_release
from rampd.errors import (
    DeadlineExceededError,
    RampdError,
    ReleaseFailedError,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
)

_CONNECT_S = 10.0
"""If there is no time-out: how long to try a server that has never answered."""
_BACKOFF = Backoff(first_s=0.1, most_s=2.0)

_ROLLED_OUT = frozenset({v1.RELEASE_STATE_CURRENT, v1.RELEASE_STATE_RETIRED})
_FAILED = frozenset({v1.RELEASE_STATE_ABANDONED, v1.RELEASE_STATE_CANCELLED, v1.RELEASE_STATE_SUPERSEDED})


class Waiting:
    """One wait. `now_s` is always the same monotonic clock."""

    def __init__(
        self,
        component: str,
        release: int,
        *,
        until_held: bool,
        until_paused: bool | None,
        timeout: float | None,
        now_s: float,
        chance: Callable[[], float] = of_the_system,
    ) -> None:
        """Raises InvalidArgumentError."""
        follow = watch_release(component, release, until_held=until_held, until_paused=until_paused)
        self.request = follow.request
        self.response = follow.response
        self._what = f"Release {release} of {component}"
        self._until_held = until_held
        self._until_paused = until_paused
        self._timeout_s = None if timeout is None else checked_timeout(timeout)
        self._began_s = now_s
        self._chance = chance
        self._failures = 0
        self._last = ""

    def left_s(self, now_s: float) -> float | None:
        """Returns the seconds until the time-out, for the next call. Never 0. None without a time-out."""
        return None if self._timeout_s is None else max(0.001, self._began_s + self._timeout_s - now_s)

    def is_over(self, response: v1.WatchReleaseResponse) -> bool:
        """Takes in a response, and returns whether it is the last one."""
        self._failures, self._last = 0, response.message
        return response.release.state in _ROLLED_OUT or bool(
            _failure(response, until_held=self._until_held, until_paused=self._until_paused)
        )

    def pause_s(self, error: RampdError | None, now_s: float) -> float:
        """Returns the seconds to wait before the next stream, after one that ended with `error` (None: without an error).
        Raises the error if another try is useless, and DeadlineExceededError after the time-out.
        """
        if self._timeout_s is not None and now_s >= self._began_s + self._timeout_s - 0.001:
            last = f" Last: {self._last}" if self._last else f" {error.message}" if error else ""
            raise DeadlineExceededError(f"{self._what} has not ended in {self._timeout_s:g} s.{last}") from error
        is_lost = isinstance(error, UnavailableError | DeadlineExceededError) and error.retryable
        if isinstance(error, UnauthenticatedError):
            # A token ends before a long wait does. The next stream has another one, if there is one.
            is_lost = bool(self._last) and not self._failures
        elif isinstance(error, ResourceExhaustedError):
            is_lost = error.retryable
        is_hopeless = not self._last and self._timeout_s is None and now_s >= self._began_s + _CONNECT_S
        if error is not None and (not is_lost or is_hopeless):
            raise error
        pause_s = _BACKOFF.pause_s(self._failures, self._chance)
        if error is not None:
            pause_s = after(error.retry_after_s, pause_s, self._chance)
        self._failures += 1
        left_s = self.left_s(now_s)
        return pause_s if left_s is None else min(pause_s, left_s)


def result_of(last: v1.WatchReleaseResponse, *, until_held: bool, until_paused: bool | None) -> v1.Release:
    """Returns the release of the last response of a wait if it was rolled out, and people did not go back. Raises ReleaseFailedError."""
    if reason := _failure(last, until_held=until_held, until_paused=until_paused):
        raise _failed(last, reason)
    return last.release


def _failure(response: v1.WatchReleaseResponse, *, until_held: bool, until_paused: bool | None) -> str:
    release, rollout = response.release, response.rollout
    if release.state in _FAILED:
        return v1.ReleaseState.Name(release.state).removeprefix("RELEASE_STATE_")
    if release.state == v1.RELEASE_STATE_RETIRED and is_reverted(release):
        return "REVERTED"
    if release.state != v1.RELEASE_STATE_NEXT:
        return ""
    if rollout.state == v1.ROLLOUT_STATE_HELD:
        return "HELD" if until_held else ""
    is_enough = _is_defect(rollout) if until_paused is None else until_paused
    return "PAUSED" if rollout.paused and is_enough else ""


def _is_defect(rollout: v1.Rollout) -> bool:
    """Whether automation paused it because something is wrong."""
    return rollout.pause.cause not in {v1.PAUSE_CAUSE_UNSPECIFIED, v1.PAUSE_CAUSE_APPROVAL}


def _failed(response: v1.WatchReleaseResponse, reason: str) -> ReleaseFailedError:
    release, rollout = response.release, response.rollout
    metadata = {"component": rollout.component, "release": str(release.number), "tag": release.tag}
    if reason == "PAUSED" and rollout.pause.cause:
        metadata["cause"] = v1.PauseCause.Name(rollout.pause.cause).removeprefix("PAUSE_CAUSE_")
    error = ReleaseFailedError(response.message, reason=reason, metadata=metadata)
    error.release, error.rollout = release, rollout
    return error
