"""Reads rollouts: one, many at once, or only what names the state of each."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from functools import partial
from typing import Any, Final

from rampd_server.domain.errors import StoreResetError, StoreUnavailableError
from rampd_server.domain.rollout.model import Absent
from rampd_server.ports import Namespace, StateMark, Stored
from rampd_server.storage.codec import feed_entry, rebuild
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.exchange import wrong_type_may_fail
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt, wrong_type

_ROLLOUTS_AT_ONCE: Final = 100
"""How many rollouts are read in one exchange. Redis is busy with them for a few milliseconds."""
_MARKS_AT_ONCE: Final = 250
"""So many are asked for, and their answers read, in a few milliseconds."""
_NOTHING: Final = "0"


async def read_rollout(link: Link, component: str) -> Stored:
    """As `Store.read`."""
    async with link.of_known_schema():
        reply = await link.run("read_rollout", link.keys.component(component), component=component)
        return _stored(link, component, reply)


async def read_rollouts(link: Link, components: Sequence[str]) -> AsyncGenerator[tuple[str, Stored | Exception]]:
    """As `Store.read_many`. While the caller takes in some rollouts, Redis reads the next ones."""
    place, at_once = 0, _ROLLOUTS_AT_ONCE
    asked = asyncio.create_task(_exchange(link, components[:at_once]))
    try:
        while names := components[place : place + at_once]:
            try:
                replies = await asked
            except StoreUnavailableError:
                if len(names) == 1:
                    raise
                # Very large rollouts may not come in time together.
                at_once = 1
                asked = asyncio.create_task(_exchange(link, components[place : place + at_once]))
                continue
            place += len(names)
            asked = asyncio.create_task(_exchange(link, components[place : place + at_once]))
            for name, reply in zip(names, replies, strict=True):
                yield name, await _stored_or_error(link, name, reply)
                # To read a large rollout takes milliseconds, so other tasks get a turn in between.
                await asyncio.sleep(0)
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        # The traceback of its error leads back to here. In a ring, all that was read would wait for garbage collection.
        del asked


async def read_marks(link: Link, components: Sequence[str]) -> list[StateMark]:
    """As `Store.marks`."""
    marks: list[StateMark] = []
    for first in range(0, len(components), _MARKS_AT_ONCE):
        names = components[first : first + _MARKS_AT_ONCE]
        replies = await link.exchange(partial(_ask_marks, link, names), may_fail=wrong_type_may_fail, command="hmget")
        # A key of the wrong type names no state.
        marks += [StateMark() if isinstance(reply, Exception) else _mark(*reply) for reply in replies]
    return marks


def namespace_of(link: Link, freeze: str | None) -> Namespace:
    """Returns the namespace whose freeze `meta` has. Raises StoreCorruptError."""
    try:
        return feed_entry.read_namespace(freeze)
    except ValueError as exc:
        raise corrupt(link.keys.meta, "freeze", str(exc)) from exc


def milliseconds(seconds: int, microseconds: int) -> int:
    """Returns what TIME answers, in milliseconds."""
    return seconds * 1000 + microseconds // 1000


def pairs(flat: list[str]) -> dict[str, str]:
    """Returns what HGETALL answers within a script."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


async def _exchange(link: Link, names: Sequence[str]) -> list[Any]:
    if not names:
        return []
    link.require_schema()
    calls = [(link.keys.component(name), {"component": name}) for name in names]
    replies = await link.run_many("read_rollout", calls, is_write=False)
    for reply in replies:
        if isinstance(reply, Exception):
            with redis_errors():
                raise reply
    return replies


async def _stored_or_error(link: Link, component: str, reply: list[Any]) -> Stored | Exception:
    try:
        async with link.of_known_schema():
            return _stored(link, component, reply)
    except (StoreUnavailableError, StoreResetError):
        raise
    except Exception as error:  # noqa: BLE001 - one component must not stop the others
        return error


def _stored(link: Link, component: str, reply: list[Any]) -> Stored:
    keys = link.keys.component(component)
    if reply[0] == Code.WRONG_TYPE:
        raise wrong_type(*reply[1])
    (epoch, freeze, entry_id, schema), (seconds, microseconds), listed, overrides, rollout, queue, *hashes = reply[1:]
    link.schema = schema
    link.require_schema()
    if not epoch or (link.epoch and epoch != link.epoch):
        raise link.reset(epoch)
    sections = rebuild.Sections(pairs(rollout), tuple(queue), *map(pairs, hashes))
    try:
        loaded = rebuild.load(component, sections)
    except MalformedError as exc:
        key: str = getattr(keys, exc.section)
        raise corrupt(key, exc.field, exc.problem) from exc
    if listed and isinstance(loaded, Absent):
        problem = f"is gone or says that {component} was deleted, but {link.keys.components} still names it"
        raise corrupt(keys.rollout, "", problem)
    return Stored(
        loaded,
        namespace_of(link, freeze),
        milliseconds(int(seconds), int(microseconds)),
        entry_id or "0-0",
        has_overrides=bool(overrides) or sections.rollout.get("overrides", _NOTHING) != _NOTHING,
    )


def _ask_marks(link: Link, names: Sequence[str], pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
    for name in names:
        pipe.hmget(link.keys.component(name).rollout, "entry", "overrides")


def _mark(entry: str | None, overrides: str | None) -> StateMark:
    return StateMark(entry or "", overrides or _NOTHING)
