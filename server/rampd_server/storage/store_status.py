"""Asks a Redis, or all primaries of a cluster, how they are set up and how they are: version, clock, memory, how data are kept."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, TypeVar

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.ports import StoreStatus
from rampd_server.storage.clients import place_of
from rampd_server.storage.link import Link

T = TypeVar("T")

_SECTIONS: Final = ("server", "memory", "persistence", "replication")
_SETTINGS: Final = ("appendonly", "appendfsync", "maxmemory", "maxmemory-policy")


class RedisStatus:
    """A `StoreProbe` of the Redis of a link. `is_embedded`: this server has started that Redis."""

    def __init__(self, link: Link, *, is_embedded: bool, clock: Callable[[], float] = time.time) -> None:
        self._link = link
        self._is_embedded = is_embedded
        self._clock = clock

    async def status(self) -> StoreStatus:
        main, *others = await self._link.clients.every()
        found = [await self._status_of(main)]
        troubles = []
        for client, each in zip(others, await asyncio.gather(*map(self._try, others)), strict=True):
            if isinstance(each, StoreStatus):
                found.append(each)
            else:
                troubles.append(
                    f"The node {place_of(client)} of the Redis Cluster does not answer, so outcomes that it has are neither counted "
                    f"nor shown: {each.message}"
                )
        return replace(worst(found), trouble=" ".join(troubles))

    async def _try(self, client: Any) -> StoreStatus | StoreUnavailableError:  # noqa: ANN401 - as redis-py has it
        try:
            return await self._status_of(client)
        except StoreUnavailableError as error:
            return error

    async def _status_of(self, client: Any) -> StoreStatus:  # noqa: ANN401 - as redis-py has it
        began_s = self._clock()
        (seconds, microseconds), info, settings = await self._ask(client)
        # The store has looked at its clock at some time in between.
        here_ms = (began_s + self._clock()) / 2 * 1000
        return StoreStatus(
            product=str(info.get("server_name") or ("valkey" if "valkey_version" in info else "redis"))
            if info
            else None,
            version=_text(info, "valkey_version") or _text(info, "redis_version"),
            is_embedded=self._is_embedded,
            topology=self._link.clients.topology,
            primary=self._link.clients.primary,
            ahead_ms=int(seconds) * 1000 + int(microseconds) / 1000 - here_ms,
            append_only=_flag(info, "aof_enabled", {"0": False, "1": True})
            if "aof_enabled" in info
            else _flag(settings, "appendonly", {"no": False, "yes": True}),
            append_fsync=_text(settings, "appendfsync"),
            save_failed=_has_failed(info),
            used_memory_bytes=_number(info, "used_memory"),
            max_memory_bytes=_number({**settings, **info}, "maxmemory"),
            max_memory_policy=_text(info, "maxmemory_policy") or _text(settings, "maxmemory-policy"),
            replicas=_number(info, "connected_slaves"),
        )

    async def _ask(self, client: Any) -> tuple[tuple[int, int], Mapping[str, Any], Mapping[str, Any]]:  # noqa: ANN401
        """Returns the time, INFO and CONFIG GET. The last two are empty if Redis denies them: not every user may use them, and
        a managed service may not have them.
        """
        moment, *found = await self._link.exchange(
            lambda pipe: pipe.time().info(*_SECTIONS).config_get(*_SETTINGS),
            may_fail=lambda place, _error: place > 0,
            command="info",
            client=client,
        )
        info, settings = ({} if isinstance(each, Exception) else each for each in found)
        return moment, info, settings


def worst(every: Sequence[StoreStatus]) -> StoreStatus:
    """Returns the status of a store by those of its primaries: what is worst at any of them. Its clock and its version are those of
    the first one.
    """
    first, fullest = every[0], max(every, key=_fullness)
    policies = [each.max_memory_policy for each in every]
    return replace(
        first,
        append_only=_worst((False, True), [each.append_only for each in every]),
        append_fsync=_worst(("no", "everysec", "always"), [each.append_fsync for each in every]),
        save_failed=_worst((True, False), [each.save_failed for each in every]),
        used_memory_bytes=fullest.used_memory_bytes,
        max_memory_bytes=fullest.max_memory_bytes,
        max_memory_policy=next((each for each in policies if each not in {None, "noeviction"}), policies[0]),
        replicas=min((each.replicas for each in every if each.replicas is not None), default=None),
    )


def _worst(order: Sequence[T], found: Sequence[T | None]) -> T | None:
    """Returns the first of `order` that is in `found`; None if none is."""
    return next((each for each in order if each in found), None)


def _fullness(status: StoreStatus) -> tuple[float, int]:
    used, most = status.used_memory_bytes or 0, status.max_memory_bytes
    return used / most if most else 0.0, used


def _has_failed(info: Mapping[str, Any]) -> bool | None:
    last = [str(info[key]) for key in ("aof_last_write_status", "rdb_last_bgsave_status") if key in info]
    return any(status != "ok" for status in last) if last else None


def _flag(found: Mapping[str, Any], key: str, words: Mapping[str, bool]) -> bool | None:
    return words.get(str(found.get(key)))


def _number(found: Mapping[str, Any], key: str) -> int | None:
    text = str(found.get(key))
    return int(text) if text.isdecimal() else None


def _text(found: Mapping[str, Any], key: str) -> str | None:
    return None if key not in found else str(found[key])
