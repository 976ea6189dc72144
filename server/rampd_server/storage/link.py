"""Calls Redis for all parts of the store: with a deadline, under an epoch, with errors of rampd."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any, Final, Self

from redis import exceptions

from rampd_server.domain.errors import (
    RampdError,
    StoreCorruptError,
    StoreMisconfiguredError,
    StoreResetError,
    StoreUnavailableError,
)
from rampd_server.ports import ConflictError, UntimelyError
from rampd_server.storage.clients import Clients
from rampd_server.storage.command_counts import CommandCounts
from rampd_server.storage.exchange import Build, MayFail, all_may_fail, exchange, none_may_fail
from rampd_server.storage.keys import Keys
from rampd_server.storage.redis_errors import BROKEN_LINK, ElsewhereError, is_moving, redis_errors, translated
from rampd_server.storage.replica_wait import ReplicaWait
from rampd_server.storage.schema import is_known
from rampd_server.storage.scripts import Code, Script, script
from rampd_server.storage.shards import Shards
from rampd_server.storage.store_errors import import_under_way, newer_schema, refusal, shard_unavailable, store_reset

DEADLINE_S: Final = 1.0
"""How long a call of Redis may take."""
COMMAND_DEADLINE_S: Final = 10.0
"""The same for a command that a person types: no caller waits, and a merge is one call."""


class Link:
    """A link to one namespace of a Redis or Valkey. It opens connections when they are needed; `close` ends them.

    Every call has a deadline and an epoch, and raises errors of rampd in place of those of Redis.
    """

    def __init__(
        self,
        clients: Clients,
        namespace: str = "default",
        *,
        adopt_command: str = "",
        deadline_s: float = DEADLINE_S,
        wait_replicas: int = 0,
    ) -> None:
        self.clients = clients
        self.client = clients.main
        self.keys = Keys(namespace)
        self.epoch = ""
        """The epoch of the store that this server knows."""
        self.schema: str | None = None
        """The schema that the last look at the head found."""
        self.adopt_command = adopt_command
        self.deadline_s = deadline_s
        """How long a call may take."""
        self.counts = CommandCounts()
        self.wait = ReplicaWait(wait_replicas, deadline_s)

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
        clients = Clients.open(url, Keys(namespace).meta, name=name, deadline_s=deadline_s)
        return cls(clients, namespace, adopt_command=adopt_command, deadline_s=deadline_s, wait_replicas=wait_replicas)

    async def close(self) -> None:
        """Closes all connections."""
        await self.clients.close()

    async def client_of(self, key: str) -> Any:  # noqa: ANN401
        """Returns the client for a key: `client` for all keys but those of outcomes. Raises StoreUnavailableError."""
        shards = self._shards_of(key)
        return self.client if shards is None else await shards.client_of(key)

    def _shards_of(self, key: str) -> Shards | None:
        """Returns None for a key that is where the namespace is."""
        return None if key.startswith(self.keys.prefix) else self.clients.shards

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
        with self.counts.measured(command or do.__name__), redis_errors(key, is_write=is_write):
            async with asyncio.timeout(self.deadline_s):
                try:
                    return await do(*arguments)
                except (exceptions.ConnectionError, *BROKEN_LINK):
                    # The connection may have been lost while it was idle in the pool. If a write was done and only the reply was
                    # lost, the script finds the record of its first run.
                    return await do(*arguments)

    async def _call_at(self, key: str, /, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401
        """As `call`, for a key that may be on another shard. Raises ShardUnavailableError if that shard can't be asked."""
        try:
            return await self.call(*arguments, **options)
        except StoreUnavailableError as error:
            if self._shards_of(key) is None or isinstance(error, StoreMisconfiguredError):
                raise
            raise shard_unavailable(error) from error

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
        each command that failed and that `may_fail` lets fail. `client` is one of `Clients.every`, if it is not `self.client`.
        """
        client = self.client if client is None else client
        replies: list[Any] = await self.call(exchange, client, build, may_fail, key=key, command=command)
        return replies

    def not_primary(self) -> Exception:
        """Returns the error for a node that says that it is a replica."""
        refusal: Exception = exceptions.ReadOnlyError("You can't write against a read only replica.")
        if self.clients.finder is not None:
            self.clients.finder.doubt("the primary has become a replica")
            refusal = ElsewhereError("it answers READONLY: its role is slave")
        error = translated(refusal, "")
        self.counts.note_error(error)
        return error

    async def run(self, name: str, keys: object = None, /, *, is_write: bool = False, **named: Any) -> list[Any]:  # noqa: ANN401
        """Returns the answer of a script. Arguments are given by name. `keys` are those of a component, or of its outcomes."""
        this = script(name)
        given = this.given(keys, self.keys, named)
        key = given[1] if given[0] else self.keys.meta
        reply: list[Any] = await self._call_at(key, self._run, key, this, given, is_write=is_write, command=name)
        return reply

    async def _run(self, key: str, this: Script, given: Sequence[Any]) -> Any:  # noqa: ANN401
        return await this.run(await self.client_of(key), given)

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
            key = part[0][1]
            replies: list[Any] = await self._call_at(
                key, self._run_many, key, this, part, is_write=is_write, command=name
            )
            return replies

        return await (self.clients.shards.spread(given, send) if self.clients.shards else send(given))

    async def _run_many(self, key: str, this: Script, calls: Sequence[Sequence[Any]]) -> list[Any]:
        return await this.run_many(await self.client_of(key), calls)

    async def read_hash(self, key: str) -> dict[str, str]:
        """Returns the fields of a hash, which may be one of outcomes."""

        async def hgetall() -> Any:  # noqa: ANN401
            return await (await self.client_of(key)).hgetall(key)

        fields: dict[str, str] = await self._call_at(key, hgetall, key=key)
        return fields

    async def read_hashes(self, keys: Sequence[str]) -> list[dict[str, str] | Exception]:
        """Returns the fields of several hashes of outcomes, in one exchange with each node that has some of them. A hash that can't be
        read has the error of rampd in its place. Raises StoreUnavailableError if the only node can't be asked.
        """

        async def send(part: Sequence[Sequence[Any]]) -> list[Any]:
            some = [key for _, key in part]
            replies: list[Any] = await self._call_at(some[0], self._read_hashes, some, command="hgetall")
            return replies

        if not keys:
            return []
        given = [(1, key) for key in keys]
        found = await (self.clients.shards.spread(given, send) if self.clients.shards else send(given))
        # Where the slot of one key is being moved, the exchange with its node fails as a whole. Then each key is read by itself.
        alone = [place for place, answer in enumerate(found) if is_moving(answer)]
        answers = await asyncio.gather(*(self._hash_or_error(keys[place]) for place in alone))
        for place, answer in zip(alone, answers, strict=True):
            found[place] = answer
        return [
            translated(reply, key) if isinstance(reply, exceptions.ResponseError) else reply
            for key, reply in zip(keys, found, strict=True)
        ]

    async def _hash_or_error(self, key: str) -> dict[str, str] | RampdError:
        try:
            return await self.read_hash(key)
        except RampdError as error:
            return error

    async def _read_hashes(self, keys: Sequence[str]) -> list[Any]:
        def build(pipe: Any) -> None:  # noqa: ANN401
            for key in keys:
                pipe.hgetall(key)

        return await exchange(await self.client_of(keys[0]), build, all_may_fail)

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
        if not self.wait.replicas or not is_write:
            return await self.write(name, keys, request_id=request_id, is_write=is_write, **named), None
        component, expected_revision = named.get("component", ""), named.get("expected_revision")
        this = script(name)
        run = partial(this.run_and_wait, replicas=self.wait.replicas, wait_ms=self.wait.ms)
        async with self.of_known_schema():
            reply, found = await self.call(
                run, self.client, this.given(keys, self.keys, named), is_write=True, command=name
            )
            self._require_done(reply, component, expected_revision, request_id)
        if found is not None:
            self.wait.note(found)
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
        self.counts.note_error(error)
        return error

    def reset(self, found: str | None) -> StoreResetError:
        """Returns the error for a `meta` that has the epoch `found`, or no epoch, in place of the known epoch."""
        error = store_reset(self.keys.meta, self.epoch, found, self.adopt_command)
        self.counts.note_error(error)
        return error

    def importing(self, mark: str) -> StoreResetError:
        """Returns the error for a `meta` that has the mark of an import that has not ended."""
        error = import_under_way(mark.partition(" ")[0])
        self.counts.note_error(error)
        return error

    def require_schema(self) -> None:
        """Raises StoreUnavailableError if the last look at the head found a schema that is newer than this server's."""
        if self.schema is not None and not is_known(self.schema):
            error = newer_schema(self.schema)
            self.counts.note_error(error)
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
            self.counts.note_error(error)
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
