"""How the store talks to Redis: what every part of it has in common."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Self

from redis import exceptions

from rampd_server.domain.errors import RampdError, StoreResetError
from rampd_server.ports import ConflictError, UntimelyError
from rampd_server.storage.connection import connect
from rampd_server.storage.errors import BROKEN_LINK, redis_errors
from rampd_server.storage.keys import Keys
from rampd_server.storage.refusals import newer_schema, refusal, store_reset
from rampd_server.storage.schema import is_known
from rampd_server.storage.scripts import Code, script

_DEADLINE_S: Final = 1.0
_FEED_TIMEOUT_S: Final = 2.0
"""A second more than the feed waits for an entry: a connection that is silent for longer is given up."""
_MAX_CONNECTIONS: Final = 32


class Link:
    """To one namespace of a Redis or Valkey: within a deadline, under an epoch, with errors of ours for those of Redis. Opens
    connections when they are needed; end it with `close`.

    `client` and `feed_client`, whose reads may wait, decode replies as text. redis-py's commands are typed for its blocking
    and its asyncio client at once, which is of no use here.
    """

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - as above
        feed_client: Any,  # noqa: ANN401
        namespace: str = "default",
        *,
        adopt_command: str = "",
        deadline_s: float = _DEADLINE_S,
    ) -> None:
        self.client = client
        self.feed_client = feed_client
        self.keys = Keys(namespace)
        self.epoch = ""
        """Of the store that this server knows."""
        self.schema: str | None = None
        """As the last look at the head has found it."""
        self.adopt_command = adopt_command
        self._deadline_s = deadline_s

    @classmethod
    def connect(cls, url: str, *, namespace: str = "default", name: str = "", adopt_command: str = "") -> Self:
        """To `redis://`, `rediss://` or `unix://`; `name` is what Redis shows of its connections, `adopt_command` what messages
        tell an operator to type. Raises ValueError: the URL or the namespace is none.
        """
        client = connect(url, timeout_s=_DEADLINE_S, max_connections=_MAX_CONNECTIONS, name=name)
        # A blocking read holds its connection, and waits longer than anything else may.
        feed_client = connect(url, timeout_s=_FEED_TIMEOUT_S, max_connections=2, name=name)
        return cls(client, feed_client, namespace, adopt_command=adopt_command)

    async def close(self) -> None:
        """Gives all connections back."""
        await self.client.aclose()
        await self.feed_client.aclose()

    async def call(
        self,
        do: Callable[..., Awaitable[Any]],
        *arguments: Any,  # noqa: ANN401
        key: str = "",
        is_write: bool = False,
    ) -> Any:  # noqa: ANN401
        """Asks Redis, within the deadline; `key` is the one whose type is to blame if it is a wrong one."""
        with redis_errors(key, is_write=is_write):
            async with asyncio.timeout(self._deadline_s):
                try:
                    return await do(*arguments)
                except (exceptions.ConnectionError, *BROKEN_LINK):
                    # A connection that was lost while it lay in the pool. If a write was done and the reply was lost,
                    # its script finds its own record.
                    return await do(*arguments)

    async def run(self, name: str, keys: object = None, /, *, is_write: bool = False, **named: Any) -> list[Any]:  # noqa: ANN401
        """The answer of a script to its arguments, each by its name. `keys` are those of a component, or of its outcomes."""
        this = script(name)
        reply: list[Any] = await self.call(this.run, self.client, this.given(keys, self.keys, named), is_write=is_write)
        return reply

    async def run_many(self, name: str, calls: Sequence[tuple[object, dict[str, Any]]]) -> list[Any]:
        """The answers of several calls (keys and arguments) of a script that writes, in one exchange; an exception of redis-py
        where one failed.
        """
        this = script(name)
        given = [this.given(keys, self.keys, named) for keys, named in calls]
        replies: list[Any] = await self.call(this.run_many, self.client, given, is_write=True)
        return replies

    async def write(self, name: str, keys: object = None, /, *, request_id: str = "", **named: Any) -> list[Any]:  # noqa: ANN401
        """As `run`, of a script that writes, for a request. Raises what its answer means where it wrote nothing."""
        component, expected_revision = named.get("component", ""), named.get("expected_revision")
        reply = await self.run(name, keys, is_write=True, **named)
        if reply[0] != Code.DONE:
            error = self.refusal(reply, component=component, expected_revision=expected_revision, request_id=request_id)
            if error is not None:
                raise error
        return reply

    def refusal(
        self, reply: list[Any], *, component: str = "", expected_revision: int | None = None, request_id: str = ""
    ) -> RampdError | ConflictError | UntimelyError | None:
        """What a script's answer means where it wrote nothing; None where the caller has to look at it."""
        return refusal(
            reply,
            meta_key=self.keys.meta,
            epoch=self.epoch,
            adopt_command=self.adopt_command,
            component=component,
            expected_revision=expected_revision,
            request_id=request_id,
        )

    def reset(self, found: str | None) -> StoreResetError:
        """What it means that `meta` has the epoch `found`, or none, in place of the one that is known."""
        return store_reset(self.keys.meta, self.epoch, found, self.adopt_command)

    def require_schema(self) -> None:
        """Raises StoreUnavailableError where the last look at the head has found a schema that is newer than ours."""
        if self.schema is not None and not is_known(self.schema):
            raise newer_schema(self.schema)

    async def require_epoch(self) -> None:
        """Raises StoreResetError where `meta` has another epoch, or none: the store was emptied or replaced."""
        epoch = await self.call(self.client.hget, self.keys.meta, "epoch", key=self.keys.meta)
        if epoch != self.epoch:
            raise self.reset(epoch)
