"""Reads histories: one, or pieces of many at once."""

from collections.abc import Sequence
from typing import Any

from redis import exceptions

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.ports import AskedEvents, Event, EventsPiece, entry_order
from rampd_server.storage.codec import history, texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.exchange import wrong_type_may_fail
from rampd_server.storage.link import Link
from rampd_server.storage.store_errors import corrupt, wrong_type


async def read_events(link: Link, component: str, *, before: str, after: str, limit: int) -> list[Event]:
    """As `Store.events`."""
    key = _key(link, component)
    newest, oldest = _bounds(before, after)
    async with link.of_known_schema():
        entries = await link.call(link.client.xrevrange, key, newest, oldest, limit, key=key)
        if not entries:
            await link.require_epoch()
        try:
            return [history.read_event(component, *entry) for entry in entries]
        except MalformedError as exc:
            raise corrupt(key, exc.field, exc.problem) from exc


async def read_events_of_many(link: Link, asked: Sequence[AskedEvents], *, after: str) -> list[EventsPiece]:
    """As `Store.events_of_many`."""

    def build(pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
        for each in asked:
            pipe.xrevrange(_key(link, each.component), *_bounds(each.before, after), each.limit)

    async with link.of_known_schema():
        # The other histories are read, whatever type a key has.
        found = await link.exchange(build, may_fail=wrong_type_may_fail, command="xrevrange")
        if not any(found):
            await link.require_epoch()
        pieces = [_piece(link, each, entries) for each, entries in zip(asked, found, strict=True)]
        damage = [error for piece in pieces for error in piece.damage]
        if damage:
            await link.look_at_schema()
        for error in damage:
            link.counts.note_error(error)
        return pieces


def _key(link: Link, component: str) -> str:
    return link.keys.component(component).history if component else link.keys.history


def _bounds(before: str, after: str) -> tuple[str, str]:
    """Returns the ends of a range for XREVRANGE, without `before` and without `after`. Raises ValueError."""
    for entry_id in filter(None, (before, after)):
        texts.read_position(entry_id)
    # Nothing is before the first possible id, and Redis refuses to leave it out.
    newest = before if before and entry_order(before) == (0, 0) else f"({before}" if before else "+"
    return newest, f"({after}" if after else "-"


def _piece(link: Link, asked: AskedEvents, entries: Sequence[Any] | exceptions.ResponseError) -> EventsPiece:
    key = _key(link, asked.component)
    if isinstance(entries, Exception):
        return EventsPiece(damage=[wrong_type(key)])
    events: list[Event] = []
    damage: list[StoreCorruptError] = []
    for entry_id, fields in entries:
        try:
            events.append(history.read_event(asked.component, entry_id, fields))
        except MalformedError as exc:
            damage.append(corrupt(key, exc.field, exc.problem))
    return EventsPiece(events, entries[-1][0] if len(entries) == asked.limit else "", damage)
