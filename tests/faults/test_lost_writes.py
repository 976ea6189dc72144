"""A random run with writers, watchers and launchers, on a store whose data are replaced by an older copy again and again.

Each component has one writer, which knows the right state of its component. It numbers its writes in an override. If the number
falls, the state went back.
"""

import contextlib
import itertools
import os
import random
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import pytest

from rampd import Resolver, v1
from rampd._contract.component_state import MalformedStateError
from rampd._decision.resolution import Channel
from rampd._watching.feed import Feed, is_before
from rampd.errors import RampdError
from rampd.v1 import resolver_service_pb2_grpc
from tests.chaos.stores import SingleStore
from tests.nights import IS_NIGHT, by_day
from tests.servers import IN_PRODUCTION_S, ServerProcess, Stubs, rampd_server, reason_of, short_directory, stubs
from tests.stores import REDIS, VALKEY
from tests.waiting import eventually

RUN_S = 60.0 if IS_NIGHT else 8.0
COMPONENTS = ("restyler", "linter", "formatter")
MARK = "mark/er"
REPOS = ("acme/a", "acme/b", "acme/c", "acme/d", "acme/e", "acme/f")
SETTLED_S = 60.0
QUIET_S = 3.0
SHOWN = 3


@dataclass
class Ban:
    """A tag that was rolled back at one server. No job may get it until a writer raises it again."""

    server: int
    component: str
    tag: str
    revision: int
    since_s: float
    until_s: float = float("inf")


@dataclass
class Run:
    """What all threads share."""

    store: SingleStore
    servers: list[ServerProcess]
    over: threading.Event = field(default_factory=threading.Event)
    bans: list[Ban] = field(default_factory=list)
    wrong: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """What went wrong, by its kind."""
    written: int = 0
    resolved: int = 0
    rewinds: int = 0

    @property
    def is_enough(self) -> bool:
        return len(self.store.done) >= 3 and self.written > 50

    def add_wrong(self, kind: str, what: str) -> None:
        last = self.store.done[-1] if self.store.done else "nothing"
        self.wrong[kind].append(f"after {last} ({len(self.store.done)}): {what}")

    def summary(self) -> str:
        """Returns how often each kind was seen, and its first examples."""
        return "\n".join(
            f"{kind} ({len(found)} times):\n  " + "\n  ".join(found[:SHOWN]) for kind, found in self.wrong.items()
        )


def shown(rollout: v1.Rollout) -> tuple[object, ...]:
    """Returns what decides which version a job of the component gets."""
    return rollout.current.tag, rollout.next.tag, rollout.next_percent, v1.RolloutState.Name(rollout.state)


class Writer:
    """The only writer to its component. It writes to either server."""

    def __init__(self, run: Run, component: str, seed: str, calls: list[Stubs]) -> None:
        self._run = run
        self._component = component
        self._chance = random.Random(seed)
        self._calls = calls
        self._mark = 0
        self._calm_until_s = 0.0
        """Until then no writer raises anything, so that a rollback must stay in force whatever happens to the store."""

    def begin(self) -> None:
        for tag in ("t0", "t1"):
            self._calls[0]("Release", component=self._component, tag=tag)
        self._calls[0]("Ramp", component=self._component, percent=50)

    def __call__(self) -> None:
        while not self._run.over.is_set():
            server = self._chance.randrange(2)
            try:
                self._write(server)
            except grpc.RpcError as error:
                self._check_refusal(error)
                time.sleep(0.02)

    def _check_refusal(self, error: grpc.RpcError) -> None:
        if error.code() in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN, grpc.StatusCode.CANCELLED):
            self._run.add_wrong(
                "a write fails with an unexpected error", f"{self._component}: {error.code().name} {error.details()}"
            )

    def _write(self, server: int) -> None:
        self._mark += 1
        kind = self._chance.choice(
            ["mark", "mark", "mark", "Ramp", "Ramp", "Rollback", "Release", "Abandon", "Finalize"]
        )
        fields: dict[str, Any] = {}
        method = kind
        if kind == "mark":
            method, fields = "SetOverride", {"repo": MARK, "tag": f"m{self._mark}"}
        elif kind == "Ramp":
            fields = {"percent": self._chance.choice([0, 10, 50, 90, 100])}
        elif kind == "Rollback":
            fields = {"quarantine": self._chance.random() < 0.5}
        elif kind == "Release":
            fields = {"tag": f"t{self._mark}"}
        elif kind == "Finalize":
            fields = {"force": True}
        if kind in ("Ramp", "Finalize"):
            self._lift()
        faults = self._run.store.faults
        answer = self._calls[server](method, component=self._component, **fields)
        now_s = time.monotonic()
        self._run.written += 1
        if kind == "Rollback":
            self._calm_until_s = now_s + self._chance.choice([0, 0, 2])
            self._run.bans.append(Ban(server, self._component, answer.rollout.next.tag, answer.rollout.revision, now_s))
        stored = self._calls[1 - server]("GetRollout", component=self._component).rollout
        if faults % 2 or faults != self._run.store.faults:
            return
        is_older = stored.revision < answer.rollout.revision
        is_other = stored.revision == answer.rollout.revision and shown(stored) != shown(answer.rollout)
        is_higher = stored.next.tag == answer.rollout.next.tag and stored.next_percent > answer.rollout.next_percent
        if is_older or is_other or is_higher:
            self._add_wrong_answer(method, answer.rollout, stored)

    def _add_wrong_answer(self, method: str, answered: v1.Rollout, stored: v1.Rollout) -> None:
        self._run.add_wrong(
            "an answer differs from the stored state",
            f"{self._component}: {method} was answered {answered.revision} {shown(answered)}, stored is {stored.revision} "
            f"{shown(stored)}",
        )

    def _lift(self) -> None:
        now_s = time.monotonic()
        for ban in self._run.bans:
            if ban.component == self._component:
                ban.until_s = min(ban.until_s, now_s)


def watch(run: Run, server: int) -> None:
    """Follows a stream of Watch as the client does, and checks that no state goes back without a rewind."""
    feed = Feed()
    seen: dict[tuple[str, int], tuple[object, ...]] = {}
    with stubs(run.servers[server].target) as call:
        stub = resolver_service_pb2_grpc.ResolverServiceStub(call.channel)
        while not run.over.is_set():
            may_go_back = False
            try:
                for message in stub.Watch(feed.begin(), timeout=5):
                    before, cursor = marks(feed), feed.cursor
                    if message.HasField("rewind"):
                        may_go_back = True
                        run.rewinds += 1
                    feed.take(message)
                    went = [name for name, mark in marks(feed).items() if mark < before.get(name, (0, 0))]
                    if (went or is_before(feed.cursor, cursor)) and not may_go_back:
                        run.add_wrong(
                            "a watcher goes back without rewind",
                            f"server {server}: {went} from {before} at {cursor} to {marks(feed)} at {feed.cursor}",
                        )
                    may_go_back = may_go_back and not message.state.last
                    for component in feed.components.values():
                        check_identity(run, f"a watcher of server {server}", seen, component.snapshot)
                    if run.over.is_set():
                        break
            except MalformedStateError as error:
                run.add_wrong("a watcher goes back without rewind", f"server {server}: {error}")
                feed.lost(None)
            except grpc.RpcError:
                feed.lost(None)
                time.sleep(0.05)


def marks(feed: Feed) -> dict[str, tuple[int, int]]:
    """Returns for each component its writer's number and its revision."""
    found = {}
    for name, known in feed.components.items():
        choices = dict(known.overrides.items())
        mark = int(choices[MARK].tag[1:]) if MARK in choices else 0
        found[name] = mark, known.snapshot.revision
    return found


def check_identity(run: Run, who: str, seen: dict[tuple[str, int], tuple[object, ...]], state: Any) -> None:
    """Checks that one launcher sees one state for one revision."""
    next_ = state.next.tag if state.next is not None else ""
    found = (state.current.tag, next_, state.basis_points, state.state.name)
    known = seen.setdefault((state.component, state.revision), found)
    if known != found:
        run.add_wrong(
            "a revision has two states", f"to {who} {state.component} at {state.revision} was {known}, and is {found}"
        )
        seen[state.component, state.revision] = found


def ask(run: Run, server: int) -> None:
    """Resolves at a server, and checks that it does not give a rolled-back tag."""
    with stubs(run.servers[server].target) as call:
        while not run.over.is_set():
            for component, repo in itertools.product(COMPONENTS, REPOS):
                began_s = time.monotonic()
                try:
                    answer = call("Resolve", component=component, repo=repo)
                except grpc.RpcError as error:
                    run.add_wrong("a Resolve fails", f"{component}: {error.code().name} {error.details()}")
                    continue
                run.resolved += 1
                ended_s = time.monotonic()
                for ban in run.bans:
                    if (ban.server, ban.component, ban.tag) == (server, component, answer.tag) and (
                        # The tag may be current by now, if in another history a person has finalized it.
                        answer.channel == v1.CHANNEL_NEXT and ban.since_s < began_s and ended_s < ban.until_s
                    ):
                        run.add_wrong("a rolled-back tag is given", f"server {server}: {answer}")
            time.sleep(0.01)


