"""A write happens once for each request: the record of a request id, and what it says of a write that was sent again."""

import secrets
from typing import Any

from rampd_server.ports import Author, FeedEntry, ReplayedError, RequestRecord
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.request_record import Request, StoredRecord, read_record
from rampd_server.storage.feed import find_entry
from rampd_server.storage.link import Link
from rampd_server.storage.store_errors import corrupt


def request_of(author: Author) -> Request:
    """Returns the request of a new call."""
    return Request.of(author, nonce=secrets.token_hex(8))


def once(link: Link, request: Request) -> dict[str, Any]:
    """Returns the arguments of `Link.write` that make a write happen once for each request, or never for a dry run."""
    return {
        "is_write": not request.is_dry_run,
        "request_id": request.id,
        "request": link.keys.request(request.id),
        "epoch": link.epoch,
        "digest": request.digest,
        "nonce": request.nonce,
        "life_ms": request.life_ms,
        "dry_run": texts.write_flag(request.is_dry_run),
    }


async def read_request(link: Link, request_id: str) -> RequestRecord | None:
    """As `Store.request_record`."""
    key = link.keys.request(request_id)
    async with link.of_known_schema():
        text = await link.call(link.client.get, key, key=key)
        return None if text is None else _record(key, text).record


async def require_own_record(link: Link, request: Request, text: str) -> StoredRecord:
    """Returns the record if an earlier attempt of this call wrote it. Raises ReplayedError if another call wrote it."""
    async with link.of_known_schema():
        stored = _record(link.keys.request(request.id), text)
        if stored.nonce != request.nonce:
            raise ReplayedError(stored.record)
        return stored


async def require_own_entry(link: Link, request: Request, text: str) -> FeedEntry:
    """As `require_own_record`, but returns the entry that the attempt wrote."""
    stored = await require_own_record(link, request, text)
    async with link.of_known_schema():
        entry = await find_entry(link, stored.entry_id)
    if entry is None:
        raise ReplayedError(stored.record)
    return entry


def _record(key: str, text: str) -> StoredRecord:
    try:
        return read_record(text)
    except ValueError as exc:
        raise corrupt(key, "", str(exc)) from exc
