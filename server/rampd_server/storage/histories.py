"""Reads histories: one, pieces of many at once, and the entries that set overrides."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from redis import exceptions

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.ports import AskedEvents, Event, EventsPiece, Origin
from rampd_server.storage.codec import history, texts
from rampd_server.storage.codec.malformed import MalformedError
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

    async def ask() -> list[Any]:
        pipe = link.client.pipeline(transaction=False)
        for each in asked:
            pipe.xrevrange(_key(link, each.component), *_bounds(each.before, after), each.limit)
        return await _answers(pipe)

    async with link.of_known_schema():
        found = await link.call(ask, command="xrevrange")
        if not any(found):
            await link.require_epoch()
        pieces = [_piece(link, each, entries) for each, entries in zip(asked, found, strict=True)]
        damage = [error for piece in pieces for error in piece.damage]
        if damage:
            await link.look_at_schema()
        for error in damage:
            link.count_error(error)
        return pieces


async def read_origins(link: Link, component: str, entry_ids: Collection[str]) -> Mapping[str, Origin]:
    """Returns who made the changes with these ids, and when. The ids are valid."""
    key = _key(link, component)

    async def ask() -> list[Any]:
        pipe = link.client.pipeline(transaction=False)
        for entry_id in entry_ids:
            pipe.xrange(key, entry_id, entry_id, 1)
        return await _answers(pipe)

    if not entry_ids:
        return {}
    found = await link.call(ask, command="xrange")
    return {
        entry_id: history.read_origin(entry_id, entries[0][1] if isinstance(entries, list) and entries else None)
        for entry_id, entries in zip(entry_ids, found, strict=True)
    }


def _key(link: Link, component: str) -> str:
    return link.keys.component(component).history if component else link.keys.history


def _bounds(before: str, after: str) -> tuple[str, str]:
    """Returns the ends of a range for XREVRANGE, without `before` and without `after`. Raises ValueError."""
    for entry_id in filter(None, (before, after)):
        texts.read_position(entry_id)
    return f"({before}" if before else "+", f"({after}" if after else "-"


async def _answers(pipe: Any) -> list[Any]:  # noqa: ANN401 - a pipeline of redis-py
    """Returns the answers. A key of the wrong type has its error as its answer; every other error is raised."""
    answers: list[Any] = await pipe.execute(raise_on_error=False)
    for answer in answers:
        if isinstance(answer, Exception) and "WRONGTYPE" not in str(answer):
            raise answer
    return answers


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
