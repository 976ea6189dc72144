"""Runs the launcher of docs/launcher.md, unchanged, through a ramp, a kill of the server, and a kill of its Redis."""

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any
from urllib.parse import unquote

import pytest
import redis

from rampd._contract.grammar import TAG
from rampd._decision.bucketing import bucket
from rampd.errors import RampdError
from tests.authority import Authority
from tests.repeating import repeated
from tests.rpc.access_table import Tokens
from tests.servers import ServerProcess, Stubs, rampd_server, short_directory, stubs
from tests.stores import REDIS, StoreServer, store_server
from tests.waiting import eventually

DOCUMENT = Path(__file__).parents[2] / "docs/launcher.md"
C = "restyler"
WORKERS = 3
TIMEOUT_S = 1.0
"""The time-out of the resolver in the document."""
SCHEDULING_S = 29.0
"""How much a busy machine may add to a time-out."""
CLOCK_S = 0.5
"""The largest difference between the clocks of the writer and of the launcher, plus the time until a change arrives."""
JOBS_A_SECOND = 80
MORE = 60
"""How many jobs the test waits for in each of its four phases."""
AOF = {"appendonly": "yes", "appendfsync": "always"}


def the_launcher() -> str:
    [found] = [
        code for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "__main__" in code
    ]
    return str(found)


def the_ways_to_pass_a_tag() -> dict[str, Any]:
    [found] = [code for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "shlex" in code]
    names: dict[str, Any] = {}
    exec(found, names)
    return names


@dataclass(frozen=True, slots=True)
class Revision:
    """The state of a component from one moment on."""

    since_s: float
    current: str
    next: int
    basis_points: int

    def tag(self, repo: str) -> str:
        return f"t{self.next}" if self.next and bucket(C, self.next, repo) < self.basis_points else self.current


class Jobs:
    """The list of jobs, which a thread keeps filling, and the list of done jobs."""

    def __init__(self, client: "redis.Redis[str]") -> None:
        self._client = client
        self._chance = random.Random(4)
        self.pushed = 0

    def push(self) -> None:
        self.pushed += 1
        repo = f"acme/app-{self._chance.randrange(200)}"
        self._client.rpush("jobs", json.dumps({"id": str(self.pushed), "repo": repo}))

    def done(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._client.lrange("done", 0, -1)]

    def coming(self) -> AbstractContextManager[None]:
        return repeated(self.push, JOBS_A_SECOND)

    def wait_for_more(self) -> None:
        wanted = len(self.done()) + MORE
        eventually(lambda: len(self.done()) >= wanted)


