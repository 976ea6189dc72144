"""WatchRelease: the state of a release, from now until it ends. The replica brings the changes. The store is asked only
once, at the start.
"""

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Callable
from typing import Final

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.errors import NoSnapshotError
from rampd_server.domain.refusals import release_not_found
from rampd_server.domain.rollout.model import Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.standing import has_ended, is_under_way, standing
from rampd_server.ports import FeedEntry
from rampd_server.replica.replica import Replica
from rampd_server.rpc.messages import convert
from rampd_server.rpc.waking import Waking
from rampd_server.service.service import Service

WaitsFor = Callable[[str], str]
"""Returns what automation waits for with a component, as a sentence; empty if it is not known, as for a moment after a
change.
"""

_PROGRESS_S: Final = 60.0
"""How often a watcher gets a message if only what automation waits for has changed, as a hold counts down."""
_ASK_AGAIN_S: Final = 1.0


class ReleaseWatches:
    """All streams of WatchRelease of a server. A watcher gets only the newest state. A slow watcher misses states in
    between, so that no watcher costs more than one message.
    """

    def __init__(self, service: Service, replica: Replica, waits_for: WaitsFor = lambda _component: "") -> None:
        self._service = service
        self._replica = replica
        self._waits_for = waits_for
        self._watchers: dict[str, set[_News]] = defaultdict(set)
        self._waking = Waking()
        self._is_closed = False
        replica.subscribe(self)

    def close(self) -> None:
        """Ends all streams when the server stops."""
        self._is_closed = True
        self.reloaded()

    async def stream(
        self, component: str, number: int, *, until_held: bool, until_paused: bool | None = None
    ) -> AsyncGenerator[v1.WatchReleaseResponse]:
        """The messages for one watcher. Raises COMPONENT_NOT_FOUND and RELEASE_NOT_FOUND, also if it is deleted during
        the watch; NoSnapshotError if the server stops; the errors of the store.
        """
        await self._catch_up(component, number)
        changed = _News()
        self._watchers[component].add(changed)
        said: tuple[object, ...] = ()
        said_waits_for, said_s = "", 0.0
        try:
            while True:
                changed.clear()
                if self._is_closed:
                    raise NoSnapshotError("This server stops. Watch the release again: another server continues.")
                rollout = self._rollout(component)
                message, news = self._message(rollout, number)
                release = rollout.releases[number]
                waits_for = self._waits_for(component) if is_under_way(rollout, release) else ""
                is_due = not said_waits_for or time.monotonic() - said_s >= _PROGRESS_S
                if news != said or (is_due and waits_for not in ("", said_waits_for)):
                    said, said_waits_for, said_s = news, waits_for, time.monotonic()
                    message.message = f"{message.message} {waits_for}".rstrip()
                    yield message
                if has_ended(rollout, release, until_held=until_held, until_paused=until_paused):
                    return
                is_to_ask = is_under_way(rollout, release) and not said_waits_for
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_ASK_AGAIN_S if is_to_ask else _PROGRESS_S):
                        await changed.wait()
        finally:
            self._watchers[component].discard(changed)
            self._waking.forget(changed)
            if not self._watchers[component]:
                del self._watchers[component]

    async def _catch_up(self, component: str, number: int) -> None:
        """Waits until this server has a release that another server has taken in a moment ago."""
        known = self._replica.get(component)
        if known is not None and number in known.rollout.releases:
            return
        rollout, _, _ = await self._service.read(component)
        if number not in rollout.releases:
            raise release_not_found(component=component, release=number)
        if not await self._replica.wait_for(component, rollout.revision):
            raise NoSnapshotError("This server is behind the store. Try again in a moment.")

    def _rollout(self, component: str) -> Rollout:
        known = self._replica.get(component)
        if known is None:
            raise self._replica.why_unknown(component)
        return known.rollout

    def _message(self, rollout: Rollout, number: int) -> tuple[v1.WatchReleaseResponse, tuple[object, ...]]:
        """Returns the message about the release, and the parts of it whose change needs another message."""
        release = rollout.releases.get(number)
        if release is None:
            raise release_not_found(component=rollout.component, release=number)
        namespace, now_ms = self._replica.namespace, self._replica.now_ms()
        context = Context(now_ms, freeze_all=namespace.freeze)
        message = v1.WatchReleaseResponse(
            release=convert.release_message(release),
            rollout=convert.rollout_message(rollout, namespace, now_ms),
            message=standing(rollout, release, context),
        )
        return message, _news(message)

    # What the replica tells.

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """A component changed, or the namespace's freeze."""
        if not entry.component:
            self.reloaded()
        elif entry.component in self._watchers and not entry.is_of_overrides_only:
            self._waking.wake(self._watchers[entry.component])

    def reloaded(self) -> None:
        """Anything may have changed."""
        for watchers in self._watchers.values():
            self._waking.wake(watchers)


class _News(asyncio.Event):
    """Set when there is a change for a watcher."""

    wake = asyncio.Event.set


def _news(message: v1.WatchReleaseResponse) -> tuple[object, ...]:
    """Returns the parts of a message whose change needs another message. Another release in the queue does not count."""
    rollout, release = message.rollout, message.release
    return (
        *(release.state, message.message, rollout.state, rollout.held_reason, rollout.paused, rollout.frozen),
        *(rollout.next.number, rollout.next_percent, rollout.trial, rollout.confirm_deadline.ToMilliseconds()),
    )
