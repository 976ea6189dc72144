"""Runs the launchers of examples/ while they and the server are killed: jobs go on, and each outcome counts once."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from rampd._decision.bucketing import bucket
from tests.authority import Authority
from tests.ports import free_port
from tests.repeating import repeated
from tests.rpc.access_table import Tokens
from tests.servers import ServerProcess, Stubs, rampd_server, require, short_directory, stubs
from tests.waiting import eventually

pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[2]
C = "restyler"
JOBS_A_SECOND = 40
MORE = 40
"""How many jobs the story waits for in each of its phases."""
FALLBACK = "RESOLVE_REASON_FALLBACK"


@dataclass(frozen=True, slots=True)
class Language:
    """How the launcher of one language is started."""

    name: str
    needs: tuple[str, ...]
    starts: tuple[str, ...]
    variable_of_the_authority: str
    downloads: tuple[str, ...]


GO = Language("launcher-go", ("go",), ("./launcher-go",), "RAMPD_CA_FILE", ("go", "mod", "download"))
NODE = Language("launcher-node", ("node", "npm"), ("node", "launcher.js"), "NODE_EXTRA_CA_CERTS", ("npm", "ci"))


@dataclass(frozen=True, slots=True)
class Built:
    """A launcher that is ready to run."""

    language: Language
    folder: Path
    said: str
    """What the commands of its README printed."""


def commands(folder: Path) -> list[list[str]]:
    """Returns the commands of the README that make the launcher ready."""
    found = re.findall(r"^    (\S.*?)(?: +#.*)?$", (folder / "README.md").read_text(), re.MULTILINE)
    assert found[-1].startswith("RAMPD_SERVER=")
    return [command.split() for command in found[:-1]]


@pytest.fixture(scope="module", params=[GO, NODE], ids=lambda language: language.name)
def built(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The launcher, made ready in a folder of its own, with its neighbours of the repository that it reads."""
    language = request.param
    for program in language.needs:
        require(program)
    top = tmp_path_factory.mktemp(language.name)
    made_by_tools = shutil.ignore_patterns("gen", "node_modules", "launcher-go")
    folder = shutil.copytree(ROOT / "examples" / language.name, top / "examples" / language.name, ignore=made_by_tools)
    shutil.copytree(ROOT / "proto", top / "proto")
    shutil.copy(ROOT / "buf.yaml", top)
    download = run(language.downloads, folder)
    if download.returncode:
        if "CI" in os.environ:
            pytest.fail(f"CI must be able to do this: {download.stderr}")
        pytest.skip(f"{' '.join(language.downloads)} failed: {download.stderr}")
    said = ""
    for command in commands(folder):
        done = run(command, folder)
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        said += done.stdout
    return Built(language, folder, said)


def run(command: Sequence[str], folder: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(command, cwd=folder, env=environment(), capture_output=True, text=True, check=False)


def environment(**variables: str) -> dict[str, str]:
    """The programs of this environment, such as buf, and no settings of rampd."""
    bare = {name: value for name, value in os.environ.items() if not name.startswith("RAMPD_")}
    return bare | {"PATH": f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ['PATH']}"} | variables


@dataclass
class Place:
    """The folder of a launcher and what happens in it."""

    folder: Path
    pushed: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        (self.folder / "queue/jobs").mkdir(parents=True)
        (self.folder / "versions").mkdir()
        for tag in ("t1", "t2"):
            self.write_program(tag)

    def write_program(self, tag: str, before: str = "") -> None:
        program = self.folder / "versions" / quote(tag, safe="")
        program.write_text(f'#!/bin/sh\n{before}\necho "{tag} $1"\n')
        program.chmod(0o755)

    def push(self, repo: str = "") -> None:
        number = len(self.pushed) + 1
        name = f"{number:05}.json"
        draft = self.folder / "queue" / name
        draft.write_text(json.dumps({"id": str(number), "repo": repo or f"acme/app-{number % 100}"}))
        self.pushed.add(name)
        draft.rename(self.folder / "queue/jobs" / name)

    def run_one(self) -> dict[str, Any]:
        """Has one more job run. On a busy machine, it may be one for which the server does not answer in time."""
        self.push()
        name = max(self.pushed)
        eventually(lambda: name in self.done())
        return self.done()[name]

    def jobs_coming(self) -> AbstractContextManager[None]:
        return repeated(self.push, JOBS_A_SECOND)

    def names(self, place: str) -> list[str]:
        return sorted(path.name for path in (self.folder / "queue" / place).glob("[!.]*.json"))

    def done(self) -> dict[str, dict[str, Any]]:
        """Returns each job that has run, by its file."""
        found = {}
        # The later place last: a job that moves meanwhile is read in both, and is the same.
        for place in ("unreported", "done"):
            for name in self.names(place):
                with contextlib.suppress(FileNotFoundError):
                    found[name] = json.loads((self.folder / "queue" / place / name).read_text())
        return found

    def wait_for_more(self, count: int = MORE, **fields: str) -> None:
        """Waits for jobs that are not done yet and that will have these fields."""
        before = self.done().keys()
        eventually(
            lambda: (
                count <= sum(fields.items() <= job.items() for name, job in self.done().items() if name not in before)
            )
        )

    @property
    def batch(self) -> dict[str, Any]:
        return json.loads((self.folder / "queue/batch.json").read_text())

    @property
    def is_idle(self) -> bool:
        return not any(self.names(place) for place in ("jobs", "running", "unreported"))


@dataclass
class Launcher:
    """A launcher that runs, and what all launchers of a test have said."""

    built: Built
    place: Place
    server: str
    variables: dict[str, str] = field(default_factory=dict)
    said: Path = field(init=False)
    process: "subprocess.Popen[bytes] | None" = None

    def __post_init__(self) -> None:
        self.said = self.place.folder / "said"

    def start(self) -> None:
        with self.said.open("ab") as said:
            self.process = subprocess.Popen(
                [*self.built.language.starts, self.place.folder / "queue", self.place.folder / "versions"],
                cwd=self.built.folder,
                env=environment(RAMPD_SERVER=self.server, **self.variables),
                stderr=said,
                start_new_session=True,
            )

    def kill(self) -> None:
        self.end(signal.SIGKILL)

    def ctrl_c(self) -> None:
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)

    def ctrl_c_after(self, pause_s: float) -> None:
        """As a person does it: the launcher has time to take the one before."""
        self.ctrl_c()
        time.sleep(pause_s)

    def is_over(self) -> bool:
        assert self.process is not None
        return self.process.poll() is not None

    @property
    def stopped_with(self) -> int | None:
        return None if self.process is None else self.process.returncode

    def stop(self) -> None:
        assert self.end(signal.SIGTERM) == 0, self.said.read_text()

    def end(self, number: signal.Signals) -> int:
        assert self.process is not None
        assert self.process.poll() is None, self.said.read_text()
        self.process.send_signal(number)
        return self.process.wait(60)

    @property
    def ignored(self) -> set[str]:
        """The jobs whose outcomes the server did not count, as the launcher says."""
        return set(re.findall(r"the outcome of (\S+) is not counted", self.said.read_text()))


@pytest.fixture
def place() -> Iterator[Place]:
    with short_directory() as folder:
        yield Place(folder)


@contextlib.contextmanager
def launcher(built: Built, place: Place, server: str, **variables: str) -> Iterator[Launcher]:
    running = Launcher(built, place, server, variables)
    try:
        yield running
    finally:
        if running.process is not None:
            running.process.kill()
            running.process.wait()


@dataclass
class Site:
    """A server that can be killed and started again at the same address."""

    folder: Path
    port: int = field(default_factory=free_port)
    flags: tuple[str, ...] = ("--insecure-admin",)

    @contextlib.contextmanager
    def server(self) -> Iterator[ServerProcess]:
        with rampd_server(self.folder / "server", "--http", f"127.0.0.1:{self.port}", *self.flags) as running:
            running.event("serving")
            yield running

    def address(self, language: Language) -> str:
        return f"unix:{self.folder / 'server/rampd.sock'}" if language is GO else f"http://127.0.0.1:{self.port}"


