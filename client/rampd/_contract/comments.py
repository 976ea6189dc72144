"""The comments of proto/, by the full name of what they are about. Descriptions of the API are written with them."""

from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet

from rampd import v1


@cache
def written_files() -> Mapping[str, FileDescriptorProto]:
    """The files of rampd.v1 by their names, as the generator wrote them. Generated code has no comments and no JSON names."""
    data = resources.files(v1).joinpath("descriptors.binpb").read_bytes()
    return {file.name: file for file in FileDescriptorSet.FromString(data).file}


def comment_of(name: str) -> str:
    """Returns the comment before a message, a field, an enum, a value, a service or a method, as one paragraph; empty for what
    is not rampd's.
    """
    return _comments().get(name, "")


@cache
def _comments() -> Mapping[str, str]:
    found: dict[str, str] = {}
    for file in written_files().values():
        names = _names(file)
        for location in file.source_code_info.location:
            if (path := tuple(location.path)) in names and location.leading_comments:
                found[names[path]] = " ".join(location.leading_comments.split())
    return found


def _names(file: FileDescriptorProto) -> dict[tuple[int, ...], str]:
    """The full name of each thing of a file, by its path in the file's descriptor."""
    found: dict[tuple[int, ...], str] = {}

    def collect(thing: Any, path: tuple[int, ...], above: str) -> None:  # noqa: ANN401 - any kind of descriptor
        for part, each in thing.ListFields():
            if part.message_type is None or part.name in {"options", "source_code_info"}:
                continue
            for number, inner in enumerate(each if part.is_repeated else ()):
                if hasattr(inner, "name"):
                    at = (*path, part.number, number)
                    found[at] = f"{above}.{inner.name}"
                    collect(inner, at, found[at])

    collect(file, (), file.package)
    return found
