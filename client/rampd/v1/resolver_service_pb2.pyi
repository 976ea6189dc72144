from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from rampd.v1 import rollout_pb2 as _rollout_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ResolveReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RESOLVE_REASON_UNSPECIFIED: _ClassVar[ResolveReason]
    RESOLVE_REASON_STEADY: _ClassVar[ResolveReason]
    RESOLVE_REASON_WEIGHT: _ClassVar[ResolveReason]
    RESOLVE_REASON_OVERRIDE_CHANNEL: _ClassVar[ResolveReason]
    RESOLVE_REASON_OVERRIDE_TAG: _ClassVar[ResolveReason]
    RESOLVE_REASON_STALE: _ClassVar[ResolveReason]
    RESOLVE_REASON_FALLBACK: _ClassVar[ResolveReason]

class OutcomeResult(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OUTCOME_RESULT_UNSPECIFIED: _ClassVar[OutcomeResult]
    OUTCOME_RESULT_SUCCEEDED: _ClassVar[OutcomeResult]
    OUTCOME_RESULT_FAILED: _ClassVar[OutcomeResult]
RESOLVE_REASON_UNSPECIFIED: ResolveReason
RESOLVE_REASON_STEADY: ResolveReason
RESOLVE_REASON_WEIGHT: ResolveReason
RESOLVE_REASON_OVERRIDE_CHANNEL: ResolveReason
RESOLVE_REASON_OVERRIDE_TAG: ResolveReason
RESOLVE_REASON_STALE: ResolveReason
RESOLVE_REASON_FALLBACK: ResolveReason
OUTCOME_RESULT_UNSPECIFIED: OutcomeResult
OUTCOME_RESULT_SUCCEEDED: OutcomeResult
OUTCOME_RESULT_FAILED: OutcomeResult

class ResolveRequest(_message.Message):
    __slots__ = ("component", "repo", "job_id", "min_revision")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REPO_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    MIN_REVISION_FIELD_NUMBER: _ClassVar[int]
    component: str
    repo: str
    job_id: str
    min_revision: int
    def __init__(self, component: _Optional[str] = ..., repo: _Optional[str] = ..., job_id: _Optional[str] = ..., min_revision: _Optional[int] = ...) -> None: ...

class ResolveResponse(_message.Message):
    __slots__ = ("tag", "channel", "reason", "release", "attributes", "bucket", "revision", "stale", "snapshot_age")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TAG_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    BUCKET_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_FIELD_NUMBER: _ClassVar[int]
    tag: str
    channel: _rollout_pb2.Channel
    reason: ResolveReason
    release: int
    attributes: _containers.ScalarMap[str, str]
    bucket: int
    revision: int
    stale: bool
    snapshot_age: _duration_pb2.Duration
    def __init__(self, tag: _Optional[str] = ..., channel: _Optional[_Union[_rollout_pb2.Channel, str]] = ..., reason: _Optional[_Union[ResolveReason, str]] = ..., release: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ..., bucket: _Optional[int] = ..., revision: _Optional[int] = ..., stale: bool = ..., snapshot_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BatchResolveRequest(_message.Message):
    __slots__ = ("requests",)
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    requests: _containers.RepeatedCompositeFieldContainer[ResolveRequest]
    def __init__(self, requests: _Optional[_Iterable[_Union[ResolveRequest, _Mapping]]] = ...) -> None: ...

class BatchResolveResponse(_message.Message):
    __slots__ = ("results", "release_attributes")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    RELEASE_ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[ResolveResult]
    release_attributes: _containers.RepeatedCompositeFieldContainer[ReleaseAttributes]
    def __init__(self, results: _Optional[_Iterable[_Union[ResolveResult, _Mapping]]] = ..., release_attributes: _Optional[_Iterable[_Union[ReleaseAttributes, _Mapping]]] = ...) -> None: ...

class ResolveResult(_message.Message):
    __slots__ = ("response", "status")
    RESPONSE_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    response: ResolveResponse
    status: _status_pb2.Status
    def __init__(self, response: _Optional[_Union[ResolveResponse, _Mapping]] = ..., status: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class ReleaseAttributes(_message.Message):
    __slots__ = ("component", "release", "attributes")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    component: str
    release: int
    attributes: _containers.ScalarMap[str, str]
    def __init__(self, component: _Optional[str] = ..., release: _Optional[int] = ..., attributes: _Optional[_Mapping[str, str]] = ...) -> None: ...

class WatchRequest(_message.Message):
    __slots__ = ("components", "cursor", "whole", "snapshot_age")
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    WHOLE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_FIELD_NUMBER: _ClassVar[int]
    components: _containers.RepeatedScalarFieldContainer[str]
    cursor: str
    whole: bool
    snapshot_age: _duration_pb2.Duration
    def __init__(self, components: _Optional[_Iterable[str]] = ..., cursor: _Optional[str] = ..., whole: bool = ..., snapshot_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchResponse(_message.Message):
    __slots__ = ("cursor", "state", "changes", "heartbeat", "rewind")
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    REWIND_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    state: WatchState
    changes: _containers.RepeatedCompositeFieldContainer[WatchChange]
    heartbeat: WatchHeartbeat
    rewind: WatchRewind
    def __init__(self, cursor: _Optional[str] = ..., state: _Optional[_Union[WatchState, _Mapping]] = ..., changes: _Optional[_Iterable[_Union[WatchChange, _Mapping]]] = ..., heartbeat: _Optional[_Union[WatchHeartbeat, _Mapping]] = ..., rewind: _Optional[_Union[WatchRewind, _Mapping]] = ...) -> None: ...

class WatchState(_message.Message):
    __slots__ = ("first", "last", "components", "damaged")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_FIELD_NUMBER: _ClassVar[int]
    first: bool
    last: bool
    components: _containers.RepeatedCompositeFieldContainer[ComponentState]
    damaged: _containers.RepeatedCompositeFieldContainer[DamagedComponent]
    def __init__(self, first: bool = ..., last: bool = ..., components: _Optional[_Iterable[_Union[ComponentState, _Mapping]]] = ..., damaged: _Optional[_Iterable[_Union[DamagedComponent, _Mapping]]] = ...) -> None: ...

class DamagedComponent(_message.Message):
    __slots__ = ("component", "confirmed_time")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    CONFIRMED_TIME_FIELD_NUMBER: _ClassVar[int]
    component: str
    confirmed_time: _timestamp_pb2.Timestamp
    def __init__(self, component: _Optional[str] = ..., confirmed_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ComponentState(_message.Message):
    __slots__ = ("component", "revision", "resolution", "releases", "overrides", "deleted_overrides")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RESOLUTION_FIELD_NUMBER: _ClassVar[int]
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    DELETED_OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    component: str
    revision: int
    resolution: ResolutionState
    releases: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Release]
    overrides: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Override]
    deleted_overrides: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, component: _Optional[str] = ..., revision: _Optional[int] = ..., resolution: _Optional[_Union[ResolutionState, _Mapping]] = ..., releases: _Optional[_Iterable[_Union[_rollout_pb2.Release, _Mapping]]] = ..., overrides: _Optional[_Iterable[_Union[_rollout_pb2.Override, _Mapping]]] = ..., deleted_overrides: _Optional[_Iterable[str]] = ...) -> None: ...

class ResolutionState(_message.Message):
    __slots__ = ("state", "current", "next", "next_percent", "unit", "queued", "previous", "lost")
    STATE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    QUEUED_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    state: _rollout_pb2.RolloutState
    current: int
    next: int
    next_percent: float
    unit: _rollout_pb2.Unit
    queued: _containers.RepeatedScalarFieldContainer[int]
    previous: _containers.RepeatedScalarFieldContainer[int]
    lost: _containers.RepeatedCompositeFieldContainer[LostRevisions]
    def __init__(self, state: _Optional[_Union[_rollout_pb2.RolloutState, str]] = ..., current: _Optional[int] = ..., next: _Optional[int] = ..., next_percent: _Optional[float] = ..., unit: _Optional[_Union[_rollout_pb2.Unit, str]] = ..., queued: _Optional[_Iterable[int]] = ..., previous: _Optional[_Iterable[int]] = ..., lost: _Optional[_Iterable[_Union[LostRevisions, _Mapping]]] = ...) -> None: ...

class LostRevisions(_message.Message):
    __slots__ = ("first", "last")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    first: int
    last: int
    def __init__(self, first: _Optional[int] = ..., last: _Optional[int] = ...) -> None: ...

class WatchChange(_message.Message):
    __slots__ = ("component", "deleted")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    component: ComponentState
    deleted: bool
    def __init__(self, component: _Optional[_Union[ComponentState, _Mapping]] = ..., deleted: bool = ...) -> None: ...

class WatchHeartbeat(_message.Message):
    __slots__ = ("snapshot_age", "store_time", "server_clock")
    SNAPSHOT_AGE_FIELD_NUMBER: _ClassVar[int]
    STORE_TIME_FIELD_NUMBER: _ClassVar[int]
    SERVER_CLOCK_FIELD_NUMBER: _ClassVar[int]
    snapshot_age: _duration_pb2.Duration
    store_time: _timestamp_pb2.Timestamp
    server_clock: _duration_pb2.Duration
    def __init__(self, snapshot_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., store_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., server_clock: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class WatchRewind(_message.Message):
    __slots__ = ("cursor",)
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    cursor: str
    def __init__(self, cursor: _Optional[str] = ...) -> None: ...

class ReportOutcomesRequest(_message.Message):
    __slots__ = ("client_id", "sequence", "outcomes")
    CLIENT_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    client_id: str
    sequence: int
    outcomes: _containers.RepeatedCompositeFieldContainer[Outcome]
    def __init__(self, client_id: _Optional[str] = ..., sequence: _Optional[int] = ..., outcomes: _Optional[_Iterable[_Union[Outcome, _Mapping]]] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("component", "release", "revision", "channel", "reason", "repo", "job_id", "result", "duration")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    REPO_FIELD_NUMBER: _ClassVar[int]
    JOB_ID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    component: str
    release: int
    revision: int
    channel: _rollout_pb2.Channel
    reason: ResolveReason
    repo: str
    job_id: str
    result: OutcomeResult
    duration: _duration_pb2.Duration
    def __init__(self, component: _Optional[str] = ..., release: _Optional[int] = ..., revision: _Optional[int] = ..., channel: _Optional[_Union[_rollout_pb2.Channel, str]] = ..., reason: _Optional[_Union[ResolveReason, str]] = ..., repo: _Optional[str] = ..., job_id: _Optional[str] = ..., result: _Optional[_Union[OutcomeResult, str]] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class ReportOutcomesResponse(_message.Message):
    __slots__ = ("accepted", "ignored")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    IGNORED_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    ignored: _containers.RepeatedCompositeFieldContainer[IgnoredOutcome]
    def __init__(self, accepted: _Optional[int] = ..., ignored: _Optional[_Iterable[_Union[IgnoredOutcome, _Mapping]]] = ...) -> None: ...

class IgnoredOutcome(_message.Message):
    __slots__ = ("index", "reason", "message")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    index: int
    reason: str
    message: str
    def __init__(self, index: _Optional[int] = ..., reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...
