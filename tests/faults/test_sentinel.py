"""Three Redis, of which Sentinels choose the primary, and two servers of rampd. The primary dies, stops, or is cut off.

A writer sends numbered changes to the first server all the time. It repeats a change that failed with the same request_id. A
launcher follows the second server.
"""

import contextlib
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import grpc
import pytest

from rampd import Resolver
from rampd_server.domain.errors import StoreUnavailableError
from rampd_server.storage.link import Link
from rampd_server.storage.store import RedisStore
from tests.servers import ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, VALKEY
from tests.topologies import SENTINEL_SECRET, SERVICE, Process, Sentinels, sentinels
from tests.waiting import eventually, eventually_async

IS_NIGHTLY = os.environ.get("RAMPD_NIGHTLY") == "1"
C, REPO = "restyler", "acme/app"
WRITABLE_S = 50.0
"""Ten times the goal, from the decision of the Sentinels on."""
FOLLOWED_S = 20.0
PAUSE_S = 0.02

pytestmark = pytest.mark.timeout(300)


@dataclass(frozen=True, slots=True)
class Answered:
    """A change that was answered."""

    number: int
    revision: int
    at_s: float
    """By the clock of this machine."""

    @property
    def request_id(self) -> str:
        return f"w{self.number}"


class Writer:
    """Sends changes one after another, until it is closed."""

    def __init__(self, call: Stubs) -> None:
        self.answered: list[Answered] = []
        self.failed: list[str] = []
        self._call = call
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 1
        while not self._is_over.is_set():
            try:
                answer = self._call("SetOverride", component=C, repo=REPO, tag=f"t{number}", request_id=f"w{number}")
            except grpc.RpcError as error:
                self.failed.append(f"{error.code().name} {error.details()}")
            else:
                self.answered.append(Answered(number, answer.revision, time.time()))
                number += 1
            self._is_over.wait(PAUSE_S)

    def first_after(self, moment_s: float) -> Answered | None:
        """The first change that was answered after a moment."""
        return next((each for each in self.answered if each.at_s > moment_s), None)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Run:
    topology: Sentinels
    servers: list[ServerProcess]
    calls: list[Stubs]
    launcher: Resolver
    writer: Writer

    def changed_s(self, server: int) -> float:
        """When the log of a server said that it follows another primary."""
        line = self.servers[server].event("store_primary_changed")
        return datetime.fromisoformat(line["time"]).timestamp()

    def history(self, server: int) -> list[tuple[int, str, str]]:
        """The history of the component: revision, action, request_id. The newest is first."""
        found: list[tuple[int, str, str]] = []
        token = ""
        while True:
            page = self.calls[server]("ListEvents", component=C, page_size=1000, page_token=token)
            found += [(each.revision, each.action, each.request_id) for each in page.events]
            token = page.next_page_token
            if not token:
                return found

    def show_writable(self, since_s: float, what: str) -> Answered:
        """Waits until a change is answered after all servers follow the new primary. Fails if that takes too long."""
        decided_s = self.topology.decided_s()
        changed_s = max(self.changed_s(server) for server in range(2))
        eventually(lambda: self.writer.first_after(changed_s))
        first = self.writer.first_after(changed_s)
        assert first is not None
        print(
            f"{what}: decided after {decided_s - since_s:.2f} s; then followed after {changed_s - decided_s:.2f} s, written "
            f"after {first.at_s - decided_s:.2f} s"
        )
        assert first.at_s - decided_s < WRITABLE_S
        told = self.calls[0]("GetServer").server.store
        assert told.topology == "sentinel"
        eventually(lambda: told.primary == f"127.0.0.1:{self.topology.primary().port}")
        return first

    def show_followed(self, first: Answered) -> None:
        """Waits until the second server and the launcher have a change. Fails if that takes too long."""
        eventually(lambda: number_of(self.launcher.resolve(C, repo=REPO).tag) >= first.number, FOLLOWED_S)
        print(f"the launcher followed {time.time() - first.at_s:.2f} s after the first change")
        answer = self.calls[1]("Resolve", component=C, repo=REPO, min_revision=first.revision)
        assert not answer.stale

    def show_one_history(self) -> list[tuple[int, str, str]]:
        """Ends the writer. Fails unless both servers and the launcher have one history, with each change at most once."""
        self.writer.close()
        history = self.history(0)
        assert history == self.history(1)
        revisions = [revision for revision, *_ in history]
        assert revisions == sorted(set(revisions), reverse=True)
        twice = [
            request for request, times in Counter(request for *_, request in history).items() if request and times > 1
        ]
        assert twice == []
        numbers = [int(request[1:]) for *_, request in history if request.startswith("w")]
        assert numbers == sorted(numbers, reverse=True)
        last = self.writer.answered[-1]
        eventually(lambda: self.launcher.resolve(C, repo=REPO).tag == f"t{last.number}")
        for call in self.calls:
            eventually(lambda call=call: call("Resolve", component=C, repo=REPO).tag == f"t{last.number}")
        return history

    def lost(self, history: list[tuple[int, str, str]]) -> list[Answered]:
        """The changes that were answered and that the history does not have."""
        there = {request for *_, request in history}
        return [each for each in self.writer.answered if each.request_id not in there]


