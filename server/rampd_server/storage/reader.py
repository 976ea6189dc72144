"""All that is read from Redis."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from redis import exceptions

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Event, FeedEntry, Head, Namespace, Override, RequestRecord, Stored, entry_order
from rampd_server.storage.codec import feed_entry, history, rebuild, texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.request_record import StoredRecord, read_record
from rampd_server.storage.errors import BROKEN_LINK, redis_errors
from rampd_server.storage.keys import ComponentKeys, Keys
from rampd_server.storage.refusals import corrupt, newer_schema, store_reset, wrong_type
from rampd_server.storage.schema import is_known
from rampd_server.storage.scripts import Code, Scripts

MAX_BLOCK_MS: Final = 1_000
"""Longest wait of `feed`: shorter than the time-out of its connection, otherwise a lost connection looks like silence."""

_FEED_COUNT: Final = 100
_SCAN_COUNT: Final = 1_000
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")


class RedisReader:
    """The half of `RedisStore` that writes nothing. `client` and `feed_client` decode replies as text."""

    def __init__(self, client: Any, feed_client: Any, keys: Keys, *, deadline_s: float) -> None:  # noqa: ANN401
        # redis-py's commands are typed for its blocking and its asyncio client at once, which is of no use here.
        self.client = client
        self.keys = keys
        self._feed_client = feed_client
        self._deadline_s = deadline_s
        self._epoch = ""
        self._schema: str | None = None
        self._scripts = Scripts(client)

    def set_epoch(self, epoch: str) -> None:
        self._epoch = epoch

    async def head(self) -> Head | None:
        async def ask() -> Any:  # noqa: ANN401
            pipe = self.client.pipeline(transaction=False)
            fields = ("epoch", "adopted_ms", "freeze", "head", "schema")
            pipe.hmget(self.keys.meta, *fields).time().role()
            meta, time, role = await pipe.execute(raise_on_error=False)
            for reply in (meta, time):
                if isinstance(reply, Exception):
                    raise reply
            # A user may not be allowed to ask for the role. A replica that has lost its primary answers for ever.
            if isinstance(role, list) and role[0] not in {"master", b"master"}:
                raise exceptions.ReadOnlyError("You can't write against a read only replica.")
            return meta, time

        (epoch, adopted_ms, freeze, entry_id, schema), time = await self._call(ask, key=self.keys.meta)
        self._schema = schema
        self.require_schema()
        if not epoch:
            return None
        return Head(
            epoch=epoch,
            entry_id=entry_id or "0-0",
            time_ms=_milliseconds(*time),
            namespace=self._namespace(freeze),
            adopted_ms=self._adopted_ms(adopted_ms),
        )

    async def denied(self, commands: Sequence[str]) -> list[str]:
        """Which of these commands the user of the connection may not run."""
        reply: list[str] = await self._call(self._scripts.check_permissions, (), ("\n".join(commands),))
        return reply[1:]

    def require_schema(self) -> None:
        """Raises StoreUnavailableError where the last look at the head has found a schema that is newer than ours."""
        if self._schema is not None and not is_known(self._schema):
            raise newer_schema(self._schema)

    async def is_empty(self) -> bool:
        known = (self.keys.meta, self.keys.components, self.keys.feed, self.keys.history)
        if await self._call(self.client.exists, *known):
            return False
        cursor = 0
        while True:
            cursor, found = await self._call(self.client.scan, cursor, self.keys.pattern, _SCAN_COUNT)
            if found or not cursor:
                return not found

    async def read(self, component: str) -> Stored:
        keys = self.keys.component(component)
        reply = await self._call(
            self._scripts.read_rollout,
            (
                *(self.keys.meta, keys.rollout, keys.queue),
                *(keys.releases, keys.attributes, keys.quarantine, keys.timeline, self.keys.components),
            ),
            (component,),
        )
        if reply[0] == Code.WRONG_TYPE:
            raise wrong_type(reply[1], component=component)
        (epoch, freeze, entry_id, schema), (seconds, microseconds), listed, rollout, queue, *hashes = reply[1:]
        if not is_known(schema):
            raise newer_schema(schema)
        if not epoch or (self._epoch and epoch != self._epoch):
            raise store_reset(self.keys.meta, self._epoch, epoch)
        sections = rebuild.Sections(_pairs(rollout), tuple(queue), *map(_pairs, hashes))
        try:
            loaded = rebuild.load(component, sections)
        except MalformedError as exc:
            raise corrupt(_key_of(keys, exc.section), exc.field, exc.problem, component=component) from exc
        if listed and isinstance(loaded, Absent):
            problem = f"is gone or says that {component} was deleted, and {self.keys.components} names it still"
            raise corrupt(keys.rollout, "", problem, component=component)
        time_ms = _milliseconds(int(seconds), int(microseconds))
        return Stored(loaded, self._namespace(freeze), time_ms, entry_id or "0-0")

    async def components(self, *, after: str = "", limit: int) -> list[str]:
        key, first = self.keys.components, f"({after}" if after else "-"
        names: list[str] = await self._call(self.client.zrangebylex, key, first, "+", 0, limit, key=key)
        if not names:
            await self._require_epoch()
        return names

    async def _require_epoch(self) -> None:
        """Raises StoreResetError where nothing was found because the store was emptied or replaced."""
        epoch = await self._call(self.client.hget, self.keys.meta, "epoch", key=self.keys.meta)
        if self._epoch and epoch != self._epoch:
            raise store_reset(self.keys.meta, self._epoch, epoch)

    async def request_record(self, request_id: str) -> RequestRecord | None:
        key = self.keys.request(request_id)
        text = await self._call(self.client.get, key, key=key)
        return None if text is None else self._record(key, text).record

    async def read_hash(self, key: str) -> dict[str, str]:
        """A small hash, for a part of the store with a file of its own."""
        fields: dict[str, str] = await self._call(self.client.hgetall, key, key=key)
        return fields

    async def walk_overrides(self, component: str) -> AsyncIterator[Mapping[str, Override]]:
        key = self.keys.component(component).overrides
        cursor = 0
        while True:
            cursor, found = await self._call(self.client.hscan, key, cursor, None, _SCAN_COUNT, key=key)
            yield {repo: _override(key, repo, text) for repo, text in found.items()}
            if not cursor:
                break
        await self._require_whole_overrides(component)

    async def _require_whole_overrides(self, component: str) -> None:
        """Raises StoreCorruptError where the keys of the overrides have lost what another one of them, or the rollout, has."""
        keys = self.keys.component(component)
        reply = await self._call(
            self._scripts.count_overrides,
            (keys.overrides, keys.overrides_index, keys.overrides_expiry, keys.rollout),
        )
        if reply[0] == Code.WRONG_TYPE:
            raise wrong_type(reply[1], component=component)
        count, indexed, expiring, counted = reply[1:]
        problem = ""
        if count != indexed:
            problem = f"has {count} overrides, but {keys.overrides_index} names {indexed}"
        elif expiring > count:
            problem = f"has {count} overrides, but {keys.overrides_expiry} names {expiring}"
        elif counted and counted != str(count):
            problem = (
                f"has {count} overrides, and {keys.rollout} counts {counted}. If what is there is right, type "
                f"`redis-cli HSET '{keys.rollout}' overrides {count}`"
            )
        if problem:
            raise corrupt(keys.overrides, "", problem, component=component)

    async def list_overrides(
        self, component: str, *, prefix: str, after: str, limit: int
    ) -> list[tuple[str, Override]]:
        keys = self.keys.component(component)
        first = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
        # No repo has a character after `~`, so that this is behind all that begin with the prefix.
        last = f"({prefix}\x7f" if prefix else "+"
        overrides: list[tuple[str, Override]] = []
        if not after:
            await self._require_whole_overrides(component)
        while len(overrides) < limit:
            wanted, index = limit - len(overrides), keys.overrides_index
            repos = await self._call(self.client.zrangebylex, index, first, last, 0, wanted, key=index)
            if not repos:
                break
            values = await self._call(self.client.hmget, keys.overrides, repos, key=keys.overrides)
            # One that was deleted between the two calls is not there: the page is filled up from the next ones.
            pairs = zip(repos, values, strict=True)
            overrides += [(repo, _override(keys.overrides, repo, text)) for repo, text in pairs if text is not None]
            if len(repos) < wanted:
                break
            first = f"({repos[-1]}"
        return overrides

    async def events(self, component: str, *, before: str = "", limit: int) -> list[Event]:
        key = self.keys.component(component).history if component else self.keys.history
        if before and not _ID.fullmatch(before):
            raise ValueError(f"{before!r} is no id of an event")
        newest = f"({before}" if before else "+"
        entries = await self._call(self.client.xrevrange, key, newest, "-", limit, key=key)
        if not entries:
            await self._require_epoch()
        try:
            return [history.read_event(entry_id, fields) for entry_id, fields in entries]
        except MalformedError as exc:
            raise corrupt(key, exc.field, exc.problem) from exc

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        if not 0 <= block_ms <= MAX_BLOCK_MS:
            raise ValueError(f"block_ms is {block_ms}, not 0 to {MAX_BLOCK_MS}")
        place = {self.keys.feed: after}
        if block_ms:
            with redis_errors(self.keys.feed):
                reply = await self._feed_client.xread(place, _FEED_COUNT, block_ms)
        else:
            # The connection that waits may hang, and this is how one gets past it.
            reply = await self._call(self.client.xread, place, _FEED_COUNT, key=self.keys.feed)
        entries = []
        for entry_id, fields in reply[0][1] if reply else ():
            try:
                entries.append(self._entry(entry_id, fields))
            except StoreCorruptError as error:
                entries.append(FeedEntry(entry_id, "", problem=error.message))
            # An entry may have a thousand overrides, and others wait for the event loop.
            await asyncio.sleep(0)
        return entries

    async def has_lost(self, entry_id: str) -> bool:
        up_to = await self._call(self.client.xrevrange, self.keys.feed, entry_id, "-", 1, key=self.keys.feed)
        if up_to:
            return bool(up_to[0][0] != entry_id)
        # All that is kept is later: it was dropped. Of a feed with nothing in it nobody knows.
        return not await self._call(self.client.xrange, self.keys.feed, "-", "+", 1, key=self.keys.feed)

    async def missing_entries(self, entries: Mapping[str, str]) -> frozenset[str]:
        missing: set[str] = set()
        asked = list(entries.items())
        for first in range(0, len(asked), _SCAN_COUNT):
            chunk = asked[first : first + _SCAN_COUNT]
            found = await self._call(self._ask_histories, chunk)
            for (component, entry_id), (this, oldest) in zip(chunk, found, strict=True):
                if not this and not (oldest and entry_order(entry_id) < entry_order(oldest[0][0])):
                    missing.add(component)
        return frozenset(missing)

    async def _ask_histories(self, entries: Sequence[tuple[str, str]]) -> list[tuple[Any, Any]]:
        """For each component, its entry as the history has it, and the oldest one there. A key of the wrong type says nothing
        of what is lost: it counts as having the entry.
        """
        pipe = self.client.pipeline(transaction=False)
        for component, entry_id in entries:
            key = self.keys.component(component).history
            pipe.xrange(key, entry_id, entry_id, 1)
            pipe.xrange(key, "-", "+", 1)
        replies = await pipe.execute(raise_on_error=False)
        for reply in replies:
            if isinstance(reply, Exception) and "WRONGTYPE" not in str(reply):
                raise reply
        return list(zip(replies[::2], replies[1::2], strict=True))

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        return feed_entry.apply(rollout, entry, feed_key=self.keys.feed)

    async def _call(
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

    def _namespace(self, freeze: str | None) -> Namespace:
        try:
            return feed_entry.read_namespace(freeze)
        except ValueError as exc:
            raise corrupt(self.keys.meta, "freeze", str(exc)) from exc

    def _adopted_ms(self, text: str | None) -> int | None:
        try:
            return None if text is None else texts.read_integer(text)
        except ValueError as exc:
            raise corrupt(self.keys.meta, "adopted_ms", str(exc)) from exc

    def _record(self, key: str, text: str) -> StoredRecord:
        try:
            return read_record(text)
        except ValueError as exc:
            raise corrupt(key, "", str(exc)) from exc

    def _entry(self, entry_id: str, fields: Mapping[str, str]) -> FeedEntry:
        try:
            return feed_entry.read_entry(entry_id, fields)
        except MalformedError as exc:
            raise corrupt(self.keys.feed, exc.field, exc.problem) from exc


def _key_of(keys: ComponentKeys, section: str) -> str:
    key: str = getattr(keys, section)
    return key


def _override(key: str, repo: str, text: str) -> Override:
    try:
        texts.read_text(repo)
        return texts.read_override(text)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc


def _pairs(flat: list[str]) -> dict[str, str]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _milliseconds(seconds: int, microseconds: int) -> int:
    return seconds * 1000 + microseconds // 1000
