from rampd.v1 import rollout_pb2 as _rollout_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Disposition(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DISPOSITION_UNSPECIFIED: _ClassVar[Disposition]
    DISPOSITION_BOOTSTRAPPED: _ClassVar[Disposition]
    DISPOSITION_STARTED: _ClassVar[Disposition]
    DISPOSITION_QUEUED: _ClassVar[Disposition]
    DISPOSITION_UNCHANGED: _ClassVar[Disposition]
    DISPOSITION_PROMOTED: _ClassVar[Disposition]
DISPOSITION_UNSPECIFIED: Disposition
DISPOSITION_BOOTSTRAPPED: Disposition
DISPOSITION_STARTED: Disposition
DISPOSITION_QUEUED: Disposition
DISPOSITION_UNCHANGED: Disposition
DISPOSITION_PROMOTED: Disposition

class ReleaseRequest(_message.Message):
    __slots__ = ("component", "tag", "attributes", "expedite", "force", "request_id", "expected_revision", "note", "dry_run")
    class AttributesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    ATTRIBUTES_FIELD_NUMBER: _ClassVar[int]
    EXPEDITE_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    tag: str
    attributes: _containers.ScalarMap[str, str]
    expedite: bool
    force: bool
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., tag: _Optional[str] = ..., attributes: _Optional[_Mapping[str, str]] = ..., expedite: bool = ..., force: bool = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class ReleaseResponse(_message.Message):
    __slots__ = ("message", "changed", "replayed", "disposition", "queue_position", "release", "revision", "replicas", "preview", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    REPLAYED_FIELD_NUMBER: _ClassVar[int]
    DISPOSITION_FIELD_NUMBER: _ClassVar[int]
    QUEUE_POSITION_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    REPLICAS_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    changed: bool
    replayed: bool
    disposition: Disposition
    queue_position: int
    release: int
    revision: int
    replicas: int
    preview: _rollout_pb2.Preview
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., changed: bool = ..., replayed: bool = ..., disposition: _Optional[_Union[Disposition, str]] = ..., queue_position: _Optional[int] = ..., release: _Optional[int] = ..., revision: _Optional[int] = ..., replicas: _Optional[int] = ..., preview: _Optional[_Union[_rollout_pb2.Preview, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...

class CancelReleaseRequest(_message.Message):
    __slots__ = ("component", "release", "request_id", "expected_revision", "note", "dry_run")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    component: str
    release: int
    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    def __init__(self, component: _Optional[str] = ..., release: _Optional[int] = ..., request_id: _Optional[str] = ..., expected_revision: _Optional[int] = ..., note: _Optional[str] = ..., dry_run: bool = ...) -> None: ...

class CancelReleaseResponse(_message.Message):
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

class GetReleaseRequest(_message.Message):
    __slots__ = ("component", "release")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    component: str
    release: int
    def __init__(self, component: _Optional[str] = ..., release: _Optional[int] = ...) -> None: ...

class GetReleaseResponse(_message.Message):
    __slots__ = ("release",)
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    release: _rollout_pb2.Release
    def __init__(self, release: _Optional[_Union[_rollout_pb2.Release, _Mapping]] = ...) -> None: ...

class ListReleasesRequest(_message.Message):
    __slots__ = ("component", "page_size", "page_token")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    component: str
    page_size: int
    page_token: str
    def __init__(self, component: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ...) -> None: ...

class ListReleasesResponse(_message.Message):
    __slots__ = ("releases", "next_page_token")
    RELEASES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    releases: _containers.RepeatedCompositeFieldContainer[_rollout_pb2.Release]
    next_page_token: str
    def __init__(self, releases: _Optional[_Iterable[_Union[_rollout_pb2.Release, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class WatchReleaseRequest(_message.Message):
    __slots__ = ("component", "release", "until_held", "until_paused")
    COMPONENT_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    UNTIL_HELD_FIELD_NUMBER: _ClassVar[int]
    UNTIL_PAUSED_FIELD_NUMBER: _ClassVar[int]
    component: str
    release: int
    until_held: bool
    until_paused: bool
    def __init__(self, component: _Optional[str] = ..., release: _Optional[int] = ..., until_held: bool = ..., until_paused: bool = ...) -> None: ...

class WatchReleaseResponse(_message.Message):
    __slots__ = ("message", "release", "rollout")
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    RELEASE_FIELD_NUMBER: _ClassVar[int]
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    message: str
    release: _rollout_pb2.Release
    rollout: _rollout_pb2.Rollout
    def __init__(self, message: _Optional[str] = ..., release: _Optional[_Union[_rollout_pb2.Release, _Mapping]] = ..., rollout: _Optional[_Union[_rollout_pb2.Rollout, _Mapping]] = ...) -> None: ...
