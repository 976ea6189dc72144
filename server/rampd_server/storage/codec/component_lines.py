"""Writes a component as lines of JSON, and reads it back: for the file of the last state, and for an export.

The first line of a component has its name and its sections as they are in Redis. Lines with more of its releases, attributes and
overrides follow, so that each line is encoded quickly. A deleted component has one line: its tombstone.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, Final

from rampd_server.domain.rollout.model import Absent, Release, Rollout
from rampd_server.ports import Override
from rampd_server.storage.codec import rebuild, texts
from rampd_server.storage.codec.patch import (
    ATTRIBUTES,
    QUARANTINE,
    QUEUE,
    RELEASES,
    TIMELINE,
    write_quarantine,
    write_timeline,
)
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT
from rampd_server.storage.codec.rollout_hash import write_hash

COMPONENT: Final = "component"
OVERRIDES: Final = "overrides"
_PIECE: Final = 1_000
_PIECE_RELEASES: Final = 100
_PIECE_BYTES: Final = 65_536


def write(rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> Iterator[bytes]:
    """Yields the lines of a component. Each one takes about a millisecond."""
    return map(line, pieces(rollout, overrides))


def pieces(rollout: Rollout | Absent, overrides: Iterable[tuple[str, Override]] = ()) -> Iterator[Mapping[str, Any]]:
    """Yields the values of the lines. In each section the fields have the names and the texts that they have in Redis."""
    head: dict[str, object] = {
        COMPONENT: rollout.component,
        ROLLOUT: write_hash(rollout),
        QUARANTINE: write_quarantine(rollout),
    }
    if isinstance(rollout, Absent):
        yield head
        return
    head[QUEUE] = [str(number) for number in rollout.queue]
    head[TIMELINE] = write_timeline(rollout.timeline)
    yield head
    for releases in _pieces_of(rollout.releases.values()):
        yield {
            RELEASES: {str(each.number): texts.write_release(each) for each in releases},
            ATTRIBUTES: {
                str(each.number): texts.write_json(dict(each.attributes)) for each in releases if each.attributes
            },
        }
    rest = iter(overrides)
    while piece := {repo: texts.write_override(override) for repo, override in islice(rest, _PIECE)}:
        yield {OVERRIDES: piece}


def line(value: object) -> bytes:
    return texts.write_json(value).encode() + b"\n"


def gather(values: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    """Yields the parts of each component, for `read`. The values are those of the lines. Raises ValueError, TypeError, KeyError
    and AttributeError if they do not have the form of `write`.
    """
    whole: dict[str, Any] = {}
    for value in values:
        if COMPONENT in value:
            if whole:
                yield whole
            whole = {QUEUE: (), RELEASES: {}, ATTRIBUTES: {}, TIMELINE: {}, OVERRIDES: {}, **value}
        else:
            for section, fields in value.items():
                whole[section].update(fields)
    if whole:
        yield whole


def name_of(whole: Mapping[str, Any]) -> str:
    """Returns the name of a component that `gather` has put together."""
    return str(whole[COMPONENT])


def read(whole: Mapping[str, Any]) -> tuple[Rollout | Absent, Mapping[str, Override]]:
    """Returns a component that `gather` has put together, and its overrides. Raises MalformedError, ValueError, TypeError and
    KeyError.
    """
    sections = rebuild.Sections(
        whole[ROLLOUT],
        tuple(whole[QUEUE]),
        *(whole[section] for section in (RELEASES, ATTRIBUTES, QUARANTINE, TIMELINE)),
    )
    rollout = rebuild.load(name_of(whole), sections)
    return rollout, {repo: texts.read_override(text) for repo, text in whole[OVERRIDES].items()}


def _pieces_of(releases: Iterable[Release]) -> Iterator[list[Release]]:
    """Yields pieces that are small enough to be encoded quickly. A release may have 16 KiB of attributes."""
    piece: list[Release] = []
    size = 0
    for release in releases:
        piece.append(release)
        size += sum(len(key) + len(value) for key, value in release.attributes.items())
        if len(piece) >= _PIECE_RELEASES or size >= _PIECE_BYTES:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece
