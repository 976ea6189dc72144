"""Whether a Redis is one to build on; asked once, at start. Apart from the store, since not every test double knows INFO."""

import asyncio
from collections.abc import Mapping
from typing import Final

import structlog
from redis import exceptions

from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.redis_reader import RedisReader
from rampd_server.storage.schema import SCHEMA

MIN_VERSION: Final = (7, 0)
_DEADLINE_S: Final = 2.0
_log = structlog.get_logger(__name__)


class UnsuitableStoreError(Exception):
    """Raised when the server must not run on this store; the message says why, and what to do."""


async def check_server(store: RedisReader) -> None:
    """Refuses a Redis that is too old, a replica, or evicts keys, and data of a newer schema than ours.

    A managed service may deny INFO: then what INFO would tell is taken on trust, with a warning in the log. Raises
    UnsuitableStoreError, and StoreUnavailableError where Redis does not answer.
    """
    with redis_errors(store.keys.meta):
        async with asyncio.timeout(_DEADLINE_S):
            schema = await store.client.hget(store.keys.meta, "schema")
            try:
                info = await store.client.info("all")
            except exceptions.ResponseError as error:
                _log.warning("store_not_checked", reason=f"Redis denies INFO: {error}")
                info = {}
    _check_schema(schema)
    _check_version(info)
    _check_role(info)
    _check_policy(info)


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
    # Valkey gives the version of Redis that it is compatible with.
    version = info.get("redis_version")
    if version is None:
        return
    numbers = tuple(int(part) for part in str(version).split(".")[:2] if part.isdecimal())
    if numbers < MIN_VERSION:
        wanted = ".".join(map(str, MIN_VERSION))
        raise UnsuitableStoreError(f"The store is Redis {version}: rampd needs {wanted} or later, or Valkey.")


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
