"""Creates clients of Redis whose calls have a deadline, and are sent once."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from copy import copy
from typing import Any, Final, TypeVar, cast
from weakref import WeakSet

from redis import exceptions
from redis.asyncio import BlockingConnectionPool, Connection, Redis, SSLConnection
from redis.asyncio.connection import parse_url
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.metrics.counting import Count
from rampd_server.storage.finding import Finder
from rampd_server.storage.other_protocol import speaks_plain_redis, speaks_tls, wants_certificate
from rampd_server.storage.redis_errors import (
    BROKEN_LINK,
    ElsewhereError,
    elsewhere,
    explained,
    no_certificate,
    note_connection,
    plain_port,
    tls_port,
    unreachable,
)
from rampd_server.storage.wire import Wire

T = TypeVar("T")

_CONNECT_SHARE: Final = 0.6
"""The share of a call's time for connecting. The rest is for finding out why the connection failed."""
_PROBE_EVERY_S: Final = 5.0


class _Followed(Connection):
    """A connection to the node that a finder names. A node that says that it is not the primary counts as lost."""

    def __init__(self, *, finder: Finder, **options: Any) -> None:  # noqa: ANN401 - as redis-py has it
        super().__init__(**options)
        self._finder = finder

    async def _connect(self) -> None:
        self.host, self.port = await self._finder.address()
        await super()._connect()  # type: ignore[no-untyped-call]

    async def require_primary(self) -> None:
        """Asks the node for its role. Raises ElsewhereError if it is a replica, or if the finder has found another node since this
        connection was begun.
        """
        await self.send_command("ROLE", check_health=False)
        role = await self.read_response()
        if role[0] != "master":
            self._finder.doubt(f"{self.host}:{self.port} is a replica")
            raise ElsewhereError(f"{self.host}:{self.port} answers READONLY: its role is {role[0]}")
        if await self._finder.address() != (self.host, self.port):
            raise exceptions.ConnectionError(f"{self.host}:{self.port} is not the primary any more")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        try:
            return await super().read_response(*arguments, **options)
        except (exceptions.RedisError, OSError, *BROKEN_LINK) as error:
            found = elsewhere(error, f"{self.host}:{self.port}")
            if found is None:
                if not isinstance(error, exceptions.ResponseError):
                    self._finder.doubt(str(error))
                raise
            self._finder.doubt(str(found))
            await self.disconnect(nowait=True)
            raise found from error


class _FollowedTls(_Followed, SSLConnection):
    """The same over TLS."""


