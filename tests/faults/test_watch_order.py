"""A client misses nothing and never goes back, whatever happens to its link. Every state that a client has had is compared with
the state that follows from the store's own feed at the same cursor.
"""

import asyncio
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import pytest

import rampd
from rampd import Admin, v1
from rampd._calls.endpoint import Endpoint
from rampd._contract.component_state import Component
from rampd._decision.resolution import Choice, ComponentSnapshot
from rampd._runtime.backoff import Backoff
from rampd._watching import feed
from rampd._watching.local import Local
from rampd._watching.settings import Settings
from rampd._watching.watch_thread import Watching
from rampd_server import testing
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import FeedEntry
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.rpc.watch import heartbeat
from rampd_server.rpc.watch.change_log import ChangeLog
from tests.proxy import Proxy, proxy_to
from tests.servers import short_directory
from tests.stores import VALKEY, StoreServer, store_server

COMPONENTS = ("restyler", "linter", "formatter")
STORM_S = 5.0
WRITERS = 3

State: TypeAlias = dict[str, tuple[ComponentSnapshot, dict[str, Choice]]]


class Recorder(Local):
    """Keeps every state that it has had, with its cursor."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self.seen: list[tuple[str, State]] = []
        self.whole_states = 0

    def take(self, message: v1.WatchResponse) -> None:
        super().take(message)
        self.whole_states += message.state.last
        # An entry that changes no component moves only the cursor.
        if self.feed.cursor and (not self.seen or self.seen[-1][0] != self.feed.cursor):
            self.seen.append((self.feed.cursor, state_of(self.feed.components)))


def state_of(components: dict[str, Component]) -> State:
    return {name: (known.snapshot, dict(known.overrides.items())) for name, known in components.items()}


def history(store: StoreServer, namespace: str) -> dict[str, State]:
    """Returns the state after each entry of the feed, by cursor, built from the entries alone."""

    async def read() -> tuple[str, dict[str, State]]:
        made = store.store(namespace)
        try:
            head = await made.head()
            assert head is not None
            rollouts: dict[str, Rollout | Absent] = {}
            overrides: dict[str, dict[str, Choice]] = {}
            states: dict[str, State] = {"0-0": {}}
            last = "0-0"
            while entries := await made.feed(last, block_ms=0):
                for entry in entries:
                    assert entry.previous_id == last
                    last = entry.id
                    if entry.component:
                        before = rollouts.get(entry.component, Absent(entry.component))
                        rollouts[entry.component] = made.apply(before, entry)
                        change(overrides.setdefault(entry.component, {}), entry)
                    states[last] = {
                        name: (snapshot_of(rollout), dict(overrides[name]))
                        for name, rollout in rollouts.items()
                        if isinstance(rollout, Rollout)
                    }
            return head.epoch, states
        finally:
            await made.close()

    epoch, states = asyncio.run(read())
    return {f"{epoch}/{entry_id}": state for entry_id, state in states.items()}


def change(overrides: dict[str, Choice], entry: FeedEntry) -> None:
    if entry.is_deletion:
        overrides.clear()
    overrides.update((repo, choice_of(override)) for repo, override in entry.overrides_set.items())
    for repo in entry.overrides_deleted:
        overrides.pop(repo, None)


def check(seen: list[tuple[str, State]], states: dict[str, State]) -> None:
    """Checks that every seen state is right for its cursor, and that no cursor goes back."""
    places = {cursor: place for place, cursor in enumerate(states)}
    last = 0
    for cursor, state in seen:
        assert places[cursor] >= last, f"{cursor} came after {list(states)[last]}"
        last = places[cursor]
        assert state == states[cursor], f"at {cursor}"
    assert last == len(states) - 1, "the client did not get the last change"


REFUSALS = (rampd.FailedPreconditionError, rampd.NotFoundError, rampd.ResourceExhaustedError, rampd.AbortedError)


def write(target: str, seed: int, stop: threading.Event) -> None:
    """Calls random verbs as fast as possible. Many are refused, because of the state of the component."""
    chance = random.Random(seed)
    with Admin(target, actor=f"writer-{seed}", timeout=60) as admin:
        number = 0
        while not stop.is_set():
            number += 1
            try:
                do(admin, chance, f"{seed}.{number}")
            except REFUSALS:
                pass
            except rampd.InvalidArgumentError as refused:
                if "is not in the future" not in str(refused):
                    raise  # a slow call may arrive after its expiry: only that refusal is expected


def do(admin: Admin, chance: random.Random, tag: str) -> None:
    component, repo = chance.choice(COMPONENTS), f"acme/app{chance.randrange(12)}"
    some = [v1.OverrideChange(repo=f"acme/app{n}", tag=f"b{tag}") for n in range(chance.randrange(1, 9))]
    often: list[Callable[[], object]] = [
        lambda: admin.set_override(component, repo, channel="NEXT"),
        lambda: admin.set_override(component, repo, tag=f"pin{tag}"),
        lambda: admin.delete_override(component, repo),
        lambda: admin.batch_set_overrides(component, some),
        lambda: admin.ramp(component, chance.randrange(101)),
        lambda: admin.release(component, f"t{tag}", attributes={"commit": tag}),
        lambda: admin.finalize(component, force=True),
        lambda: admin.rollback(component),
        lambda: admin.pause(component),
    ]
    seldom: list[Callable[[], object]] = [
        lambda: admin.freeze(all=True, expire_time=datetime.now(UTC) + timedelta(seconds=0.2)),
        lambda: admin.unfreeze(all=True),
        lambda: admin.delete_component(component, confirm=component),
        lambda: admin.set_override(component, repo, tag="soon", expire_time=datetime.now(UTC) + timedelta(seconds=0.3)),
    ]
    chance.choice(seldom if chance.random() < 0.1 else often)()


def disturb(proxy: Proxy, seed: int, stop: threading.Event) -> dict[str, int]:
    """Cuts, delays and half-opens the link, one after the other, in random order and for random times."""
    chance = random.Random(seed)
    done = {"cut": 0, "delay": 0, "half-open": 0}
    while not stop.is_set():
        what = chance.choice(list(done))
        done[what] += 1
        if what == "cut":
            proxy.cut()
        elif what == "half-open":
            proxy.stall()
        else:
            proxy.is_silent.set()
            stop.wait(chance.uniform(0.01, 0.4))
            proxy.is_silent.clear()
        stop.wait(chance.uniform(0.0, 0.5))
    return done


@pytest.fixture(scope="module")
def store() -> Iterator[StoreServer]:
    with store_server(VALKEY) as running:
        yield running


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Divides times by about ten, so that the link is lost many times in a short test."""
    monkeypatch.setattr(heartbeat, "HEARTBEAT_S", 0.1)
    monkeypatch.setattr(feed, "SILENT_AFTER_S", 0.4)
    monkeypatch.setattr(feed, "FIRST_MESSAGE_S", 1.0)
    quick = Backoff(first_s=0.1, most_s=0.3, least=0.1)
    monkeypatch.setattr(feed, "_AFTER_A_LOSS", quick)
    monkeypatch.setattr(feed, "_BEFORE_THE_FIRST", quick)


@dataclass(frozen=True, slots=True)
class Storm:
    """The states of the store, and the states that two clients had: `near` with a good link, `far` with a bad link."""

    states: dict[str, State]
    near: list[tuple[str, State]]
    far: list[tuple[str, State]]
    whole_states: int
    """How many whole states the far client was sent."""


@contextmanager
def storm(
    store: StoreServer,
    namespace: str,
    seed: int,
    *,
    meanwhile: Callable[[str], None] = lambda _: None,
    whole_states: int = 1,
) -> Iterator[Storm]:
    """Runs writers and two clients that watch, one of them through a disturbed link. Ends when both have every change.

    It goes on until enough has happened: 200 states, 5 connections, and `whole_states` whole states that the disturbed client
    was sent. That takes longer on a busy machine.
    """

    def is_enough() -> bool:
        near, far = recorders
        return len(near.seen) > 200 and proxy.accepted > 5 and far.whole_states >= whole_states

    stop = threading.Event()
    with ExitStack() as stack:
        directory = stack.enter_context(short_directory())
        target = stack.enter_context(testing.run(directory, store.url, namespace=namespace))
        proxy = stack.enter_context(proxy_to(target))
        targets = target, f"127.0.0.1:{proxy.port}"
        recorders = [Recorder(Settings(Endpoint(at), (), 300.0, None)) for at in targets]
        links = list(map(Watching, recorders))
        threads = [threading.Thread(target=write, args=(target, seed + n, stop)) for n in range(WRITERS)]
        disturbing = threading.Thread(target=disturb, args=(proxy, seed, stop))
        for link in links:
            stack.callback(link.close)
            link.prepare(60)
        for thread in (*threads, disturbing):
            thread.start()
        try:
            meanwhile(target)
            begun = time.monotonic()
            while time.monotonic() < begun + STORM_S or not is_enough():
                assert time.monotonic() < begun + 90, "too little happened in a minute and a half"
                for link in links:
                    link.begin(0)  # what a resolver does when it finds its answers stale
                time.sleep(0.05)
        finally:
            stop.set()
            for thread in (*threads, disturbing):
                thread.join()
        end = time.monotonic() + 60
        # Expiries may add changes after the writers have ended.
        while True:
            states = history(store, namespace)
            seen = [list(recorder.seen) for recorder in recorders]
            if all(each[-1][0] == list(states)[-1] for each in seen) or time.monotonic() > end:
                break
            for link in links:
                link.begin(0)
            time.sleep(0.05)
        yield Storm(states, *seen, whole_states=recorders[1].whole_states)


@pytest.mark.parametrize(
    "log_bytes", [64 * 1024 * 1024, 2 * 1024], ids=["a long log", "a log too short to resume from"]
)
def test_a_client_behind_a_bad_link_misses_nothing_and_never_goes_back(
    monkeypatch: pytest.MonkeyPatch, store: StoreServer, log_bytes: int
) -> None:
    monkeypatch.setitem(ChangeLog.__init__.__kwdefaults__, "max_bytes", log_bytes)
    namespace = f"order{log_bytes}"
    is_short = log_bytes < 1024 * 1024
    with storm(store, namespace, seed=log_bytes, whole_states=2 if is_short else 1) as ended:
        for seen in (ended.near, ended.far):
            check(seen, ended.states)
        assert (ended.whole_states > 1) == is_short


def test_the_check_finds_one_change_that_is_dropped_on_purpose(
    monkeypatch: pytest.MonkeyPatch, store: StoreServer
) -> None:
    real = ChangeLog.append
    dropped = []

    def append(self: ChangeLog, entry_id: str, component: str, message: bytes) -> None:
        # No other writer pins this repo, so that no later change repairs the loss.
        is_dropped = b"acme/dropped" in message and not dropped
        if is_dropped:
            dropped.append(entry_id)
        real(self, entry_id, component, b"" if is_dropped else message)

    def drop(target: str) -> None:
        with Admin(target, timeout=60) as admin:
            admin.release("victim", "1")
            admin.set_override("victim", "acme/dropped", channel="NEXT")

    monkeypatch.setattr(ChangeLog, "append", append)
    with storm(store, "dropped", seed=1, meanwhile=drop) as ended:
        assert dropped
        with pytest.raises(AssertionError, match="at "):
            check(ended.near, ended.states)
