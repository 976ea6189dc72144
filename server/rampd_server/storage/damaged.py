"""Deletes a component that can't be read."""

import contextlib
from collections.abc import Mapping
from typing import Any

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout.model import Absent
from rampd_server.ports import Author, FeedEntry, Result
from rampd_server.storage.codec import feed_entry, history
from rampd_server.storage.codec.request_record import write_result
from rampd_server.storage.histories import read_events
from rampd_server.storage.link import Link
from rampd_server.storage.once import once, request_of, require_own_entry
from rampd_server.storage.scripts import Code


async def delete_damaged(
    link: Link, component: str, author: Author, *, problem: str, lowest: Absent, feed_limits: Mapping[str, Any]
) -> tuple[FeedEntry, Absent]:
    """As `Store.delete_damaged`."""
    request = request_of(author)
    reply, replicas = await link.commit(
        "delete_damaged",
        link.keys.component(component),
        **once(link, request),
        **feed_limits,
        component=component,
        revision_floor=lowest.revision,
        number_floor=max(lowest.last_number, await _last_number_in_history(link, component)),
        result=write_result(Result(0), author),
        event=history.event_fields(author, history.end_of_damaged(problem)),
    )
    if reply[0] == Code.REPLAYED:
        entry = await require_own_entry(link, request, reply[1])
    else:
        _, entry_id, previous_id, revision, last_number, base_entry = reply
        entry = FeedEntry(
            id=entry_id,
            previous_id=previous_id,
            component=component,
            revision=int(revision),
            patch=feed_entry.end(Absent(component, int(revision), int(last_number))),
            is_deletion=True,
            base_entry=base_entry,
            replicas=replicas,
        )
    before = Absent(component, entry.revision - 1, entry=entry.base_entry)
    gone = feed_entry.apply(before, entry, feed_key=link.keys.feed)
    if not isinstance(gone, Absent):
        raise TypeError(f"{component} still exists after its deletion")
    return entry, gone


async def _last_number_in_history(link: Link, component: str) -> int:
    """Returns the highest number of a release in the history, as far as the history can be read."""
    highest, before = 0, ""
    with contextlib.suppress(StoreCorruptError):
        while events := await read_events(link, component, before=before, after="", limit=1000):
            numbers = (history.release_number(change) for event in events for change in event.changes)
            highest = max(highest, *numbers, 0)
            before = events[-1].id
    return highest
