"""Outcomes on their way to the server, without I/O: takes in outcomes and gives out batches.

A driver asks `pause_s()` when to send, sends the `batch()`, and calls `answered()` or `failed()`. One thread does this.
Any thread may call `add()`. If a batch or its answer was lost, the same batch comes again with the same sequence, so that
the server counts it once.
"""

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple
from uuid import uuid4

from rampd import v1
from rampd._contract.component_state import CHANNEL_NUMBERS
from rampd._contract.field_rules import MAX_DURATION_S
from rampd._contract.grammar import check_resolve, shown
from rampd._decision.resolution import Resolution, ResolveReason
from rampd._runtime.backoff import HOPELESS, REFUSED, Backoff, after
from rampd._runtime.backoff import chance as of_the_system
from rampd.errors import (
    InvalidArgumentError,
    PermissionDeniedError,
    RampdError,
    UnauthenticatedError,
    UnimplementedError,
)

CAPACITY = 10_000
"""How many outcomes to keep while no server takes them. Then the oldest are dropped: newer ones say more about now."""
BATCH = 1000
GATHER_S = 0.2
"""How long the first outcome of a batch waits for others."""
_BACKOFF = Backoff(first_s=0.1, most_s=10.0)
_UNIMPLEMENTED_PAUSE_S = 600.0

_REASONS = {reason: f"RESOLVE_REASON_{reason.value}" for reason in ResolveReason}
_RESULTS = {True: v1.OUTCOME_RESULT_SUCCEEDED, False: v1.OUTCOME_RESULT_FAILED}


class Outcome(NamedTuple):
    """How one job went."""

    component: str
    repo: str
    job_id: str
    resolution: Resolution
    """The version that the job ran."""
    succeeded: bool
    duration_s: float

    @property
    def tag(self) -> str:
        """The version that ran."""
        return self.resolution.tag


@dataclass(frozen=True, slots=True)
class Reports:
    """What happened to the outcomes of this process."""

    buffered: int = 0
    """Outcomes that no server has taken yet."""
    sent: int = 0
    """Outcomes that a server has taken, including `ignored` ones."""
    ignored: int = 0
    """Outcomes that a server has taken but does not count."""
    dropped: int = 0
    """Outcomes that will never be sent: the buffer was full, the server takes none, or the process ended."""
    error: str = ""
    """Why the last batch was not taken. Empty if it was."""
    last_ignored: str = ""
    """Why the last ignored outcome was ignored."""


