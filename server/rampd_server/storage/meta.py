"""What `meta` says of a namespace: its epoch, its schema, its freeze, and the last entry of the feed."""

import secrets
from typing import Any, Final

from redis import exceptions

from rampd_server.ports import Head
from rampd_server.storage.codec import texts
from rampd_server.storage.link import Link
from rampd_server.storage.rollouts import milliseconds, namespace_of
from rampd_server.storage.schema import EARLIEST, SCHEMA
from rampd_server.storage.store_errors import corrupt

_SCAN_COUNT: Final = 1_000
_ROLE_PLACE: Final = 2


async def begin_epoch(link: Link, *, adopted: bool) -> str:
    """As `Store.begin_epoch`."""
    _, epoch = await link.write(
        "begin_epoch",
        epoch=secrets.token_hex(8),
        schema=SCHEMA,
        earliest=EARLIEST,
        adopted=texts.write_flag(adopted),
    )
    return str(epoch)


async def raise_schema(link: Link, schema: int) -> None:
    """Raises the schema of the data if it is lower. Fields that an earlier schema does not have are read as missing."""
    await link.write("raise_schema", schema=schema)
    await link.look_at_schema()


async def read_head(link: Link) -> Head | None:
    """As `Store.head`."""
    fields = ("epoch", "adopted_ms", "freeze", "head", "schema", "import")
    (epoch, adopted_ms, freeze, entry_id, schema, under_way), time, role = await link.exchange(
        lambda pipe: pipe.hmget(link.keys.meta, *fields).time().role(),
        may_fail=_is_test_double,
        key=link.keys.meta,
        command="hmget",
    )
    # A replica that has lost its primary still answers, so only a primary counts.
    if isinstance(role, list) and role[0] not in {"master", b"master"}:
        raise link.not_primary()
    link.schema = schema
    link.require_schema()
    if not epoch and under_way:
        # Nobody can adopt it, so the error says what else ends this.
        raise link.importing(under_way)
    if not epoch:
        return None
    return Head(
        epoch=epoch,
        entry_id=entry_id or "0-0",
        time_ms=milliseconds(*time),
        namespace=namespace_of(link, freeze),
        adopted_ms=_adopted_ms(link, adopted_ms),
    )


async def is_empty(link: Link) -> bool:
    """As `Store.is_empty`."""
    known = (link.keys.meta, link.keys.components, link.keys.feed, link.keys.history)
    if await link.call(link.client.exists, *known):
        return False
    # Outcomes may be on other nodes than the namespace.
    for client in await link.clients.every():
        if await _has_keys(link, client):
            return False
    return True


async def _has_keys(link: Link, client: Any) -> bool:  # noqa: ANN401 - as redis-py has it
    cursor = 0
    while True:
        cursor, found = await link.call(client.scan, cursor, link.keys.pattern, _SCAN_COUNT)
        if found or not cursor:
            return bool(found)


def _is_test_double(place: int, error: Exception) -> bool:
    """Whether a look at the head failed because the store does not have ROLE, the last of its commands."""
    return place == _ROLE_PLACE and not isinstance(error, exceptions.NoPermissionError)


def _adopted_ms(link: Link, text: str | None) -> int | None:
    try:
        return None if text is None else texts.read_integer(text)
    except ValueError as exc:
        raise corrupt(link.keys.meta, "adopted_ms", str(exc)) from exc
