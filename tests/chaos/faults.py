"""The faults of a run, drawn at random from a seed: what happens to the store, to the links and to the servers."""

import contextlib
import random
import signal
import threading
import time
from collections.abc import Callable, Mapping

from tests.chaos.fleet import Fleet
from tests.chaos.record import Fault, Record
from tests.chaos.stores import Topology
from tests.proxy import Proxy

_OF_STORE = ("kill", "disk", "stop", "memory", "scripts", "clock", "restore", "restart", "failover")
LOSING = frozenset({"restore", "restart", "failover"})
"""Kinds that put back older data."""
_OF_LINK = ("cut", "dead", "slow", "lost replies")
_OF_SERVER = ("stopped server", "killed server", "restarted server", "lonely server")
_OFTEN = {"killed server": 1, "restarted server": 1, "lonely server": 1}
"""How often a kind is drawn, if it is not 3: a server takes seconds to start."""
KINDS = (*_OF_STORE, *_OF_LINK, *_OF_SERVER)
EVERY_KIND = (*KINDS, "move", "other shard")
"""With those that only a cluster has."""


class Faults:
    """Makes faults of some kinds. Those of the store come one after the other, and so do those of links and servers."""

    def __init__(
        self, store: Topology, fleet: Fleet, record: Record, seed: int, kinds: frozenset[str] = frozenset(EVERY_KIND)
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._record = record
        self._chances = [random.Random(f"{seed} {name}") for name in ("store", "rest")]
        self._kinds = kinds

    def threads(self, over: threading.Event) -> list[Callable[[], None]]:
        store = [kind for kind in self._store.disturbances if kind in self._kinds]
        of_store = {kind: lambda seconds, _server, do=do: do(seconds) for kind, do in self._store.disturbances.items()}
        rest = [kind for kind in (*_OF_LINK, *_OF_SERVER) if kind in self._kinds]
        return [
            lambda: self._disturb(over, self._chances[0], store, of_store),
            lambda: self._disturb(over, self._chances[1], rest, self._of_rest(self._chances[1])),
        ]

    def _disturb(
        self,
        over: threading.Event,
        chance: random.Random,
        kinds: list[str],
        by_kind: Mapping[str, Callable[[float, int], None]],
    ) -> None:
        while kinds and not over.is_set():
            if LOSING & frozenset(kinds):
                self._store.copy()
            over.wait(chance.uniform(0.3, 1.5))
            kind = chance.choices(kinds, [_OFTEN.get(kind, 3) for kind in kinds])[0]
            server = chance.randrange(len(self._fleet))
            began_s = time.monotonic()
            by_kind[kind](chance.choice([0.1, 0.3, 1.0, 2.5]), server)
            self._record.add(Fault(kind, -1 if kind in self._store.disturbances else server, began_s, time.monotonic()))
            over.wait(chance.choice([0.0, 0.5, 2.0]))

    def _of_rest(self, chance: random.Random) -> dict[str, Callable[[float, int], None]]:
        fleet = self._fleet

        def cut(seconds: float, server: int) -> None:
            link = fleet.links[server]
            link.cuts_new = True
            link.cut()
            time.sleep(seconds)
            link.cuts_new = False

        def dead(seconds: float, server: int) -> None:
            # Long enough for answers to become stale.
            fleet.links[server].is_silent.set()
            time.sleep(seconds * 3)
            fleet.links[server].is_silent.clear()

        def slow(seconds: float, server: int) -> None:
            fleet.links[server].delay_s = chance.choice([0.02, 0.1, 0.3])
            time.sleep(seconds)
            fleet.links[server].delay_s = 0.0

        def lose_replies(seconds: float, server: int) -> None:
            link: Proxy = fleet.links[server]
            link.loses_reply = lambda request: b"EVALSHA" in request and chance.random() < 0.3
            time.sleep(seconds)
            link.loses_reply = lambda _request: False

        def stop(seconds: float, server: int) -> None:
            fleet.send(server, signal.SIGSTOP)
            time.sleep(seconds)
            fleet.send(server, signal.SIGCONT)

        def leave_alone(seconds: float, server: int) -> None:
            # The server starts without its store, and answers from what it has kept.
            link = fleet.links[server]
            link.cuts_new = True
            link.cut()
            fleet.restart(server, 0.0, chance.choice([signal.SIGTERM, signal.SIGKILL]))
            with contextlib.suppress(AssertionError):
                fleet.wait_until_answering(server)
            time.sleep(seconds)
            link.cuts_new = False

        return {
            "cut": cut,
            "dead": dead,
            "slow": slow,
            "lost replies": lose_replies,
            "killed server": lambda seconds, server: fleet.restart(server, seconds, signal.SIGKILL),
            "stopped server": stop,
            "lonely server": leave_alone,
            "restarted server": lambda seconds, server: fleet.restart(server, seconds, signal.SIGTERM),
        }
