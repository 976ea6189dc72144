"""What each identity has used of its limits, as rates over time. Pure: the time is passed in."""

from rampd_server.access.grants import Grant
from rampd_server.domain.errors import LimitExceededError

JOBS_OF_A_CALL = 25
"""As many jobs of a BatchResolve cost a server about as much as one call."""
_ROUNDING_S = 1e-6
"""What sums of floats may be off by: the last call of a burst is none too many."""


class Rate:
    """So many a second, and a burst after a pause: the generic cell rate algorithm (ITU-T I.371), one number of state."""

    __slots__ = ("_burst_s", "_due_s", "_step_s")

    def __init__(self, per_s: float, burst: float) -> None:
        self._step_s = 1 / per_s
        self._burst_s = burst / per_s
        self._due_s = 0.0

    def take(self, number: int, now_s: float) -> float:
        """0 where so many may come now, and they count; otherwise the seconds until they may, and nothing counts."""
        due_s = max(self._due_s, now_s) + number * self._step_s
        wait_s = due_s - now_s - self._burst_s
        # More at once than the burst holds may come when nothing else has for a while.
        if wait_s > _ROUNDING_S and self._due_s > now_s:
            return wait_s
        self._due_s = due_s
        return 0.0

    def add(self, number: int, now_s: float) -> None:
        """Counts so many, whether they may come or not. Those after them wait for it."""
        self._due_s = max(self._due_s, now_s) + number * self._step_s


class Quota:
    """What one identity uses of a server."""

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

    def add_jobs(self, number: int, now_s: float) -> None:
        """Counts the jobs of a call that was counted already. The call itself goes on: only a burst could refuse it, and then
        it would be refused for ever.
        """
        self._calls.add(number // JOBS_OF_A_CALL, now_s)

    def take_outcomes(self, number: int, now_s: float) -> None:
        """Counts outcomes. Raises LimitExceededError."""
        if wait_s := self._outcomes.take(number, now_s):
            raise self._exceeded("outcomes_per_s", "outcomes a second", wait_s)

    def open_stream(self) -> None:
        """Counts an open stream; end it with `close_stream`. Raises LimitExceededError."""
        if self._streams_open >= self._streams:
            raise self._exceeded("streams", "open streams", 1.0)
        self._streams_open += 1

    def close_stream(self) -> None:
        self._streams_open -= 1

    def _exceeded(self, limit: str, what: str, wait_s: float) -> LimitExceededError:
        return LimitExceededError(
            f"{self._name} has used up its {what}. Try again in {wait_s:.3g} s. The access file has the limit: `limits.{limit}` of "
            "the grant.",
            limit=limit,
            retry_after_s=wait_s,
        )


class Quotas:
    """The quota of each identity, as long as its grant stays as it is."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[Grant, Quota]] = {}

    def of(self, grant: Grant) -> Quota:
        """The quota of a grant's identity. One whose limits have changed begins at nothing."""
        found = self._of.get(grant.name)
        if found is None or (found[0] is not grant and found[0].limits != grant.limits):
            found = self._of[grant.name] = (grant, Quota(grant))
        return found[1]
