"""OpenFeature's own providers ask a real server through its whole story: what each of them answers, also while rampd is away."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from rampd import v1
from tests.ports import free_port
from tests.rpc.access_table import Tokens, send
from tests.servers import ServerProcess, Stubs, rampd_server, require, stubs
from tests.stores import VALKEY, store_server
from tests.waiting import PATIENCE_S, eventually

pytestmark = pytest.mark.timeout(600)

SOURCES = Path(__file__).parent / "openfeature"
DOCUMENT = (Path(__file__).parents[2] / "docs/openfeature.md").read_text()
C = "restyler"
MINE = "mine"
TIMEOUT_MS = 500
"""How long a provider waits for a server that hangs."""
PATIENT_MS = 60_000
"""How long it waits for a server that is only busy."""
NO_STORE = "redis://127.0.0.1:1"
"""Nothing listens there, so a server with it has no state."""
NPM = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefer-offline")
GO_PROVIDER = "github.com/open-feature/go-sdk-contrib/providers/ofrep"

Folder = Callable[[str], Path]


@dataclass
class Asker:
    """A running program that asks a provider."""

    process: "subprocess.Popen[str]"

    def __call__(self, repo: str | None = "acme/app", component: str = C, **more: object) -> dict[str, Any]:
        """The answer for a job of `repo`, as the SDK gives it."""
        context = more if repo is None else {"targetingKey": repo, **more}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(
            json.dumps({"component": component, "default": MINE, "context": context}),
            file=self.process.stdin,
            flush=True,
        )
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        # JavaScript leaves out what is not defined.
        return {"variant": None, "errorCode": None, "errorMessage": None} | answer


@contextlib.contextmanager
def asker(
    command: Sequence[str], folder: Path, url: str, token: str = "", *, timeout_ms: int = PATIENT_MS
) -> Iterator[Asker]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("RAMPD_", "OFREP_"))}
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=bare | {"OFREP_ENDPOINT": url, "RAMPD_TOKEN": token, "TIMEOUT_MS": str(timeout_ms)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Asker(process)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Gives the folder of a language with what it needs."""
    made: dict[str, Path] = {}

    def ready(name: str) -> Path:
        if name not in made:
            folder = shutil.copytree(SOURCES, tmp_path_factory.mktemp(name) / "asks")
            PREPARED[name](folder)
            made[name] = folder
        return made[name]

    return ready


