"""The store on Redis. Each change is one script, which writes everything or nothing."""

import secrets
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping, Sequence
from typing import Any

from rampd_server.domain.rollout.model import Absent, Rollout, numbered
from rampd_server.ports import (
    AskedEvents,
    Author,
    Event,
    EventsPiece,
    FeedEntry,
    Head,
    ListedOverride,
    Namespace,
    Override,
    OverridesPiece,
    RequestRecord,
    Result,
    StateMark,
    Stored,
)
from rampd_server.storage.codec import feed_entry, history, texts
from rampd_server.storage.codec.patch import diff
from rampd_server.storage.codec.request_record import Request, write_result
from rampd_server.storage.damaged import delete_damaged
from rampd_server.storage.feed import has_lost, missing_entries, read_feed
from rampd_server.storage.histories import read_events, read_events_of_many
from rampd_server.storage.keys import ComponentKeys
from rampd_server.storage.limits import MAX_FEED_BYTES, MAX_FEED_ENTRIES
from rampd_server.storage.link import Link
from rampd_server.storage.meta import begin_epoch, is_empty, raise_schema, read_head
from rampd_server.storage.once import once, read_request, request_of, require_own_entry, require_own_record
from rampd_server.storage.overrides import list_overrides, walk_overrides
from rampd_server.storage.rollouts import read_marks, read_rollout, read_rollouts
from rampd_server.storage.schema import EARLIEST, SCHEMA
from rampd_server.storage.scripts import Code