class _Pool(BlockingConnectionPool):
    """Explains why it gets no connection, and records when a call has one: before that, nothing was sent. One connection more is for
    scripts, which share it.
    """

    _probed_s = float("-inf")
    _found: StoreUnavailableError | None = None
    finder: Finder | None = None

    def __init__(self, *, socket_timeout: float, **options: Any) -> None:  # noqa: ANN401 - as redis-py has it
        super().__init__(socket_timeout=socket_timeout, **options)
        self._timeout_s = socket_timeout
        self._for_scripts = self.make_connection()  # type: ignore[no-untyped-call]
        self._wire: Wire | None = None
        self._wires: WeakSet[Wire] = WeakSet()
        """Also those that were left."""
        self._opening: asyncio.Task[Wire] | None = None

    async def wire(self) -> Wire:
        """Returns the connection for scripts. Opens another one if it is lost, was left, or is silent. Raises StoreUnavailableError;
        TimeoutError if it could not be opened within a call's time.
        """
        if self.finder is not None:
            # Also before a connection that is open: it may lead to a node that was replaced.
            await self.finder.address()
        if (wire := self._open_wire()) is not None:
            return wire
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._opened())
            self._opening.add_done_callback(_see_error)
        opening = self._opening
        await asyncio.wait((opening,))
        if opening.cancelled():
            raise StoreUnavailableError(
                "The connection to Redis was closed before it was open. Nothing was sent. Try again."
            )
        if (error := opening.exception()) is not None:
            # Each caller has an error of its own, because an error is counted once.
            raise copy(error) from error.__cause__
        return opening.result()

    async def _opened(self) -> Wire:
        """Opens the connection for all that wait for it. A caller that gives up does not end this: if each caller opened it in the rest
        of its own time, that would be too little for all of them, and a Redis that is back would not be reached while many call.
        """
        async with asyncio.timeout(self._timeout_s):
            wire = self._wire = await self._reached(self._new_wire)
        return wire

    def _open_wire(self) -> Wire | None:
        if (wire := self._wire) is None:
            return None
        wire.leave_if_silent()
        return wire if wire.takes_commands else None

    async def _new_wire(self) -> Wire:
        connection = self._for_scripts
        try:
            await connection.connect()
            node = f"{connection.host}:{connection.port}" if self.finder is not None else ""
            wire = Wire(connection, timeout_s=self._timeout_s, finder=self.finder, node=node)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._wires.add(wire)
        return wire

    async def leave(self) -> None:
        """Ends all connections, also those that are in use: their calls fail at once, and do not wait for a node that was replaced."""
        for wire in tuple(self._wires):
            wire.end()
        for connection in (*self._available_connections, *self._in_use_connections, self._for_scripts):
            if (writer := connection._writer) is not None:
                # The other side may be stopped, so nothing waits for it.
                writer.transport.abort()
                await connection.disconnect(nowait=True)

    async def disconnect(self, inuse_connections: bool = True) -> None:
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.wait((self._opening,))
        for wire in tuple(self._wires):
            wire.end()
        await super().disconnect(inuse_connections)

    async def get_connection(self, *_arguments: Any, **_options: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        return await self._reached(super().get_connection)

    async def _reached(self, connect: Callable[[], Awaitable[T]]) -> T:
        """Connects to the node that the finder names."""
        if self.finder is None:
            return await self._explained(connect)
        # Also before a connection that is open: it may lead to a node that was replaced.
        node = await self.finder.address()
        try:
            return await self._explained(connect)
        except StoreUnavailableError as error:
            self.finder.doubt(error.message)
            if await self.finder.address() == node:
                raise
            return await self._explained(connect)

    async def _explained(self, connect: Callable[[], Awaitable[T]]) -> T:
        try:
            connection = await connect()
        except (exceptions.RedisError, OSError, *BROKEN_LINK) as error:
            is_tcp = "host" in self.connection_kwargs
            raise (explained(error, is_tcp=is_tcp) or await self._other_protocol() or unreachable(error)) from error
        note_connection()
        return connection

    async def _other_protocol(self) -> StoreUnavailableError | None:
        """Looks at most every `_PROBE_EVERY_S`, so that each call to a Redis that is away does not connect twice."""
        host, port = self.connection_kwargs.get("host", ""), self.connection_kwargs.get("port", 6379)
        if not host or self.finder is not None or time.monotonic() - self._probed_s < _PROBE_EVERY_S:
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


def _see_error(opening: "asyncio.Task[Wire]") -> None:
    """An error that nobody has seen would be logged by asyncio. It may be that nobody waits for it any more."""
    if not opening.cancelled():
        opening.exception()


class Client(Redis):
    """A client whose scripts go over one connection, without waiting for each other. Each other command has a connection for itself."""

    connection_pool: _Pool

    async def evalsha(self, sha: str, numkeys: int, *keys_and_args: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        if self.single_connection_client:
            return await super().evalsha(sha, numkeys, *keys_and_args)
        return await self._ask("EVALSHA", sha, numkeys, *keys_and_args)

    async def script_load(self, script: str | bytes | memoryview) -> Any:  # noqa: ANN401 - as redis-py has it
        """Over the same connection, because all that call a script at once load it where it is not known."""
        if self.single_connection_client:
            return await super().script_load(script)
        return await self._ask("SCRIPT", "LOAD", script)

    async def _ask(self, *command: Any) -> Any:  # noqa: ANN401 - as redis-py has it
        wire = await self.connection_pool.wire()
        note_connection()
        return await wire.ask(*command)


def connect(
    url: str,
    *,
    timeout_s: float,
    max_connections: int,
    name: str = "",
    reconnects: Count | None = None,
    finder: Finder | None = None,
) -> Client:
    """Returns a client for `redis://`, `rediss://` or `unix://`. It opens no connection yet.

    `name` is the name of its connections in CLIENT LIST. `reconnects` counts connections that were lost and opened again. With a
    `finder`, its connections lead to the node that the finder names when they are opened, and not to the host in the URL.

    By default, redis-py 8 sends a command again up to ten times: a write whose reply was lost would be done twice, and a Redis that
    hangs would block a call for a minute. Here redis-py sends a command once, and `link.py` decides what is tried again.
    """
    options: dict[str, Any] = {**parse_url(url)}
    if finder is not None:
        is_tls = options.pop("connection_class", Connection) is SSLConnection
        options |= {"connection_class": _FollowedTls if is_tls else _Followed, "finder": finder}
    pool = _Pool(
        **options,
        max_connections=max_connections,
        timeout=timeout_s,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s * _CONNECT_SHARE,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
        decode_responses=True,
        # Bytes that are not UTF-8 must not break the connection in the middle of a reply. `texts.read_text` finds them.
        encoding_errors="surrogateescape",
        redis_connect_func=_introduction(name, Count() if reconnects is None else reconnects),
    )
    if finder is not None:
        pool.finder = finder
        finder.subscribe(pool.leave)
    return cast("Client", Client.from_pool(pool))


def _introduction(name: str, reconnects: Count) -> Any:  # noqa: ANN401 - redis-py types it for two kinds of connections at once
    """Gives a connection its name. redis-py's own option closes the connection if the user may not use CLIENT SETNAME."""
    known: WeakSet[Connection] = WeakSet()

    async def introduce(connection: Connection) -> None:
        await connection.on_connect()
        if connection in known:
            reconnects.add()
        known.add(connection)
        if isinstance(connection, _Followed):
            await connection.require_primary()
        if not name:
            return
        await connection.send_command("CLIENT", "SETNAME", name, check_health=False)
        try:
            await connection.read_response()
        except exceptions.ResponseError:
            return  # The only effect is that `followers.py` does not count this connection.

    return introduce
