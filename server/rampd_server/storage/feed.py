"""Reads the feed, and finds out which entries the store has lost."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.ports import FeedEntry, entry_order
from rampd_server.storage.codec import feed_entry
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.exchange import wrong_type_may_fail
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.store_errors import corrupt

MAX_BLOCK_MS: Final = 1_000
"""The longest wait of `read_feed`. It is shorter than the time-out of the connection, so that a lost connection is noticed."""

_FEED_COUNT: Final = 100
_ASKED_AT_ONCE: Final = 1_000


async def read_feed(link: Link, after: str, *, block_ms: int) -> list[FeedEntry]:
    """As `Store.feed`."""
    if not 0 <= block_ms <= MAX_BLOCK_MS:
        raise ValueError(f"block_ms is {block_ms}, not 0 to {MAX_BLOCK_MS}")
    place = {link.keys.feed: after}
    if block_ms:
        with link.counts.counted("xread"), redis_errors(link.keys.feed):
            reply = await link.clients.feed.xread(place, _FEED_COUNT, block_ms)
    else:
        # The connection of waiting reads may hang. Then this read still gets the entries.
        reply = await link.call(link.client.xread, place, _FEED_COUNT, key=link.keys.feed)
    entries = []
    for entry_id, fields in reply[0][1] if reply else ():
        try:
            entries.append(_entry(link, entry_id, fields))
        except StoreCorruptError as error:
            await link.look_at_schema()
            entries.append(FeedEntry(entry_id, "", problem=error.message))
        # An entry may have a thousand overrides, so other tasks get a turn between entries.
        await asyncio.sleep(0)
    return entries


async def find_entry(link: Link, entry_id: str) -> FeedEntry | None:
    """Returns one entry; None if the feed does not have it any more. Raises StoreCorruptError."""
    entries = await link.call(link.client.xrange, link.keys.feed, entry_id, entry_id)
    return _entry(link, *entries[0]) if entries else None


async def has_lost(link: Link, entry_id: str) -> bool:
    """As `Store.has_lost`."""
    key = link.keys.feed
    up_to = await link.call(link.client.xrevrange, key, entry_id, "-", 1, key=key)
    if up_to:
        return bool(up_to[0][0] != entry_id)
    # If all kept entries are later, the entry was trimmed and not lost. An empty feed can't prove this, so it counts as lost.
    return not await link.call(link.client.xrange, key, "-", "+", 1, key=key)


async def missing_entries(link: Link, entries: Iterable[tuple[str, str]]) -> frozenset[str]:
    """As `Store.missing_entries`."""
    missing: set[str] = set()
    asked = list(entries)
    for first in range(0, len(asked), _ASKED_AT_ONCE):
        chunk = asked[first : first + _ASKED_AT_ONCE]
        found = await _ask_histories(link, chunk)
        for (component, entry_id), (this, oldest) in zip(chunk, found, strict=True):
            if not this and not (oldest and entry_order(entry_id) < entry_order(oldest[0][0])):
                missing.add(component)
    return frozenset(missing)


async def _ask_histories(link: Link, entries: Sequence[tuple[str, str]]) -> list[tuple[Any, Any]]:
    """Returns for each component its entry in the history, and the oldest entry there.

    A key of the wrong type does not show whether something is lost, so it counts as if it has the entry.
    """

    def build(pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
        for component, entry_id in entries:
            key = link.keys.component(component).history
            pipe.xrange(key, entry_id, entry_id, 1)
            pipe.xrange(key, "-", "+", 1)

    replies = await link.exchange(build, may_fail=wrong_type_may_fail, command="xrange")
    return list(zip(replies[::2], replies[1::2], strict=True))


def _entry(link: Link, entry_id: str, fields: Mapping[str, str]) -> FeedEntry:
    try:
        return feed_entry.read_entry(entry_id, fields)
    except MalformedError as exc:
        raise corrupt(link.keys.feed, exc.field, exc.problem) from exc
