"""Which repos of each component were seen: resolved by a server, or named in an accepted outcome.

A server collects names in memory. About every ten seconds it sends what is new to the store, which all servers share. It sends a
repo again only after an hour. Where nothing is new, nothing is sent.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from rampd._decision.resolution import ComponentSnapshot
from rampd_server.domain.errors import RampdError, ShardUnavailableError, StoreResetError, StoreUnavailableError
from rampd_server.domain.repo_sample import RepoSample
from rampd_server.ports import FeedEntry, SeenStore
from rampd_server.process.outage import Outages
from rampd_server.replica.replica import Replica

SEND_S: Final = 10.0
AGAIN_S: Final = 3600.0
_END_S: Final = 2.0
"""How long the last sending may take: the end of a server does not wait for a store that is away."""
_MOST: Final = 500_000
"""How many names a server keeps, of all components together: about 70 MB."""


class SeenRepos:
    """The repos that this server has seen. `note` is for each answer of Resolve: of a repo that is known it costs two look-ups."""

    def __init__(
        self,
        store: SeenStore,
        replica: Replica,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        most: int = _MOST,
    ) -> None:
        self._store = store
        self._replica = replica
        self._monotonic = monotonic
        self._most = most
        self._known: dict[str, RepoSample] = {}
        """By component: what was seen since the hour began."""
        self._unsent: dict[str, set[str]] = {}
        self._size = 0
        """The number of names in `_known`."""
        self._is_new = asyncio.Event()
        self._troubles = Outages("seen_repos_not_kept", "seen_repos_kept", ("component",))
        replica.subscribe(self)

    def note(self, component: str, repo: str) -> None:
        """Notes a repo that was seen. The component exists."""
        known = self._known.get(component)
        if known is None or repo not in known.repos:
            self._note_new(component, repo)

    def _note_new(self, component: str, repo: str) -> None:
        known = self._known.get(component)
        if known is not None and known.leaves_out(repo):
            return
        if self._size >= self._most:
            # Sending makes room. While the store is away, no more names are taken. The repos will be seen again.
            self._is_new.set()
            return
        if known is None:
            known = self._known[component] = RepoSample()
        before, depth = len(known.repos), known.depth
        known.add(repo)
        self._size += len(known.repos) - before
        if repo in known.repos:
            self._unsent.setdefault(component, set()).add(repo)
            self._is_new.set()
        if known.depth > depth and component in self._unsent:
            self._unsent[component] &= known.repos

    async def sample(self, component: str) -> RepoSample:
        """The repos that any server has seen in the last day, and those that this server has not sent yet.

        Raises StoreUnavailableError, StoreResetError, StoreCorruptError.
        """
        sample = await self._store.read(component)
        known = self._known.get(component)
        depth = max(sample.depth, known.depth if known else 0)
        return RepoSample((*sample.repos, *self._unsent.get(component, ())), depth)

    async def run(self) -> None:
        """Sends at intervals, for ever. What could not be sent is sent again."""
        while True:
            end_s = self._monotonic() + AGAIN_S
            while await self._is_new_before(end_s):
                await asyncio.sleep(SEND_S)
                await self.send()
            self._forget_sent()

    async def _is_new_before(self, end_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(end_s - self._monotonic()):
                await self._is_new.wait()
        return self._is_new.is_set() and self._monotonic() < end_s

    async def send(self) -> None:
        """Sends what is new, unless the store is away. Never raises."""
        self._is_new.clear()
        if self._replica.is_confirmed:
            await self._send_all()
        if self._unsent:
            self._is_new.set()
        if self._size >= self._most:
            self._forget_sent()

    async def _send_all(self) -> None:
        with suppress(StoreUnavailableError, StoreResetError):  # the replica logs that the store is away
            for component in list(self._unsent):
                await self._send_of(component)

    async def _send_of(self, component: str) -> None:
        """One component that can't be sent does not stop the others. Its repos are seen again."""
        known, repos = self._known.get(component), frozenset(self._unsent.get(component, ()))
        if known is None or self._replica.get(component) is None:
            self._forget(component)
            return
        try:
            await self._store.add(component, repos, known.depth)
        except ShardUnavailableError:
            return  # the log names the node that is away
        except (StoreUnavailableError, StoreResetError):
            raise
        except RampdError as error:
            self._troubles.tell(component, error=error.message)
        except Exception as error:  # noqa: BLE001 - a server must not end because of this
            self._troubles.tell(component, error="A defect of rampd.", exc_info=error)
        else:
            self._troubles.end(component)
        left = self._unsent.get(component, set())
        left -= repos
        if not left:
            self._unsent.pop(component, None)

    async def end(self) -> None:
        """Sends for the last time. The replica may not be confirmed any more, because it has stopped already."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_END_S):
                await self._send_all()

    def _forget_sent(self) -> None:
        """From now on, each repo that is seen is sent again."""
        self._known = {
            component: RepoSample(repos, self._known[component].depth) for component, repos in self._unsent.items()
        }
        self._size = sum(len(known.repos) for known in self._known.values())

    def _forget(self, component: str) -> None:
        known = self._known.pop(component, None)
        self._unsent.pop(component, None)
        self._size -= len(known.repos) if known else 0
        self._troubles.end(component)

    # What the replica tells.

    def applied(self, entry: FeedEntry, _before: ComponentSnapshot | None, after: ComponentSnapshot | None) -> None:
        """A component may be deleted. The store then drops its repos."""
        if after is None:
            self._forget(entry.component)

    def reloaded(self) -> None:
        """The store may have been emptied."""
        self._forget_sent()
