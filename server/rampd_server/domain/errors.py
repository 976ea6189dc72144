"""The errors that a call can end with.

RampdError                    has a reason, a message for a person at a terminal, and metadata for a program. The comments
│                             of rampd.v1.ErrorReason list the metadata
├─ RefusedError             the rules of the state machine, or a limit, do not allow the call
├─ InvalidRequestError      fields are wrong; the error names all of them
├─ StoreUnavailableError    the store does not answer
├─ StoreResetError          the store was emptied or replaced
├─ StoreCorruptError        data in the store is not what rampd wrote
└─ NoSnapshotError          the server has no state yet, or does not have the revision that was asked for
DeadlineError                 the caller's own deadline is over: the gRPC status, without a rampd reason
ConflictError                 never leaves the server: another writer committed first
ReplayedError                 never leaves the server: the request with this id was applied before
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum


def ways_on(adopt_command: str) -> str:
    """Returns what an admin can do when the store was emptied or replaced.

    `adopt_command` is the command that adopts this store; it is empty if the command is not known.
    """
    what_to_type = (
        f"`{adopt_command}`"
        if adopt_command
        else "rampd-server adopt with the --redis-url or --data-dir, and the --namespace, of the servers"
    )
    return (
        "To get the data back from an export, type rampd-server import (docs/backup.md). From a copy of the store's files: stop the "
        "server, put the copy back, start it. To go on with the data that are there now, type "
        f"{what_to_type}: servers that run follow within seconds."
    )


def begin_again(component: str) -> str:
    """Returns what an admin can do instead of a repair if the data of a component are damaged."""
    return f"Or begin {component} again: DeleteComponent works, and then Release."


class Reason(StrEnum):
    """The reasons of `rampd.v1.ErrorReason`, without the prefix. rpc/error_status.py has the gRPC status of each."""

    INVALID_FIELD = "INVALID_FIELD"
    REQUEST_ID_REUSED = "REQUEST_ID_REUSED"
    TOO_LARGE = "TOO_LARGE"
    COMPONENT_NOT_FOUND = "COMPONENT_NOT_FOUND"
    RELEASE_NOT_FOUND = "RELEASE_NOT_FOUND"
    OVERRIDE_NOT_FOUND = "OVERRIDE_NOT_FOUND"
    NO_ROLLOUT = "NO_ROLLOUT"
    TAG_MISMATCH = "TAG_MISMATCH"
    NOT_RAMPED = "NOT_RAMPED"
    HELD = "HELD"
    FROZEN = "FROZEN"
    TAG_QUARANTINED = "TAG_QUARANTINED"
    NO_PREVIOUS = "NO_PREVIOUS"
    QUEUE_REJECTS = "QUEUE_REJECTS"
    NOT_QUEUED = "NOT_QUEUED"
    NOTHING_TO_CONFIRM = "NOTHING_TO_CONFIRM"
    ROLLOUT_IN_PROGRESS = "ROLLOUT_IN_PROGRESS"
    REVISION_MISMATCH = "REVISION_MISMATCH"
    CONTENTION = "CONTENTION"
    QUEUE_FULL = "QUEUE_FULL"
    NO_CREDENTIALS = "NO_CREDENTIALS"
    BAD_CREDENTIALS = "BAD_CREDENTIALS"
    ROLE_REQUIRED = "ROLE_REQUIRED"
    STORE_UNAVAILABLE = "STORE_UNAVAILABLE"
    STORE_RESET = "STORE_RESET"
    NO_SNAPSHOT = "NO_SNAPSHOT"
    STORE_CORRUPT = "STORE_CORRUPT"
    NOT_IMPLEMENTED = "NOT_IMPLEMENTED"
    INTERNAL = "INTERNAL"
    LIMIT_EXCEEDED = "LIMIT_EXCEEDED"


class RampdError(Exception):
    """Raised when a call can't be carried out. `reason` and `metadata` are for programs, the message is for people."""

    def __init__(self, reason: Reason, message: str, **metadata: str | int | None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.metadata: Mapping[str, str] = {key: str(value) for key, value in metadata.items() if value is not None}
        self.log_message = ""
        """What the log says where it is so because of who calls, and the caller must not hear that."""


class RefusedError(RampdError):
    """Raised when the rules, or a limit, do not allow a call. refusals.py has a function for each reason."""


class LimitExceededError(RefusedError):
    """Raised when an identity has used up a limit. `retry_after_s` is when another try can succeed."""

    def __init__(self, message: str, *, limit: str, retry_after_s: float) -> None:
        super().__init__(Reason.LIMIT_EXCEEDED, message, limit=limit)
        self.retry_after_s = retry_after_s


class InvalidRequestError(RampdError):
    """Raised when fields are wrong. `violations` lists all of them: (field, what is wrong with the field)."""

    def __init__(self, violations: Sequence[tuple[str, str]]) -> None:
        super().__init__(Reason.INVALID_FIELD, "; ".join(f"{field}: {text}" for field, text in violations))
        self.violations = tuple(violations)


class StoreUnavailableError(RampdError):
    """Raised when the store does not answer, or refuses to work (read-only, out of memory, disk full)."""

    def __init__(
        self, message: str, *, code: str | None = None, found: str | None = None, known: str | int | None = None
    ) -> None:
        super().__init__(Reason.STORE_UNAVAILABLE, message, code=code, found=found, known=known)


class StoreMisconfiguredError(StoreUnavailableError):
    """Raised when the store can't be used until somebody changes the store or rampd's settings for it. Waiting does not help."""


class ShardUnavailableError(StoreUnavailableError):
    """Raised when the shard of a cluster that has the outcomes of a component does not answer. All else may be well."""


class StoreResetError(RampdError):
    """Raised when the store is not the one that this server knows: it was emptied or replaced."""

    def __init__(self, message: str, *, believed: str | None = None, found: str | None = None) -> None:
        super().__init__(Reason.STORE_RESET, message, believed=believed, found=found)


class StoreCorruptError(RampdError):
    """Raised when the data in the store are not what rampd wrote. `problem` is the part of the message that says what is
    wrong; it does not say what to do.
    """

    def __init__(self, message: str, *, key: str, problem: str = "") -> None:
        super().__init__(Reason.STORE_CORRUPT, message, key=key)
        self.problem = problem or message


class NoSnapshotError(RampdError):
    """Raised when the server has no state yet, or does not have the revision that was asked for."""

    def __init__(self, message: str, *, revision: int | None = None) -> None:
        super().__init__(Reason.NO_SNAPSHOT, message, revision=revision)


class DeadlineError(Exception):
    """Raised when the caller's deadline is over before there is an answer."""
