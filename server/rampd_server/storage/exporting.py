"""Reads what an export has beside the copy of a server: histories, and who set the overrides."""

from collections.abc import AsyncIterator, Mapping
from typing import Final

from rampd_server.ports import entry_order
from rampd_server.storage.codec import history
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.link import Link
from rampd_server.storage.store_errors import corrupt

RawEvent = tuple[str, Mapping[str, str]]
"""An entry of a history as it is in Redis: its id and its fields."""

_EVENTS: Final = 500
_ORIGINS: Final = 1_000


async def read_raw_events(link: Link, component: str, *, up_to: str) -> AsyncIterator[list[RawEvent]]:
    """Yields the history of a component up to the id `up_to`, oldest first, in pieces. Component "" is the namespace itself.

    Raises StoreCorruptError if an entry can't be read; StoreUnavailableError.
    """
    key, first = link.keys.component(component).history if component else link.keys.history, "-"
    while True:
        entries = await link.call(link.client.xrange, key, first, up_to, _EVENTS, key=key)
        for entry_id, fields in entries:
            try:
                history.read_event(component, entry_id, fields)
            except MalformedError as exc:
                raise corrupt(key, exc.field, exc.problem) from exc
        if entries:
            yield entries
        if len(entries) < _EVENTS:
            return
        first = f"({entries[-1][0]}"


async def read_origins(link: Link, component: str, *, up_to: str) -> AsyncIterator[dict[str, str]]:
    """Yields for each repo with an override the entry of the history that set it, in pieces. Later entries than `up_to` are
    left out. Raises StoreCorruptError, StoreUnavailableError.
    """
    key, cursor, last = link.keys.component(component).overrides_origin, 0, entry_order(up_to)
    while True:
        cursor, found = await link.call(link.client.hscan, key, cursor, None, _ORIGINS, key=key)
        try:
            yield {repo: entry_id for repo, entry_id in found.items() if entry_order(entry_id) <= last}
        except ValueError as exc:
            raise corrupt(key, "", f"has a value that is not the id of an entry: {exc}") from exc
        if not cursor:
            return
