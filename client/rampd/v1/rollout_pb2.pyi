from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PauseCause(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PAUSE_CAUSE_UNSPECIFIED: _ClassVar[PauseCause]
    PAUSE_CAUSE_RELATIVE_GUARD: _ClassVar[PauseCause]
    PAUSE_CAUSE_ABSOLUTE_GUARD: _ClassVar[PauseCause]
    PAUSE_CAUSE_ASSIGNMENT_CHECK: _ClassVar[PauseCause]
    PAUSE_CAUSE_CHECK_FAILED: _ClassVar[PauseCause]
    PAUSE_CAUSE_CHECK_BROKEN: _ClassVar[PauseCause]
    PAUSE_CAUSE_STUCK: _ClassVar[PauseCause]
    PAUSE_CAUSE_APPROVAL: _ClassVar[PauseCause]

class RolloutState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ROLLOUT_STATE_UNSPECIFIED: _ClassVar[RolloutState]
    ROLLOUT_STATE_STEADY: _ClassVar[RolloutState]
    ROLLOUT_STATE_ROLLING_OUT: _ClassVar[RolloutState]
    ROLLOUT_STATE_HELD: _ClassVar[RolloutState]

class ReleaseState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RELEASE_STATE_UNSPECIFIED: _ClassVar[ReleaseState]
    RELEASE_STATE_QUEUED: _ClassVar[ReleaseState]
    RELEASE_STATE_NEXT: _ClassVar[ReleaseState]
    RELEASE_STATE_CURRENT: _ClassVar[ReleaseState]
    RELEASE_STATE_RETIRED: _ClassVar[ReleaseState]
    RELEASE_STATE_ABANDONED: _ClassVar[ReleaseState]
    RELEASE_STATE_CANCELLED: _ClassVar[ReleaseState]
    RELEASE_STATE_SUPERSEDED: _ClassVar[ReleaseState]

class Channel(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHANNEL_UNSPECIFIED: _ClassVar[Channel]
    CHANNEL_CURRENT: _ClassVar[Channel]
    CHANNEL_NEXT: _ClassVar[Channel]

class Unit(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNIT_UNSPECIFIED: _ClassVar[Unit]
    UNIT_REPO: _ClassVar[Unit]
    UNIT_JOB: _ClassVar[Unit]

class QueueMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    QUEUE_MODE_UNSPECIFIED: _ClassVar[QueueMode]
    QUEUE_MODE_FIFO: _ClassVar[QueueMode]
    QUEUE_MODE_LATEST: _ClassVar[QueueMode]
    QUEUE_MODE_REJECT: _ClassVar[QueueMode]

class OnRegression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    ON_REGRESSION_UNSPECIFIED: _ClassVar[OnRegression]
    ON_REGRESSION_ROLLBACK: _ClassVar[OnRegression]
    ON_REGRESSION_PAUSE: _ClassVar[OnRegression]
    ON_REGRESSION_NOTIFY: _ClassVar[OnRegression]

class AfterRollback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    AFTER_ROLLBACK_UNSPECIFIED: _ClassVar[AfterRollback]
    AFTER_ROLLBACK_HOLD: _ClassVar[AfterRollback]
    AFTER_ROLLBACK_CONTINUE: _ClassVar[AfterRollback]
PAUSE_CAUSE_UNSPECIFIED: PauseCause
PAUSE_CAUSE_RELATIVE_GUARD: PauseCause
PAUSE_CAUSE_ABSOLUTE_GUARD: PauseCause
PAUSE_CAUSE_ASSIGNMENT_CHECK: PauseCause
PAUSE_CAUSE_CHECK_FAILED: PauseCause
PAUSE_CAUSE_CHECK_BROKEN: PauseCause
PAUSE_CAUSE_STUCK: PauseCause
PAUSE_CAUSE_APPROVAL: PauseCause
ROLLOUT_STATE_UNSPECIFIED: RolloutState
ROLLOUT_STATE_STEADY: RolloutState
ROLLOUT_STATE_ROLLING_OUT: RolloutState
ROLLOUT_STATE_HELD: RolloutState
RELEASE_STATE_UNSPECIFIED: ReleaseState
RELEASE_STATE_QUEUED: ReleaseState
RELEASE_STATE_NEXT: ReleaseState
RELEASE_STATE_CURRENT: ReleaseState
RELEASE_STATE_RETIRED: ReleaseState
RELEASE_STATE_ABANDONED: ReleaseState
RELEASE_STATE_CANCELLED: ReleaseState
RELEASE_STATE_SUPERSEDED: ReleaseState
CHANNEL_UNSPECIFIED: Channel
CHANNEL_CURRENT: Channel
CHANNEL_NEXT: Channel
UNIT_UNSPECIFIED: Unit
UNIT_REPO: Unit
UNIT_JOB: Unit
QUEUE_MODE_UNSPECIFIED: QueueMode
QUEUE_MODE_FIFO: QueueMode
QUEUE_MODE_LATEST: QueueMode
QUEUE_MODE_REJECT: QueueMode
ON_REGRESSION_UNSPECIFIED: OnRegression
ON_REGRESSION_ROLLBACK: OnRegression
ON_REGRESSION_PAUSE: OnRegression
ON_REGRESSION_NOTIFY: OnRegression
AFTER_ROLLBACK_UNSPECIFIED: AfterRollback
AFTER_ROLLBACK_HOLD: AfterRollback
AFTER_ROLLBACK_CONTINUE: AfterRollback

class Rollout(_message.Message):
    __slots__ = ("component", "state", "current", "next", "next_percent", "queue", "previous", "revision", "held_reason", "frozen", "freezes", "paused", "unit", "policy", "create_time", "update_time", "trial", "confirm_deadline", "outcomes", "evidence", "pause", "held", "current_outcomes", "damage", "quarantined")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    NEXT_FIELD_NUMBER: _ClassVar[int]
    NEXT_PERCENT_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    HELD_REASON_FIELD_NUMBER: _ClassVar[int]
    FROZEN_FIELD_NUMBER: _ClassVar[int]
    FREEZES_FIELD_NUMBER: _ClassVar[int]
    PAUSED_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    TRIAL_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_DEADLINE_FIELD_NUMBER: _ClassVar[int]
    OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    PAUSE_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    CURRENT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    QUARANTINED_FIELD_NUMBER: _ClassVar[int]
    component: str
    state: RolloutState
    current: Release
    next: Release
    next_percent: float
    queue: _containers.RepeatedCompositeFieldContainer[Release]
    previous: _containers.RepeatedCompositeFieldContainer[Release]
    revision: int
    held_reason: str
    frozen: bool
    freezes: _containers.RepeatedCompositeFieldContainer[FreezeStatus]
    paused: bool
    unit: Unit
    policy: Policy
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    trial: int
    confirm_deadline: _timestamp_pb2.Timestamp
    outcomes: _containers.RepeatedCompositeFieldContainer[ChannelOutcomes]
    evidence: Evidence
    pause: PauseStatus
    held: HeldStatus
    current_outcomes: CurrentOutcomes
    damage: Damage
    quarantined: _containers.RepeatedScalarFieldContainer[Channel]
    def __init__(self, component: _Optional[str] = ..., state: _Optional[_Union[RolloutState, str]] = ..., current: _Optional[_Union[Release, _Mapping]] = ..., next: _Optional[_Union[Release, _Mapping]] = ..., next_percent: _Optional[float] = ..., queue: _Optional[_Iterable[_Union[Release, _Mapping]]] = ..., previous: _Optional[_Iterable[_Union[Release, _Mapping]]] = ..., revision: _Optional[int] = ..., held_reason: _Optional[str] = ..., frozen: bool = ..., freezes: _Optional[_Iterable[_Union[FreezeStatus, _Mapping]]] = ..., paused: bool = ..., unit: _Optional[_Union[Unit, str]] = ..., policy: _Optional[_Union[Policy, _Mapping]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., trial: _Optional[int] = ..., confirm_deadline: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., outcomes: _Optional[_Iterable[_Union[ChannelOutcomes, _Mapping]]] = ..., evidence: _Optional[_Union[Evidence, _Mapping]] = ..., pause: _Optional[_Union[PauseStatus, _Mapping]] = ..., held: _Optional[_Union[HeldStatus, _Mapping]] = ..., current_outcomes: _Optional[_Union[CurrentOutcomes, _Mapping]] = ..., damage: _Optional[_Union[Damage, _Mapping]] = ..., quarantined: _Optional[_Iterable[_Union[Channel, str]]] = ...) -> None: ...

class Damage(_message.Message):
    __slots__ = ("key", "problem")
    KEY_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    key: str
    problem: str
    def __init__(self, key: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...

class PauseStatus(_message.Message):
    __slots__ = ("reason", "actor", "cause", "create_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    actor: str
    cause: PauseCause
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., actor: _Optional[str] = ..., cause: _Optional[_Union[PauseCause, str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class HeldStatus(_message.Message):
    __slots__ = ("reason", "actor", "create_time")
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    reason: str
    actor: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, reason: _Optional[str] = ..., actor: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CurrentOutcomes(_message.Message):
    __slots__ = ("tag", "release", "since", "jobs", "failures", "failure_rate", "recent")
    TAG_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    SINCE_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    RECENT_FIELD_NUMBER: _ClassVar[int]
    tag: str
    release: int
    since: _timestamp_pb2.Timestamp
    jobs: int
    failures: int
    failure_rate: float
    recent: RecentOutcomes
    def __init__(self, tag: _Optional[str] = ..., release: _Optional[int] = ..., since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., jobs: _Optional[int] = ..., failures: _Optional[int] = ..., failure_rate: _Optional[float] = ..., recent: _Optional[_Union[RecentOutcomes, _Mapping]] = ...) -> None: ...

class RecentOutcomes(_message.Message):
    __slots__ = ("since", "jobs", "failures", "failure_rate")
    SINCE_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    since: _timestamp_pb2.Timestamp
    jobs: int
    failures: int
    failure_rate: float
    def __init__(self, since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., jobs: _Optional[int] = ..., failures: _Optional[int] = ..., failure_rate: _Optional[float] = ...) -> None: ...

class ChannelOutcomes(_message.Message):
    __slots__ = ("channel", "jobs", "failures", "failure_rate", "other_jobs", "other_failures", "repos")
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    OTHER_JOBS_FIELD_NUMBER: _ClassVar[int]
    OTHER_FAILURES_FIELD_NUMBER: _ClassVar[int]
    REPOS_FIELD_NUMBER: _ClassVar[int]
    channel: Channel
    jobs: int
    failures: int
    failure_rate: float
    other_jobs: int
    other_failures: int
    repos: int
    def __init__(self, channel: _Optional[_Union[Channel, str]] = ..., jobs: _Optional[int] = ..., failures: _Optional[int] = ..., failure_rate: _Optional[float] = ..., other_jobs: _Optional[int] = ..., other_failures: _Optional[int] = ..., repos: _Optional[int] = ...) -> None: ...

class Evidence(_message.Message):
    __slots__ = ("e", "limit", "current_failures", "next_failures", "reporters", "assignment_mismatches")
    E_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FAILURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_FAILURES_FIELD_NUMBER: _ClassVar[int]
    REPORTERS_FIELD_NUMBER: _ClassVar[int]
    ASSIGNMENT_MISMATCHES_FIELD_NUMBER: _ClassVar[int]
    e: float
    limit: float
    current_failures: int
    next_failures: int
    reporters: int
    assignment_mismatches: int
    def __init__(self, e: _Optional[float] = ..., limit: _Optional[float] = ..., current_failures: _Optional[int] = ..., next_failures: _Optional[int] = ..., reporters: _Optional[int] = ..., assignment_mismatches: _Optional[int] = ...) -> None: ...

class Release(_message.Message):
    __slots__ = ("number", "tag", "state", "attributes", "actor", "note", "create_time", "update_time", "end_reason", "jobs", "failures", "failure_rate")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    END_REASON_FIELD_NUMBER: _ClassVar[int]
    JOBS_FIELD_NUMBER: _ClassVar[int]
    FAILURES_FIELD_NUMBER: _ClassVar[int]
    FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    number: int
    tag: str
    state: ReleaseState
    attributes: _containers.ScalarMap[str, str]
    actor: str
    note: str
    create_time: _timestamp_pb2.Timestamp
    update_time: _timestamp_pb2.Timestamp
    end_reason: str
    jobs: int
    failures: int
    failure_rate: float
    def __init__(self, number: _Optional[int] = ..., tag: _Optional[str] = ..., state: _Optional[_Union[ReleaseState, str]] = ..., attributes: _Optional[_Mapping[str, str]] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_reason: _Optional[str] = ..., jobs: _Optional[int] = ..., failures: _Optional[int] = ..., failure_rate: _Optional[float] = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("queue_mode", "unit", "steps", "max_percent", "auto_start", "auto_finalize", "on_regression", "after_rollback", "alpha", "tolerance", "maturation", "max_failure_rate", "on_max_failure_rate", "checks", "confirm_within", "stuck_after")
    QUEUE_MODE_FIELD_NUMBER: _ClassVar[int]
    UNIT_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    MAX_PERCENT_FIELD_NUMBER: _ClassVar[int]
    AUTO_START_FIELD_NUMBER: _ClassVar[int]
    AUTO_FINALIZE_FIELD_NUMBER: _ClassVar[int]
    ON_REGRESSION_FIELD_NUMBER: _ClassVar[int]
    AFTER_ROLLBACK_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    MATURATION_FIELD_NUMBER: _ClassVar[int]
    MAX_FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    ON_MAX_FAILURE_RATE_FIELD_NUMBER: _ClassVar[int]
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_WITHIN_FIELD_NUMBER: _ClassVar[int]
    STUCK_AFTER_FIELD_NUMBER: _ClassVar[int]
    queue_mode: QueueMode
    unit: Unit
    steps: _containers.RepeatedCompositeFieldContainer[Step]
    max_percent: float
    auto_start: bool
    auto_finalize: bool
    on_regression: OnRegression
    after_rollback: AfterRollback
    alpha: float
    tolerance: float
    maturation: _duration_pb2.Duration
    max_failure_rate: float
    on_max_failure_rate: OnRegression
    checks: _containers.RepeatedCompositeFieldContainer[Check]
    confirm_within: _duration_pb2.Duration
    stuck_after: _duration_pb2.Duration
    def __init__(self, queue_mode: _Optional[_Union[QueueMode, str]] = ..., unit: _Optional[_Union[Unit, str]] = ..., steps: _Optional[_Iterable[_Union[Step, _Mapping]]] = ..., max_percent: _Optional[float] = ..., auto_start: bool = ..., auto_finalize: bool = ..., on_regression: _Optional[_Union[OnRegression, str]] = ..., after_rollback: _Optional[_Union[AfterRollback, str]] = ..., alpha: _Optional[float] = ..., tolerance: _Optional[float] = ..., maturation: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., max_failure_rate: _Optional[float] = ..., on_max_failure_rate: _Optional[_Union[OnRegression, str]] = ..., checks: _Optional[_Iterable[_Union[Check, _Mapping]]] = ..., confirm_within: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., stuck_after: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class Step(_message.Message):
    __slots__ = ("percent", "hold", "min_jobs", "approval")
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    HOLD_FIELD_NUMBER: _ClassVar[int]
    MIN_JOBS_FIELD_NUMBER: _ClassVar[int]
    APPROVAL_FIELD_NUMBER: _ClassVar[int]
    percent: float
    hold: _duration_pb2.Duration
    min_jobs: int
    approval: bool
    def __init__(self, percent: _Optional[float] = ..., hold: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min_jobs: _Optional[int] = ..., approval: bool = ...) -> None: ...

class Check(_message.Message):
    __slots__ = ("name", "query", "interval", "min", "max", "failures_allowed", "errors_allowed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    QUERY_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    MIN_FIELD_NUMBER: _ClassVar[int]
    MAX_FIELD_NUMBER: _ClassVar[int]
    FAILURES_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    ERRORS_ALLOWED_FIELD_NUMBER: _ClassVar[int]
    name: str
    query: str
    interval: _duration_pb2.Duration
    min: float
    max: float
    failures_allowed: int
    errors_allowed: int
    def __init__(self, name: _Optional[str] = ..., query: _Optional[str] = ..., interval: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., min: _Optional[float] = ..., max: _Optional[float] = ..., failures_allowed: _Optional[int] = ..., errors_allowed: _Optional[int] = ...) -> None: ...

class FreezeStatus(_message.Message):
    __slots__ = ("all", "actor", "note", "create_time", "expire_time")
    ALL_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    all: bool
    actor: str
    note: str
    create_time: _timestamp_pb2.Timestamp
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, all: bool = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class QuarantinedTag(_message.Message):
    __slots__ = ("tag", "actor", "note", "create_time")
    TAG_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    tag: str
    actor: str
    note: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, tag: _Optional[str] = ..., actor: _Optional[str] = ..., note: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Override(_message.Message):
    __slots__ = ("repo", "channel", "tag", "expire_time", "actor", "actor_claimed", "note", "create_time")
    REPO_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_CLAIMED_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    repo: str
    channel: Channel
    tag: str
    expire_time: _timestamp_pb2.Timestamp
    actor: str
    actor_claimed: bool
    note: str
    create_time: _timestamp_pb2.Timestamp
    def __init__(self, repo: _Optional[str] = ..., channel: _Optional[_Union[Channel, str]] = ..., tag: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., actor_claimed: bool = ..., note: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Event(_message.Message):
    __slots__ = ("revision", "time", "actor", "actor_claimed", "action", "note", "changes", "count", "request_id", "component", "id")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    ACTOR_CLAIMED_FIELD_NUMBER: _ClassVar[int]
    ACTION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    CHANGES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    ID_FIELD_NUMBER: _ClassVar[int]
    revision: int
    time: _timestamp_pb2.Timestamp
    actor: str
    actor_claimed: bool
    action: str
    note: str
    changes: _containers.RepeatedCompositeFieldContainer[FieldChange]
    count: int
    request_id: str
    component: str
    id: str
    def __init__(self, revision: _Optional[int] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., actor_claimed: bool = ..., action: _Optional[str] = ..., note: _Optional[str] = ..., changes: _Optional[_Iterable[_Union[FieldChange, _Mapping]]] = ..., count: _Optional[int] = ..., request_id: _Optional[str] = ..., component: _Optional[str] = ..., id: _Optional[str] = ...) -> None: ...

class Preview(_message.Message):
    __slots__ = ("repos_seen", "repos_moved", "estimated", "moves")
    REPOS_SEEN_FIELD_NUMBER: _ClassVar[int]
    REPOS_MOVED_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    MOVES_FIELD_NUMBER: _ClassVar[int]
    repos_seen: int
    repos_moved: int
    estimated: bool
    moves: _containers.RepeatedCompositeFieldContainer[RepoMove]
    def __init__(self, repos_seen: _Optional[int] = ..., repos_moved: _Optional[int] = ..., estimated: bool = ..., moves: _Optional[_Iterable[_Union[RepoMove, _Mapping]]] = ...) -> None: ...

class RepoMove(_message.Message):
    __slots__ = ("repo", "before", "after")
    REPO_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    repo: str
    before: str
    after: str
    def __init__(self, repo: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...

class FieldChange(_message.Message):
    __slots__ = ("field", "before", "after")
    FIELD_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    field: str
    before: str
    after: str
    def __init__(self, field: _Optional[str] = ..., before: _Optional[str] = ..., after: _Optional[str] = ...) -> None: ...
