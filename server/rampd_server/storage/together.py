"""Commits changes of several components at once: all of them, or none. It is for `rampd-server import --merge`."""

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Final

from redis import exceptions

from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.domain.refusals import too_large
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.wording import counted
from rampd_server.ports import Author, ConflictError, Override, Result, Stored
from rampd_server.storage.limits import MAX_COMPONENTS
from rampd_server.storage.link import Link
from rampd_server.storage.redis_errors import redis_errors
from rampd_server.storage.scripts import Code, Script, script
from rampd_server.storage.store import RedisStore

_OVERRIDES_AT_ONCE: Final = 1_000
_REPLIES: Final[Mapping[str, list[Any]]] = {
    "commit_rollout": [Code.DONE, "1-1", "0-0", "1", ""],
    "commit_overrides": [Code.DONE, "1-1", "0-0", "1", "", "0"],
}


@dataclass(frozen=True, slots=True)
class Change:
    """What is to change of one component."""

    component: str
    before: Stored
    after: Rollout | None = None
    """None if only overrides change."""
    overrides: Mapping[str, Override | None] = field(default_factory=dict)
    """None: the override is deleted."""


class Together:
    """Commits while nothing else in the namespace changes."""

    def __init__(self, link: Link, pipe: Any) -> None:  # noqa: ANN401 - redis-py types it for two kinds of clients at once
        self._link = link
        self._pipe = pipe

    async def commit(self, changes: Sequence[Change], author: Author) -> None:
        """Commits all changes, or nothing. Raises ConflictError if anything of the namespace has changed since the block began;
        StoreUnavailableError, StoreResetError, StoreCorruptError, RefusedError if one of the changes is not possible.
        """
        for change in changes:
            # Nothing changes between this and the commit, so what is possible here is possible there.
            await _write(RedisStore(self._link), change, replace(author, is_dry_run=True))
        await self._require_room(sum(not isinstance(change.before.rollout, Rollout) for change in changes))
        kept = _Kept(self._link)
        for change in changes:
            await _write(RedisStore(kept), change, author)
        for each in dict.fromkeys(this for this, _ in kept.calls):
            await self._link.call(self._link.client.script_load, each.text)
        self._pipe.multi()
        for this, given in kept.calls:
            self._pipe.evalsha(this.sha, *given)
        with _errors(self._link, is_write=True):
            async with asyncio.timeout(self._link.deadline_s):
                replies = await self._pipe.execute()
        for reply in replies:
            if reply[0] != Code.DONE:
                raise self._link.refusal(reply) or StoreUnavailableError(f"Redis answered {reply}: a part is not done.")

    async def _require_room(self, new: int) -> None:
        """A dry run of one change knows nothing of the others."""
        key = self._link.keys.components
        count = await self._link.call(self._link.client.zcard, key, key=key)
        if count + new > MAX_COMPONENTS:
            raise too_large(
                f"The namespace has {counted(count, 'component')} and may have at most {MAX_COMPONENTS:,}, so there is no room for "
                f"{counted(new, 'more component')}. Nothing was changed. Delete those that nobody rolls out any more.",
                limit=MAX_COMPONENTS,
            )


@asynccontextmanager
async def together(link: Link) -> AsyncGenerator[Together]:
    """Begins to watch the namespace: what is read in the block is still so when `Together.commit` succeeds."""
    async with link.client.pipeline(transaction=True) as pipe:
        # Every change of the namespace changes `head` in `meta`.
        with _errors(link):
            await pipe.watch(link.keys.meta)
        yield Together(link, pipe)


@contextmanager
def _errors(link: Link, *, is_write: bool = False) -> Iterator[None]:
    with redis_errors(link.keys.meta, is_write=is_write):
        try:
            yield
        except exceptions.WatchError as error:
            raise ConflictError("the namespace has changed meanwhile") from error


class _Kept(Link):
    """Keeps the calls of scripts, in place of making them."""

    def __init__(self, link: Link) -> None:
        super().__init__(link.clients)
        self.keys, self.epoch, self.schema = link.keys, link.epoch, link.schema
        self.calls: list[tuple[Script, list[Any]]] = []

    async def run(self, name: str, keys: object = None, /, *, is_write: bool = False, **named: Any) -> list[Any]:  # noqa: ANN401
        del is_write
        this = script(name)
        self.calls.append((this, this.given(keys, self.keys, named)))
        return _REPLIES[name]


async def _write(store: RedisStore, change: Change, author: Author) -> None:
    before, after = change.before.rollout, change.after
    if after is not None:
        await store.commit(before, after, author, Result(after.revision), change.before.namespace)
    if author.is_dry_run and not isinstance(before, Rollout):
        return  # there is no component yet that could have overrides
    rest = iter(change.overrides.items())
    while piece := dict(islice(rest, _OVERRIDES_AT_ONCE)):
        await store.commit_overrides(change.component, piece, author)
