from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from typing import ClassVar as _ClassVar

DESCRIPTOR: _descriptor.FileDescriptor

class ErrorReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ERROR_REASON_UNSPECIFIED: _ClassVar[ErrorReason]
    ERROR_REASON_INVALID_FIELD: _ClassVar[ErrorReason]
    ERROR_REASON_REQUEST_ID_REUSED: _ClassVar[ErrorReason]
    ERROR_REASON_TOO_LARGE: _ClassVar[ErrorReason]
    ERROR_REASON_COMPONENT_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_RELEASE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_OVERRIDE_NOT_FOUND: _ClassVar[ErrorReason]
    ERROR_REASON_NO_ROLLOUT: _ClassVar[ErrorReason]
    ERROR_REASON_TAG_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_RAMPED: _ClassVar[ErrorReason]
    ERROR_REASON_HELD: _ClassVar[ErrorReason]
    ERROR_REASON_FROZEN: _ClassVar[ErrorReason]
    ERROR_REASON_TAG_QUARANTINED: _ClassVar[ErrorReason]
    ERROR_REASON_NO_PREVIOUS: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_REJECTS: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_QUEUED: _ClassVar[ErrorReason]
    ERROR_REASON_NOTHING_TO_CONFIRM: _ClassVar[ErrorReason]
    ERROR_REASON_ROLLOUT_IN_PROGRESS: _ClassVar[ErrorReason]
    ERROR_REASON_REVISION_MISMATCH: _ClassVar[ErrorReason]
    ERROR_REASON_CONTENTION: _ClassVar[ErrorReason]
    ERROR_REASON_QUEUE_FULL: _ClassVar[ErrorReason]
    ERROR_REASON_NO_CREDENTIALS: _ClassVar[ErrorReason]
    ERROR_REASON_BAD_CREDENTIALS: _ClassVar[ErrorReason]
    ERROR_REASON_ROLE_REQUIRED: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_UNAVAILABLE: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_RESET: _ClassVar[ErrorReason]
    ERROR_REASON_NO_SNAPSHOT: _ClassVar[ErrorReason]
    ERROR_REASON_STORE_CORRUPT: _ClassVar[ErrorReason]
    ERROR_REASON_NOT_IMPLEMENTED: _ClassVar[ErrorReason]
    ERROR_REASON_INTERNAL: _ClassVar[ErrorReason]
ERROR_REASON_UNSPECIFIED: ErrorReason
ERROR_REASON_INVALID_FIELD: ErrorReason
ERROR_REASON_REQUEST_ID_REUSED: ErrorReason
ERROR_REASON_TOO_LARGE: ErrorReason
ERROR_REASON_COMPONENT_NOT_FOUND: ErrorReason
ERROR_REASON_RELEASE_NOT_FOUND: ErrorReason
ERROR_REASON_OVERRIDE_NOT_FOUND: ErrorReason
ERROR_REASON_NO_ROLLOUT: ErrorReason
ERROR_REASON_TAG_MISMATCH: ErrorReason
ERROR_REASON_NOT_RAMPED: ErrorReason
ERROR_REASON_HELD: ErrorReason
ERROR_REASON_FROZEN: ErrorReason
ERROR_REASON_TAG_QUARANTINED: ErrorReason
ERROR_REASON_NO_PREVIOUS: ErrorReason
ERROR_REASON_QUEUE_REJECTS: ErrorReason
ERROR_REASON_NOT_QUEUED: ErrorReason
ERROR_REASON_NOTHING_TO_CONFIRM: ErrorReason
ERROR_REASON_ROLLOUT_IN_PROGRESS: ErrorReason
ERROR_REASON_REVISION_MISMATCH: ErrorReason
ERROR_REASON_CONTENTION: ErrorReason
ERROR_REASON_QUEUE_FULL: ErrorReason
ERROR_REASON_NO_CREDENTIALS: ErrorReason
ERROR_REASON_BAD_CREDENTIALS: ErrorReason
ERROR_REASON_ROLE_REQUIRED: ErrorReason
ERROR_REASON_STORE_UNAVAILABLE: ErrorReason
ERROR_REASON_STORE_RESET: ErrorReason
ERROR_REASON_NO_SNAPSHOT: ErrorReason
ERROR_REASON_STORE_CORRUPT: ErrorReason
ERROR_REASON_NOT_IMPLEMENTED: ErrorReason
ERROR_REASON_INTERNAL: ErrorReason
