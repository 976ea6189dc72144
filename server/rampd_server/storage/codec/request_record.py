"""The idempotency record of a request, the string `request:<id>`. It has a digest and a short result, not a response.

`digest nonce entry revision changed release queue_position disposition parts`, for example
`9f86d081 5c1e… 1583020800000-0 7 1 2 1 QUEUED method:Release,identity:5d41402a,actor:1a2b,component:3c4d,tag:5e6f`. An
earlier rampd wrote no `parts`, or no `identity`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from rampd_server.ports import Author, RequestRecord, Result
from rampd_server.storage.codec import texts

_OWN_LIFE_MS: Final = 24 * 60 * 60 * 1000
_MADE_UP_LIFE_MS: Final = 60 * 1000


@dataclass(frozen=True, slots=True)
class Request:
    """How a write is deduplicated."""

    id: str
    digest: str
    nonce: str
    """Identifies this attempt. It stays the same when the call is sent again after a lost reply, so that the call recognizes its
    own record.
    """
    life_ms: int
    is_dry_run: bool = False

    @classmethod
    def of(cls, author: Author, *, nonce: str) -> "Request":
        if author.request_id:
            return cls(author.request_id, author.digest or "-", nonce, _OWN_LIFE_MS, author.is_dry_run)
        # An id that a caller may give has no `~`.
        return cls(f"~{nonce}", "-", nonce, _MADE_UP_LIFE_MS, author.is_dry_run)


def write_result(result: Result, author: Author) -> str:
    """Returns the end of the record. The script adds the beginning, which only the script knows."""
    parts = ",".join(f"{name}:{part}" for name, part in author.parts.items())
    return f"{result.release} {result.queue_position} {result.disposition}" + (f" {parts}" if parts else "")


@dataclass(frozen=True, slots=True)
class StoredRecord:
    record: RequestRecord
    nonce: str
    entry_id: str


def read_record(text: str) -> StoredRecord:
    """Reads a record. Raises ValueError."""
    digest, nonce, entry_id, revision, changed, release, queue_position, disposition, parts = _split(text)
    result = Result(
        revision=texts.read_integer(revision),
        disposition=disposition,
        release=texts.read_integer(release),
        queue_position=texts.read_integer(queue_position),
        changed=texts.read_flag(changed),
    )
    record = RequestRecord(digest, result, _read_parts(parts), entry_id if result.changed else "")
    return StoredRecord(record, nonce, entry_id)


def _split(text: str) -> list[str]:
    words = texts.read_text(text).split(" ")
    if len(words) not in {8, 9}:
        raise ValueError(f"has {len(words)} words, not 8 or 9")
    return words if len(words) == 9 else [*words, ""]


def _read_parts(text: str) -> Mapping[str, str]:
    parts = [part.split(":") for part in text.split(",")] if text else []
    if any(len(part) != 2 for part in parts):
        raise ValueError("has parts that are not `name:digest`")
    return dict(parts)
