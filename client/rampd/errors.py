"""Every way in which a call can fail.

RampdError                      has a reason and metadata for programs, a message for people, and `retryable`
├─ InvalidArgumentError         fields are wrong; `violations` lists all of them
├─ NotFoundError                no such component, release or override
│  └─ NoVersionError            no version of the component is known, and the caller gave no fallback
├─ ReleaseFailedError           a release that was waited for did not become current: HELD, ABANDONED …
├─ FailedPreconditionError      the state of the rollout does not allow it: NO_ROLLOUT, TAG_MISMATCH, HELD, FROZEN …
├─ AbortedError                 somebody else was first: REVISION_MISMATCH, CONTENTION
├─ ResourceExhaustedError       a limit is reached: QUEUE_FULL …
├─ UnauthenticatedError         no credentials, or credentials that are not valid
├─ PermissionDeniedError        the caller may not do this
├─ UnavailableError             the server or its store can't be reached, or has no state yet
├─ DeadlineExceededError        no answer in time; the change may or may not have been made
├─ UnimplementedError           the server does not have this yet
├─ InternalError                a defect of rampd, or an answer that makes no sense
└─ ClosedError                  the resolver or admin was closed
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from rampd._contract.grammar import Violation

if TYPE_CHECKING:  # protobuf takes a while to import, and errors do not need it
    from rampd import v1

__all__ = [
    "AbortedError",
    "ClosedError",
    "DeadlineExceededError",
    "FailedPreconditionError",
    "InternalError",
    "InvalidArgumentError",
    "NoVersionError",
    "NotFoundError",
    "PermissionDeniedError",
    "RampdError",
    "ReleaseFailedError",
    "ResourceExhaustedError",
    "UnauthenticatedError",
    "UnavailableError",
    "UnimplementedError",
]

_RETRYABLE_REASONS = frozenset(
    {"CONTENTION", "LIMIT_EXCEEDED", "STORE_UNAVAILABLE", "NO_SNAPSHOT", "UNAVAILABLE", "DEADLINE_EXCEEDED"}
)
"""Reasons that may have passed when the same call is made again a little later."""

_MAX_SUMMARY = 800


class RampdError(Exception):
    """Raised when a call fails: the base of every error of this library.

    `reason` is a name of `rampd.v1.ErrorReason` without its prefix (`TAG_MISMATCH`). If no server of rampd has answered,
    it is the name of a gRPC status (`UNAVAILABLE`, `DEADLINE_EXCEEDED`), `FORKED` or `CLOSED`.
    """

    reason: str = "INTERNAL"

    def __init__(self, message: str, *, reason: str = "", metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        """For a person at a terminal: what is wrong and what to do."""
        self.reason = reason or type(self).reason
        self.metadata: dict[str, str] = dict(metadata or {})
        """For programs: the keys that rampd.v1.ErrorReason lists for the reason, such as `expected` and `actual`."""
        self.retry_after_s: float | None = None
        """Seconds after which the server says that the call can succeed; None if it does not say."""

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed a little later, without anybody doing anything."""
        return self.reason in _RETRYABLE_REASONS


class InvalidArgumentError(RampdError):
    """Raised when a request itself is wrong, in most cases before anything is sent.

    Reasons: INVALID_FIELD, with all `violations`; REQUEST_ID_REUSED; TOO_LARGE.
    """

    reason = "INVALID_FIELD"

    def __init__(
        self,
        message: str = "",
        *,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
    ) -> None:
        super().__init__(message or _summary(violations), reason=reason, metadata=metadata)
        self.violations: tuple[Violation, ...] = tuple(violations)
        """Every wrong field: its path, and what is wrong with it."""


class NotFoundError(RampdError):
    """Raised when a component (COMPONENT_NOT_FOUND), a release (RELEASE_NOT_FOUND) or an override (OVERRIDE_NOT_FOUND) does
    not exist.
    """

    reason = "NOT_FOUND"


class NoVersionError(NotFoundError):
    """Raised when a resolver that resolves locally knows no version of a component, and the caller gave no fallback. The
    message says what was tried. Reasons: COMPONENT_NOT_FOUND if a server answers and has no such component; NO_VERSION if
    no server answers.
    """

    reason = "NO_VERSION"


class FailedPreconditionError(RampdError):
    """Raised when the state of the rollout does not allow the verb: NO_ROLLOUT, TAG_MISMATCH, NOT_RAMPED, HELD, FROZEN,
    TAG_QUARANTINED, NO_PREVIOUS, QUEUE_REJECTS, NOT_QUEUED, NOTHING_TO_CONFIRM, ROLLOUT_IN_PROGRESS. The message says what
    to do instead.
    """

    reason = "FAILED_PRECONDITION"


class ReleaseFailedError(RampdError):
    """Raised when a release that a caller waits for was not rolled out. Reasons: HELD (rolled back by a person or a guard),
    PAUSED (waits for a person; `rollout.pause` says why and since when; if automation paused it, `metadata` has the
    cause), REVERTED (it was current, and people went back), ABANDONED, CANCELLED, SUPERSEDED. The message says why, and what to do
    next.
    """

    reason = "HELD"
    release: "v1.Release"
    """The release when it ended."""
    rollout: "v1.Rollout"
    """The rollout of the component at that time."""


class AbortedError(RampdError):
    """Raised when another caller was first: REVISION_MISMATCH (read again and decide again), CONTENTION (retryable)."""

    reason = "ABORTED"


class ResourceExhaustedError(RampdError):
    """Raised when a limit is reached: QUEUE_FULL, LIMIT_EXCEEDED, or a message that is too large for gRPC."""

    reason = "RESOURCE_EXHAUSTED"


class UnauthenticatedError(RampdError):
    """Raised when the call has no credentials, or credentials that are not valid: NO_CREDENTIALS, BAD_CREDENTIALS."""

    reason = "UNAUTHENTICATED"


class PermissionDeniedError(RampdError):
    """Raised when the caller lacks a role, or its grant denies the call: ROLE_REQUIRED. `metadata` has the least `role` that
    may make the call, and `component` if the grant does not include this component.
    """

    reason = "PERMISSION_DENIED"


class UnavailableError(RampdError):
    """Raised when no server can answer: UNAVAILABLE (no server), STORE_UNAVAILABLE, NO_SNAPSHOT (all retryable),
    STORE_RESET (an operator must adopt the store first), FORKED (this process was forked without Python's fork hooks; the
    message says what to set).
    """

    reason = "UNAVAILABLE"


class DeadlineExceededError(RampdError):
    """Raised when there was no answer in time. The change may or may not have been made. To find out, make the same call
    again with the same `request_id`: the change applies once.
    """

    reason = "DEADLINE_EXCEEDED"


class UnimplementedError(RampdError):
    """Raised when the server does not have this RPC or field yet."""

    reason = "NOT_IMPLEMENTED"


class InternalError(RampdError):
    """Raised when rampd has a defect (`metadata` may have the `request_id` that is in the server's log), when data
    in the store is not what rampd wrote (STORE_CORRUPT), or when an answer makes no sense.
    """


class ClosedError(RampdError):
    """Raised when a resolver or an admin is used after `close()`."""

    reason = "CLOSED"


def _summary(violations: Sequence[Violation]) -> str:
    parts: list[str] = []
    room = _MAX_SUMMARY
    for field, text in violations:
        part = f"{field}: {text}"
        room -= len(part)
        if room < 0 and parts:
            parts.append(f"… and {len(violations) - len(parts)} more")
            break
        parts.append(part)
    return "; ".join(parts)
