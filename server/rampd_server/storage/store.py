"""The store on Redis. Each change is one script, which writes everything or nothing."""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from redis import exceptions

from rampd_server.domain.errors import StoreCorruptError
from rampd_server.domain.rollout.model import Absent, Rollout, numbered
from rampd_server.domain.wording import counted
from rampd_server.ports import (
    AskedEvents,
    Author,
    Event,
    EventsPiece,
    FeedEntry,
    Head,
    ListedOverride,
    Namespace,
    Origin,
    Override,
    OverridesPiece,
    ReplayedError,
    RequestRecord,
    Result,
    StateMark,
    Stored,
    entry_order,
)
from rampd_server.storage.codec import feed_entry, history, texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.codec.patch import diff
from rampd_server.storage.codec.request_record import Request, StoredRecord, read_record, write_result
from rampd_server.storage.exchange import wrong_type_may_fail
from rampd_server.storage.histories import read_events, read_events_of_many
from rampd_server.storage.keys import ComponentKeys
from rampd_server.storage.limits import MAX_FEED_BYTES, MAX_FEED_ENTRIES
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.rollouts import (
    milliseconds,
    namespace_of,
    pairs,
    read_marks,
    read_rollout,
    read_rollouts,
)
from rampd_server.storage.schema import EARLIEST, SCHEMA
from rampd_server.storage.scripts import Code
from rampd_server.storage.store_errors import corrupt, wrong_type

MAX_BLOCK_MS: Final = 1_000
"""The longest wait of `feed`. It is shorter than the time-out of the connection, so that a lost connection is noticed."""