def number_of(tag: str) -> int:
    return int(tag[1:])


@contextlib.contextmanager
def running(kind: str) -> Iterator[Run]:
    with contextlib.ExitStack() as stack:
        topology = stack.enter_context(sentinels(kind, stack.enter_context(short_directory())))
        servers = [
            stack.enter_context(
                rampd_server(stack.enter_context(short_directory()), "--insecure-admin", RAMPD_REDIS_URL=topology.url)
            )
            for _ in range(2)
        ]
        for server in servers:
            server.event("serving")
        calls = [stack.enter_context(stubs(server.target)) for server in servers]
        calls[0]("Release", component=C, tag="t0")
        launcher = stack.enter_context(Resolver(servers[1].target))
        writer = Writer(calls[0])
        stack.callback(writer.close)
        run = Run(topology, servers, calls, launcher, writer)
        eventually(lambda: len(writer.answered) > 10)
        eventually(lambda: number_of(launcher.resolve(C, repo=REPO).tag) > 0)
        yield run


@pytest.fixture(params=[REDIS, VALKEY] if IS_NIGHTLY else [REDIS])
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    with running(request.param) as found:
        yield found


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
def test_if_the_primary_is_gone_servers_and_launchers_follow_the_new_one_and_nothing_is_done_twice(
    run: Run, number: signal.Signals
) -> None:
    old, began_s = run.topology.primary(), time.time()
    old.signal(number)

    first = run.show_writable(began_s, number.name)
    run.show_followed(first)
    if number is signal.SIGSTOP:
        # The old primary still believes that it is one, until a Sentinel tells it.
        old.signal(signal.SIGCONT)
        eventually(lambda: role_of(old) == "slave")
        after_s = time.time()
        eventually(lambda: run.writer.first_after(after_s))

    history = run.show_one_history()
    require_said(run, run.lost(history), history)
    assert [line["event"] for line in run.servers[0].log].count("store_primary_changed") == 1


def test_what_was_written_to_a_primary_that_was_cut_off_is_lost_and_said_and_histories_are_not_mixed(run: Run) -> None:
    """Given a primary that loses its replicas and the Sentinels, and that rampd still reaches, expect that its last changes are
    lost and named, and that all follow the new primary.
    """
    old, began_s = run.topology.primary(), time.time()
    run.topology.cut_off(old)

    first = run.show_writable(began_s, "cut off")
    run.show_followed(first)
    run.topology.join(old)
    eventually(lambda: role_of(old) == "slave")

    history = run.show_one_history()
    lost = run.lost(history)
    assert lost
    require_said(run, lost, history)


def require_said(run: Run, lost: list[Answered], history: list[tuple[int, str, str]]) -> None:
    """Fails unless the log and the history name each lost change, and the log the failover."""
    lines = [line for server in run.servers for line in server.log if line["event"] == "writes_lost"]
    assert [line for line in lines if ", by the failover from 127.0.0.1:" not in line["what_it_means"]] == []
    said = {n for line in lines for n in range(line["first_revision"], line["last_revision"] + 1)}
    assert {each.revision for each in lost} <= said
    assert bool(lost) <= bool([action for _, action, _ in history if action == "RecordLoss"])


def role_of(store: Process) -> str:
    with store.client() as client:
        return str(client.role()[0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda url: url.replace(SENTINEL_SECRET, "wrong"),
            "refuses the options sentinel_username and sentinel_password",
        ),
        (lambda url: url.partition("?")[0], "wants a password: give it as the option sentinel_password"),
        (lambda url: url.replace(f"/{SERVICE}?", "/other?"), "watches no service of the name"),
        (lambda url: url.replace("rampd:", "nobody:"), "refuses the user or the password of RAMPD_REDIS_URL"),
    ],
    ids=["wrong password", "no password", "other service", "wrong user"],
)
def test_a_wrong_url_ends_the_start_with_a_sentence(
    topology: Sentinels, directory: Path, change: Callable[[str], str], words: str
) -> None:
    with rampd_server(directory, RAMPD_REDIS_URL=change(topology.url)) as server:
        assert server.process.wait(60) == 2
        server.stop()
    text = " ".join(server.raw)
    assert words in text
    assert SENTINEL_SECRET not in text


@pytest.fixture(scope="module")
def topology() -> Iterator[Sentinels]:
    with short_directory() as folder, sentinels(REDIS, folder) as found:
        yield found


async def test_over_tls_the_names_that_sentinels_announce_are_followed() -> None:
    """Given certificates for a name, expect that the primary and the one after it are reached by that name."""
    with short_directory() as folder, sentinels(REDIS, folder, is_tls=True) as topology:
        link = Link.connect(topology.url, deadline_s=10.0)
        store = RedisStore(link)
        store.set_epoch(await store.begin_epoch(adopted=False))
        topology.primary().signal(signal.SIGKILL)

        async def is_writable() -> bool:
            with contextlib.suppress(StoreUnavailableError):
                return bool(await store.begin_epoch(adopted=True))
            return False

        await eventually_async(is_writable)
        assert link.primary_changes.value == 1
        await store.close()
