"""Clients of Redis, set up so that a call ends when we say, and is sent once."""

from typing import Any

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


def connect(url: str, *, timeout_s: float, max_connections: int, name: str = "") -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`, whose connections have a name that CLIENT LIST shows. It opens no
    connection yet.

    redis-py 8 sends a command again up to ten times: a write whose reply was lost would be done twice, and a Redis that
    hangs would hold a call for a minute. What is tried again, and when, is `redis_store.py`'s to decide.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        # Bytes that are no UTF-8 must not break the connection in the middle of a reply; `texts.read_text` finds them.
        encoding_errors="surrogateescape",
        **({"redis_connect_func": _introduction(name)} if name else {}),
    )
    return Redis.from_pool(pool)


def _introduction(name: str) -> Any:  # noqa: ANN401 - a function of a connection, which redis-py types for two kinds at once
    """redis-py's own option for the name gives the connection up where a user may not CLIENT SETNAME."""

    async def introduce(connection: Connection) -> None:
        await connection.on_connect()
        await connection.send_command("CLIENT", "SETNAME", name, check_health=False)
        try:
            await connection.read_response()
        except exceptions.ResponseError:
            return  # so `followers.py` does not count this one, and that is all

    return introduce