class RedisStore:
    """A `Store` on one namespace of a Redis or Valkey."""

    def __init__(
        self, link: Link, *, max_feed_entries: int = MAX_FEED_ENTRIES, max_feed_bytes: int = MAX_FEED_BYTES
    ) -> None:
        self.link = link
        self.client = link.client
        self.keys = link.keys
        self.adopt_command = link.adopt_command
        self._feed_limits: dict[str, Any] = {"max_entries": max_feed_entries, "max_bytes": max_feed_bytes}

    @property
    def failover(self) -> str:
        return self.link.clients.failover

    async def close(self) -> None:
        await self.link.close()

    def set_epoch(self, epoch: str) -> None:
        self.link.epoch = epoch

    async def begin_epoch(self, *, adopted: bool) -> str:
        return await begin_epoch(self.link, adopted=adopted)

    async def raise_schema(self, schema: int = EARLIEST) -> None:
        """Raises the schema of the data if it is lower."""
        await raise_schema(self.link, schema)

    @property
    def schema(self) -> str:
        """The schema of the data, as the last look found it. Changes have its form; if it was raised meanwhile, they are
        conflicts.
        """
        return self.link.schema or str(SCHEMA)

    async def head(self) -> Head | None:
        return await read_head(self.link)

    async def is_empty(self) -> bool:
        return await is_empty(self.link)

    async def read(self, component: str) -> Stored:
        return await read_rollout(self.link, component)

    def read_many(self, components: Sequence[str]) -> AsyncGenerator[tuple[str, Stored | Exception]]:
        return read_rollouts(self.link, components)

    async def marks(self, components: Sequence[str]) -> list[StateMark]:
        return await read_marks(self.link, components)

    async def components(self, *, after: str = "", limit: int) -> list[str]:
        key, first = self.keys.components, f"({after}" if after else "-"
        names: list[str] = await self.link.call(self.client.zrangebylex, key, first, "+", 0, limit, key=key)
        if not names:
            await self.link.require_epoch()
        return names

    async def request_record(self, request_id: str) -> RequestRecord | None:
        return await read_request(self.link, request_id)

    def walk_overrides(self, component: str) -> AsyncIterator[OverridesPiece]:
        return walk_overrides(self.link, component)

    async def list_overrides(self, component: str, *, prefix: str, after: str, limit: int) -> list[ListedOverride]:
        return await list_overrides(self.link, component, prefix=prefix, after=after, limit=limit)

    async def events(self, component: str, *, before: str = "", after: str = "", limit: int) -> list[Event]:
        return await read_events(self.link, component, before=before, after=after, limit=limit)

    async def events_of_many(self, asked: Sequence[AskedEvents], *, after: str = "") -> list[EventsPiece]:
        return await read_events_of_many(self.link, asked, after=after)

    async def deleted_components(self, *, since_ms: int = 0) -> list[tuple[str, int]]:
        key = self.keys.deleted
        async with self.link.of_known_schema():
            found = await self.link.call(
                lambda: self.client.zrangebyscore(key, since_ms, "+inf", withscores=True),
                key=key,
                command="zrangebyscore",
            )
            return [(name, int(min(time_ms, history.LATEST_MS))) for name, time_ms in found]

    async def feed(self, after: str, *, block_ms: int) -> list[FeedEntry]:
        return await read_feed(self.link, after, block_ms=block_ms)

    async def has_lost(self, entry_id: str) -> bool:
        return await has_lost(self.link, entry_id)

    async def missing_entries(self, entries: Iterable[tuple[str, str]]) -> frozenset[str]:
        return await missing_entries(self.link, entries)

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        return feed_entry.apply(rollout, entry, feed_key=self.keys.feed)

    async def remember(self, author: Author, result: Result) -> None:
        if not author.request_id:
            return
        request = request_of(author)
        reply = await self.link.write(
            "remember_request",
            revision=result.revision,
            result=write_result(result, author),
            **once(self.link, request),
        )
        if reply[0] == Code.REPLAYED:
            await require_own_record(self.link, request, reply[1])

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
        request = request_of(author)
        reply, replicas = await self._commit(
            "commit_rollout",
            request,
            self.keys.component(after.component),
            **self._feed_limits,
            schema=self.schema,
            component=after.component,
            state_entry=before.state_entry,
            last_entry=before.entry if is_exact else "",
            freeze=_freeze_text(namespace) or "",
            patch_json=patch.encode(),
            result=write_result(result, author),
            decided_ms="" if decided_ms is None else decided_ms,
            revision_floor=after.revision - 1,
            is_urgent=texts.write_flag(is_urgent),
            event=history.event_fields(author, history.field_changes(difference)),
        )
        if reply[0] == Code.REPLAYED:
            entry = await require_own_entry(self.link, request, reply[1])
        else:
            _, entry_id, previous_id, revision, base_entry = reply
            entry = FeedEntry(
                id=entry_id,
                previous_id=previous_id,
                component=after.component,
                revision=int(revision),
                patch=patch,
                is_deletion=difference.is_deletion,
                base_entry=base_entry,
                replicas=replicas,
            )
        return entry, numbered(after, entry.revision, entry.id)

    async def delete_damaged(
        self, component: str, author: Author, *, problem: str, lowest: Absent
    ) -> tuple[FeedEntry, Absent]:
        return await delete_damaged(
            self.link, component, author, problem=problem, lowest=lowest, feed_limits=self._feed_limits
        )

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
        request = request_of(author)
        reply, replicas = await self._commit(
            "commit_overrides",
            request,
            self.keys.component(component),
            **self._feed_limits,
            schema=self.schema,
            component=component,
            expected_revision="" if expected_revision is None else expected_revision,
            known_revision=known.revision if known else 0,
            known_entry=known.entry if known else "",
            must_exist=texts.write_flag(must_exist),
            changes_json=feed_entry.write_overrides(changes).encode(),
            single=next(iter(changes)) if len(changes) == 1 else "",
            is_own_id=texts.write_flag(bool(author.request_id)),
            result=write_result(Result(0), author),
            event=history.author_fields(author),
        )
        if reply[0] == Code.UNCHANGED:
            return None, Result(int(reply[1]), changed=False)
        if reply[0] == Code.REPLAYED:
            entry = await require_own_entry(self.link, request, reply[1])
            return entry, Result(entry.revision)
        _, entry_id, previous_id, revision, base_entry, time_ms = reply
        entry = FeedEntry(
            id=entry_id,
            previous_id=previous_id,
            component=component,
            revision=int(revision),
            base_entry=base_entry,
            patch=feed_entry.overrides_patch(int(time_ms)),
            overrides_set={repo: override for repo, override in changes.items() if override is not None},
            overrides_deleted=tuple(repo for repo, override in changes.items() if override is None),
            replicas=replicas,
        )
        return entry, Result(int(revision))

    async def commit_namespace(
        self, before: Namespace, after: Namespace, author: Author, *, decided_ms: int | None = None
    ) -> FeedEntry:
        old, new = _freeze_text(before), _freeze_text(after)
        request = request_of(author)
        reply, replicas = await self._commit(
            "commit_namespace",
            request,
            **self._feed_limits,
            schema=self.schema,
            freeze_before=old or "",
            freeze=new or "",
            namespace=feed_entry.write_namespace(after),
            result=write_result(Result(0), author),
            decided_ms="" if decided_ms is None else decided_ms,
            event=history.event_fields(author, history.namespace_changes(old, new)),
        )
        if reply[0] == Code.REPLAYED:
            return await require_own_entry(self.link, request, reply[1])
        return FeedEntry(reply[1], reply[2], namespace=after, replicas=replicas)

    async def sweep_overrides(self, component: str, *, limit: int = 1000) -> int:
        reply = await self.link.write(
            "sweep_overrides",
            self.keys.component(component),
            **self._feed_limits,
            epoch=self.link.epoch,
            component=component,
            most=limit,
            nonce=secrets.token_hex(8),
        )
        return int(reply[1])

    async def _commit(
        self,
        name: str,
        request: Request,
        keys: ComponentKeys | None = None,
        /,
        **named: Any,  # noqa: ANN401
    ) -> tuple[list[Any], int | None]:
        return await self.link.commit(name, keys, **once(self.link, request), **named)


def _freeze_text(namespace: Namespace) -> str | None:
    return None if namespace.freeze is None else texts.write_freeze(namespace.freeze)
