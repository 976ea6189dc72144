"""Checks once, at the start, whether rampd can run on a Redis.

These checks are not in the store, because not every test double knows INFO.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from redis import exceptions

from rampd_server.domain.errors import StoreMisconfiguredError, StoreUnavailableError
from rampd_server.ports import Topology
from rampd_server.storage.clients import place_of
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import NOT_OF_CLUSTER, URL, redis_errors
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.scripts import script

MIN_VERSION: Final = (7, 0)
_COMMANDS: Final = (
    *("DEL k", "EXISTS k", "GET k", "GETBIT k 0", "HDEL k f", "HEXISTS k f", "HGET k f", "HGETALL k", "HINCRBY k f 1"),
    *("HKEYS k", "HLEN k", "HMGET k f", "HSCAN k 0", "HSET k f v", "LRANGE k 0 1", "PEXPIRE k 1", "RPUSH k v"),
    *("SCAN 0", "SET k v", "SETBIT k 0 1", "TIME", "TYPE k", "UNLINK k", "XADD k * f v", "XDEL k 0-0", "XLEN k"),
    *("XRANGE k - +", "XREAD STREAMS k 0-0", "XREVRANGE k + -", "ZADD k 0 v", "ZCARD k", "ZRANGE k 0 1"),
    *("LTRIM k 0 1", "PFADD k", "PFCOUNT k", "ROLE", "ZRANGEBYLEX k - +", "ZRANGEBYSCORE k 0 1", "ZREM k v"),
    "ZSCORE k v",
)
"""All commands that rampd runs, in its scripts and outside of them; k stands for a key."""


class UnsuitableStoreError(Exception):
    """Raised when the server must not run on this store. The message says why, and what to do."""


async def check_server(link: Link) -> str:
    """Refuses a Redis that is too old, is a replica or a node of a cluster that the URL does not name, evicts keys, denies commands that
    rampd needs, or has data of a newer schema. Of a cluster, every primary is checked.

    A managed service may deny INFO. Then the version, the role and the eviction policy are not checked. Neither is a primary of a
    cluster that is away, if it has only outcomes. The returned text says so, for the log; it is empty if all was checked. Raises
    UnsuitableStoreError, or StoreUnavailableError if Redis does not answer.
    """
    with redis_errors(link.keys.meta):
        async with asyncio.timeout(2 * link.deadline_s):
            _check_schema(await link.client.hget(link.keys.meta, "schema"))
            if link.wait.replicas:
                # Raises an error if the user may not ask.
                await link.client.wait(0, 1)
    main, *others = await link.clients.every()
    not_checked = [await _check_one(link, main)]
    for client in others:
        try:
            not_checked.append(await _check_one(link, client))
        except StoreMisconfiguredError:
            raise
        except StoreUnavailableError as error:
            not_checked.append(f"the node {place_of(client)} of the cluster does not answer: {error.message}")
    return "; ".join(dict.fromkeys(filter(None, not_checked)))


async def _check_one(link: Link, client: Any) -> str:  # noqa: ANN401 - as redis-py has it
    not_checked = ""
    with redis_errors():
        async with asyncio.timeout(2 * link.deadline_s):
            try:
                info = await client.info("all")
            except exceptions.ResponseError as error:
                not_checked = f"Redis denies INFO: {error}"
                info = {}
    _check_version(info)
    _check_mode(info, link)
    _check_role(info)
    _check_policy(info)
    await _check_permissions(link, client)
    return not_checked


def _check_schema(schema: str | None) -> None:
    if schema is None:
        return
    if not schema.isdecimal():
        raise UnsuitableStoreError(
            f"The store's schema is {schema!r}, which rampd never wrote: restore it from a backup."
        )
    if int(schema) > SCHEMA:
        raise UnsuitableStoreError(
            f"The store's data has schema {schema}, and this server knows up to {SCHEMA}: start a newer rampd-server."
        )


def _check_version(info: Mapping[str, object]) -> None:
    # Valkey reports the version of Redis that it is compatible with.
    version = info.get("redis_version")
    if version is None:
        return
    numbers = tuple(int(part) for part in str(version).split(".")[:2] if part.isdecimal())
    if numbers < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise UnsuitableStoreError(f"The store is Redis {version}: rampd needs {wanted} or later, or Valkey.")


def _check_mode(info: Mapping[str, object], link: Link) -> None:
    # A node of a cluster that has the keys of the namespace refuses nothing at the start, and later those of outcomes.
    if info.get("cluster_enabled") and link.clients.topology is not Topology.CLUSTER:
        raise UnsuitableStoreError(f"{NOT_OF_CLUSTER}.")


def _check_role(info: Mapping[str, object]) -> None:
    if info.get("role") in {"slave", "replica"}:
        raise UnsuitableStoreError(
            f"The store is a replica of {info.get('master_host')}:{info.get('master_port')}: point RAMPD_REDIS_URL at the "
            f"primary."
        )


def _check_policy(info: Mapping[str, object]) -> None:
    policy = info.get("maxmemory_policy")
    if policy not in {None, "noeviction"}:
        raise UnsuitableStoreError(
            f"The store evicts keys when its memory is full (maxmemory-policy {policy}), rollouts among them: type "
            f"`redis-cli CONFIG SET maxmemory-policy noeviction`, and put it into redis.conf."
        )


async def _check_permissions(link: Link, client: Any) -> None:  # noqa: ANN401
    this = script("check_permissions")
    # The keys of outcomes have another hash tag than the others, and the user may lack permissions for either of them.
    for key in (link.keys.meta, link.keys.outcomes("any").outcomes):
        commands = "\n".join(command.replace(" k", f" {key}", 1) for command in _COMMANDS)
        given = this.given(None, link.keys, {"commands": commands})
        _, *denied = await link.call(this.run, client, given, command=this.name)
        if denied:
            names = ", ".join(sorted({command.split()[0] for command in denied}))
            raise UnsuitableStoreError(
                f"The user that {URL} names may not run commands in Redis that rampd needs: {names}, on keys such as {key}. Allow "
                f"them with ACL SETUSER (the keys are ~rampd:{{*), or name another user in the URL."
            )