def reported(place: Place) -> int:
    """Returns how many jobs have an outcome that counts: all but those for which a busy server did not answer in time."""
    return sum(bool(job["release"]) for job in place.done().values())


def counted(call: Stubs) -> int:
    """Returns the outcomes that the server has accepted, of all releases."""
    return sum(release.jobs for release in call("ListReleases", component=C).releases)


def right(job: dict[str, Any]) -> bool:
    """Whether a job that was drawn at 50 % ran the right version."""
    return job["tag"] == ("t2" if bucket(C, 2, job["repo"]) < 5000 else "t1")


def test_jobs_go_on_and_outcomes_count_once_while_the_launcher_and_the_server_are_killed(
    built: Built, place: Place, capsys: pytest.CaptureFixture[str]
) -> None:
    """Given jobs that keep coming, kill the launcher with and without a server, and the server. Expect that every job runs once
    in the end, and in the right version, and that the server has counted each outcome once.
    """
    site = Site(place.folder)
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as coming:
        running = stack.enter_context(launcher(built, place, site.address(built.language)))
        server = stack.enter_context(site.server())
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            running.start()
            coming.enter_context(place.jobs_coming())
            place.wait_for_more(reason="RESOLVE_REASON_STEADY")
            call("Release", component=C, tag="t2")
            half = call("Ramp", component=C, percent=50).revision
            for tag in ("t1", "t2"):
                place.wait_for_more(5, tag=tag, reason="RESOLVE_REASON_WEIGHT")
            for _ in range(3):
                running.kill()
                running.start()
                place.wait_for_more(10)

        server.stop(signal.SIGKILL)
        place.wait_for_more(reason=FALLBACK)
        running.kill()
        running.start()
        place.wait_for_more(reason=FALLBACK)

        server = stack.enter_context(site.server())
        place.wait_for_more(reason="RESOLVE_REASON_WEIGHT")
        coming.close()
        eventually(lambda: place.is_idle)
        running.stop()
        done = place.done()
        with stubs(server.target) as call:
            accepted = counted(call)
    assert done.keys() == place.pushed
    for job in done.values():
        assert (job["code"], job["output"]) == (0, f"{job['tag']} {job['repo']}\n"), job
        if job["reason"] == FALLBACK:
            assert (job["tag"], job["channel"], job["release"]) == ("t1", "CHANNEL_UNSPECIFIED", 0), job
        elif job["revision"] >= half and job["reason"] != "RESOLVE_REASON_STALE":
            assert job["reason"] == "RESOLVE_REASON_WEIGHT", job
            assert right(job), job
    reported = {name for name, job in done.items() if job["release"]}
    assert accepted == len(reported - running.ignored)
    assert len(running.ignored) < len(reported) / 4
    with capsys.disabled():
        fallbacks = sum(job["reason"] == FALLBACK for job in done.values())
        print(
            f"\n{built.language.name}: {len(done)} jobs, {fallbacks} of them while the server was away; {accepted} outcomes "
            f"counted, {len(running.ignored)} ignored"
        )


def test_a_batch_that_was_taken_right_before_a_kill_is_sent_again_and_counts_once(built: Built, place: Place) -> None:
    """Given a launcher that is killed between the server's answer and its own note of it, expect no outcome twice."""
    site = Site(place.folder)
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(site.server())
        running = stack.enter_context(launcher(built, place, site.address(built.language)))
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            for _ in range(20):
                place.push()
            running.start()
            eventually(lambda: len(place.names("done")) == 20)
            running.stop()
            assert counted(call) == (first := reported(place)) > 0
            taken = place.batch
            assert taken["acknowledged"]
            (place.folder / "queue/batch.json").write_text(json.dumps(taken | {"acknowledged": False}))
            place.push()
            running.start()
            eventually(lambda: len(place.names("done")) == 21)
            running.stop()
            assert place.batch["sequence"] == taken["sequence"] + reported(place) - first
            assert place.batch["client_id"] == taken["client_id"]
            assert counted(call) == reported(place)
    assert running.ignored == set()


def test_a_launcher_without_a_version_waits_for_one(built: Built, place: Place) -> None:
    """Given no server and no answer of earlier, expect that the job waits, and runs when there is a server."""
    site = Site(place.folder)
    with launcher(built, place, site.address(built.language)) as running:
        place.push()
        running.start()
        eventually(lambda: "no version of restyler is known, so the job waits" in running.said.read_text())
        assert place.done() == {}
        with site.server() as server:
            with stubs(server.target) as call:
                call("Release", component=C, tag="t1")
            eventually(lambda: len(place.names("done")) == 1)
            running.stop()


def test_a_launcher_that_knows_only_next_runs_nothing_while_rampd_is_away(built: Built, place: Place) -> None:
    """Given a rollout at 100 % from the first job on, expect that no job runs next without rampd, which may have been rolled
    back.
    """
    site = Site(place.folder)
    with launcher(built, place, site.address(built.language)) as running:
        with site.server() as server, stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            call("Release", component=C, tag="t2")
            call("Ramp", component=C, percent=100)
            place.push()
            running.start()
            eventually(lambda: place.is_idle)
        place.push()
        eventually(lambda: "so the job waits" in running.said.read_text())
        assert [job["tag"] for job in place.done().values()] == ["t2"]


def test_a_job_runs_although_its_version_cannot_be_kept(built: Built, place: Place) -> None:
    """Given a file of versions that cannot be written, expect that jobs run the right version, and that it is kept later."""
    site = Site(place.folder)
    kept = place.folder / "queue/answers.json"
    with launcher(built, place, site.address(built.language)) as running, site.server() as server:
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            place.push()
            running.start()
            eventually(lambda: place.is_idle)
            kept.unlink()
            kept.mkdir()
            (kept / "full").touch()
            call("Release", component=C, tag="t2")
            call("Finalize", component=C, force=True)
        eventually(lambda: place.run_one()["tag"] == "t2")
        eventually(lambda: "answers.json was not written" in running.said.read_text())
        shutil.rmtree(kept)
        eventually(
            lambda: place.run_one() and json.loads(kept.read_text())[C]["tag"] == "t2", suppressed=FileNotFoundError
        )


def test_a_wrong_job_waits_and_a_component_that_is_not_there_stops_no_job(built: Built, place: Place) -> None:
    site = Site(place.folder)
    with launcher(built, place, site.address(built.language)) as running, site.server() as server:
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            place.push()
            running.start()
            eventually(lambda: place.is_idle)
            place.push("no repo")
            for name, text in (("no-json", "{"), ("number", '{"id": 1, "repo": "acme/app"}')):
                (place.folder / f"queue/{name}.json").write_text(text)
                (place.folder / f"queue/{name}.json").rename(place.folder / f"queue/jobs/{name}.json")
            wrong = ["00002.json", "no-json.json", "number.json"]
            waits = [
                f"the job {place.folder}/queue/jobs/{n} is wrong, and waits until you correct or remove it"
                for n in wrong
            ]
            eventually(lambda: all(complaint in running.said.read_text() for complaint in waits))
            call("DeleteComponent", component=C, confirm=C)
        place.push()
        eventually(lambda: "00003.json" in place.names("done"))
        eventually(lambda: place.run_one() and "There is no component restyler." in running.said.read_text())
        running.stop()
        assert place.done()["00003.json"]["reason"] == FALLBACK
        assert place.names("jobs") == wrong
        assert running.said.read_text().count("is wrong, and waits") == len(wrong)
        assert f"runs jobs of {C} from {place.folder}/queue/jobs" in running.said.read_text()


def test_ctrl_c_ends_no_job_and_no_job_prints_too_much(built: Built, place: Place) -> None:
    """Given a job that prints 2 MiB and takes its time, and Ctrl-C at a terminal, which reaches the whole process group, expect
    that the job is finished and counts as a success, and that the next Ctrl-C does not wait for the job.
    """
    site, began, over = Site(place.folder), place.folder / "began", place.folder / "over"
    waits = f"touch {began}; for n in $(seq 300); do [ -e {over} ] && break; sleep 0.1; done"
    place.write_program("t1", f"head -c 2097152 /dev/zero | tr '\\0' x; {waits}")
    with launcher(built, place, site.address(built.language)) as running, site.server() as server:
        with stubs(server.target) as call:
            call("Release", component=C, tag="t1")
            place.push()
            running.start()
            eventually(began.exists)
            running.ctrl_c()
            over.touch()
            eventually(running.is_over)
            assert running.stopped_with == 0
            (release,) = call("ListReleases", component=C).releases
        (job,) = place.done().values()
        assert (job["code"], len(job["output"])) == (0, 2097152 + len("t1 acme/app-1\n"))
        assert (release.jobs, release.failures) == (1, 0)

        began.unlink()
        over.unlink()
        place.push()
        running.start()
        eventually(began.exists)
        eventually(lambda: running.is_over() or running.ctrl_c_after(0.5))
        assert running.stopped_with == -signal.SIGINT
        assert place.names("running") == ["00002.json"]
        over.touch()


def test_a_tag_of_any_characters_is_one_file_name(built: Built, place: Place) -> None:
    site, tag = Site(place.folder), "@feat(x)/../y:z+1=2#3~4"
    place.write_program(tag)
    with launcher(built, place, site.address(built.language)) as running, site.server() as server:
        with stubs(server.target) as call:
            call("Release", component=C, tag=tag)
        place.push()
        running.start()
        eventually(lambda: place.is_idle)
        (job,) = place.done().values()
        assert (job["code"], job["output"]) == (0, f"{tag} acme/app-1\n")


def test_a_launcher_shows_its_token_over_tls(built: Built, place: Place) -> None:
    authority, tokens = Authority(), Tokens(place.folder / "access.toml")
    certificate, key = authority.issue("localhost", "127.0.0.1").write(place.folder, "server")
    token = tokens.grant("launcher", "launcher")
    flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(tokens.path))
    site = Site(place.folder, flags=flags)
    trusts = {built.language.variable_of_the_authority: str(authority.write(place.folder))}
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(site.server())
        # The socket of the data directory is for the owner of the server, who needs no token.
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component=C, tag="t1")
            port = server.target.rpartition(":")[2] if built.language is GO else site.port
            address = f"https://localhost:{port}"
            with launcher(built, place, address, **trusts) as running:
                place.push()
                running.start()
                eventually(lambda: "so the job waits" in running.said.read_text())
                running.kill()
            with launcher(built, place, address, RAMPD_TOKEN=token, **trusts) as running:
                running.start()
                eventually(lambda: len(place.names("done")) == 1)
                running.stop()
            assert counted(call) == 1


@pytest.mark.parametrize(
    ("variables", "complaint"),
    [
        ({}, "RAMPD_SERVER"),
        (
            {"RAMPD_SERVER": "{}rampd.example.com:50051", "RAMPD_TOKEN": "secret-token"},
            "not sent in the clear to another machine: RAMPD_SERVER=https://rampd.example.com:50051",
        ),
    ],
    ids=["no server", "a token in the clear"],
)
def test_a_launcher_refuses_wrong_settings(
    built: Built, place: Place, variables: dict[str, str], complaint: str
) -> None:
    plain = "" if built.language is GO else "http://"
    given = {name: value.format(plain) for name, value in variables.items()}
    done = subprocess.run(
        [*built.language.starts, place.folder / "queue", place.folder / "versions"],
        cwd=built.folder,
        env=environment(**given),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in {1, 2}
    assert complaint in done.stderr
    assert "secret-token" not in done.stderr


def test_each_language_gets_the_published_buckets_and_decisions(built: Built) -> None:
    """Given the tests of the example, which read the vectors, expect that they ran."""
    passed = r"^ok\s+example.com/launcher-go/decision\b" if built.language is GO else r"^\S+ pass 2$"
    assert re.search(passed, built.said, re.MULTILINE), built.said
