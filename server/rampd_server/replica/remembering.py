"""Keeps what this server serves for its next start: soon after it has changed, now and then, and at an orderly end.

So a server that is started again knows which epoch it served, and an emptied store is not taken for a new one; and it answers
before the store is there. Components are encoded on the event loop, a piece at a time, and the file is written by a thread:
nobody who resolves waits for either.
"""

import asyncio
import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import structlog

from rampd._decision.resolution import Choice, ComponentSnapshot
from rampd_server.domain.rollout.model import Rollout
from rampd_server.ports import FeedEntry, LastStateError, Memory, Override
from rampd_server.process.outage import Outage
from rampd_server.replica.projection import override_of
from rampd_server.replica.replica import Replica

_AT_MOST_EVERY_S = 10.0
_AT_LEAST_EVERY_S = 60.0
_SHARE = 0.05
"""Of the time, at most so much goes into it, however large the state is."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class _Taken:
    """A component as it was at one moment."""

    rollout: Rollout
    by_repo: Mapping[str, Choice]
    by_prefix: Mapping[str, Choice]

    def overrides(self) -> Iterator[tuple[str, Override]]:
        known: dict[int, Override] = {}
        prefixes = ((f"{prefix}/*", choice) for prefix, choice in self.by_prefix.items())
        for repo, choice in chain(self.by_repo.items(), prefixes):
            # Most repos share one of a few choices.
            override = known.get(id(choice))
            if override is None:
                override = known[id(choice)] = override_of(choice)
            yield repo, override


class Remembering:
    """Between a replica and a memory. `recall` comes first, `run` is for as long as the server lives, `end` comes last."""

    def __init__(self, replica: Replica, memory: Memory) -> None:
        self._replica = replica
        self._memory = memory
        self._epoch = ""
        self._is_changed = asyncio.Event()
        self._is_urgent = asyncio.Event()
        """Another epoch is served than the one that was kept."""
        self._writing: asyncio.Task[None] | None = None
        self._outage = Outage("last_state_not_written", "last_state_written")
        self.trouble = ""
        """Why what was kept is not used; empty where it is, or where nothing was kept."""
        replica.subscribe(self)

    def recall(self) -> None:
        """Gives the replica what this server served last, where there is something."""
        try:
            state = self._memory.read()
        except LastStateError as error:
            self.trouble = str(error)
            log.warning("last_state_not_read", error=self.trouble)
            return
        if state is not None:
            self._replica.recall(state)
            self._epoch = state.about.epoch
            confirmed = datetime.fromtimestamp(state.about.confirmed_s, UTC).isoformat(timespec="seconds")
            log.info(
                "last_state_read",
                epoch=state.about.epoch,
                components=len(state.components),
                confirmed=confirmed,
                is_last=state.about.is_last,
            )

    async def run(self) -> None:
        """Writes for ever. What fails is tried again."""
        await self._replica.loaded.wait()
        with contextlib.suppress(OSError):  # the write that follows says what is wrong
            await asyncio.to_thread(self._memory.clean)
        while True:
            began_s = time.monotonic()
            if self._is_changed.is_set() or self._replica.is_confirmed:
                # Where this is cancelled, a write goes on in its thread, and `end` waits for it.
                self._writing = asyncio.create_task(self._write(is_last=False))
                await asyncio.shield(self._writing)
            pause_s = max(_AT_MOST_EVERY_S, (time.monotonic() - began_s) / _SHARE)
            if not await _comes(self._is_urgent, pause_s):
                await _comes(self._is_changed, _AT_LEAST_EVERY_S - pause_s)

    async def end(self) -> None:
        """Writes for the last time, where this server has read the store's state."""
        if self._writing is not None:
            await self._writing
        if self._replica.loaded.is_set():
            await self._write(is_last=True)
            if self._is_changed.is_set():
                log.error("last_state_not_kept", what_it_means="the next start knows an older state, or none")

    async def _write(self, *, is_last: bool) -> None:
        self._is_changed.clear()
        self._is_urgent.clear()
        try:
            # What must be of one moment is taken in one go; encoding it takes far longer, and others get their turn.
            about = self._replica.last_served(is_last=is_last)
            taken = [
                _Taken(known.rollout, known.overrides.by_repo.copy(), known.overrides.by_prefix.copy())
                for known in self._replica.components()
            ]
            pieces = [self._memory.encode(absent) for absent in self._replica.gone()]
            pieces += [self._memory.encode(each.rollout, each.overrides()) for each in taken]
            lines = []
            for line in chain.from_iterable(pieces):
                lines.append(line)
                await asyncio.sleep(0)
            await asyncio.to_thread(self._memory.write, about, lines)
        except OSError as error:
            self._is_changed.set()
            self._outage.tell(f"{error.strerror or error}: {error.filename or 'the data directory'}")
        except Exception as error:  # noqa: BLE001 - what is kept for the next start is not to end this one
            self._is_changed.set()
            self._outage.tell("A defect of rampd.", exc_info=error)
        else:
            self._epoch = about.epoch
            self._outage.end()
            log.debug("last_state_kept", components=len(taken), bytes=sum(map(len, lines)))

    # What the replica tells.

    def applied(self, _entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """Something changed."""
        self._is_changed.set()

    def reloaded(self) -> None:
        """Anything may have changed."""
        self._is_changed.set()
        if self._replica.epoch != self._epoch:
            self._is_urgent.set()


async def _comes(event: asyncio.Event, within_s: float) -> bool:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(within_s):
            await event.wait()
    return event.is_set()
