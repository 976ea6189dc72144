"""Calls Redis for all parts of the store: with a deadline, under an epoch, with errors of rampd."""

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final, Self
from weakref import WeakSet

from redis import exceptions

from rampd_server.domain.errors import (
    RampdError,
    Reason,
    StoreCorruptError,
    StoreResetError,
    StoreUnavailableError,
)
from rampd_server.metrics.counting import Count, Counts, Histogram
from rampd_server.ports import ConflictError, Topology, UntimelyError
from rampd_server.storage.clients import open_clients
from rampd_server.storage.exchange import Build, MayFail, exchange, none_may_fail
from rampd_server.storage.finding import Finder, Node
from rampd_server.storage.keys import Keys
from rampd_server.storage.redis_errors import BROKEN_LINK, ElsewhereError, redis_errors, translated
from rampd_server.storage.schema import is_known
from rampd_server.storage.scripts import Code, Script, script
from rampd_server.storage.shards import Shards
from rampd_server.storage.store_errors import newer_schema, refusal, store_reset
from rampd_server.tracing import switch

DEADLINE_S: Final = 1.0
"""How long a call of Redis may take."""
_WAIT_SHARE: Final = 0.5
"""The share of a call's time that a change may wait for replicas."""
_SHORT_WAIT_MS: Final = 50
"""How long the changes wait after one for which too few replicas answered."""