class OutcomeBuffer:
    """A buffer of outcomes, and the batch that is under way."""

    def __init__(
        self,
        *,
        capacity: int = CAPACITY,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = of_the_system,
    ) -> None:
        self._capacity = capacity
        self._clock = clock
        self._chance = chance
        self.renew()

    def renew(self) -> None:
        """Begins again as another client with nothing to send, in a forked child. The parent sends its own outcomes."""
        self._client_id = uuid4().hex
        self._sequence = 0
        self._lock = threading.RLock()  # `add` may interrupt `add`, in a signal handler
        self._buffer: deque[Outcome] = deque()
        self._batch: v1.ReportOutcomesRequest | None = None
        self._first_s = self._next_try_s = self._deaf_until_s = 0.0
        self._failures = 0
        self._sent = self._ignored = self._dropped = 0
        self._error = self._last_ignored = ""

    def add(self, outcome: Outcome) -> bool:
        """Takes in an outcome, or drops one. Returns whether the driver should look. Takes less than a microsecond."""
        with self._lock:
            if self._deaf_until_s and self._clock() < self._deaf_until_s:
                self._dropped += 1
                return False
            buffer = self._buffer
            # Counted before it is in: otherwise an outcome that comes in between could hide that this one is the first.
            count = len(buffer) + 1
            if count == 1:
                self._first_s = self._clock()
            buffer.append(outcome)
            if count > self._capacity:
                buffer.popleft()
                self._dropped += 1
            return count in {1, BATCH}

    def pause_s(self) -> float | None:
        """Returns the seconds until a batch is due. None: there is no outcome to send."""
        now_s = self._clock()
        with self._lock:
            if self._batch is None and not self._buffer:
                return None
            is_due = self._batch is not None or len(self._buffer) >= BATCH
            return max(0.0, self._next_try_s - now_s, 0.0 if is_due else self._first_s + GATHER_S - now_s)

    def batch(self) -> v1.ReportOutcomesRequest | None:
        """Returns the batch to send, the same one until it is answered. None: there is nothing to send."""
        while self._batch is None and (outcomes := self._take()):
            messages = [message for outcome in outcomes if (message := _message_or_none(outcome)) is not None]
            self._drop(len(outcomes) - len(messages))
            if messages:
                self._sequence += 1
                self._batch = v1.ReportOutcomesRequest(
                    client_id=self._client_id, sequence=self._sequence, outcomes=messages
                )
        return self._batch

    def answered(self, response: v1.ReportOutcomesResponse) -> None:
        """Notes that the server has taken the batch."""
        self._sent += self._end_batch()
        self._failures, self._error, self._deaf_until_s = 0, "", 0.0
        self._ignored += len(response.ignored)
        for each in response.ignored:
            self._last_ignored = f"{each.reason}: {each.message}"

    def failed(self, error: RampdError) -> None:
        """Notes that there was no answer, or a refusal."""
        now_s = self._clock()
        self._error = error.message
        if isinstance(error, UnimplementedError):
            self._give_up(now_s + _UNIMPLEMENTED_PAUSE_S)
        elif isinstance(error, InvalidArgumentError):
            # The server will never take this batch, but it may take the next one.
            self._drop(self._end_batch())
        else:
            self._next_try_s = now_s + self._pause_after(error)

    def finish(self) -> int:
        """Drops all outcomes, and all that come later. Returns how many there were."""
        return self._give_up(math.inf)

    def _give_up(self, until_s: float) -> int:
        with self._lock:
            self._deaf_until_s = until_s
            count = len(self._buffer) + self._end_batch()
            self._buffer.clear()
            self._dropped += count
        return count

    def status(self) -> Reports:
        """Returns what happened to all outcomes."""
        under_way = 0 if (batch := self._batch) is None else len(batch.outcomes)
        return Reports(
            buffered=len(self._buffer) + under_way,
            sent=self._sent,
            ignored=self._ignored,
            dropped=self._dropped,
            error=self._error,
            last_ignored=self._last_ignored,
        )

    def _take(self) -> list[Outcome]:
        with self._lock:
            self._first_s = self._clock()
            return [self._buffer.popleft() for _ in range(min(BATCH, len(self._buffer)))]

    def _drop(self, count: int) -> None:
        with self._lock:
            self._dropped += count

    def _end_batch(self) -> int:
        batch, self._batch = self._batch, None
        return 0 if batch is None else len(batch.outcomes)

    def _pause_after(self, error: RampdError) -> float:
        if isinstance(error, PermissionDeniedError):
            backoff = HOPELESS
        else:
            backoff = REFUSED if isinstance(error, UnauthenticatedError) else _BACKOFF
        pause_s = backoff.pause_s(self._failures, self._chance)
        self._failures += 1
        return after(error.retry_after_s, pause_s, self._chance)


def checked(outcome: Outcome) -> Outcome:
    """Returns an outcome that a caller reports, if it is valid. Raises InvalidArgumentError with every wrong field."""
    component, repo, job_id, resolution, succeeded, duration_s = outcome
    wrong = list(check_resolve(component, repo, job_id))
    if not isinstance(resolution, Resolution):
        wrong.append(("resolution", f"must be what resolve() gave; got {shown(resolution)}"))
    if not isinstance(succeeded, bool):
        wrong.append(("succeeded", f"must be True or False; got {shown(succeeded)}"))
    is_number = isinstance(duration_s, int | float) and not isinstance(duration_s, bool)
    if not is_number or not 0 <= duration_s <= MAX_DURATION_S:
        wrong.append(
            ("duration", f"must be a number of seconds from 0 to {MAX_DURATION_S} (366 days); got {shown(duration_s)}")
        )
    if wrong:
        raise InvalidArgumentError(violations=wrong)
    return outcome


def can_place(resolution: Resolution) -> bool:
    """Whether a server knows the version: it is neither a fallback nor a tag that was never released."""
    return resolution.release > 0


def _message_or_none(outcome: Outcome) -> v1.Outcome | None:
    """Returns the message, or None if the outcome can't be encoded: another version of this library may have made it."""
    try:
        return _message(outcome)
    except (LookupError, ValueError, TypeError, AttributeError):
        return None


def _message(outcome: Outcome) -> v1.Outcome:
    component, repo, job_id, resolution, succeeded, duration_s = outcome
    decision = resolution.decision
    message = v1.Outcome(
        component=component,
        release=decision.release,
        revision=resolution.revision,
        channel=None if decision.channel is None else CHANNEL_NUMBERS[decision.channel],
        reason=_REASONS[decision.reason],
        repo=repo,
        job_id=job_id,
        result=_RESULTS[succeeded],
    )
    message.duration.FromNanoseconds(int(duration_s * 1e9))
    return message