def with_npm(folder: Path) -> None:
    for program in ("node", "npm"):
        require(program)
    done = subprocess.run(NPM, cwd=folder, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        if "CI" in os.environ:
            pytest.fail(f"CI must be able to do this: {done.stderr}")
        pytest.skip(f"npm ci failed: {done.stderr}")


def with_go(folder: Path) -> None:
    """Skips also in CI: not every mirror of Go's modules has the provider, and no other test needs it."""
    require("go")
    for command in (("mod", "init", "ask"), ("get", GO_PROVIDER), ("mod", "tidy"), ("build", "-o", "ask", "ask.go")):
        done = subprocess.run(["go", *command], cwd=folder, capture_output=True, text=True, check=False, timeout=300)
        if done.returncode:
            pytest.skip(f"go {' '.join(command)} failed: {done.stderr}")


PREPARED: dict[str, Callable[[Path], object]] = {
    "python": lambda _folder: None,
    "javascript": with_npm,
    "go": with_go,
    "web": with_npm,
}
COMMANDS = {
    "python": (sys.executable, "ask.py"),
    "javascript": ("node", "ask.js"),
    "go": ("./ask",),
    "web": ("node", "ask_web.js"),
}


@dataclass
class Place:
    """A data directory, and the servers that run on it one after another, at the same address."""

    directory: Path
    flags: tuple[str, ...] = ()
    port: int = field(default_factory=free_port)
    servers: list[ServerProcess] = field(default_factory=list)

    @contextlib.contextmanager
    def serving(self, *flags: str) -> Iterator[ServerProcess]:
        with rampd_server(self.directory, "--http", f"127.0.0.1:{self.port}", *self.flags, *flags) as server:
            eventually(lambda: httpx.get(f"{self.url}/healthz").status_code == 200, suppressed=httpx.HTTPError)
            yield server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture
def place(directory: Path) -> Place:
    return Place(directory, ("--insecure-admin",))


@pytest.fixture(params=["python", "javascript", "go"])
def language(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def short(answer: dict[str, Any]) -> tuple[Any, ...]:
    return answer["value"], answer["variant"], answer["reason"]


def fails(answer: dict[str, Any], code: str, says: str = "") -> bool:
    return (answer["value"], answer["errorCode"], answer["reason"]) == (MINE, code, "ERROR") and says in answer[
        "errorMessage"
    ]


def test_a_provider_tells_the_whole_story(place: Place, language: str, folder: Folder) -> None:
    with (
        place.serving() as server,
        stubs(server.target) as call,
        asker(COMMANDS[language], folder(language), place.url) as ask,
    ):
        assert fails(ask(), "FLAG_NOT_FOUND", C if language == "go" else f"There is no component {C}.")
        call("Release", component=C, tag="t1", attributes={"commit": "1a"})
        answer = ask()
        assert short(answer) == ("t1", "current", "STATIC")
        assert not answer["errorCode"]
        age_s = answer["metadata"].pop("snapshot_age_s")
        assert 0 <= age_s < 60
        assert answer["metadata"] == {
            "release": 1,
            "revision": 1,
            "rampd_reason": "STEADY",
            "stale": age_s >= 5,
            "channel": "current",
            "attribute.commit": "1a",
        }
        call("Release", component=C, tag="t2")
        call("Ramp", component=C, percent=50)
        follows_the_ramp(ask, call)
        call("SetOverride", component=C, repo="acme/next", channel=v1.CHANNEL_NEXT)
        call("SetOverride", component=C, repo="acme/mine", tag="pb/x")
        assert short(ask("acme/next")) == ("t2", "next", "TARGETING_MATCH")
        assert short(ask("acme/mine")) == ("pb/x", "pb/x", "TARGETING_MATCH")
        call("Rollback", component=C)
        for number in range(20):
            assert short(ask(f"acme/app-{number}")) == ("t1", "current", "SPLIT")
        assert fails(ask(None), "TARGETING_KEY_MISSING", "the repo that the job is for")
        assert fails(ask("no repo"), "INVALID_CONTEXT", "targetingKey (the repo)")
        assert fails(ask(job_id=42), "INVALID_CONTEXT", "job_id of the context must be a string")
        assert fails(ask(more="x" * 70_000), "INVALID_CONTEXT", "rampd reads at most 65536")
        assert short(ask(job_id="42", country={"code": ["CA", None]})) == ("t1", "current", "SPLIT")


def follows_the_ramp(ask: Asker, call: Stubs) -> None:
    seen = set()
    for number in range(20):
        repo = f"acme/app-{number}"
        expected = call("Resolve", component=C, repo=repo)
        answer = ask(repo)
        channel = "next" if expected.channel == v1.CHANNEL_NEXT else "current"
        assert short(answer) == (expected.tag, channel, "SPLIT")
        assert answer["metadata"]["bucket"] == expected.bucket
        seen.add(expected.tag)
    assert seen == {"t1", "t2"}


def test_a_provider_with_a_wrong_token_gives_the_default(directory: Path, language: str, folder: Folder) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("worker", "launcher")
    tokens.grant("may not", "launcher", 'deny = ["Resolve"]')
    tokens.grant("impatient", "launcher", "limits = { calls_per_s = 0.01, burst = 1 }")
    place = Place(directory, ("--access-file", str(tokens.path)))
    with place.serving():
        for name, code, says in (
            ("worker", "FLAG_NOT_FOUND", None),
            ("may not", "GENERAL", "forbidden"),
            ("", "GENERAL", "unauthorized"),
        ):
            with asker(COMMANDS[language], folder(language), place.url, tokens.of.get(name, "rampd_wrong")) as ask:
                answer = ask()
                assert fails(answer, code)
                if says is not None and language != "go":
                    assert answer["errorMessage"] == (says if language == "python" else "")
        with asker(COMMANDS[language], folder(language), place.url, tokens.of["impatient"]) as ask:
            codes = {ask()["errorCode"] for _ in range(4)}
            assert codes == {"FLAG_NOT_FOUND", "GENERAL"}
            if language != "go":
                # It makes no call.
                assert "evaluation paused due to TooManyRequests until" in ask()["errorMessage"]


def test_a_provider_gives_the_default_while_rampd_is_away_and_comes_back_by_itself(
    place: Place, language: str, folder: Folder
) -> None:
    with contextlib.ExitStack() as stack:
        with place.serving() as server:
            command = COMMANDS[language], folder(language), place.url
            ask = stack.enter_context(asker(*command, timeout_ms=TIMEOUT_MS))
            with stubs(server.target) as call:
                call("Release", component=C, tag="t1")
            eventually(lambda: short(ask()) == ("t1", "current", "STATIC"))
            server.process.send_signal(signal.SIGSTOP)
            answer = ask()
            assert fails(answer, "GENERAL")
            assert answer["ms"] >= TIMEOUT_MS * 0.9
            server.process.send_signal(signal.SIGCONT)
            eventually(lambda: ask()["value"] == "t1")
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
            for _ in range(2):
                answer = ask()
                assert fails(answer, "GENERAL")
        with place.serving():
            eventually(lambda: short(ask()) == ("t1", "current", "STATIC"))


def test_a_server_without_a_state_gives_no_answer_and_one_with_an_old_state_says_so(
    place: Place, language: str, folder: Folder
) -> None:
    with contextlib.ExitStack() as stack:
        with store_server(VALKEY) as store:
            place.flags = (*place.flags, "--redis-url", store.url, "--wait-for-store")
            server = stack.enter_context(place.serving())
            ask = stack.enter_context(asker(COMMANDS[language], folder(language), place.url))
            with stubs(server.target) as call:
                call("Release", component=C, tag="t1")
                call("Release", component=C, tag="t2")
                call("Ramp", component=C, percent=100)
            assert short(ask()) == ("t2", "next", "SPLIT")
            saved = place.directory
            eventually(lambda: any(b"t2" in path.read_bytes() for path in saved.glob("last-state-*")))
        # The store is down now.
        assert short(ask()) == ("t2", "next", "SPLIT")
        eventually(lambda: ask()["metadata"]["stale"])
        assert short(ask()) == ("t2", "next", "SPLIT")
        server.process.send_signal(signal.SIGKILL)
        server.process.wait()
        with place.serving():
            answer = ask()
            # It may have missed a rollback: nobody knows how old its state is.
            assert short(answer) == ("t1", "current", "UNKNOWN")
            assert (answer["metadata"]["rampd_reason"], answer["metadata"]["stale"]) == ("STALE", True)
        for path in saved.glob("last-state-*"):
            path.unlink()
        with place.serving():
            answer = ask()
            assert fails(answer, "GENERAL")
            assert ("The server has no state yet" in answer["errorMessage"]) == (language == "python")


# The examples of docs/openfeature.md

FENCES = {"python": "python", "javascript": "js", "go": "go"}


def example(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    return str(text)


def of_python(folder: Path, text: str) -> Sequence[str]:
    (folder / "example.py").write_text(text)
    return sys.executable, "example.py"


def of_javascript(folder: Path, text: str) -> Sequence[str]:
    (folder / "example.js").write_text(text)
    return "node", "example.js"


def of_go(folder: Path, text: str) -> Sequence[str]:
    (folder / "example.go").write_text(text)
    return "go", "run", "example.go"


EXAMPLES: dict[str, Callable[[Path, str], Sequence[str]]] = {
    "python": of_python,
    "javascript": of_javascript,
    "go": of_go,
}


def printed(command: Sequence[str], folder: Path, url: str, token: str) -> list[str]:
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("RAMPD_", "OFREP_"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env=bare | {"OFREP_ENDPOINT": url, "RAMPD_TOKEN": token},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_the_documented_example_of_each_language_prints_the_version(
    directory: Path, language: str, folder: Folder
) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("worker", "launcher")
    tokens.grant("ci", "ci")
    place = Place(directory, ("--access-file", str(tokens.path)))
    command = EXAMPLES[language](folder(language), example(FENCES[language]))
    with place.serving() as server, grpc.insecure_channel(server.target) as channel:
        send(channel, "Release", v1.ReleaseRequest(component=C, tag="20200301"), tokens.metadata("ci"))
        assert printed(command, folder(language), place.url, tokens.of["worker"]) == ["20200301 current STATIC"]
        default, error = printed(command, folder(language), place.url, "rampd_wrong")
        assert default.startswith("20200229 ")
        assert error.partition(" ")[0].endswith("GENERAL")
    default, error = printed(command, folder(language), place.url, "")
    assert default.startswith("20200229 ")
    assert error.partition(" ")[0].endswith("GENERAL")


def test_the_documented_curl_gets_an_answer(place: Place) -> None:
    require("curl")
    with place.serving() as server, stubs(server.target) as call:
        call("Release", component=C, tag="20200301")
        command = example("bash").replace("http://127.0.0.1:8080", place.url)
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True, timeout=60)
        assert json.loads(done.stdout)["value"] == "20200301"


# The provider for web pages


def until(ask: Asker, condition: Callable[[dict[str, Any]], object], repo: str = "acme/app") -> dict[str, Any]:
    """Asks until an answer is as expected. Returns it, with the statuses of all requests meanwhile."""
    statuses: list[int] = []
    end = time.monotonic() + PATIENCE_S
    while True:
        answer = ask(repo)
        statuses += answer["statuses"]
        if condition(answer):
            return answer | {"statuses": statuses}
        assert time.monotonic() < end, answer
        time.sleep(0.05)


def test_the_provider_for_pages_gets_all_flags_at_once_and_again_only_when_they_change(
    place: Place, folder: Folder
) -> None:
    with (
        place.serving() as server,
        stubs(server.target) as call,
        asker(COMMANDS["web"], folder("web"), place.url) as ask,
    ):
        call("Release", component=C, tag="t1")
        call("Release", component="other", tag="o1")
        answer = ask()
        assert (short(answer), answer["statuses"]) == (("t1", "current", "STATIC"), [200])
        assert "snapshot_age_s" not in answer["metadata"]
        assert ask(component="other")["value"] == "o1"
        assert ask(component="missing")["errorCode"] == "FLAG_NOT_FOUND"
        statuses: list[int] = []
        while len(statuses) < 20:
            time.sleep(0.1)
            statuses += ask()["statuses"]
        assert set(statuses) == {304}
        call("SetOverride", component=C, repo="acme/*", tag="pb/x")
        changed = until(ask, lambda answer: answer["value"] == "pb/x")
        assert changed["statuses"].count(200) == 1
        # Another repo is another context, and its flags come at once.
        assert ask("other/app")["value"] == "t1"


def test_the_provider_for_pages_keeps_its_flags_while_rampd_is_away(place: Place, folder: Folder) -> None:
    pinned = ("pb/x", "pb/x", "TARGETING_MATCH")
    with contextlib.ExitStack() as stack:
        with place.serving() as server:
            command = COMMANDS["web"], folder("web"), place.url
            # It asks once for its first flags, and gives no flag if that fails.
            ask = stack.enter_context(asker(*command, timeout_ms=4 * TIMEOUT_MS))
            with stubs(server.target) as call:
                call("Release", component=C, tag="t1")
                call("SetOverride", component=C, repo="acme/app", tag="pb/x")
            assert short(ask()) == pinned
            server.process.send_signal(signal.SIGSTOP)
            hangs = until(ask, lambda answer: answer["isStale"])
            assert (short(hangs), hangs["statuses"][-1]) == (pinned, 0)
            server.process.send_signal(signal.SIGCONT)
            until(ask, lambda answer: 304 in answer["statuses"])
            server.process.send_signal(signal.SIGKILL)
            server.process.wait()
        killed = until(ask, lambda answer: answer["isStale"])
        assert (short(killed), killed["statuses"][-1]) == (pinned, 0)
        # It keeps the flags of the repo before, and says nothing of it.
        answer = ask("other/app")
        assert (short(answer), answer["errorCode"]) == (pinned, None)
        with place.serving():
            assert short(until(ask, lambda answer: answer["value"] == "t1", "other/app")) == ("t1", "current", "STATIC")
        without_state = Place(place.directory / "without", (*place.flags, "--redis-url", NO_STORE), place.port)
        with without_state.serving():
            refused = until(ask, lambda answer: answer["isStale"] and 503 in answer["statuses"], "other/app")
            assert refused["value"] == "t1"


def test_the_provider_for_pages_gives_the_default_with_a_wrong_token_and_waits_when_over_the_limit(
    directory: Path, folder: Folder
) -> None:
    tokens = Tokens(directory / "access.toml")
    tokens.grant("may not", "launcher", 'deny = ["BatchResolve"]')
    tokens.grant("impatient", "launcher", "limits = { calls_per_s = 0.01, burst = 1 }")
    place = Place(directory, ("--access-file", str(tokens.path)))
    with place.serving() as server:
        # The socket of the data directory is for the owner of the server, who needs no token.
        with stubs(f"unix:{server.socket}") as call:
            call("Release", component=C, tag="t1")
        for token, status in (("rampd_wrong", 401), (tokens.of["may not"], 403)):
            with asker(COMMANDS["web"], folder("web"), place.url, token) as ask:
                answer = ask()
                assert fails(answer, "PROVIDER_FATAL")
                assert answer["statuses"] == [status]
        with asker(COMMANDS["web"], folder("web"), place.url, tokens.of["impatient"]) as ask:
            assert until(ask, lambda answer: 429 in answer["statuses"])["statuses"] == [200, 429]
            time.sleep(1)
            answer = ask()
            assert (answer["value"], answer["statuses"]) == ("t1", [])
