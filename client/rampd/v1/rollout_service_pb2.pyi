from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import field_mask_pb2 as _field_mask_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from rampd.v1 import rollout_pb2 as _rollout_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class GetRolloutRequest(_message.Message):
    __slots__ = ("component",)
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    component: str
    def __init__(self, component: _Optional[str] = ...) -> None: ...

class GetRolloutResponse(_message.Message):
    __slots__ = ("rollout",)
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    rollout: _rollout_pb2.Rollout
    def __init__(self, rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class ListRolloutsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "current_outcomes")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    CURRENT_OUTCOMES_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    current_outcomes: bool
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., current_outcomes: bool = ...) -> None: ...

class ListRolloutsResponse(_message.Message):
    __slots__ = ("rollouts", "next_page_token")
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    rollouts: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Rollout]
    next_page_token: str
    def __init__(self, rollouts: _Optional[_Iterable[_Union[_rollout_pb2.Rollout, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RampRequest(_message.Message):
    __slots__ = ("component", "tag", "percent", "confirm_within", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_WITHIN_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    percent: float
    confirm_within: _duration_pb2.Duration
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., percent: _Optional[float] = ..., confirm_within: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class RampResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class ConfirmRequest(_message.Message):
    __slots__ = ("component", "tag", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class ConfirmResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class RollbackRequest(_message.Message):
    __slots__ = ("component", "tag", "quarantine", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    quarantine: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., quarantine: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class RollbackResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class FinalizeRequest(_message.Message):
    __slots__ = ("component", "tag", "force", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    force: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., force: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class FinalizeResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class AbandonRequest(_message.Message):
    __slots__ = ("component", "tag", "quarantine", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    quarantine: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., quarantine: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class AbandonResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class RevertRequest(_message.Message):
    __slots__ = ("component", "tag", "quarantine", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    QUARANTINE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    quarantine: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., quarantine: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class RevertResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class PauseRequest(_message.Message):
    __slots__ = ("component", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class PauseResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class ResumeRequest(_message.Message):
    __slots__ = ("component", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class ResumeResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class FreezeRequest(_message.Message):
    __slots__ = ("component", "all", "expire_time", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    all: bool
    expire_time: _timestamp_pb2.Timestamp
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., all: bool = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class FreezeResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "frozen_all", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FROZEN_ALL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    frozen_all: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., frozen_all: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class UnfreezeRequest(_message.Message):
    __slots__ = ("component", "all", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    all: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., all: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class UnfreezeResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "frozen_all", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    FROZEN_ALL_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    frozen_all: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., frozen_all: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class QuarantineRequest(_message.Message):
    __slots__ = ("component", "tag", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class QuarantineResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class UnquarantineRequest(_message.Message):
    __slots__ = ("component", "tag", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class UnquarantineResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class ListQuarantineRequest(_message.Message):
    __slots__ = ("component", "page_size", "page_token")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    component: str
    page_size: int
    page_token: str
    def __init__(self, component: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListQuarantineResponse(_message.Message):
    __slots__ = ("tags", "next_page_token")
    TAGS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    tags: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.QuarantinedTag]
    next_page_token: str
    def __init__(self, tags: _Optional[_Iterable[_Union[_rollout_pb2.QuarantinedTag, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetOverrideRequest(_message.Message):
    __slots__ = ("component", "repo", "channel", "tag", "expire_time", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REPO_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    repo: str
    channel: _rollout_pb2.Channel
    tag: str
    expire_time: _timestamp_pb2.Timestamp
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., repo: _Optional[str] = ..., channel: _Optional[_Union[_rollout_pb2.Channel, str]] = ..., tag: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class SetOverrideResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class DeleteOverrideRequest(_message.Message):
    __slots__ = ("component", "repo", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    REPO_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    repo: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., repo: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class DeleteOverrideResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class BatchSetOverridesRequest(_message.Message):
    __slots__ = ("component", "overrides", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    overrides: _containers.RepeatedCompositeFieldContainer[OverrideChange]
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., overrides: _Optional[_Iterable[_Union[OverrideChange, _Mapping]]] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class BatchSetOverridesResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class OverrideChange(_message.Message):
    __slots__ = ("repo", "channel", "tag", "expire_time", "delete")
    REPO_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    DELETE_FIELD_NUMBER: _ClassVar[int]
    repo: str
    channel: _rollout_pb2.Channel
    tag: str
    expire_time: _timestamp_pb2.Timestamp
    delete: bool
    def __init__(self, repo: _Optional[str] = ..., channel: _Optional[_Union[_rollout_pb2.Channel, str]] = ..., tag: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., delete: bool = ...) -> None: ...

class ListOverridesRequest(_message.Message):
    __slots__ = ("component", "page_size", "page_token", "prefix")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    component: str
    page_size: int
    page_token: str
    prefix: str
    def __init__(self, component: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., prefix: _Optional[str] = ...) -> None: ...

class ListOverridesResponse(_message.Message):
    __slots__ = ("overrides", "next_page_token")
    OVERRIDES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    overrides: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Override]
    next_page_token: str
    def __init__(self, overrides: _Optional[_Iterable[_Union[_rollout_pb2.Override, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class SetPolicyRequest(_message.Message):
    __slots__ = ("component", "policy", "update_mask", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    POLICY_FIELD_NUMBER: _ClassVar[int]
    UPDATE_MASK_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    policy: _rollout_pb2.Policy
    update_mask: _field_mask_pb2.FieldMask
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., policy: _Optional[_Union[_rollout_pb2.Policy, _Mapping]] = ..., update_mask: _Optional[_Union[_field_mask_pb2.FieldMask, _Mapping]] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class SetPolicyResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class GetPolicyRequest(_message.Message):
    __slots__ = ("component",)
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    component: str
    def __init__(self, component: _Optional[str] = ...) -> None: ...

class GetPolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _rollout_pb2.Policy
    def __init__(self, policy: _Optional[_Union[_rollout_pb2.Policy, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("component", "page_size", "page_token", "every_component", "after")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    EVERY_COMPONENT_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    component: str
    page_size: int
    page_token: str
    every_component: bool
    after: str
    def __init__(self, component: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., every_component: bool = ..., after: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token", "damage")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Event]
    next_page_token: str
    damage: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Damage]
    def __init__(self, events: _Optional[_Iterable[_Union[_rollout_pb2.Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ..., damage: _Optional[_Iterable[_Union[_rollout_pb2.Damage, _Mapping]]] = ...) -> None: ...

class DeleteComponentRequest(_message.Message):
    __slots__ = ("component", "confirm", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    confirm: str
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., confirm: _Optional[str] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class DeleteComponentResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class WhoAmIRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class WhoAmIResponse(_message.Message):
    __slots__ = ("identity", "role", "components", "proof", "expire_time", "methods", "flags")
    IDENTITY_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    PROOF_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    METHODS_FIELD_NUMBER: _ClassVar[int]
    FLAGS_FIELD_NUMBER: _ClassVar[int]
    identity: str
    role: str
    components: _containers.RepeatedScalarFieldContainer[str]
    proof: str
    expire_time: _timestamp_pb2.Timestamp
    methods: _containers.RepeatedScalarFieldContainer[str]
    flags: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, identity: _Optional[str] = ..., role: _Optional[str] = ..., components: _Optional[_Iterable[str]] = ..., proof: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., methods: _Optional[_Iterable[str]] = ..., flags: _Optional[_Iterable[str]] = ...) -> None: ...

class GetServerRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetServerResponse(_message.Message):
    __slots__ = ("server",)
    SERVER_FIELD_NUMBER: _ClassVar[int]
    server: Server
    def __init__(self, server: _Optional[_Union[Server, _Mapping]] = ...) -> None: ...

class Server(_message.Message):
    __slots__ = ("version", "start_time", "time", "namespace", "components", "damaged_components", "stale", "snapshot_age", "epoch", "last_entry", "listeners", "store", "store_problem")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    DAMAGED_COMPONENTS_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_AGE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LAST_ENTRY_FIELD_NUMBER: _ClassVar[int]
    LISTENERS_FIELD_NUMBER: _ClassVar[int]
    STORE_FIELD_NUMBER: _ClassVar[int]
    STORE_PROBLEM_FIELD_NUMBER: _ClassVar[int]
    version: str
    start_time: _timestamp_pb2.Timestamp
    time: _timestamp_pb2.Timestamp
    namespace: str
    components: int
    damaged_components: int
    stale: bool
    snapshot_age: _duration_pb2.Duration
    epoch: str
    last_entry: str
    listeners: _containers.RepeatedCompositeFieldContainer[Listener]
    store: StoreStatus
    store_problem: str
    def __init__(self, version: _Optional[str] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., namespace: _Optional[str] = ..., components: _Optional[int] = ..., damaged_components: _Optional[int] = ..., stale: bool = ..., snapshot_age: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., epoch: _Optional[str] = ..., last_entry: _Optional[str] = ..., listeners: _Optional[_Iterable[_Union[Listener, _Mapping]]] = ..., store: _Optional[_Union[StoreStatus, _Mapping]] = ..., store_problem: _Optional[str] = ...) -> None: ...

class Listener(_message.Message):
    __slots__ = ("address", "protocol", "tls", "reach", "requires_credentials", "changes_without_credentials")
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PROTOCOL_FIELD_NUMBER: _ClassVar[int]
    TLS_FIELD_NUMBER: _ClassVar[int]
    REACH_FIELD_NUMBER: _ClassVar[int]
    REQUIRES_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_WITHOUT_CREDENTIALS_FIELD_NUMBER: _ClassVar[int]
    address: str
    protocol: str
    tls: bool
    reach: str
    requires_credentials: bool
    changes_without_credentials: bool
    def __init__(self, address: _Optional[str] = ..., protocol: _Optional[str] = ..., tls: bool = ..., reach: _Optional[str] = ..., requires_credentials: bool = ..., changes_without_credentials: bool = ...) -> None: ...

class StoreStatus(_message.Message):
    __slots__ = ("product", "version", "embedded", "time", "append_only", "append_fsync", "save_failed", "used_memory_bytes", "max_memory_bytes", "max_memory_policy", "replicas", "unknown", "topology", "primary")
    PRODUCT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    EMBEDDED_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    APPEND_ONLY_FIELD_NUMBER: _ClassVar[int]
    APPEND_FSYNC_FIELD_NUMBER: _ClassVar[int]
    SAVE_FAILED_FIELD_NUMBER: _ClassVar[int]
    USED_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAX_MEMORY_POLICY_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    product: str
    version: str
    embedded: bool
    time: _timestamp_pb2.Timestamp
    append_only: bool
    append_fsync: str
    save_failed: bool
    used_memory_bytes: int
    max_memory_bytes: int
    max_memory_policy: str
    replicas: int
    unknown: _containers.RepeatedScalarFieldContainer[str]
    topology: str
    primary: str
    def __init__(self, product: _Optional[str] = ..., version: _Optional[str] = ..., embedded: bool = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., append_only: bool = ..., append_fsync: _Optional[str] = ..., save_failed: bool = ..., used_memory_bytes: _Optional[int] = ..., max_memory_bytes: _Optional[int] = ..., max_memory_policy: _Optional[str] = ..., replicas: _Optional[int] = ..., unknown: _Optional[_Iterable[str]] = ..., topology: _Optional[str] = ..., primary: _Optional[str] = ...) -> None: ...
