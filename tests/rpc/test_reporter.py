"""Both faces of the client report outcomes, in both modes, to servers that take them, lose them or are away."""

import asyncio
import contextlib
import dataclasses
import inspect
import logging
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import grpc
import pytest

import rampd
from rampd import AsyncResolver, Resolver, v1
from rampd._calls.endpoint import Endpoint
from rampd._reporting import outcome_buffer, report_thread
from rampd._reporting.outcome_buffer import Outcome
from rampd.testing import AsyncFixedResolver, FixedResolver
from tests.rpc.scripted_server import ScriptedServer, scripted_server, status
from tests.servers import Stubs

C = "restyler"
SUCCEEDED, FAILED = v1.OUTCOME_RESULT_SUCCEEDED, v1.OUTCOME_RESULT_FAILED
ANSWER = v1.ResolveResponse(
    tag="t2", channel=v1.CHANNEL_NEXT, reason=v1.RESOLVE_REASON_WEIGHT, release=2, revision=7, bucket=3
)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with scripted_server() as script:
        script.answers["Resolve"] = [ANSWER]
        yield script


@pytest.fixture(params=[Resolver, AsyncResolver], ids=["blocking", "asyncio"])
async def resolver(request: pytest.FixtureRequest, server: ScriptedServer) -> AsyncIterator[Any]:
    made = request.param(server.target, mode="rpc")
    yield made
    await result(made.close())


async def result(value: Any) -> Any:
    return await value if inspect.isawaitable(value) else value


async def until(condition: Callable[[], Any], within_s: float = 60) -> None:
    end = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def block(resolver: Any, **asked: Any) -> AsyncIterator[Any]:
    """Uses `with` or `async with`, depending on the face."""
    job = resolver.job(C, **{"repo": "acme/app", **asked})
    if hasattr(job, "__aenter__"):
        async with job:
            yield job
    else:
        with job:
            yield job


def outcomes(server: ScriptedServer) -> list[v1.Outcome]:
    return [each for batch in server.requests("ReportOutcomes") for each in batch.outcomes]


async def test_the_end_of_a_block_reports_the_job(resolver: Any, server: ScriptedServer) -> None:
    async with block(resolver, job_id="42") as job:
        assert (job.tag, job.resolution.release) == ("t2", 2)
        await asyncio.sleep(0.01)
    await until(lambda: outcomes(server))
    (outcome,) = outcomes(server)
    assert 10_000_000 <= outcome.duration.ToNanoseconds() < 100_000_000_000
    outcome.ClearField("duration")
    assert outcome == v1.Outcome(
        component=C,
        release=2,
        revision=7,
        channel=v1.CHANNEL_NEXT,
        reason=v1.RESOLVE_REASON_WEIGHT,
        repo="acme/app",
        job_id="42",
        result=SUCCEEDED,
    )
    await until(lambda: resolver.status().reports.sent == 1)
    assert resolver.status().reports == rampd.Reports(sent=1)


def raises(error: BaseException) -> Callable[[Any], None]:
    def work(_job: Any) -> None:
        raise error

    return work


def both(job: Any) -> None:
    job.failed()
    job.succeeded()


def said_and_raised(job: Any) -> None:
    job.succeeded()
    raise ValueError


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (raises(ValueError()), [FAILED]),
        (raises(TimeoutError()), [FAILED]),
        (lambda job: job.failed(), [FAILED]),
        (lambda job: job.succeeded(), [SUCCEEDED]),
        (both, [SUCCEEDED]),
        (said_and_raised, [SUCCEEDED]),
        (raises(KeyboardInterrupt()), []),
        (raises(SystemExit(1)), []),
        (raises(asyncio.CancelledError()), []),
    ],
)
@pytest.mark.parametrize("kind", [FixedResolver, AsyncFixedResolver])
async def test_the_outcome_is_what_the_job_reported_or_otherwise_what_it_raised(
    kind: Any, work: Any, expected: list[Any]
) -> None:
    resolver = kind({C: "t1"})
    with contextlib.suppress(BaseException):
        async with block(resolver) as job:
            work(job)
    said = [SUCCEEDED if each.succeeded else FAILED for each in resolver.outcomes]
    assert said == expected
    assert [each.tag for each in resolver.outcomes] == ["t1"] * len(expected)


async def test_a_job_without_a_version_is_not_reported(resolver: Any, server: ScriptedServer) -> None:
    server.answers["Resolve"] = [status(grpc.StatusCode.NOT_FOUND, "COMPONENT_NOT_FOUND")]
    with pytest.raises(rampd.NotFoundError):
        async with block(resolver):
            raise AssertionError
    async with block(resolver, fallback="mine") as job:
        assert job.tag == "mine"
    assert resolver.status().reports == rampd.Reports()


async def test_a_job_that_ends_elsewhere_is_reported_by_hand(resolver: Any, server: ScriptedServer) -> None:
    found = await result(resolver.resolve(C, repo="acme/app"))
    resolver.report(found, C, repo="acme/app", job_id="7", succeeded=False, duration=90)
    await until(lambda: outcomes(server))
    (outcome,) = outcomes(server)
    assert (outcome.release, outcome.job_id, outcome.result, outcome.duration.seconds) == (2, "7", FAILED, 90)
    with pytest.raises(rampd.InvalidArgumentError, match=r"repo: .*duration: "):
        resolver.report(found, C, repo="no repo", succeeded=True, duration=-1)


async def test_a_batch_whose_answer_is_lost_is_sent_again_unchanged(
    resolver: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_thread, "_CALL_S", 1.0)
    server.answers["ReportOutcomes"] = [server.hang, v1.ReportOutcomesResponse(accepted=1)]
    async with block(resolver):
        pass
    await until(lambda: resolver.status().reports.sent == 1)
    # On a busy machine the second answer may be lost, too.
    first, *again = server.requests("ReportOutcomes")
    assert again
    assert all(each == first for each in again)
    assert first.sequence == 1
    assert resolver.status().reports.dropped == 0


async def test_outcomes_are_kept_while_the_server_is_away(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outcome_buffer, "GATHER_S", 60)
    with contextlib.closing(Resolver("127.0.0.1:1", mode="rpc")) as away:
        found = Resolver(server.target, mode="rpc").resolve(C, repo="acme/app")
        for number in range(2500):
            away.report(found, C, repo="acme/app", job_id=str(number), succeeded=True, duration=1)
        await until(lambda: away.status().reports.error)
        assert away.status().reports.buffered == 2500
        monkeypatch.setattr(outcome_buffer, "GATHER_S", 0)
        away._reporter._connection = rampd._calls.connection.Connection(Endpoint(server.target))  # the server is back
        await until(lambda: away.status().reports.sent == 2500)
    batches = server.requests("ReportOutcomes")
    assert [(batch.sequence, len(batch.outcomes)) for batch in batches] == [(1, 1000), (2, 1000), (3, 500)]
    assert [each.job_id for each in outcomes(server)] == [str(number) for number in range(2500)]


async def test_a_server_without_report_outcomes_is_logged_once(
    resolver: Any, server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.answers["ReportOutcomes"] = [grpc.StatusCode.UNIMPLEMENTED]
    with caplog.at_level(logging.INFO, "rampd"):
        for dropped in (1, 2, 3):
            async with block(resolver):
                pass
            await until(lambda dropped=dropped: resolver.status().reports.dropped == dropped)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "takes no outcomes, and they are dropped" in caplog.text
    assert len(server.requests("ReportOutcomes")) == 1


async def test_close_sends_all_waiting_outcomes(
    resolver: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_thread, "FLUSH_S", 60)
    found = await result(resolver.resolve(C, repo="acme/app"))
    for number in range(1200):
        resolver.report(found, C, repo="acme/app", job_id=str(number), succeeded=True, duration=1)
    await result(resolver.close())
    assert len(outcomes(server)) == 1200
    async with contextlib.AsyncExitStack():
        resolver.report(found, C, repo="acme/app", succeeded=True, duration=1)
    assert resolver.status().reports == rampd.Reports(sent=1200, dropped=1)


async def test_close_does_not_wait_for_a_server_that_hangs(
    resolver: Any, server: ScriptedServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report_thread, "_CALL_S", 1.0)
    server.answers["ReportOutcomes"] = [server.hang]
    async with block(resolver):
        pass
    began = time.monotonic()
    await result(resolver.close())
    assert time.monotonic() - began < 50
    assert resolver.status().reports.dropped == 1
    # The thread that reports may be the one that says so.
    await until(lambda: "1 outcome could not be sent" in caplog.text)


async def test_both_modes_report_to_a_real_server(target: str, call: Stubs) -> None:
    call("Release", component=C, tag="t1")
    with Resolver(target) as local, Resolver(target, mode="rpc") as rpc:
        for resolver in (local, rpc):
            with resolver.job(C, repo="acme/app") as job:
                assert job.tag == "t1"
            await until(lambda resolver=resolver: resolver.status().reports.sent == 1)
    jobs = [outcomes.other_jobs for outcomes in call("GetRollout", component=C).rollout.outcomes]
    assert jobs == [2]


# From 3.12 on, Python warns about every fork in a process with threads. These tests expect an empty standard error.
QUIET = ("-W", "ignore::DeprecationWarning")
BEGIN = """
    import os, sys
    from rampd import Resolver
    from rampd._reporting import report_thread

    report_thread.FLUSH_S = report_thread._CALL_S = 50.0  # a busy machine needs more time than users give
    resolver = Resolver(sys.argv[1], mode="rpc", timeout=50)

    def work(number):
        with resolver.job("restyler", repo="acme/app", job_id=str(number)):
            pass
"""
ENDS = {
    "the interpreter's end": ("work(1)", ["1"]),
    "a child's close": (
        """
    work(1)
    child = os.fork()
    if not child:
        work(2)
        resolver.close()
        os._exit(0)
    os.waitpid(child, 0)
    work(3)
    """,
        ["1", "2", "3"],
    ),
    "the end of a multiprocessing worker": (
        """
    import multiprocessing
    work(1)
    worker = multiprocessing.get_context("fork").Process(target=work, args=(2,))
    worker.start()
    worker.join()
    """,
        ["1", "2"],
    ),
    "the garbage collection of a resolver": (
        """
    work(1)
    del resolver
    """,
        ["1"],
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_waiting_outcomes_are_sent_at(end: str, server: ScriptedServer) -> None:
    code, expected = ENDS[end]
    done = subprocess.run(
        [sys.executable, *QUIET, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(code), server.target],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert sorted(each.job_id for each in outcomes(server)) == expected
    clients = {batch.client_id for batch in server.requests("ReportOutcomes")}
    assert len(clients) == (2 if "2" in expected else 1)


def refuse_to_start(thread: threading.Thread, *, start: Callable[..., None] = threading.Thread.start) -> None:
    if thread.name == "rampd-report":
        raise RuntimeError("can't start new thread")
    start(thread)


async def test_a_thread_that_can_not_be_started_loses_no_report_and_is_tried_again(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(server.target, mode="rpc")
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse_to_start)
        for number in range(3):
            with resolver.job(C, repo="acme/app", job_id=str(number)):
                pass
            assert "can't start new thread" in resolver.status().reports.error
        assert resolver.status().reports.buffered == 3
    with resolver.job(C, repo="acme/app", job_id="3"):
        pass
    await until(lambda: resolver.status().reports.sent == 4)
    assert sorted(each.job_id for each in outcomes(server)) == ["0", "1", "2", "3"]
    resolver.close()


async def test_status_starts_a_reporting_thread_that_died(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    resolver = Resolver(server.target, mode="rpc")
    with resolver.job(C, repo="acme/app", job_id="1"):
        pass
    await until(lambda: resolver.status().reports.sent == 1)
    worker = resolver._reporter._worker  # type: ignore[attr-defined]
    dead = worker._thread

    def fail() -> float:
        raise SystemExit

    with monkeypatch.context() as patched:
        patched.setattr("rampd._runtime.daemon_thread.AGAIN_AFTER_S", "no pause")  # so that the restart fails, too
        patched.setattr(threading, "excepthook", lambda _: None)
        patched.setattr(resolver._reporter._reporting, "pause_s", fail)  # type: ignore[attr-defined]
        resolver._reporter._wake()  # type: ignore[attr-defined]
        await until(lambda: not dead.is_alive())
    resolver._reporter._reporting.add(  # type: ignore[attr-defined]
        rampd._reporting.outcome_buffer.Outcome(C, "acme/app", "2", resolver.resolve(C, repo="acme/app"), True, 0.1)
    )
    await until(lambda: resolver.status().reports.sent == 2)
    assert worker._thread is not dead
    resolver.close()


async def test_an_error_while_reporting_fails_no_job(
    resolver: Any, server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bool:
        raise MemoryError

    answer = await result(resolver.resolve(C, repo="acme/app"))
    monkeypatch.setattr(rampd._reporting.outcome_buffer.OutcomeBuffer, "add", fail)
    async with block(resolver):
        pass
    resolver.report(answer, C, repo="acme/app", succeeded=True, duration=1.0)
    assert caplog.text.count("an outcome was not taken in") == 2


async def test_only_the_outcome_that_can_not_be_encoded_is_dropped(resolver: Any, server: ScriptedServer) -> None:
    answer = await result(resolver.resolve(C, repo="acme/app"))
    unknown = rampd.Resolution(dataclasses.replace(answer.decision, reason="OF_ANOTHER_VERSION"), revision=7)
    for job_id, resolution in (("1", answer), ("2", unknown), ("3", answer)):
        resolver.report(resolution, C, repo="acme/app", job_id=job_id, succeeded=True, duration=1.0)
    await until(lambda: len(outcomes(server)) == 2)
    assert [each.job_id for each in outcomes(server)] == ["1", "3"]
    await until(lambda: resolver.status().reports.sent == 2)
    assert resolver.status().reports == rampd.Reports(sent=2, dropped=1)


SIGNALS = """
    import signal, time
    answer = resolver.resolve("restyler", repo="acme/app")

    def report(*_):
        resolver.report(answer, "restyler", repo="acme/app", succeeded=True, duration=0.1)
        if _ and time.monotonic() < ends:
            signal.setitimer(signal.ITIMER_REAL, 0.00005)

    ends = time.monotonic() + 2
    signal.signal(signal.SIGALRM, report)
    signal.setitimer(signal.ITIMER_REAL, 0.0002)
    while time.monotonic() < ends:
        report()
    signal.setitimer(signal.ITIMER_REAL, 0)
    resolver.close()
    print("ended")
"""


def test_an_outcome_that_comes_while_another_one_is_taken_in_is_taken_in_too() -> None:
    """Given a signal handler that reports while its thread holds the lock, expect both outcomes. The clock is asked with the lock
    held.
    """
    outcome = Outcome(C, "acme/app", "1", FixedResolver({C: "t1"}).resolve(C, repo="acme/app"), True, 0.1)
    came: list[bool] = []

    def clock() -> float:
        if not came:
            came.append(True)
            buffer.add(outcome)
        return 0.0

    buffer = outcome_buffer.OutcomeBuffer(clock=clock)
    thread = threading.Thread(target=buffer.add, args=(outcome,), daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    assert buffer.status().buffered == 2


def test_a_signal_handler_can_report_while_its_thread_is_reporting(server: ScriptedServer) -> None:
    done = subprocess.run(
        [sys.executable, *QUIET, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(SIGNALS), server.target],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "ended\n", done.stderr


FORKS = """
    import threading
    stop = threading.Event()

    def go_on():
        number = 0
        while not stop.wait(0.001):
            number += 1
            work(f"parent-{number}")

    thread = threading.Thread(target=go_on)
    thread.start()
    codes = []
    for number in range(100):
        child = os.fork()
        if not child:
            work(f"child-{number}")
            resolver.close()
            os._exit(0)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    stop.set()
    thread.join()
    resolver.close()
    print([code for code in codes if code], resolver.status().reports.dropped)
"""


@pytest.mark.timeout(400)
def test_a_hundred_children_report_while_the_parent_reports(server: ScriptedServer) -> None:
    done = subprocess.run(
        [sys.executable, *QUIET, "-c", textwrap.dedent(BEGIN) + textwrap.dedent(FORKS), server.target],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert (done.stdout, done.stderr) == ("[] 0\n", "")
    reported = [each.job_id for each in outcomes(server)]
    assert {f"child-{number}" for number in range(100)} <= set(reported)
    assert len(reported) == len(set(reported))
