"""Keeps the state of this server for its next start: soon after a change, and at an orderly end. At intervals it keeps when the
store last confirmed the state, which costs nothing, however large the state is.

A server that is started again therefore knows which epoch it served, and does not take an emptied store for a new one.
It can answer before the store does. Components are encoded on the event loop, a piece at a time, and a thread writes
the file, so that Resolve waits for neither.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain

import structlog

from rampd._decision.resolution import Choice, ComponentSnapshot
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import FeedEntry, LastStateError, LastStateStore, Override
from rampd_server.process.outage import Outage
from rampd_server.replica.projection import override_of
from rampd_server.replica.replica import Replica

_AT_MOST_EVERY_S = 10.0
_AT_LEAST_EVERY_S = 60.0
_SHARE = 0.05
"""The largest share of the time that writing takes, for a state of any size."""

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


class LastStateKeeper:
    """Copies the state between a replica and its last state in a file. Call `recall` first, `run` while the server lives, and `end`
    last.
    """

    def __init__(self, replica: Replica, kept: LastStateStore) -> None:
        self._replica = replica
        self._kept = kept
        self._epoch = ""
        self._has_written = False
        self._is_changed = asyncio.Event()
        self._is_urgent = asyncio.Event()
        """Set when the served epoch is not the epoch that was kept."""
        self._writing: asyncio.Task[None] | None = None
        self._outage = Outage("last_state_not_written", "last_state_written")
        self.trouble = ""
        """Why the kept state is not used; empty if it is used, or if there is none."""
        replica.subscribe(self)

    def recall(self) -> None:
        """Gives the replica the state that this server served last, if there is one."""
        try:
            state = self._kept.read()
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
        """Writes the state whenever it is due, for ever. A write that fails is tried again."""
        await self._replica.loaded.wait()
        with contextlib.suppress(OSError):  # the write that follows logs what is wrong
            await asyncio.to_thread(self._kept.clean)
        while True:
            began_s = time.monotonic()
            if self._is_changed.is_set() or self._replica.is_confirmed:
                # If this is cancelled, a write goes on in its thread, and `end` waits for it.
                self._writing = asyncio.create_task(self._keep(is_last=False))
                await asyncio.shield(self._writing)
            pause_s = max(_AT_MOST_EVERY_S, (time.monotonic() - began_s) / _SHARE)
            if not await _comes(self._is_urgent, pause_s):
                await _comes(self._is_changed, _AT_LEAST_EVERY_S - pause_s)

    async def end(self) -> None:
        """Writes for the last time, if this server has read the store's state."""
        if self._writing is not None:
            await self._writing
        if self._replica.loaded.is_set():
            await self._keep(is_last=True)
            if self._is_changed.is_set():
                log.error("last_state_not_kept", what_it_means="the next start knows an older state, or none")

    async def _keep(self, *, is_last: bool) -> None:
        is_kept = self._has_written and not self._is_changed.is_set()
        self._is_changed.clear()
        self._is_urgent.clear()
        try:
            if not is_kept or not await self._confirm(is_last=is_last):
                await self._write(is_last=is_last)
        except OSError as error:
            self._is_changed.set()
            self._outage.tell(f"{error.strerror or error}: {error.filename or 'the data directory'}")
        except Exception as error:  # noqa: BLE001 - a failed write for the next start must not end this server
            self._is_changed.set()
            self._outage.tell("A defect of rampd.", exc_info=error)
        else:
            self._outage.end()

    async def _confirm(self, *, is_last: bool) -> bool:
        return await asyncio.to_thread(self._kept.confirm, self._replica.last_served(is_last=is_last))

    async def _write(self, *, is_last: bool) -> None:
        # All values must be of one moment, so they are copied without a pause. Encoding takes far longer, and pauses.
        about = self._replica.last_served(is_last=is_last)
        gone = self._replica.gone()
        taken = deque(
            _Taken(known.rollout, known.overrides.by_repo.copy(), known.overrides.by_prefix.copy())
            for known in self._replica.components()
        )
        components = len(taken)
        lines = []
        for line in self._encoded(gone, taken):
            lines.append(line)
            await asyncio.sleep(0)
        await asyncio.to_thread(self._kept.write, about, lines)
        self._epoch, self._has_written = about.epoch, True
        log.debug("last_state_kept", components=components, bytes=sum(map(len, lines)))

    def _encoded(self, gone: Iterable[Absent], taken: deque[_Taken]) -> Iterator[bytes]:
        """Yields the lines of all components. What was taken is let go one by one, because to free all of it at once takes long."""
        for absent in gone:
            yield from self._kept.encode(absent)
        while taken:
            each = taken.popleft()
            yield from self._kept.encode(each.rollout, each.overrides())

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