def launch(run: Run, server: int) -> None:
    """Resolves in this process, as a launcher does, and checks that it does not give a rolled-back tag."""
    known: dict[str, int] = {}
    with Resolver(run.servers[server].target) as resolver:
        for component in COMPONENTS:
            # Another server may have made the component a moment ago.
            eventually(lambda component=component: resolver.resolve(component, repo="acme/a"), suppressed=RampdError)
        while not run.over.is_set():
            for component, repo in itertools.product(COMPONENTS, REPOS):
                began_s = time.monotonic()
                try:
                    answer = resolver.resolve(component, repo=repo)
                except RampdError as error:
                    run.add_wrong("a Resolve fails", f"a launcher of server {server}: {component}: {error}")
                    continue
                ended_s = time.monotonic()
                for ban in list(run.bans):
                    is_in_force = ban.component == component and ban.since_s < began_s and ended_s < ban.until_s
                    has_seen = known.get(f"{component} {ban.since_s}", 0) > 0
                    if is_in_force and answer.revision >= ban.revision and answer.tag != ban.tag:
                        known[f"{component} {ban.since_s}"] = 1
                    elif is_in_force and has_seen and answer.tag == ban.tag and answer.channel is Channel.NEXT:
                        run.add_wrong(
                            "a rolled-back tag is given", f"a launcher of server {server}: {ban.tag} of {component}"
                        )
            time.sleep(0.01)


def disturb(run: Run, chance: random.Random) -> None:
    """Makes one fault after the other."""
    often: list[Callable[[], None]] = [run.store.restore, run.store.restore, run.store.restart, run.store.fail_over]
    begun = time.monotonic()
    # On a busy machine, enough happens a little later.
    while (ran_s := time.monotonic() - begun) < RUN_S or (not run.is_enough and ran_s < RUN_S + SETTLED_S):
        run.store.copy()
        time.sleep(chance.uniform(0.1, 1.0))
        chance.choice(often)()
        time.sleep(chance.choice([0.0, 0.3, 1.5]))


@contextlib.contextmanager
def running(run: Run, seed: int, calls: list[Stubs]) -> Iterator[None]:
    """Runs writers, watchers and launchers until the block ends. An error of a thread counts as wrong, too."""

    def guarded(work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            run.add_wrong("the test itself fails", repr(error))

    writers = [Writer(run, component, f"{seed}{component}", calls) for component in COMPONENTS]
    for writer in writers:
        writer.begin()
    beside = [lambda s=s, f=f: f(run, s) for s in range(2) for f in (watch, ask, launch)]
    threads = [threading.Thread(target=guarded, args=(work,)) for work in (*writers, *beside)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        run.over.set()
        for thread in threads:
            thread.join()


def settled(call: Stubs) -> list[str]:
    """Waits until every component is fresh and writable at a server. Returns what is still wrong."""
    end = time.monotonic() + SETTLED_S
    while True:
        left = []
        for component in COMPONENTS:
            try:
                if call("Resolve", component=component, repo="acme/a").stale:
                    left.append(f"{component} is stale")
                call("SetOverride", component=component, repo="acme/end", tag=f"e{time.monotonic()}")
            except grpc.RpcError as error:
                left.append(f"{component}: {error.code().name} {reason_of(error)} {error.details()}")
        if not left or time.monotonic() > end:
            return left
        time.sleep(0.1)


@pytest.mark.parametrize("kind", by_day([REDIS, VALKEY], 1))
def test_however_often_writes_are_lost_no_caller_gets_a_wrong_answer(kind: str) -> None:
    seed = int(os.environ.get("RAMPD_SEED", random.randrange(10**6)))
    print(f"RAMPD_SEED={seed}")
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(short_directory())
        store = SingleStore(kind, chance, folder)
        stack.callback(store.close)
        url = f"redis://127.0.0.1:{store.proxy().port}"
        servers = [
            stack.enter_context(
                rampd_server(
                    stack.enter_context(short_directory()),
                    *("--insecure-admin", "--redis-url", url),
                    store_deadline_s=IN_PRODUCTION_S,
                )
            )
            for _ in range(2)
        ]
        for server in servers:
            server.event("serving")
        calls = [stack.enter_context(stubs(server.target)) for server in servers]
        run = Run(store, servers)
        with running(run, seed, calls):
            disturb(run, chance)
        for number, call in enumerate(calls):
            for left in settled(call):
                run.add_wrong("a component does not recover", f"server {number}: {left}")
        loads = [[line.get("event") for line in server.log].count("replica_loaded") for server in servers]
        time.sleep(QUIET_S)
        again = [[line.get("event") for line in server.log].count("replica_loaded") for server in servers]
        # The last fault may still cause one read. A server that never finishes reads many times in this time.
        if any(after - before > 1 for before, after in zip(loads, again, strict=True)):
            run.add_wrong("everything is read again and again", f"{loads}, {again}")
    print(f"{len(store.done)} faults, {run.written} writes, {run.resolved} resolves, {run.rewinds} rewinds")
    assert not run.wrong, run.summary()
    assert run.is_enough
