"""Counts how much each identity has used of its limits. Pure: the time is passed in."""

from rampd_server.access.grants import Grant
from rampd_server.domain.errors import LimitExceededError

JOBS_OF_A_CALL = 25
"""This many jobs of a BatchResolve cost a server about as much as one call."""
_ROUNDING_S = 1e-6
"""The error that sums of floats may have. Without it, the last call of a burst could be refused."""


class Rate:
    """A limit for each second, with a burst after a pause: the generic cell rate algorithm (ITU-T I.371). Its state is one
    number.
    """

    __slots__ = ("_burst_s", "_due_s", "_step_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._step_s = 1 / per_s
        self._burst_s = burst / per_s
        self._due_s = 0.0

    def take(self, number: int, now_s: float) -> float:
        """Counts `number` events and returns 0 if the limit allows them now. Otherwise counts nothing, and returns the seconds
        until the limit allows them.
        """
        due_s = max(self._due_s, now_s) + number * self._step_s
        wait_s = due_s - now_s - self._burst_s
        # After a pause, `number` may be larger than the burst. Otherwise such a call would be refused for ever.
        if wait_s > _ROUNDING_S and self._due_s > now_s:
            return wait_s
        self._due_s = due_s
        return 0.0

    def is_full(self, now_s: float) -> bool:
        """Whether the limit does not allow one more event now. Counts nothing."""
        due_s = self._due_s
        return due_s > now_s and due_s + self._step_s - now_s - self._burst_s > _ROUNDING_S

    def add(self, number: int, now_s: float) -> None:
        """Counts `number` events even if they are above the limit. Later events wait longer then."""
        self._due_s = max(self._due_s, now_s) + number * self._step_s


class Quota:
    """How much of a server one identity uses."""

    __slots__ = ("_calls", "_name", "_outcomes", "_streams", "_streams_open")

    def __init__(self, grant: Grant) -> None:
        limits = grant.limits
        self._name = grant.name
        self._calls = Rate(limits.calls_per_s, limits.burst)
        self._outcomes = Rate(limits.outcomes_per_s, limits.outcomes_per_s)
        self._streams = limits.streams
        self._streams_open = 0

    def take_call(self, now_s: float) -> None:
        """Counts a call. Raises LimitExceededError."""
        if wait_s := self._calls.take(1, now_s):
            raise self._exceeded("calls_per_s", "calls a second", wait_s)

    def require_call(self, now_s: float) -> None:
        """Counts nothing. Raises LimitExceededError, if `take_call` would."""
        if self._calls.is_full(now_s):
            self.take_call(now_s)

    def add_jobs(self, number: int, now_s: float) -> None:
        """Counts the jobs of a call that was counted already. Never refuses the call: a batch that is larger than the burst would
        be refused for ever.
        """
        self._calls.add(number // JOBS_OF_A_CALL, now_s)

    def take_outcomes(self, number: int, now_s: float) -> None:
        """Counts outcomes. Raises LimitExceededError."""
        if wait_s := self._outcomes.take(number, now_s):
            raise self._exceeded("outcomes_per_s", "outcomes a second", wait_s)

    def open_stream(self) -> None:
        """Counts an open stream, until `close_stream`. Raises LimitExceededError."""
        if self._streams_open >= self._streams:
            raise self._exceeded("streams", "open streams", 1.0)
        self._streams_open += 1

    def close_stream(self) -> None:
        self._streams_open -= 1

    def _exceeded(self, limit: str, what: str, wait_s: float) -> LimitExceededError:
        return LimitExceededError(
            f"{self._name} has used up its {what}. Try again in {wait_s:.3g} s. The limit is `limits.{limit}` of the grant "
            "in the access file.",
            limit=limit,
            retry_after_s=wait_s,
        )


class Quotas:
    """The quota of each identity."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Grant, Quota]] = {}

    def of(self, grant: Grant) -> Quota:
        """Returns the quota of a grant's identity. If the limits have changed, the identity gets a new quota."""
        found = self._of.get(grant.name)
        if found is None or (found[0] is not grant and found[0].limits != grant.limits):
            found = self._of[grant.name] = (grant, Quota(grant))
        return found[1]
