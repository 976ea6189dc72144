"""The store, on Redis: each change is one script, done whole or not at all."""

import contextlib
import secrets
from collections.abc import Mapping
from typing import Any, Final, Self

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout.model import Absent, Rollout, numbered
from rampd_server.ports import Author, FeedEntry, Namespace, Override, ReplayedError, Result
from rampd_server.storage.codec import feed_entry, history, texts
from rampd_server.storage.codec.patch import diff
from rampd_server.storage.codec.request_record import Request, StoredRecord, write_result
from rampd_server.storage.connection import connect
from rampd_server.storage.keys import Keys
from rampd_server.storage.limits import MAX_CLIENTS, MAX_FEED_BYTES, MAX_FEED_ENTRIES, MAX_WAITING
from rampd_server.storage.outcomes import RedisOutcomes
from rampd_server.storage.refusals import refusal
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.scripts import Code

_DEADLINE_S: Final = 1.0
_FEED_TIMEOUT_S: Final = 2.0
"""A second more than the feed waits for an entry: a connection that is silent for longer is given up."""
_MAX_CONNECTIONS: Final = 32


class RedisStore(RedisOutcomes):
    """A `Store` on one namespace of a Redis or Valkey. Opens connections when they are needed; end it with `close`."""

    def __init__(
        self,
        client: Any,  # noqa: ANN401 - see RedisReader
        feed_client: Any,  # noqa: ANN401
        *,
        namespace: str = "default",
        deadline_s: float = _DEADLINE_S,
        feed_max_entries: int = MAX_FEED_ENTRIES,
        feed_max_bytes: int = MAX_FEED_BYTES,
        max_clients: int = MAX_CLIENTS,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        super().__init__(client, feed_client, Keys(namespace), deadline_s=deadline_s)
        self._feed_limits = (feed_max_entries, feed_max_bytes)
        self.outcome_limits = (max_clients, max_waiting)

    @classmethod
    def connect(cls, url: str, *, namespace: str = "default", name: str = "") -> Self:
        """A store at `redis://`, `rediss://` or `unix://`; `name` is what Redis shows of its connections. Raises
        ValueError: the URL or the namespace is none.
        """
        client = connect(url, timeout_s=_DEADLINE_S, max_connections=_MAX_CONNECTIONS, name=name)
        # A blocking read holds its connection, and waits longer than anything else may.
        feed_client = connect(url, timeout_s=_FEED_TIMEOUT_S, max_connections=2, name=name)
        return cls(client, feed_client, namespace=namespace)

    async def close(self) -> None:
        await self.client.aclose()
        await self._feed_client.aclose()

    async def begin_epoch(self, *, adopted: bool) -> str:
        arguments = (secrets.token_hex(8), SCHEMA, texts.write_flag(adopted))
        _, epoch = await self._run(self._scripts.begin_epoch, (self.keys.meta, self.keys.feed), arguments)
        return str(epoch)

    async def raise_schema(self) -> None:
        """Says that the data have this server's form from now on. What an earlier schema lacks, it reads as not there."""
        await self._run(self._scripts.raise_schema, (self.keys.meta,), (SCHEMA,))

    async def remember(self, author: Author, result: Result) -> None:
        if not author.request_id:
            return
        request = Request.of(author, nonce=secrets.token_hex(8))
        arguments = (*self._request_arguments(request), result.revision, write_result(result, author))
        keys = (self.keys.meta, self.keys.request(request.id))
        reply = await self._run(self._scripts.remember_request, keys, arguments)
        if reply[0] == Code.REPLAYED:
            self._own_record(request, reply[1])

    async def commit(
        self,
        before: Rollout | Absent,
        after: Rollout | Absent,
        author: Author,
        result: Result,
        namespace: Namespace,
        *,
        decided_ms: int | None = None,
        is_exact: bool = False,
        is_urgent: bool = False,
    ) -> tuple[FeedEntry, Rollout | Absent]:
        if after.revision <= before.revision:
            raise ValueError(f"revision {after.revision} does not follow on {before.revision}")
        difference = diff(before, after)
        patch = difference.patch().to_json()
        request = Request.of(author, nonce=secrets.token_hex(8))
        keys = self.keys.component(after.component)
        reply = await self._run(
            self._scripts.commit_rollout,
            (
                *self._write_keys(request),
                *(self.keys.components, keys.history, keys.rollout, keys.queue, keys.releases, keys.attributes),
                *(keys.quarantine, keys.timeline, keys.overrides, keys.overrides_index, keys.overrides_expiry),
            ),
            (
                *self._write_arguments(request),
                *(after.component, before.state_entry, before.entry if is_exact else "", _freeze_text(namespace) or ""),
                *(patch.encode(), write_result(result, author), "" if decided_ms is None else decided_ms),
                *(after.revision - 1, texts.write_flag(is_urgent)),
                *history.event_fields(author, history.field_changes(difference)),
            ),
            component=after.component,
        )
        if reply[0] == Code.REPLAYED:
            entry = await self._own_entry(request, reply[1])
        else:
            entry_id, previous_id, revision, base_entry = reply[1], reply[2], int(reply[3]), reply[4]
            is_deletion = difference.is_deletion
            entry = FeedEntry(
                entry_id, previous_id, after.component, revision, patch, is_deletion=is_deletion, base_entry=base_entry
            )
        return entry, numbered(after, entry.revision, entry.id)

    async def delete_damaged(
        self, component: str, author: Author, *, problem: str, lowest: Absent
    ) -> tuple[FeedEntry, Absent]:
        request = Request.of(author, nonce=secrets.token_hex(8))
        keys = self.keys.component(component)
        last_number = max(lowest.last_number, await self._last_number_told(component))
        reply = await self._run(
            self._scripts.delete_damaged,
            (
                *self._write_keys(request),
                *(self.keys.components, keys.history, keys.rollout, keys.queue, keys.releases, keys.attributes),
                *(keys.quarantine, keys.timeline, keys.overrides, keys.overrides_index, keys.overrides_expiry),
            ),
            (
                *self._write_arguments(request),
                *(component, lowest.revision, last_number, write_result(Result(0), author)),
                *history.event_fields(author, history.end_of_damaged(problem)),
            ),
        )
        if reply[0] == Code.REPLAYED:
            entry = await self._own_entry(request, reply[1])
        else:
            entry_id, previous_id, revision, last, base_entry = (
                reply[1],
                reply[2],
                int(reply[3]),
                int(reply[4]),
                reply[5],
            )
            patch = feed_entry.end(Absent(component, revision, last))
            entry = FeedEntry(
                entry_id, previous_id, component, revision, patch, is_deletion=True, base_entry=base_entry
            )
        gone = self.apply(Absent(component, entry.revision - 1, entry=entry.base_entry), entry)
        if not isinstance(gone, Absent):
            raise TypeError(f"{component} is there after it was deleted")
        return entry, gone

    async def _last_number_told(self, component: str) -> int:
        """The highest number of a release that the history tells of, as far as it can be read."""
        highest, before = 0, ""
        with contextlib.suppress(StoreCorruptError):
            while events := await self.events(component, before=before, limit=1000):
                numbers = (history.release_number(change) for event in events for change in event.changes)
                highest = max(highest, *numbers, 0)
                before = events[-1].id
        return highest

    async def commit_overrides(
        self,
        component: str,
        changes: Mapping[str, Override | None],
        author: Author,
        *,
        expected_revision: int | None = None,
        known: Rollout | Absent | None = None,
        must_exist: bool = False,
    ) -> tuple[FeedEntry | None, Result]:
        if not changes:
            raise ValueError("no overrides to change")
        request = Request.of(author, nonce=secrets.token_hex(8))
        keys = self.keys.component(component)
        reply = await self._run(
            self._scripts.commit_overrides,
            (
                *self._write_keys(request),
                *(keys.history, keys.rollout, keys.overrides, keys.overrides_index, keys.overrides_expiry),
            ),
            (
                *self._write_arguments(request),
                *(component, "" if expected_revision is None else expected_revision),
                *((known.revision, known.entry) if known else (0, "")),
                *(texts.write_flag(must_exist), feed_entry.write_overrides(changes).encode()),
                next(iter(changes)) if len(changes) == 1 else "",
                *(texts.write_flag(bool(author.request_id)), write_result(Result(0), author)),
                *history.author_fields(author),
            ),
            component=component,
            expected_revision=expected_revision,
        )
        if reply[0] == Code.UNCHANGED:
            return None, Result(int(reply[1]), changed=False)
        if reply[0] == Code.REPLAYED:
            entry = await self._own_entry(request, reply[1])
            return entry, Result(entry.revision)
        entry_id, previous_id, revision, base_entry, time_ms = (
            reply[1],
            reply[2],
            int(reply[3]),
            reply[4],
            int(reply[5]),
        )
        entry = FeedEntry(
            id=entry_id,
            previous_id=previous_id,
            component=component,
            revision=revision,
            base_entry=base_entry,
            patch=feed_entry.overrides_patch(time_ms),
            overrides_set={repo: override for repo, override in changes.items() if override is not None},
            overrides_deleted=tuple(repo for repo, override in changes.items() if override is None),
        )
        return entry, Result(revision)

    async def commit_namespace(
        self, before: Namespace, after: Namespace, author: Author, *, decided_ms: int | None = None
    ) -> FeedEntry:
        old, new = _freeze_text(before), _freeze_text(after)
        request = Request.of(author, nonce=secrets.token_hex(8))
        reply = await self._run(
            self._scripts.commit_namespace,
            (*self._write_keys(request), self.keys.history),
            (
                *self._write_arguments(request),
                *(old or "", new or "", feed_entry.write_namespace(after), write_result(Result(0), author)),
                "" if decided_ms is None else decided_ms,
                *history.event_fields(author, history.namespace_changes(old, new)),
            ),
        )
        if reply[0] == Code.REPLAYED:
            return await self._own_entry(request, reply[1])
        return FeedEntry(reply[1], reply[2], namespace=after)

    async def sweep_overrides(self, component: str, *, limit: int = 1000) -> int:
        keys = self.keys.component(component)
        reply = await self._run(
            self._scripts.sweep_overrides,
            (
                *(self.keys.meta, self.keys.feed, self.keys.feed_bytes),
                *(keys.overrides, keys.overrides_index, keys.overrides_expiry, keys.rollout),
            ),
            (self._epoch, *self._feed_limits, component, limit, secrets.token_hex(8)),
        )
        return int(reply[1])

    async def run(
        self,
        script: Any,  # noqa: ANN401 - see RedisReader
        keys: tuple[str, ...],
        arguments: tuple[object, ...],
    ) -> list[Any]:
        """The answer of a script of a file of its own that begins with `meta` and the epoch believed in."""
        return await self._run(script, (self.keys.meta, *keys), (self._epoch, *arguments))

    def _write_keys(self, request: Request) -> tuple[str, ...]:
        return self.keys.meta, self.keys.feed, self.keys.feed_bytes, self.keys.request(request.id)

    def _request_arguments(self, request: Request) -> tuple[object, ...]:
        return self._epoch, request.digest, request.nonce, request.life_ms

    def _write_arguments(self, request: Request) -> tuple[object, ...]:
        return *self._request_arguments(request), *self._feed_limits

    async def _run(
        self,
        script: Any,  # noqa: ANN401 - redis-py's scripts are not typed
        keys: tuple[str, ...],
        arguments: tuple[object, ...],
        *,
        component: str = "",
        expected_revision: int | None = None,
    ) -> list[Any]:
        reply: list[Any] = await self._call(script, keys, arguments, is_write=True)
        error = refusal(
            reply,
            component=component,
            expected_revision=expected_revision,
            meta_key=self.keys.meta,
            epoch=self._epoch,
        )
        if error is not None:
            raise error
        return reply

    def _own_record(self, request: Request, text: str) -> StoredRecord:
        """The record of the first of two attempts of one call, whose reply was lost. Raises ReplayedError for another's."""
        stored = self._record(self.keys.request(request.id), text)
        if stored.nonce != request.nonce:
            raise ReplayedError(stored.record)
        return stored

    async def _own_entry(self, request: Request, text: str) -> FeedEntry:
        stored = self._own_record(request, text)
        entries = await self._call(self.client.xrange, self.keys.feed, stored.entry_id, stored.entry_id)
        if not entries:
            raise ReplayedError(stored.record)
        return self._entry(*entries[0])


def _freeze_text(namespace: Namespace) -> str | None:
    return None if namespace.freeze is None else texts.write_freeze(namespace.freeze)