@dataclass(frozen=True, slots=True)
class Place:
    """The directory and the addresses for the launchers of a test."""

    directory: Path
    jobs_url: str
    rampd: str

    @contextlib.contextmanager
    def launcher(self, *flags: str) -> Iterator["subprocess.Popen[str]"]:
        """Starts a launcher. It runs until the block ends, and must then end in order on SIGTERM."""
        arguments = (self.jobs_url, str(self.directory / "versions"), "--rampd", self.rampd, "--workers", str(WORKERS))
        process = subprocess.Popen(
            [sys.executable, str(self.directory / "launcher.py"), *arguments, *flags],
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            yield process
            process.terminate()
            _, said = process.communicate(timeout=60)
            assert process.returncode == 0, said
            assert said == ""
        finally:
            process.kill()
            process.communicate()


def versions(directory: Path) -> None:
    """Makes programs that print their version and their repo."""
    (directory / "versions").mkdir()
    for tag in ("t1", "t2"):
        program = directory / "versions" / tag
        program.write_text(f'#!/bin/sh\necho "{tag} $1"\n')
        program.chmod(0o755)


def history(call: Stubs) -> dict[int, Revision]:
    """Returns the state of the component at each revision, built from its history alone."""
    fields: dict[str, str] = {}
    found = {}
    for event in reversed(call("ListEvents", component=C, page_size=1000).events):
        fields.update((change.field, change.after) for change in event.changes)
        # In this test, release N has the tag tN.
        found[event.revision] = Revision(
            event.time.ToMilliseconds() / 1000,
            f"t{fields['current']}",
            int(fields.get("next") or 0),
            round(float(fields.get("next_percent") or 0) * 100),
        )
    return found


def was_in_force(job: dict[str, Any], revisions: dict[int, Revision]) -> bool:
    """Whether the revision in a job's answer was in force at some moment within the age of the answer."""
    began_s = revisions[job["revision"]].since_s
    ended_s = min(
        (each.since_s for number, each in revisions.items() if number > job["revision"]), default=float("inf")
    )
    first_s, last_s = job["asked"] - job["age"] - CLOCK_S, job["asked"] + job["waited"] + CLOCK_S
    return bool(began_s <= last_s and ended_s >= first_s)


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory() as path:
        (path / "launcher.py").write_text(the_launcher())
        versions(path)
        yield path


def serving(store: StoreServer, directory: Path) -> "contextlib.AbstractContextManager[ServerProcess]":
    return rampd_server(directory / "server", "--insecure-admin", "--redis-url", store.url)


def test_jobs_keep_running_the_right_version_while_everything_is_killed(
    directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given jobs that keep coming, expect that no job fails or waits, and that each runs a version that was right at its time."""
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as redis_runs, contextlib.ExitStack() as launchers:
        (directory / "redis").mkdir()
        own_redis = {"directory": directory / "redis", **AOF}
        store = redis_runs.enter_context(store_server(REDIS, **own_redis))
        queue = stack.enter_context(store_server(REDIS))
        client = stack.enter_context(redis.Redis.from_url(queue.url, decode_responses=True))
        server = stack.enter_context(serving(store, directory))
        server.event("serving")
        place = Place(directory, queue.url, f"unix:{server.socket}")
        jobs = Jobs(client)
        snapshot = ("--snapshot", str(directory / "rampd.snapshot"))
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            call("Release", component=C, tag="t2")
            launchers.enter_context(place.launcher(*snapshot))
            stack.enter_context(jobs.coming())
            jobs.wait_for_more()
            half = call("Ramp", component=C, percent=50).revision
            eventually(lambda: {job["tag"] for job in jobs.done()[-50:]} == {"t1", "t2"})

        server.stop(signal.SIGKILL)
        jobs.wait_for_more()
        store.signal(signal.SIGKILL)
        redis_runs.close()
        launchers.enter_context(place.launcher(*snapshot))
        launchers.enter_context(place.launcher("--fallback", "t1"))
        eventually(lambda: len({job["worker"] for job in jobs.done()}) == 3 * WORKERS)
        jobs.wait_for_more()
        eventually(lambda: {job["revision"] for job in jobs.done()[-100:]} >= {0, half})

        redis_runs.enter_context(store_server(REDIS, **own_redis))
        server = stack.enter_context(serving(store, directory))
        server.event("serving")
        with stubs(server.target) as call:
            for verb in ({"method": "Ramp", "percent": 80}, {"method": "Rollback"}):
                revision = call(component=C, **verb).revision
                eventually(lambda: len(workers_at(jobs, revision)) == 3 * WORKERS)  # noqa: B023
            revisions = history(call)
        jobs.wait_for_more()
        launchers.close()
        done = jobs.done()
        check(done, revisions)
        report(done, capsys)


def workers_at(jobs: Jobs, revision: int) -> set[int]:
    return {job["worker"] for job in jobs.done() if job["revision"] >= revision}


def check(done: list[dict[str, Any]], revisions: dict[int, Revision]) -> None:
    assert len(done) >= 4 * MORE
    ids = [job["id"] for job in done]
    assert len(set(ids)) == len(ids)
    for job in done:
        assert (job["code"], job["output"]) == (0, f"{job['tag']} {job['repo']}\n")
        assert job["waited"] < TIMEOUT_S + SCHEDULING_S
        if job["reason"] == "STALE":
            # A killed server does not know whether the state that it remembers is the last one. So it withholds next until it
            # has read the store.
            assert job["tag"] == revisions[job["revision"]].current, job
        elif job["revision"]:
            assert job["tag"] == revisions[job["revision"]].tag(job["repo"]), job
            assert was_in_force(job, revisions), (job, revisions)
        else:
            assert (job["tag"], job["reason"]) == ("t1", "FALLBACK")
    assert {"STEADY", "WEIGHT", "FALLBACK", "STALE"} >= {job["reason"] for job in done} >= {"WEIGHT", "FALLBACK"}


def report(done: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]) -> None:
    waits_ms = sorted(job["waited"] * 1000 for job in done)
    by_reason = {reason: sum(job["reason"] == reason for job in done) for reason in ("WEIGHT", "FALLBACK")}
    oldest_s = max(job["age"] for job in done if job["revision"])
    with capsys.disabled():
        print(
            f"\n{len(done)} jobs, none failed; waited for a version: p50 {quantiles(waits_ms, n=2)[0]:.3f} ms, "
            f"p99 {quantiles(waits_ms, n=100)[98]:.3f} ms, at most {waits_ms[-1]:.0f} ms; "
            f"the oldest answer was {oldest_s:.1f} s old; {by_reason}"
        )


@pytest.mark.parametrize(
    "tag", ["20200301", "@scope/pkg@1.2.3", "pkg==1.0", "feat(x)/y", "fix/#42~2", "a/../../b", "a=b~/c", "_#()"]
)
def test_every_tag_arrives_unchanged_in_each_way_of_the_document(tag: str, tmp_path: Path) -> None:
    assert TAG.matches(tag)
    ways = the_ways_to_pass_a_tag()
    worker = tmp_path / "worker"
    worker.write_text('#!/bin/sh\nprintf "%s\\n" "$#" "$1" "$TAG"\n')
    worker.chmod(0o755)
    path = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}

    def said(program: list[str], **variables: str) -> list[str]:
        return subprocess.check_output(program, env=path | variables, text=True).splitlines()

    assert said([str(worker), ways["argument"](tag)]) == ["1", f"--tag={tag}", ""]
    assert said([str(worker)], TAG=ways["variable"](tag)["TAG"]) == ["0", "", tag]
    assert said(["sh", "-c", ways["command"](tag)]) == ["1", f"--tag={tag}", ""]
    (tmp_path / ways["file_name"](tag)).touch()
    assert {each.name for each in tmp_path.iterdir()} == {"worker", ways["file_name"](tag)}
    assert unquote(ways["file_name"](tag)) == tag


def test_a_job_with_a_revision_that_was_not_in_force_is_noticed() -> None:
    revisions = {1: Revision(100.0, "t1", 0, 0), 2: Revision(110.0, "t1", 2, 10_000), 3: Revision(120.0, "t1", 2, 0)}
    at = [
        [
            was_in_force({"revision": number, "asked": asked, "age": 2.0, "waited": 0.0}, revisions)
            for number in (1, 2, 3)
        ]
        for asked in (105.0, 111.0, 115.0, 121.0, 130.0)
    ]
    assert at == [
        [True, False, False],
        [True, True, False],
        [False, True, False],
        [False, True, True],
        [False, False, True],
    ]
    assert [each.tag("acme/app") for each in revisions.values()] == ["t1", "t2", "t1"]


def test_a_launcher_with_a_token_goes_on_when_its_token_is_revoked_and_comes_back_with_another_one(
    directory: Path,
) -> None:
    """Given the resolver of the document, expect that a revoked token takes no version from its jobs, and a new file ends it."""
    [code] = [code for code in re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "ca_file" in code]
    authority, tokens = Authority(), Tokens(directory / "access.toml")
    certificate, key = authority.issue("localhost").write(directory, "server")
    file, ca = directory / "token", authority.write(directory)
    file.write_text(tokens.grant("first", "launcher"))
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(tokens.path))
    with rampd_server(directory / "s", *flags) as server:
        server.event("serving")
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component=C, tag="20200301")
        address = f"localhost:{server.target.rpartition(':')[2]}"
        for shown, here in (
            ("rampd.example.com:50051", address),
            ("/run/secrets/rampd", str(file)),
            ("/etc/rampd/ca.pem", str(ca)),
        ):
            assert code.count(shown) == 1
            code = code.replace(shown, here)
        names: dict[str, Any] = {}
        exec(code, names)
        with contextlib.closing(names["resolver"]) as resolver:
            # On a busy machine, the first state may come after the time-out of the document.
            eventually(lambda: resolver.resolve(C, repo="acme/app").tag == "20200301", suppressed=RampdError)
            tokens.grant("second", "launcher")
            tokens.revoke("first")
            eventually(lambda: "No grant of the access file has this token" in str(resolver.status().error))
            assert resolver.resolve(C, repo="acme/app").tag == "20200301"
            file.write_text(tokens.of["second"])
            eventually(lambda: resolver.status().connected)
        assert server.stop() == 0