_FEED_COUNT: Final = 100
_SCAN_COUNT: Final = 1_000
_ROLE_PLACE: Final = 2


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
        return self.link.failover

    async def close(self) -> None:
        await self.link.close()

    def set_epoch(self, epoch: str) -> None:
        self.link.epoch = epoch

    async def begin_epoch(self, *, adopted: bool) -> str:
        _, epoch = await self.link.write(
            "begin_epoch",
            epoch=secrets.token_hex(8),
            schema=SCHEMA,
            earliest=EARLIEST,
            adopted=texts.write_flag(adopted),
        )
        return str(epoch)

    async def raise_schema(self, schema: int = EARLIEST) -> None:
        """Raises the schema of the data if it is lower. Fields that an earlier schema does not have are read as missing."""
        await self.link.write("raise_schema", schema=schema)
        await self.link.look_at_schema()

    @property
    def schema(self) -> str:
        """The schema of the data, as the last look found it. Changes have its form; if it was raised meanwhile, they are
        conflicts.
        """
        return self.link.schema or str(SCHEMA)

    async def head(self) -> Head | None:
        fields = ("epoch", "adopted_ms", "freeze", "head", "schema")
        (epoch, adopted_ms, freeze, entry_id, schema), time, role = await self.link.exchange(
            lambda pipe: pipe.hmget(self.keys.meta, *fields).time().role(),
            may_fail=_is_test_double,
            key=self.keys.meta,
            command="hmget",
        )
        # A replica that has lost its primary still answers, so only a primary counts.
        if isinstance(role, list) and role[0] not in {"master", b"master"}:
            raise self.link.not_primary()
        self.link.schema = schema
        self.link.require_schema()
        if not epoch:
            return None
        return Head(
            epoch=epoch,
            entry_id=entry_id or "0-0",
            time_ms=milliseconds(*time),
            namespace=namespace_of(self.link, freeze),
            adopted_ms=self._adopted_ms(adopted_ms),
        )

    async def is_empty(self) -> bool:
        known = (self.keys.meta, self.keys.components, self.keys.feed, self.keys.history)
        if await self.link.call(self.client.exists, *known):
            return False
        # Outcomes may be on other nodes than the namespace.
        for client in await self.link.every_client():
            if await self._has_keys(client):
                return False
        return True

    async def _has_keys(self, client: Any) -> bool:  # noqa: ANN401 - as redis-py has it
        cursor = 0
        while True:
            cursor, found = await self.link.call(client.scan, cursor, self.keys.pattern, _SCAN_COUNT)
            if found or not cursor:
                return bool(found)

    async def read(self, component: str) -> Stored:
        return await read_rollout(self.link, component)

    def read_many(self, components: Sequence[str]) -> AsyncIterator[tuple[str, Stored | Exception]]:
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
        key = self.keys.request(request_id)
        async with self.link.of_known_schema():
            text = await self.link.call(self.client.get, key, key=key)
            return None if text is None else self._record(key, text).record

    async def walk_overrides(self, component: str) -> AsyncIterator[OverridesPiece]:
        keys = self.keys.component(component)
        cursor = 0
        while True:
            async with self.link.of_known_schema():
                # The component's last entry is read right after the overrides.
                found, entry = await self.link.exchange(
                    partial(_scan_overrides, keys, cursor), key=keys.overrides, command="hscan"
                )
                cursor, by_repo = found
                overrides = {repo: _override(keys.overrides, repo, text) for repo, text in by_repo.items()}
            yield OverridesPiece(overrides, entry or "")
            if not cursor:
                break
        async with self.link.of_known_schema():
            await self._require_whole_overrides(component)

    async def _require_whole_overrides(self, component: str) -> None:
        """Raises StoreCorruptError if the keys of the overrides, or the count in the rollout, do not agree."""
        keys = self.keys.component(component)
        reply = await self.link.run("count_overrides", keys)
        if reply[0] == Code.WRONG_TYPE:
            raise wrong_type(*reply[1])
        count, indexed, expiring, recorded = reply[1:]
        problem = or_else = ""
        if count != indexed:
            problem = f"but {keys.overrides_index} names {indexed}"
        elif expiring > count:
            problem = f"but {keys.overrides_expiry} names {expiring}"
        elif recorded and recorded != str(count):
            problem = f"and {keys.rollout} counts {recorded}"
            or_else = f"If these overrides are right, type `redis-cli HSET '{keys.rollout}' overrides {count}`."
        if problem:
            raise corrupt(keys.overrides, "", f"has {counted(count, 'override')}, {problem}", or_else=or_else)

    async def list_overrides(self, component: str, *, prefix: str, after: str, limit: int) -> list[ListedOverride]:
        async with self.link.of_known_schema():
            return await self._list_overrides(component, prefix, after, limit)

    async def _list_overrides(self, component: str, prefix: str, after: str, limit: int) -> list[ListedOverride]:
        keys = self.keys.component(component)
        first = f"({after}" if after >= prefix and after else f"[{prefix}" if prefix else "-"
        # No repo has a character after `~`, so this limit comes after all repos that begin with the prefix.
        last = f"({prefix}\x7f" if prefix else "+"
        if not after:
            await self._require_whole_overrides(component)
        reply = await self.link.run("list_overrides", keys, first=first, last=last, most=limit)
        if reply[0] == Code.WRONG_TYPE:
            raise wrong_type(*reply[1])
        _, rows, entries = reply
        told = dict(zip(entries[::2], entries[1::2], strict=True))
        origins: dict[str | None, Origin | None] = {None: None}
        listed = []
        for repo, text, entry_id in zip(rows[::3], rows[1::3], rows[2::3], strict=True):
            if text is None:
                raise corrupt(keys.overrides, repo, f"is not there, but {keys.overrides_index} names it")
            if entry_id not in origins:
                origins[entry_id] = _origin(keys.overrides_origin, repo, entry_id, pairs(told[entry_id]))
            listed.append(ListedOverride(repo, _override(keys.overrides, repo, text), origins[entry_id]))
        return listed

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
        if not 0 <= block_ms <= MAX_BLOCK_MS:
            raise ValueError(f"block_ms is {block_ms}, not 0 to {MAX_BLOCK_MS}")
        place = {self.keys.feed: after}
        if block_ms:
            with self.link.counted("xread"), redis_errors(self.keys.feed):
                reply = await self.link.feed_client.xread(place, _FEED_COUNT, block_ms)
        else:
            # The connection of waiting reads may hang. Then this read still gets the entries.
            reply = await self.link.call(self.client.xread, place, _FEED_COUNT, key=self.keys.feed)
        entries = []
        for entry_id, fields in reply[0][1] if reply else ():
            try:
                entries.append(self._entry(entry_id, fields))
            except StoreCorruptError as error:
                await self.link.look_at_schema()
                entries.append(FeedEntry(entry_id, "", problem=error.message))
            # An entry may have a thousand overrides, so other tasks get a turn between entries.
            await asyncio.sleep(0)
        return entries

    async def has_lost(self, entry_id: str) -> bool:
        up_to = await self.link.call(self.client.xrevrange, self.keys.feed, entry_id, "-", 1, key=self.keys.feed)
        if up_to:
            return bool(up_to[0][0] != entry_id)
        # If all kept entries are later, the entry was trimmed and not lost. An empty feed can't prove this, so it counts as lost.
        return not await self.link.call(self.client.xrange, self.keys.feed, "-", "+", 1, key=self.keys.feed)

    async def missing_entries(self, entries: Iterable[tuple[str, str]]) -> frozenset[str]:
        missing: set[str] = set()
        asked = list(entries)
        for first in range(0, len(asked), _SCAN_COUNT):
            chunk = asked[first : first + _SCAN_COUNT]
            found = await self._ask_histories(chunk)
            for (component, entry_id), (this, oldest) in zip(chunk, found, strict=True):
                if not this and not (oldest and entry_order(entry_id) < entry_order(oldest[0][0])):
                    missing.add(component)
        return frozenset(missing)

    async def _ask_histories(self, entries: Sequence[tuple[str, str]]) -> list[tuple[Any, Any]]:
        """Returns for each component its entry in the history, and the oldest entry there.

        A key of the wrong type does not show whether something is lost, so it counts as if it has the entry.
        """

        def build(pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
            for component, entry_id in entries:
                key = self.keys.component(component).history
                pipe.xrange(key, entry_id, entry_id, 1)
                pipe.xrange(key, "-", "+", 1)

        replies = await self.link.exchange(build, may_fail=wrong_type_may_fail, command="xrange")
        return list(zip(replies[::2], replies[1::2], strict=True))

    def apply(self, rollout: Rollout | Absent, entry: FeedEntry) -> Rollout | Absent:
        return feed_entry.apply(rollout, entry, feed_key=self.keys.feed)

    async def remember(self, author: Author, result: Result) -> None:
        if not author.request_id:
            return
        request = _request_of(author)
        reply = await self.link.write(
            "remember_request",
            revision=result.revision,
            result=write_result(result, author),
            **self._once(request),
        )
        if reply[0] == Code.REPLAYED:
            async with self.link.of_known_schema():
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
        request = _request_of(author)
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
            entry = await self._own_entry(request, reply[1])
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
        request = _request_of(author)
        reply, replicas = await self._commit(
            "delete_damaged",
            request,
            self.keys.component(component),
            **self._feed_limits,
            component=component,
            revision_floor=lowest.revision,
            number_floor=max(lowest.last_number, await self._last_number_in_history(component)),
            result=write_result(Result(0), author),
            event=history.event_fields(author, history.end_of_damaged(problem)),
        )
        if reply[0] == Code.REPLAYED:
            entry = await self._own_entry(request, reply[1])
        else:
            _, entry_id, previous_id, revision, last_number, base_entry = reply
            entry = FeedEntry(
                id=entry_id,
                previous_id=previous_id,
                component=component,
                revision=int(revision),
                patch=feed_entry.end(Absent(component, int(revision), int(last_number))),
                is_deletion=True,
                base_entry=base_entry,
                replicas=replicas,
            )
        gone = self.apply(Absent(component, entry.revision - 1, entry=entry.base_entry), entry)
        if not isinstance(gone, Absent):
            raise TypeError(f"{component} still exists after its deletion")
        return entry, gone

    async def _last_number_in_history(self, component: str) -> int:
        """Returns the highest number of a release in the history, as far as the history can be read."""
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
        request = _request_of(author)
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
            entry = await self._own_entry(request, reply[1])
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
        request = _request_of(author)
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
            return await self._own_entry(request, reply[1])
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
        return await self.link.commit(name, keys, **self._once(request), **named)

    def _once(self, request: Request) -> dict[str, Any]:
        """The arguments of `Link.write` that make a write happen once for each request, or never for a dry run."""
        return {
            "is_write": not request.is_dry_run,
            "request_id": request.id,
            "request": self.keys.request(request.id),
            "epoch": self.link.epoch,
            "digest": request.digest,
            "nonce": request.nonce,
            "life_ms": request.life_ms,
            "dry_run": texts.write_flag(request.is_dry_run),
        }

    def _own_record(self, request: Request, text: str) -> StoredRecord:
        """Returns the record if an earlier attempt of this call wrote it. Raises ReplayedError if another call wrote it."""
        stored = self._record(self.keys.request(request.id), text)
        if stored.nonce != request.nonce:
            raise ReplayedError(stored.record)
        return stored

    async def _own_entry(self, request: Request, text: str) -> FeedEntry:
        async with self.link.of_known_schema():
            stored = self._own_record(request, text)
            entries = await self.link.call(self.client.xrange, self.keys.feed, stored.entry_id, stored.entry_id)
            if not entries:
                raise ReplayedError(stored.record)
            return self._entry(*entries[0])

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


def _is_test_double(place: int, error: Exception) -> bool:
    """Whether a look at the head failed because the store does not have ROLE, the last of its commands."""
    return place == _ROLE_PLACE and not isinstance(error, exceptions.NoPermissionError)


def _scan_overrides(keys: ComponentKeys, cursor: int, pipe: Any) -> None:  # noqa: ANN401 - as redis-py has it
    pipe.hscan(keys.overrides, cursor, None, _SCAN_COUNT)
    pipe.hget(keys.rollout, "entry")


def _request_of(author: Author) -> Request:
    return Request.of(author, nonce=secrets.token_hex(8))


def _freeze_text(namespace: Namespace) -> str | None:
    return None if namespace.freeze is None else texts.write_freeze(namespace.freeze)


def _override(key: str, repo: str, text: str) -> Override:
    try:
        texts.read_text(repo)
        return texts.read_override(text)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc


def _origin(key: str, repo: str, entry_id: str, fields: Mapping[str, str]) -> Origin:
    try:
        return history.read_origin(texts.read_entry_id(entry_id), fields)
    except ValueError as exc:
        raise corrupt(key, repo, str(exc)) from exc
