"""One scrape of a server with several workers: the sum of all, and no counter goes back when workers die."""

import contextlib
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from rampd import v1
from tests.e2e.test_workers import process_ids, serving
from tests.processes import is_reaped
from tests.rpc.test_metrics import begin, run_jobs
from tests.scraping import Scraped, scrape
from tests.servers import ServerProcess, rampd_server, stubs
from tests.waiting import eventually

C = "restyler"


@contextlib.contextmanager
def three_workers(directory: Path, **environment: str) -> Iterator[tuple[ServerProcess, str]]:
    flags = ("--insecure-admin", "--workers", "3", "--http", "127.0.0.1:0")
    with rampd_server(directory, *flags, **environment) as server:
        eventually(lambda: serving(server) == {0, 1, 2})
        yield server, str(server.event("listening_http")["address"])


def resolve_over_many_connections(server: ServerProcess, number: int) -> None:
    """Each connection is one of some worker."""
    for each in range(number):
        with stubs(server.target) as call:
            call("Resolve", component=C, repo=f"acme/{each}")


def resolves(found: Scraped) -> float:
    return sum(found("rampd_resolves_total", **labels) or 0 for labels in found.all("rampd_resolves_total"))


def scraped_with(http: str, number: int) -> Scraped:
    """Waits for a scrape that has so many Resolves. One worker that is too busy to answer is there as it was before; if all are,
    there is no scrape.
    """
    found: list[Scraped] = []

    def is_there() -> bool:
        found[:] = [scrape(http)]
        return resolves(found[0]) == number

    eventually(is_there, suppressed=AssertionError)
    return found[0]


def has_evidence(found: Scraped) -> bool:
    """Whether there is the evidence of a rollback."""
    e, limit = found("rampd_evidence", component=C), found("rampd_evidence_limit", component=C)
    return e is not None and limit is not None and e >= limit


def folder_of(server: ServerProcess) -> Path:
    """The folder in which the workers share their metrics."""
    for descriptor in Path("/proc/net/unix").read_text().splitlines():
        path = Path(descriptor.split()[-1])
        if path.name == "parent" and path.parent.name.startswith("rampd-") and owner(path) == server.process.pid:
            return path.parent
    raise AssertionError("no folder")


def owner(path: Path) -> int | None:
    # A server of another test may have ended meanwhile.
    inode = next(
        (line.split()[6] for line in Path("/proc/net/unix").read_text().splitlines() if line.endswith(str(path))), None
    )
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if any(str(each.readlink()) == f"socket:[{inode}]" for each in (process / "fd").iterdir()):
                return int(process.name)
    return None


def test_one_scrape_has_the_sum_of_all_workers(directory: Path) -> None:
    with three_workers(directory) as (server, http), stubs(server.target) as call:
        call("Release", component=C, tag="t1")
        resolve_over_many_connections(server, 30)
        found = scraped_with(http, 30)
        assert found("rampd_rpc_calls_total", method="Resolve", status="OK", reason="") == 30
        assert found("rampd_rpc_duration_seconds_bucket", method="Resolve", le="+Inf") == 30
        # What all workers know counts once.
        assert found("rampd_components") == 1
        assert found("rampd_state", component=C, state="STEADY") == 1
        assert found("rampd_build_info", **found.all("rampd_build_info")[0]) == 1
        # Whichever worker answers.
        eventually(lambda: all(resolves(scrape(http)) == 30 for _ in range(12)), suppressed=AssertionError)


def test_the_evidence_of_a_rollback_shows_whichever_worker_rolled_back(directory: Path) -> None:
    """Given a worker that took the failures and rolled back, expect its evidence, and not that of another worker's earlier look."""
    with three_workers(directory) as (server, http), stubs(server.target) as call:
        begin(call)
        eventually(lambda: scrape(http).all("rampd_evidence"), suppressed=AssertionError)
        run_jobs(call, "next", 12, failed=12, sequence=1)
        eventually(lambda: scrape(http)("rampd_held", component=C) == 1, suppressed=AssertionError)
        eventually(lambda: has_evidence(scrape(http)), suppressed=AssertionError)


def test_the_folder_of_the_workers_is_open_to_nobody_else_and_goes_with_them(directory: Path) -> None:
    with three_workers(directory) as (server, http):
        scrape(http)
        folder = folder_of(server)
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert sorted(path.name for path in folder.iterdir()) == ["parent", "worker-0", "worker-1", "worker-2"]
        assert server.stop() == 0
        assert not folder.exists()


def test_no_counter_goes_back_when_workers_are_killed(directory: Path) -> None:
    """Given a rollout and calls, expect every counter to stay or to grow, while one worker after the other is killed."""
    with three_workers(directory) as (server, http):
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            call("Release", component=C, tag="t2")
            call("Ramp", component=C, percent=10)
            outcome = v1.Outcome(
                component=C, release=1, revision=1, channel=v1.CHANNEL_CURRENT, repo="a",
                reason=v1.RESOLVE_REASON_STEADY, result=v1.OUTCOME_RESULT_FAILED,
            )  # fmt: skip
            call("ReportOutcomes", client_id="w", sequence=1, outcomes=[outcome])
        resolve_over_many_connections(server, 20)
        calls, last = 20, scraped_with(http, 20)
        for round_ in range(3):
            doomed = sorted(process_ids(server))[round_ % 3]
            os.kill(doomed, signal.SIGKILL)
            eventually(lambda doomed=doomed: is_reaped(doomed))
            for _ in range(8):
                with contextlib.suppress(Exception):
                    resolve_over_many_connections(server, 1)
                found = once_scraped(http)
                before, now = last.counters(), found.counters()
                # What is about components may be missing as long as no worker is ready.
                assert {
                    name: (value, now[name]) for name, value in before.items() if now.get(name, value) < value
                } == {}
                last = found
                time.sleep(0.2)
            eventually(lambda: len(process_ids(server)) == 3)
        eventually(lambda: scrape(http)("rampd_copy_stale") == 0, suppressed=AssertionError)
        eventually(lambda: scrape(http)("rampd_next_percent", component=C) == 10, suppressed=AssertionError)
        found = scrape(http)
        assert resolves(found) >= calls
        assert found("rampd_jobs_total", component=C, channel="current") == 1
        assert found("rampd_rpc_calls_total", method="ReportOutcomes", status="OK", reason="") == 1


def once_scraped(http: str) -> Scraped:
    """A connection to a worker that is killed meanwhile breaks, and workers that are too busy to answer make no scrape."""
    found: list[Scraped] = []

    def try_it() -> bool:
        found.append(scrape(http))
        return True

    eventually(try_it, suppressed=Exception)
    return found[0]


def test_a_worker_that_hangs_does_not_keep_the_others_from_being_scraped(directory: Path) -> None:
    with three_workers(directory) as (server, http):
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
        resolve_over_many_connections(server, 20)
        scraped_with(http, 20)
        hanging = sorted(process_ids(server))[2]
        os.kill(hanging, signal.SIGSTOP)
        try:
            found: list[Scraped] = []
            # A third of the connections goes to the worker that hangs.
            eventually(lambda: scraped_in(http, 4, found.append), suppressed=httpx.HTTPError)
            assert resolves(found[0]) == 20
            assert server.event("worker_not_scraped")["worker"] in {0, 1, 2}
        finally:
            os.kill(hanging, signal.SIGCONT)
        eventually(
            lambda: resolves(scrape(http)) == 20 and server.event("worker_scraped_again"), suppressed=AssertionError
        )


def scraped_in(http: str, seconds: float, take: Callable[[Scraped], None]) -> bool:
    take(Scraped(httpx.get(f"http://{http}/metrics", timeout=seconds).text))
    return True


def test_a_server_whose_adding_up_does_not_answer_refuses_a_scrape(directory: Path) -> None:
    """Given no socket of the parent, expect a refusal, and not the counters of one worker."""
    with three_workers(directory) as (server, http):
        (folder_of(server) / "parent").unlink()
        answer = httpx.get(f"http://{http}/metrics", timeout=30)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_without_the_http_port_nothing_is_shared(directory: Path, workers: str) -> None:
    with rampd_server(directory, "--insecure-admin", "--workers", workers) as server:
        server.event("serving")
        with pytest.raises(AssertionError, match="no folder"):
            folder_of(server)
