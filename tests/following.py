"""What a change of the store's primary does: a writer, two servers, and a launcher that go on meanwhile.

A writer sends numbered changes to the first server all the time. It repeats a change that failed with the same request_id. A
launcher follows the second server.
"""

import contextlib
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import grpc

from rampd import Resolver
from rampd.errors import RampdError
from tests.servers import IN_PRODUCTION_S, ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.waiting import eventually

C, REPO = "restyler", "acme/app"
WRITABLE_S = 50.0
"""Ten times the goal, from the decision about the primary on."""
FOLLOWED_S = 50.0
PAUSE_S = 0.02
_LAST_ATTEMPTS = 500


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
        number, attempts_left = 1, _LAST_ATTEMPTS
        while attempts_left:
            is_last = self._is_over.is_set()
            try:
                answer = self._call("SetOverride", component=C, repo=REPO, tag=f"t{number}", request_id=f"w{number}")
            except grpc.RpcError as error:
                self.failed.append(f"{error.code().name} {error.details()}")
                attempts_left -= is_last
            else:
                self.answered.append(Answered(number, answer.revision, time.time()))
                number += 1
                if is_last:
                    return
            time.sleep(PAUSE_S)

    def first_after(self, moment_s: float) -> Answered | None:
        """The first change that was answered after a moment."""
        return next((each for each in self.answered if each.at_s > moment_s), None)

    def close(self) -> None:
        """Ends with a change that is answered, because one that failed may still be made later."""
        self._is_over.set()
        self._thread.join()


@dataclass(frozen=True, slots=True)
class Run:
    """Everything that goes on."""

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

    def show_writable(self, since_s: float, decided_s: float, what: str) -> Answered:
        """Waits until a change is answered after all servers follow the new primary. Fails if that takes too long. `decided_s` is
        when it became the primary.
        """
        changed_s = max(self.changed_s(server) for server in range(2))
        eventually(lambda: self.writer.first_after(changed_s))
        first = self.writer.first_after(changed_s)
        assert first is not None
        print(
            f"{what}: decided after {decided_s - since_s:.2f} s; then followed after {changed_s - decided_s:.2f} s, written "
            f"after {first.at_s - decided_s:.2f} s"
        )
        assert first.at_s - decided_s < WRITABLE_S
        assert self.calls[0]("GetServer").server.store.replicas >= 0
        return first

    def show_followed(self, first: Answered) -> None:
        """Waits until the second server and the launcher have a change. Fails if that takes too long."""
        eventually(lambda: number_of(self.launcher.resolve(C, repo=REPO).tag) >= first.number, FOLLOWED_S)
        print(f"the launcher followed {time.time() - first.at_s:.2f} s after the first change")

        def is_there() -> bool:
            # The revision of the first change may be among the lost ones: the old primary may have used it, too.
            last = self.writer.answered[-1]
            return not self.calls[1]("Resolve", component=C, repo=REPO, min_revision=last.revision).stale

        eventually(is_there, suppressed=grpc.RpcError)

    def show_one_history(self) -> list[tuple[int, str, str]]:
        """Ends the writer. Fails unless both servers and the launcher have one history, with each change at most once."""
        self.writer.close()
        history = self.history(0)
        other = self.history(1)
        assert history == other, set(history) ^ set(other)
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
    """The number of a change, by its tag."""
    return int(tag[1:])


@contextlib.contextmanager
def running(url: str, namespace: str = "default") -> Iterator[Run]:
    """Starts the servers on a store, and all that goes on."""
    environment = {"RAMPD_REDIS_URL": url, "RAMPD_NAMESPACE": namespace}
    with contextlib.ExitStack() as stack:
        servers = [
            stack.enter_context(
                rampd_server(
                    stack.enter_context(short_directory()),
                    "--insecure-admin",
                    store_deadline_s=IN_PRODUCTION_S,
                    **environment,
                )
            )
            for _ in range(2)
        ]
        for server in servers:
            server.event("serving")
        calls = [stack.enter_context(stubs(server.target)) for server in servers]
        calls[0].until_made("Release", component=C, tag="t0")
        launcher = stack.enter_context(Resolver(servers[1].target))
        writer = Writer(calls[0])
        stack.callback(writer.close)
        eventually(lambda: len(writer.answered) > 10)
        # The second server may not have the component yet.
        eventually(lambda: number_of(launcher.resolve(C, repo=REPO).tag) > 0, suppressed=RampdError)
        yield Run(servers, calls, launcher, writer)


def require_said(run: Run, lost: list[Answered], history: list[tuple[int, str, str]]) -> None:
    """Fails unless the log and the history name each lost change, and the log the failover."""

    def lines() -> list[dict[str, Any]]:
        return [line for server in run.servers for line in list(server.log) if line["event"] == "writes_lost"]

    def said() -> set[int]:
        return {n for line in lines() for n in range(line["first_revision"], line["last_revision"] + 1)}

    eventually(lambda: {each.revision for each in lost} <= said())
    assert [line for line in lines() if ", by the failover from 127.0.0.1:" not in line["what_it_means"]] == []
    assert bool(lost) <= bool([action for _, action, _ in history if action == "RecordLoss"])
