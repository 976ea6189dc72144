"""A fleet of workers, two servers and a Redis. A good release goes out by itself. A bad release is rolled back by itself. Its fix
goes out while a server and Redis are killed. The test prints the history.
"""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import grpc
import pytest

from rampd import Admin, ReleaseFailedError, v1
from tests.e2e.fleet_worker import COMPONENT
from tests.ports import free_ports
from tests.servers import rampd_server, short_directory, stubs
from tests.stores import REDIS, store_server
from tests.waiting import eventually

WORKERS = 8
STEPS = (5, 25, 50, 95)
AOF = {"appendonly": "yes", "appendfsync": "always"}
WAIT_S = 100.0


@contextlib.contextmanager
def worker(target: str, number: int) -> Iterator["subprocess.Popen[str]"]:
    arguments = [sys.executable, "-m", "tests.e2e.fleet_worker", target, str(number), str(WORKERS)]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def end(process: "subprocess.Popen[str]") -> tuple[int, int]:
    """Ends a worker. Returns how many jobs it ran, and how many of them got no version."""
    process.terminate()
    output, _ = process.communicate(timeout=60)
    jobs, lost = map(int, output.split())
    return jobs, lost


def policy() -> v1.Policy:
    # With this small alpha, no run of the test rolls a good release back by chance.
    made = v1.Policy(auto_start=True, auto_finalize=True, after_rollback=v1.AFTER_ROLLBACK_CONTINUE, alpha=1e-6)
    for percent in STEPS:
        step = made.steps.add(percent=percent, min_jobs=100)
        step.hold.FromMilliseconds(1500)
    return made


def waited_for(admin: Admin, release: int) -> v1.Release:
    """Waits for a release. The assignment check, whose alpha is always 0.001, pauses one rollout in a thousand by chance: a person then
    looks and resumes it. Raises ReleaseFailedError.
    """
    while True:
        try:
            return admin.wait_for_release(COMPONENT, release, timeout=WAIT_S)
        except ReleaseFailedError as error:
            if error.metadata.get("cause") != "ASSIGNMENT_CHECK":
                raise
            admin.resume(COMPONENT)


def as_line(event: v1.Event) -> str:
    changes = ", ".join(
        f"{change.field} {change.before or '-'} -> {change.after or '-'}"
        for change in event.changes
        if change.field in {"state", "current", "next", "next_percent", "quarantine"}
    )
    return f"{event.revision:3} {event.actor:6} {event.action:10} {changes}\n{'':21}{event.note}".rstrip()


def percents(events: list[v1.Event], release: int) -> list[float]:
    """Returns the percents of next, in order, while next was this release."""
    found, next_ = [], ""
    for event in events:
        for change in event.changes:
            if change.field == "next":
                next_ = change.after
        if next_ == str(release):
            found += [float(each.after) for each in event.changes if each.field == "next_percent"]
    return found


def test_a_fleet_rolls_releases_out_and_back_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as redis_runs:
        directory = stack.enter_context(short_directory())
        store = redis_runs.enter_context(store_server(REDIS, directory=directory, **AOF))
        flags = "--insecure-admin", "--redis-url", store.url
        targets = [f"127.0.0.1:{port}" for port in free_ports(2)]
        survivor, victim = (
            stack.enter_context(rampd_server(directory / name, *flags, "--listen", target))
            for name, target in zip("ab", targets, strict=True)
        )
        for server in (survivor, victim):
            server.event("serving")
        admin = stack.enter_context(Admin(targets[0], actor="ci", timeout=60))
        admin.release(COMPONENT, "20200301")
        admin.set_policy(COMPONENT, policy())
        with stubs(targets[1]) as call:
            eventually(lambda: call("Resolve", component=COMPONENT, repo="acme/app"), suppressed=grpc.RpcError)
        fleet = [stack.enter_context(worker(targets[number % 2], number)) for number in range(WORKERS)]

        good = admin.release(COMPONENT, "20200409").release
        assert waited_for(admin, good).state == v1.RELEASE_STATE_CURRENT

        bad = admin.release(COMPONENT, "bad-20200415").release
        fix = admin.release(COMPONENT, "20200416").release
        with pytest.raises(ReleaseFailedError) as failed:
            waited_for(admin, bad)
        assert failed.value.reason == "ABANDONED", failed.value

        victim.stop(signal.SIGKILL)
        stack.enter_context(rampd_server(directory / "b", *flags, "--listen", targets[1])).event("serving")
        store.signal(signal.SIGKILL)
        redis_runs.close()
        redis_runs.enter_context(store_server(REDIS, directory=directory, **AOF))
        assert waited_for(admin, fix).state == v1.RELEASE_STATE_CURRENT

        counts = [end(process) for process in fleet]
        events = list(reversed(list(admin.list_events(COMPONENT))))
        rollout = admin.get_rollout(COMPONENT)
        quarantined = [each.tag for each in admin.list_quarantine(COMPONENT)]

    with capsys.disabled():
        print("\n" + "\n".join(map(as_line, events)))
        print(f"{sum(jobs for jobs, _ in counts):,} jobs, {sum(lost for _, lost in counts)} without a version")
    assert [lost for _, lost in counts] == [0] * WORKERS
    assert (rollout.state, rollout.current.tag) == (v1.ROLLOUT_STATE_STEADY, "20200416")
    assert quarantined == ["bad-20200415"]
    assert percents(events, good) == percents(events, fix) == [0, *STEPS]
    assert {event.actor for event in events if event.action not in {"Release", "SetPolicy", "Resume"}} == {"rampd"}