class Link:
    """A link to one namespace of a Redis or Valkey. It opens connections when they are needed; `close` ends them.

    Every call has a deadline and an epoch, and raises errors of rampd in place of those of Redis. The reads of
    `feed_client` may wait. Both clients decode replies as text. They are typed as Any, because redis-py types each
    command for its blocking and its asyncio client at once.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - as above
        feed_client: Any,  # noqa: ANN401
        namespace: str = "default",
        *,
        adopt_command: str = "",
        deadline_s: float = DEADLINE_S,
        reconnects: Count | None = None,
        finder: Finder | None = None,
        shards: Shards | None = None,
        wait_replicas: int = 0,
    ) -> None:
        self.client = client
        self.feed_client = feed_client
        self.keys = Keys(namespace)
        self.epoch = ""
        """The epoch of the store that this server knows."""
        self.schema: str | None = None
        """The schema that the last look at the head found."""
        self.adopt_command = adopt_command
        self.deadline_s = deadline_s
        """How long a call may take."""
        self.commands = Counts()
        """Calls of Redis, by the command or the name of the script."""
        self.errors = Counts()
        """Errors of the store, by the reason."""
        self._known_errors: WeakSet[Exception] = WeakSet()
        """Errors that are counted already. An error may pass several places that count."""
        for reason in (Reason.STORE_UNAVAILABLE, Reason.STORE_RESET, Reason.STORE_CORRUPT):
            self.errors.add(reason, number=0)
        self.durations = Histogram()
        self.reconnects = reconnects or Count()
        """Connections that were lost and opened again."""
        self._finder = finder
        self._shards = shards
        self.primary_changes = finder.changes if finder else Count()
        """How often the store's primary has changed."""
        self.wait_replicas = wait_replicas
        """How many replicas a change waits for."""
        self._longest_wait_ms = self._wait_ms = int(deadline_s * 1000 * _WAIT_SHARE)
        self._span = _spans()

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        namespace: str = "default",
        name: str = "",
        adopt_command: str = "",
        deadline_s: float = DEADLINE_S,
        wait_replicas: int = 0,
    ) -> Self:
        """Returns a link to `redis://`, `rediss://` or `unix://`, to the primary that the Sentinels of `redis+sentinel://` or
        `rediss+sentinel://` name, or to the cluster of the nodes that `redis+cluster://` or `rediss+cluster://` names.

        `name` is the name of its connections in CLIENT LIST. `adopt_command` is the command that messages tell an operator to type.
        Raises ValueError if the URL or the namespace is not valid.
        """
        opened = open_clients(url, Keys(namespace).meta, name=name, deadline_s=deadline_s)
        return cls(
            opened.client,
            opened.feed_client,
            namespace,
            adopt_command=adopt_command,
            deadline_s=deadline_s,
            reconnects=opened.reconnects,
            finder=opened.finder,
            shards=opened.shards,
            wait_replicas=wait_replicas,
        )

    @property
    def topology(self) -> Topology:
        """How the store is found."""
        if self._shards is not None:
            return Topology.CLUSTER
        return Topology.SINGLE if self._finder is None else Topology.SENTINEL

    @property
    def primary(self) -> str:
        """Where the store listens, without credentials: `host:port`, or `unix:///path`. Empty while it is not known."""
        if self._finder is not None:
            return str(self._finder.known or "")
        options = self.client.connection_pool.connection_kwargs
        path = options.get("path")
        return f"unix://{path}" if path else str(Node(options.get("host", "localhost"), options.get("port", 6379)))

    @property
    def failover(self) -> str:
        """As `Store.failover`."""
        return self._finder.failover if self._finder else ""

    async def follow(self) -> None:
        """Follows the store to its primary, for ever. Ends at once for a store whose address does not change."""
        if self._finder is not None:
            await self._finder.follow()

    async def close(self) -> None:
        """Closes all connections."""
        await self.client.aclose()
        await self.feed_client.aclose()
        if self._shards is not None:
            await self._shards.close()
        if self._finder is not None:
            await self._finder.close()

    async def client_of(self, key: str) -> Any:  # noqa: ANN401
        """Returns the client for a key: `client` for all keys but those of outcomes. Raises StoreUnavailableError."""
        if self._shards is None or key.startswith(self.keys.prefix):
            return self.client
        return await self._shards.client_of(key)

    async def every_client(self) -> list[Any]:
        """Returns a client for each primary of the store, that of the namespace first. Raises StoreUnavailableError."""
        return [self.client, *(await self._shards.every_client() if self._shards else ())]

    async def call(
        self,
        do: Callable[..., Awaitable[Any]],
        *arguments: Any,  # noqa: ANN401
        key: str = "",
        is_write: bool = False,
        command: str = "",
    ) -> Any:  # noqa: ANN401
        """Calls Redis within the deadline. If Redis reports a wrong type, the error names `key`. `command` is the name by which the
        call is counted, and by which a span calls it; without it, that of `do`.
        """
        name, began_s = command or do.__name__, time.perf_counter()
        with self._span(name), self.counted(name), redis_errors(key, is_write=is_write):
            try:
                async with asyncio.timeout(self.deadline_s):
                    try:
                        return await do(*arguments)
                    except (exceptions.ConnectionError, *BROKEN_LINK):
                        # The connection may have been lost while it was idle in the pool. If a write was done and only the reply
                        # was lost, the script finds the record of its first run.
                        return await do(*arguments)
            finally:
                self.durations.observe(time.perf_counter() - began_s)

    async def exchange(
        self,
        build: Build,
        *,
        may_fail: MayFail = none_may_fail,
        key: str = "",
        command: str = "",
        client: Any = None,  # noqa: ANN401
    ) -> list[Any]:
        """Sends the commands that `build` puts into a pipeline, as one call. Returns their replies, with an error of redis-py for
        each command that failed and that `may_fail` lets fail. `client` is one of `every_client`, if it is not `self.client`.
        """
        client = self.client if client is None else client
        replies: list[Any] = await self.call(exchange, client, build, may_fail, key=key, command=command)
        return replies

    def not_primary(self) -> Exception:
        """Returns the error for a node that says that it is a replica."""
        refusal: Exception = exceptions.ReadOnlyError("You can't write against a read only replica.")
        if self._finder is not None:
            self._finder.doubt("the primary has become a replica")
            refusal = ElsewhereError("it answers READONLY: its role is slave")
        error = translated(refusal, "")
        self.count_error(error)
        return error

    @contextmanager
    def counted(self, command: str) -> Iterator[None]:
        """Counts a call of Redis, and its error."""
        self.commands.add(command)
        try:
            yield
        except RampdError as error:
            self.count_error(error)
            raise

    def count_error(self, error: Exception | None) -> None:
        """Counts an error once, if it is one of the store."""
        if not isinstance(error, StoreUnavailableError | StoreResetError | StoreCorruptError):
            return
        if error not in self._known_errors:
            self._known_errors.add(error)
            self.errors.add(error.reason)

    async def run(self, name: str, keys: object = None, /, *, is_write: bool = False, **named: Any) -> list[Any]:  # noqa: ANN401
        """Returns the answer of a script. Arguments are given by name. `keys` are those of a component, or of its outcomes."""
        this = script(name)
        given = this.given(keys, self.keys, named)
        reply: list[Any] = await self.call(self._run, this, given, is_write=is_write, command=name)
        return reply

    async def _run(self, this: Script, given: Sequence[Any]) -> Any:  # noqa: ANN401
        return await this.run(await self.client_of(given[1]) if given[0] else self.client, given)

    async def run_many(
        self, name: str, calls: Sequence[tuple[object, dict[str, Any]]], *, is_write: bool = True
    ) -> list[Any]:
        """Calls a script several times, in one exchange. Each call is its keys and its arguments.

        Returns an answer for each call, or an exception for a call that failed: one of redis-py, or of rampd if a shard of a
        cluster can't be asked.
        """
        this = script(name)
        given = [this.given(keys, self.keys, named) for keys, named in calls]

        async def send(part: Sequence[Sequence[Any]]) -> list[Any]:
            replies: list[Any] = await self.call(self._run_many, this, part, is_write=is_write, command=name)
            return replies

        return await (self._shards.spread(given, send) if self._shards else send(given))

    async def _run_many(self, this: Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        return await this.run_many(await self.client_of(calls[0][1]), calls)

    async def read_hash(self, key: str) -> dict[str, str]:
        """Returns the fields of a hash, which may be one of outcomes."""

        async def hgetall() -> Any:  # noqa: ANN401
            return await (await self.client_of(key)).hgetall(key)

        fields: dict[str, str] = await self.call(hgetall, key=key)
        return fields

    async def write(
        self,
        name: str,
        keys: object = None,
        /,
        *,
        request_id: str = "",
        is_write: bool = True,
        **named: Any,  # noqa: ANN401
    ) -> list[Any]:
        """Runs a script that writes, for a request. If the script refuses to write, raises the error for its answer. Without
        `is_write` the script is told to write nothing, so an error does not say that a change may have been made.
        """
        component, expected_revision = named.get("component", ""), named.get("expected_revision")
        async with self.of_known_schema():
            reply = await self.run(name, keys, is_write=is_write, **named)
            self._require_done(reply, component, expected_revision, request_id)
            return reply

    async def commit(
        self,
        name: str,
        keys: object = None,
        /,
        *,
        request_id: str = "",
        is_write: bool = True,
        **named: Any,  # noqa: ANN401
    ) -> tuple[list[Any], int | None]:
        """As `write`, for a change that waits for replicas. Returns how many of them have it, too; None: nobody waits, or the script
        has changed nothing.
        """
        if not self.wait_replicas or not is_write:
            return await self.write(name, keys, request_id=request_id, is_write=is_write, **named), None
        component, expected_revision = named.get("component", ""), named.get("expected_revision")
        this = script(name)
        run = partial(this.run_and_wait, replicas=self.wait_replicas, wait_ms=self._wait_ms)
        async with self.of_known_schema():
            reply, found = await self.call(
                run, self.client, this.given(keys, self.keys, named), is_write=True, command=name
            )
            self._require_done(reply, component, expected_revision, request_id)
        if found is None:
            return reply, None
        # The component's other writers wait meanwhile. While replicas are away, they do not wait for nothing.
        self._wait_ms = self._longest_wait_ms if found >= self.wait_replicas else min(_SHORT_WAIT_MS, self._wait_ms)
        return reply, found

    def _require_done(self, reply: list[Any], component: str, expected_revision: int | None, request_id: str) -> None:
        """Raises the error for an answer that refuses a write."""
        if reply[0] != Code.DONE:
            error = self.refusal(reply, component=component, expected_revision=expected_revision, request_id=request_id)
            if error is not None:
                raise error

    def refusal(
        self, reply: list[Any], *, component: str = "", expected_revision: int | None = None, request_id: str = ""
    ) -> RampdError | ConflictError | UntimelyError | None:
        """Returns the error for an answer that refuses a write, or None for an answer that the caller has to handle."""
        error = refusal(
            reply,
            meta_key=self.keys.meta,
            epoch=self.epoch,
            adopt_command=self.adopt_command,
            component=component,
            expected_revision=expected_revision,
            request_id=request_id,
        )
        self.count_error(error)
        return error

    def reset(self, found: str | None) -> StoreResetError:
        """Returns the error for a `meta` that has the epoch `found`, or no epoch, in place of the known epoch."""
        error = store_reset(self.keys.meta, self.epoch, found, self.adopt_command)
        self.count_error(error)
        return error

    def require_schema(self) -> None:
        """Raises StoreUnavailableError if the last look at the head found a schema that is newer than this server's."""
        if self.schema is not None and not is_known(self.schema):
            error = newer_schema(self.schema)
            self.count_error(error)
            raise error

    @asynccontextmanager
    async def of_known_schema(self) -> AsyncGenerator[None]:
        """Reads or writes data whose form this server knows. A later schema may have another form, so the schema is looked
        at before anything is called damage. Raises StoreUnavailableError if the schema is newer than this server's.
        """
        self.require_schema()
        try:
            yield
        except StoreCorruptError as error:
            await self.look_at_schema()
            self.count_error(error)
            raise

    async def look_at_schema(self) -> None:
        """Raises StoreUnavailableError if the schema is newer than this server's now."""
        with suppress(StoreCorruptError):
            self.schema = await self.call(self.client.hget, self.keys.meta, "schema", key=self.keys.meta)
        self.require_schema()

    async def require_epoch(self) -> None:
        """Raises StoreResetError if `meta` has another epoch or no epoch: the store was emptied or replaced."""
        epoch = await self.call(self.client.hget, self.keys.meta, "epoch", key=self.keys.meta)
        if epoch != self.epoch:
            raise self.reset(epoch)


def _spans() -> Callable[[str], AbstractContextManager[object]]:
    """What makes the span of a command. The span has no key and no value, because they may have a repo in them."""
    spans = switch.spans()
    if spans is None:
        nothing = nullcontext()
        return lambda _command: nothing

    def span(command: str) -> AbstractContextManager[object]:
        return spans.client(command, {"db.system.name": "redis", "db.operation.name": command})

    return span
