"""All that is read from Redis."""

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from rampd_server.domain.model import Absent, Rollout
from rampd_server.ports import Event, FeedEntry, Head, Namespace, Override, RequestRecord, Stored
from rampd_server.storage import feed, history, rebuild, texts
from rampd_server.storage.keys import ComponentKeys, Keys
from rampd_server.storage.malformed import MalformedError
from rampd_server.storage.redis_errors import redis_errors, translated
from rampd_server.storage.refusals import corrupt, store_reset
from rampd_server.storage.request_record import StoredRecord, read_record

MAX_BLOCK_MS: Final = 2_000
"""Longest wait of `feed`: shorter than the time-out of its connection, else a lost connection looks like silence."""

_FEED_COUNT: Final = 100
_SCAN_COUNT: Final = 1_000
_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
_META: Final = ("epoch", "adopted", "freeze", "head")


class RedisReader:
    """The half of `RedisStore` that writes nothing. `client` and `feed_client` decode replies as text."""

    def __init__(self, client: Any, feed_client: Any, keys: Keys, *, deadline_s: float) -> None:  # noqa: ANN401
        # redis-py's commands are typed for its blocking and its asyncio client at once, which is of no use here.
        self.client = client
        self.keys = keys
        self._feed_client = feed_client
        self._deadline_s = deadline_s
        self._epoch = ""

    def believe(self, epoch: str) -> None:
        self._epoch = epoch

    async def head(self) -> Head | None:
        pipe = self.client.pipeline(transaction=True)
        pipe.hmget(self.keys.meta, _META).time()
        with redis_errors(self.keys.meta):
            async with asyncio.timeout(self._deadline_s):
                (epoch, adopted, freeze, entry_id), time = await pipe.execute()
        if not epoch:
            return None
        return Head(
            epoch=epoch,
            entry_id=entry_id or "0-0",
            time_ms=_milliseconds(time),
            namespace=self._namespace(freeze),
            adopted=adopted == "1",
        )

    async def is_empty(self) -> bool:
        cursor = 0
        with redis_errors():
            if await self.client.exists(self.keys.meta, self.keys.components, self.keys.feed, self.keys.history):
                return False
            while True:
                async with asyncio.timeout(self._deadline_s):
                    cursor, found = await self.client.scan(cursor, match=f"{self.keys.prefix}*", count=_SCAN_COUNT)
                if found:
                    return False
                if not cursor:
                    return True

    async def read(self, component: str) -> Stored:
        keys = self.keys.component(component)
        pipe = self.client.pipeline(transaction=True)
        pipe.hmget(self.keys.meta, _META).time().hgetall(keys.rollout).lrange(keys.queue, 0, -1)
        pipe.hgetall(keys.releases).hgetall(keys.attributes).hgetall(keys.quarantine).hgetall(keys.timeline)
        with redis_errors():
            async with asyncio.timeout(self._deadline_s):
                replies = await pipe.execute(raise_on_error=False)
        read_keys = (
            *(self.keys.meta, "", keys.rollout, keys.queue),
            *(keys.releases, keys.attributes, keys.quarantine, keys.timeline),
        )
        for key, reply in zip(read_keys, replies, strict=True):
            if isinstance(reply, Exception):
                raise translated(reply, key) from reply
        (epoch, _, freeze, entry_id), time, rollout, queue, *hashes = replies
        self._check_epoch(epoch)
        try:
            loaded = rebuild.load(component, rebuild.Sections(rollout, tuple(queue), *hashes))
        except MalformedError as exc:
            raise corrupt(_key_of(keys, exc.section), exc.field, exc.problem) from exc
        return Stored(loaded, self._namespace(freeze), _milliseconds(time), entry_id or "0-0")

    async def components(self, *, after: str = "", limit: int) -> list[str]:
        first = f"({after}" if after else "-"
        with redis_errors(self.keys.components):
            async with asyncio.timeout(self._deadline_s):
                names: list[str] = await self.client.zrangebylex(self.keys.components, first, "+", 0, limit)
                return names

    async def request_record(self, request_id: str) -> RequestRecord | None:
        key = self.keys.request(request_id)
        with redis_errors(key):
            async with asyncio.timeout(self._deadline_s):
                text = await self.client.get(key)
        return None if text is None else self._record(key, text).record

    async def walk_overrides(self, component: str) -> AsyncIterator[Mapping[str, Override]]:
        key = self.keys.component(component).overrides
        cursor = 0
        while True:
            with redis_errors(key):
                async with asyncio.timeout(self._deadline_s):
                    cursor, found = await self.client.hscan(key, cursor, count=_SCAN_COUNT)
            yield {repo: _override(key, repo, text) for repo, text in found.items()}
            if not cursor:
                return

    async def list_overrides(
        self, component: str, *, prefix: str, after: str, limit: int
    ) -> list[tuple[str, Override]]:
        keys = self.keys.component(component)
        first = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
        # No repo has a character after `~`, so that this is behind all that begin with the prefix.
        last = f"({prefix}\x7f" if prefix else "+"
        overrides: list[tuple[str, Override]] = []
        while len(overrides) < limit:
            wanted = limit - len(overrides)
            with redis_errors(keys.overrides_index):
                async with asyncio.timeout(self._deadline_s):
                    repos = await self.client.zrangebylex(keys.overrides_index, first, last, 0, wanted)
            if not repos:
                break
            with redis_errors(keys.overrides):
                async with asyncio.timeout(self._deadline_s):
                    values = await self.client.hmget(keys.overrides, repos)
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
        with redis_errors(key):
            async with asyncio.timeout(self._deadline_s):
                entries = await self.client.xrevrange(key, max=f"({before}" if before else "+", count=limit)
        try:
            return [history.read_event(entry_id, fields) for entry_id, fields in entries]
        except MalformedError as exc:
            raise corrupt(key, exc.field, exc.problem) from exc

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        if not 0 <= block_ms <= MAX_BLOCK_MS:
            raise ValueError(f"block_ms is {block_ms}, not 0 to {MAX_BLOCK_MS}")
        with redis_errors(self.keys.feed):
            # To Redis, BLOCK 0 is for ever.
            reply = await self._feed_client.xread({self.keys.feed: after}, _FEED_COUNT, block_ms or None)
        return [self._entry(*entry) for entry in reply[0][1]] if reply else []

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        return feed.apply(rollout, entry, feed_key=self.keys.feed)

    def _check_epoch(self, epoch: str | None) -> None:
        if not epoch or (self._epoch and epoch != self._epoch):
            raise store_reset(self.keys.meta, self._epoch, epoch)

    def _namespace(self, freeze: str | None) -> Namespace:
        try:
            return feed.read_namespace(freeze)
        except ValueError as exc:
            raise corrupt(self.keys.meta, "freeze", str(exc)) from exc

    def _record(self, key: str, text: str) -> StoredRecord:
        try:
            return read_record(text)
        except ValueError as exc:
            raise corrupt(key, "", str(exc)) from exc

    def _entry(self, entry_id: str, fields: Mapping[str, str]) -> FeedEntry:
        try:
            return feed.read_entry(entry_id, fields)
        except MalformedError as exc:
            raise corrupt(self.keys.feed, exc.field, exc.problem) from exc


def _key_of(keys: ComponentKeys, section: str) -> str:
    key: str = getattr(keys, section)
    return key


def _override(key: str, repo: str, text: str) -> Override:
    try:
        return texts.read_override(text)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc


def _milliseconds(time: tuple[int, int]) -> int:
    seconds, microseconds = time
    return seconds * 1000 + microseconds // 1000
