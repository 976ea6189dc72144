"""Runs the recipes of docs/ci.md, unchanged, against a real server: green builds, red builds, and restarts."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from tests.servers import ServerProcess, rampd_server, require, stubs
from tests.stores import REDIS, store_server

C = "restyler"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "ci.md").read_text()
RECIPES = {
    "release.sh": ("bash", re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)),
    "release.py": (sys.executable, re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)),
}


@pytest.fixture
def server(directory: Path) -> Iterator[ServerProcess]:
    with rampd_server(directory, "--insecure-admin") as running:
        running.event("serving")
        prepare(running)
        yield running


def prepare(server: ServerProcess) -> None:
    with stubs(server.target) as call:
        call("Release", component=C, tag="20200301")


def plan(server: ServerProcess, *, hold_s: int = 1) -> None:
    steps = [v1.Step(percent=percent, hold=Duration(seconds=hold_s)) for percent in (5, 50)]
    with stubs(server.target) as call:
        call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))


@pytest.fixture(params=sorted(RECIPES))
def build(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[str], "subprocess.Popen[str]"]]:
    """Starts a build that releases 20200409 with a recipe. The build ends with the test."""
    program, [script] = RECIPES[request.param]
    if program == "bash":
        for needed in ("grpcurl", "jq"):
            require(needed)
    path = tmp_path / request.param
    made: list[subprocess.Popen[str]] = []

    def start(target: str, *, tag: str = "20200409", patience_s: int = 300) -> "subprocess.Popen[str]":
        assert script.count("300") == 1
        path.write_text(script.replace("300", str(patience_s)))
        environment = os.environ | {"RAMPD": target, "TAG": tag, "BUILD_ID": "gh-1234", "TMPDIR": str(tmp_path)}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        made.append(subprocess.Popen([program, str(path)], env=environment, **output))
        return made[-1]

    yield start
    for process in made:
        process.kill()
        process.communicate()


def wait_until_next(server: ServerProcess) -> None:
    """Waits until the build has released its tag."""
    end = time.monotonic() + 30
    with stubs(server.target) as call:
        while call("GetRollout", component=C).rollout.next.tag != "20200409":
            assert time.monotonic() < end
            time.sleep(0.05)


def test_a_build_is_green_when_everybody_gets_its_release(server: ServerProcess, build) -> None:
    plan(server)
    process = build(server.target)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert output.rstrip().endswith("Everybody gets 20200409.")
    again = build(server.target)
    assert (again.communicate(timeout=60), again.returncode)[1] == 0


def test_a_build_is_red_when_its_release_is_rolled_back_and_says_why(server: ServerProcess, build) -> None:
    process = build(server.target)
    wait_until_next(server)
    with stubs(server.target) as call:
        call("Rollback", component=C, note="errors everywhere")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "rolled back by anonymous: errors everywhere" in output


def test_a_build_is_red_when_automation_pauses_its_release_and_says_why(server: ServerProcess, build) -> None:
    """The server has no source for checks, so that the check gets no answer."""
    with stubs(server.target) as call:
        check = v1.Check(name="slow", query="up", max=1, interval=Duration(seconds=1), errors_allowed=0)
        call("SetPolicy", component=C, policy=v1.Policy(checks=[check]))
    process = build(server.target)
    wait_until_next(server)
    with stubs(server.target) as call:
        call("Ramp", component=C, percent=5)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "Paused by rampd: The check slow got no answer" in output


def test_a_build_survives_a_restart_of_the_server(directory: Path, build) -> None:
    """Given a server that stops while a build waits and starts again on its port, expect a green build."""
    with store_server(REDIS, directory=directory, appendonly="yes") as store:
        flags = ("--insecure-admin", "--redis-url", store.url)
        with rampd_server(directory / "s", *flags) as server:
            server.event("serving")
            prepare(server)
            target = server.target
            process = build(target)
            wait_until_next(server)
            time.sleep(1)
        time.sleep(3)  # so that the recipe tries again while no server is there
        assert process.poll() is None
        # `--listen` is given twice; the last one is used.
        with rampd_server(directory / "s", *flags, "--listen", target) as server:
            server.event("serving")
            plan(server)
            with stubs(server.target) as call:
                call("Resume", component=C)
            output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output


def test_a_build_that_begins_while_the_server_is_away_is_green_when_it_is_back(directory: Path, build) -> None:
    """Given a server that is stopped when a build releases its tag, expect one release, and a green build."""
    with store_server(REDIS, directory=directory, appendonly="yes") as store:
        flags = ("--insecure-admin", "--redis-url", store.url)
        with rampd_server(directory / "s", *flags) as server:
            server.event("serving")
            prepare(server)
            plan(server)
            target = server.target
        process = build(target)
        with pytest.raises(subprocess.TimeoutExpired):  # the build tries again
            process.wait(8)
        with rampd_server(directory / "s", *flags, "--listen", target) as server:
            server.event("serving")
            output, _ = process.communicate(timeout=90)
            with stubs(target) as call:
                assert [release.tag for release in call("ListReleases", component=C).releases] == [
                    "20200409",
                    "20200301",
                ]
    assert process.returncode == 0, output


def test_a_build_gives_up_on_a_server_that_does_not_come_back(build) -> None:
    with socket.socket() as taken:  # bound but not listening: nothing answers, and no other program can take the port
        taken.bind(("127.0.0.1", 0))
        process = build(f"127.0.0.1:{taken.getsockname()[1]}", patience_s=3)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "refused" in output


@pytest.mark.parametrize(
    "tag",
    [
        'x", "expedite": true, "note": "y',
        '20200409"',
        "$(touch here)`id`",
        "back\\slash",
        "two\nlines",
        "-d",
        "",
    ],
)
def test_a_tag_with_special_characters_is_passed_as_a_value(server: ServerProcess, build, tag: str) -> None:
    """Given tags that would end a JSON string or a shell word early, expect a refusal that names the tag, and no release."""
    process = build(server.target, tag=tag)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "tag: " in output
    with stubs(server.target) as call:
        assert [release.tag for release in call("ListReleases", component=C).releases] == ["20200301"]


def test_a_build_that_is_run_again_with_another_tag_is_refused(server: ServerProcess, build) -> None:
    plan(server)
    assert build(server.target).wait(60) == 0
    process = build(server.target, tag="20200415")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 1, output
    assert "The request id gh-1234 was used for a Release that differs in tag." in output


def test_the_workflows_check_the_host_key_and_take_values_from_the_environment() -> None:
    for workflow in re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL):
        [tunnel] = re.findall(r"ssh -f .*?rampd\.sock", workflow, re.DOTALL)
        assert "-o UserKnownHostsFile=" in tunnel
        assert "-o StrictHostKeyChecking=yes" in tunnel
        # The shell would interpret what CI puts into a script. So values must come from the environment.
        script = "\n".join(line for line in workflow.splitlines() if not re.match(r" +[A-Z_]+: ", line))
        assert "${{" not in script


def test_the_workflows_run_the_recipes_and_nothing_else() -> None:
    workflows = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)
    assert len(workflows) == 2
    for workflow in workflows:
        assert set(re.findall(r"release\.(?:sh|py)", workflow)) == set(RECIPES)
        assert {"RAMPD", "TAG", "BUILD_ID"} <= set(re.findall(r"^ +([A-Z_]+):", workflow, re.MULTILINE))
