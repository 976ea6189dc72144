"""Reads overrides: all of a component, piece by piece, or some of them in order."""

from collections.abc import AsyncIterator, Mapping
from functools import partial
from typing import Any, Final

from rampd_server.domain.wording import counted
from rampd_server.ports import ListedOverride, Origin, Override, OverridesPiece
from rampd_server.storage.codec import history, texts
from rampd_server.storage.keys import ComponentKeys
from rampd_server.storage.link import Link
from rampd_server.storage.rollouts import pairs
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt, wrong_type

_SCAN_COUNT: Final = 1_000


async def walk_overrides(link: Link, component: str) -> AsyncIterator[OverridesPiece]:
    """As `Store.walk_overrides`."""
    keys = link.keys.component(component)
    cursor = 0
    while True:
        async with link.of_known_schema():
            # The component's last entry is read right after the overrides.
            found, entry = await link.exchange(partial(_scan, keys, cursor), key=keys.overrides, command="hscan")
            cursor, by_repo = found
            overrides = {repo: _override(keys.overrides, repo, text) for repo, text in by_repo.items()}
        yield OverridesPiece(overrides, entry or "")
        if not cursor:
            break
    async with link.of_known_schema():
        await _require_whole(link, keys)


async def list_overrides(link: Link, component: str, *, prefix: str, after: str, limit: int) -> list[ListedOverride]:
    """As `Store.list_overrides`."""
    async with link.of_known_schema():
        return await _list(link, link.keys.component(component), prefix, after, limit)


async def _list(link: Link, keys: ComponentKeys, prefix: str, after: str, limit: int) -> list[ListedOverride]:
    first = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
    # No repo has a character after `~`, so this limit comes after all repos that begin with the prefix.
    last = f"({prefix}\x7f" if prefix else "+"
    if not after:
        await _require_whole(link, keys)
    reply = await link.run("list_overrides", keys, first=first, last=last, most=limit)
    if reply[0] == Code.WRONG_TYPE:
        raise wrong_type(*reply[1])
    _, rows, entries = reply
    told = dict(zip(entries[::2], entries[1::2], strict=True))
    origins: dict[str | None, Origin | None] = {None: None}
    listed = []
    for repo, text, entry_id in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
        if text is None:
            raise corrupt(keys.overrides, repo, f"is not there, but {keys.overrides_index} names it")
        if entry_id not in origins:
            origins[entry_id] = _origin(keys.overrides_origin, repo, entry_id, pairs(told[entry_id]))
        listed.append(ListedOverride(repo, _override(keys.overrides, repo, text), origins[entry_id]))
    return listed


async def _require_whole(link: Link, keys: ComponentKeys) -> None:
    """Raises StoreCorruptError if the keys of the overrides, or the count in the rollout, do not agree."""
    reply = await link.run("count_overrides", keys)
    if reply[0] == Code.WRONG_TYPE:
        raise wrong_type(*reply[1])
    count, indexed, expiring, recorded = reply[1:]
    problem = or_else = ""
    if count != indexed:
        problem = f"but {keys.overrides_index} names {indexed}"
    elif expiring > count:
        problem = f"but {keys.overrides_expiry} names {expiring}"
    elif recorded and recorded != str(count):
        problem = f"and {keys.rollout} counts {recorded}"
        or_else = f"If these overrides are right, type `redis-cli HSET '{keys.rollout}' overrides {count}`."
    if problem:
        raise corrupt(keys.overrides, "", f"has {counted(count, 'override')}, {problem}", or_else=or_else)


def _scan(keys: ComponentKeys, cursor: int, pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
    pipe.hscan(keys.overrides, cursor, None, _SCAN_COUNT)
    pipe.hget(keys.rollout, "entry")


def _override(key: str, repo: str, text: str) -> Override:
    try:
        texts.read_text(repo)
        return texts.read_override(text)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc


def _origin(key: str, repo: str, entry_id: str, fields: Mapping[str, str]) -> Origin:
    try:
        return history.read_origin(texts.read_entry_id(entry_id), fields)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc
