"""Clients of Redis, set up so that a call ends when we say, and is sent once."""

import time
from typing import Any, Final

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.errors import (
    BROKEN_LINK,
    explained,
    no_certificate,
    note_connection,
    plain_port,
    tls_port,
    unreachable,
)
from rampd_server.storage.other_protocol import speaks_plain_redis, speaks_tls, wants_certificate

_CONNECT_SHARE: Final = 0.6
"""Of a call's time that it may take to connect: the rest is to find out why it can't."""
_PROBE_EVERY_S: Final = 5.0


class _Pool(BlockingConnectionPool):
    """Tells what keeps it from a connection, and notes when a call has one: before that, nothing of it was sent."""

    _probed_s = float("-inf")
    _found: StoreUnavailableError | None = None

    async def get_connection(self, *_arguments: Any, **_options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        try:
            connection = await super().get_connection()  # type: ignore[no-untyped-call]
        except (exceptions.RedisError, OSError, *BROKEN_LINK) as error:
            is_tcp = "host" in self.connection_kwargs
            raise (explained(error, is_tcp=is_tcp) or await self._other_protocol() or unreachable(error)) from error
        note_connection()
        return connection

    async def _other_protocol(self) -> StoreUnavailableError | None:
        """Looks now and then, so that a Redis that is away is not asked twice as often as it needs to be."""
        host, port = self.connection_kwargs.get("host", ""), self.connection_kwargs.get("port", 6379)
        if not host or time.monotonic() - self._probed_s < _PROBE_EVERY_S:
            return self._found
        self._probed_s, self._found = time.monotonic(), None
        if issubclass(self.connection_class, SSLConnection):
            if await speaks_plain_redis(host, port):
                self._found = plain_port()
            elif "ssl_certfile" not in self.connection_kwargs and await wants_certificate(host, port):
                self._found = no_certificate()
        elif await speaks_tls(host, port):
            self._found = tls_port()
        return self._found


def connect(url: str, *, timeout_s: float, max_connections: int, name: str = "") -> Redis:
    """A client for `redis://`, `rediss://` or `unix://`, whose connections have a name that CLIENT LIST shows. It opens no
    connection yet.

    redis-py 8 sends a command again up to ten times: a write whose reply was lost would be done twice, and a Redis that
    hangs would hold a call for a minute. What is tried again, and when, is `link.py`'s to decide.
    """
    pool = _Pool.from_url(
        url,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s * _CONNECT_SHARE,
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
