"""The descriptors that the reflection service gives: as the generator wrote them, with comments and JSON names.

The classes of rampd.v1 have neither: generated code has no comments, and descriptors that are taken from it have no
JSON names. So the generator's own descriptors are kept in a file beside the generated code, and are served instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf import descriptor_pool
from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from rampd._contract.comments import written_files


@dataclass(frozen=True, slots=True)
class _File:
    """A file, with the attributes that the reflection service uses."""

    loaded: FileDescriptor

    @property
    def name(self) -> str:
        return self.loaded.name

    @property
    def dependencies(self) -> "Sequence[_File]":
        return [_File(each) for each in self.loaded.dependencies]

    def CopyToProto(self, proto: FileDescriptorProto) -> None:  # noqa: N802 - the name that protobuf uses
        written = written_files().get(self.name)
        if written is None:  # a file of Google's, or of another service
            self.loaded.CopyToProto(proto)
        else:
            proto.CopyFrom(written)


class WrittenFiles:
    """The pool of all loaded files, for the reflection service. Its files of rampd.v1 are as the generator wrote them."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def FindFileByName(self, name: str) -> _File:  # noqa: N802
        return _File(self._pool.FindFileByName(name))

    def FindFileContainingSymbol(self, symbol: str) -> _File:  # noqa: N802
        try:
            return _File(self._pool.FindFileContainingSymbol(symbol))
        except KeyError:  # this function of protobuf's pool does not find methods
            return _File(self._pool.FindMethodByName(symbol).containing_service.file)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - extensions, of which rampd.v1 has none
        return getattr(self._pool, name)
