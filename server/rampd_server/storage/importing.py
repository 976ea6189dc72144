"""Writes an import into a namespace. The namespace has no epoch until the end, so that every server refuses to use it before."""

import secrets
from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Final

from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Namespace, Override
from rampd_server.storage.codec import component_lines, feed_entry, texts
from rampd_server.storage.codec.component_lines import OVERRIDES
from rampd_server.storage.codec.rollout_hash import SECTION as ROLLOUT
from rampd_server.storage.exporting import RawEvent
from rampd_server.storage.limits import MAX_FEED_BYTES, MAX_FEED_ENTRIES
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.rollouts import milliseconds
from rampd_server.storage.scripts import Code

_EVENTS: Final = 500
_SCAN_COUNT: Final = 1_000
_EXCHANGE: Final = 100
_EXCHANGE_BYTES: Final = 1 << 20
"""How many calls, and how much, are sent to Redis in one exchange."""


class NotEmptyError(Exception):
    """Raised when the namespace has data, so that nothing is imported."""


class Import:
    """One attempt to import some content. All methods raise StoreResetError if another command has taken the import over;
    StoreUnavailableError, StoreCorruptError.
    """

    def __init__(self, link: Link, digest: str) -> None:
        """`digest` is the hexadecimal digest of the content."""
        self._link = link
        self._digest = digest
        self._nonce = secrets.token_hex(8)
        self._mark = f"{digest} {self._nonce}"
        self._calls: defaultdict[str, list[tuple[object, dict[str, Any]]]] = defaultdict(list)
        """The calls of scripts that wait for the next exchange, by the name of the script."""
        self._bytes = 0

    async def begin(self) -> bool:
        """Begins, or begins again what an earlier attempt with this content has left. Returns False if this content made the
        namespace already. Raises NotEmptyError.
        """
        client, meta = self._link.client, self._link.keys.meta
        under_way, imported = await self._link.call(client.hmget, meta, "import", "imported", key=meta)
        if imported == self._digest:
            return False
        if not under_way and await _keys(self._link):
            raise NotEmptyError
        if (await self._begin())[0] == Code.NOT_EMPTY:
            raise NotEmptyError
        await self._unlink(await _keys(self._link))
        return True

    async def _begin(self, *, takes_any: bool = False) -> list[Any]:
        return await self._link.write(
            "begin_import", digest=self._digest, nonce=self._nonce, takes_any=texts.write_flag(takes_any)
        )

    async def discard(self) -> bool:
        """Empties the namespace if an import has begun there and not ended. Returns False if there is none."""
        if (await self._begin(takes_any=True))[0] == Code.UNCHANGED:
            return False
        await self._unlink([*await _keys(self._link), self._link.keys.meta])
        return True

    async def _unlink(self, names: Sequence[str]) -> None:
        rest = iter(names)
        while piece := list(islice(rest, _SCAN_COUNT)):
            await self._link.write("unlink_import", mark=self._mark, names=piece)

    async def now_ms(self) -> int:
        """The store's time."""
        return milliseconds(*await self._link.call(self._link.client.time))

    async def component(
        self, rollout: Rollout | Absent, overrides: Mapping[str, Override], origins: Mapping[str, str]
    ) -> None:
        """Writes a component, or the tombstone of a deleted one. `origins` is repo to the event that set its override."""
        for piece in component_lines.pieces(rollout, overrides.items()):
            await self._write(
                "import_component",
                self._link.keys.component(rollout.component),
                component=rollout.component,
                deleted_ms=rollout.entry.partition("-")[0] or "0" if isinstance(rollout, Absent) else "",
                piece_json=texts.write_json(_sections(piece, overrides, origins)).encode(),
            )

    async def events(self, component: str, events: Sequence[RawEvent]) -> None:
        """Writes a history, oldest event first. Component "" is the namespace itself."""
        keys, rest = self._link.keys.component(component) if component else None, iter(events)
        while piece := list(islice(rest, _EVENTS)):
            flat = [(entry_id, _flat(fields)) for entry_id, fields in piece]
            await self._write("import_history", keys, events_json=texts.write_json(flat).encode())

    async def _write(self, name: str, keys: object, **named: Any) -> None:  # noqa: ANN401 - as many types as arguments
        """Has a script called, in one exchange with others."""
        self._calls[name].append((keys, {"mark": self._mark, **named}))
        self._bytes += sum(len(each) for each in named.values() if isinstance(each, bytes))
        if self._bytes >= _EXCHANGE_BYTES or sum(map(len, self._calls.values())) >= _EXCHANGE:
            await self._exchange()

    async def _exchange(self) -> None:
        for name, calls in self._calls.items():
            replies = await self._link.run_many(name, calls)
            with redis_errors(self._link.keys.meta, is_write=True):
                for reply in replies:
                    if isinstance(reply, Exception):
                        raise reply
                    if error := self._link.refusal(reply):
                        raise error
        self._calls.clear()
        self._bytes = 0

    async def end(self, *, newest: str, shared: Namespace, event: Sequence[str]) -> str:
        """Gives the namespace its epoch, from which on servers use it, and returns the epoch. `newest` is the newest id that was
        written. `event` are the fields of the event for the history of the namespace.
        """
        await self._exchange()
        epoch = secrets.token_hex(8)
        await self._link.write(
            "end_import",
            mark=self._mark,
            epoch=epoch,
            nonce=self._nonce,
            digest=self._digest,
            newest=newest,
            max_entries=MAX_FEED_ENTRIES,
            max_bytes=MAX_FEED_BYTES,
            freeze="" if shared.freeze is None else texts.write_freeze(shared.freeze),
            namespace=feed_entry.write_namespace(shared),
            event=event,
        )
        return epoch


def _sections(
    piece: Mapping[str, Any], overrides: Mapping[str, Override], origins: Mapping[str, str]
) -> dict[str, Sequence[str]]:
    """Returns a piece of `component_lines` as import_component.lua takes it."""
    sections = {
        name: _flat(fields) if isinstance(fields, Mapping) else fields
        for name, fields in piece.items()
        if name != component_lines.COMPONENT
    }
    if ROLLOUT in sections and overrides:
        sections[ROLLOUT] += ["overrides", str(len(overrides))]
    if repos := piece.get(OVERRIDES):
        expiries = {repo: overrides[repo].expire_ms for repo in repos}
        sections["overrides_index"] = [part for repo in repos for part in ("0", repo)]
        sections["overrides_expiry"] = [
            part for repo, time_ms in expiries.items() if time_ms is not None for part in (str(time_ms), repo)
        ]
        sections["overrides_origin"] = _flat({repo: origins[repo] for repo in repos if repo in origins})
    return sections


def _flat(fields: Mapping[str, str]) -> list[str]:
    return [part for pair in fields.items() for part in pair]


async def _keys(link: Link) -> list[str]:
    """Returns the namespace's keys, without `meta` and without outcomes, which nobody reads under another epoch."""
    found, cursor = [], 0
    while True:
        cursor, keys = await link.call(link.client.scan, cursor, f"{link.keys.prefix}*", _SCAN_COUNT)
        found += [key for key in keys if key != link.keys.meta]
        if not cursor:
            return found
