"""Runs the recipes of docs/ci.md, unchanged, against a real server that knows jobs by the grants of the document: green builds, red
builds, and restarts. A local issuer signs as GitHub and GitLab do.
"""

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd_server.access import access_file
from rampd_server.rpc.binding import NAMES
from tests.authority import Authority
from tests.ci_issuer import GITHUB_SUB, CiIssuer, ci_issuer
from tests.nights import by_day
from tests.oidc_issuer import GITHUB
from tests.ports import free_address
from tests.servers import ServerProcess, Stubs, rampd_server, require, stubs
from tests.stores import REDIS, store_server
from tests.waiting import eventually

C = "restyler"
DOCUMENT, _, POLICIES = (Path(__file__).parents[2] / "docs" / "ci.md").read_text().partition("\n## Policies in git\n")
[_WAIT, _RELEASE] = re.findall(r"```bash\n(.*?)```", DOCUMENT, re.DOTALL)
RECIPES = {
    "wait.sh": ("bash", [_WAIT]),
    "release.sh": ("bash", [_RELEASE]),
    "release.py": (sys.executable, re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)),
}
GRANTS = "\n".join(re.findall(r"```toml\n(.*?)```", DOCUMENT, re.DOTALL))
RED = {1, 4}
"""How a build ends that is not green. `rampd wait` says with 4 that the release ended badly."""
AUDIENCE = "rampd.example.com"
ISSUERS = {"GitHub": GITHUB, "GitLab": "https://gitlab.com"}


@dataclass
class Ci:
    """A server's access file and certificate, the issuers of its grants, and the builds that a test has started with one recipe."""

    directory: Path
    issuers: dict[str, CiIssuer]
    recipe: str
    host: str = "GitHub"
    builds: "list[subprocess.Popen[str]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        authority = Authority()
        self.ca = authority.write(self.directory)
        certificate, key = authority.issue("localhost", "127.0.0.1").write(self.directory, "server")
        access = self.directory / "access.toml"
        access.touch(mode=0o600)
        grants = self.grants()
        for host, address in ISSUERS.items():
            grants = grants.replace(address, self.issuers[host].name)
        access.write_text(grants)
        self.flags = ("--tls-cert", str(certificate), "--tls-key", str(key), "--access-file", str(access))

    @staticmethod
    def grants() -> str:
        assert all(GRANTS.count(f'"{address}"') == 1 for address in ISSUERS.values())
        return GRANTS

    def path(self) -> str:
        """The folders with programs, `rampd` first."""
        programs = self.directory / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "rampd").write_text(f'#!/bin/sh\nexec {sys.executable} -m rampd_cli "$@"\n')
        (programs / "rampd").chmod(0o755)
        return f"{programs}:{os.environ['PATH']}"

    @property
    def issuer(self) -> CiIssuer:
        return self.issuers[self.host]

    @contextlib.contextmanager
    def server(self, *flags: str) -> Iterator[ServerProcess]:
        with rampd_server(self.directory / "s", *self.flags, *flags) as running:
            running.event("serving")
            yield running

    def build(
        self, target: str, *, tag: str = "20200409", patience_s: int = 300, **changed: str
    ) -> "subprocess.Popen[str]":
        """Starts a build that releases a tag."""
        program, [script] = RECIPES[self.recipe]
        assert script.count("300") == 1
        path = self.directory / self.recipe
        path.write_text(script.replace("300", str(patience_s)))
        identity = self.issuer.job_on_github() if self.host == "GitHub" else self.issuer.job_on_gitlab(AUDIENCE)
        variables = {"RAMPD": target, "TAG": tag, "BUILD_ID": "gh-1234", "RAMPD_CA_FILE": str(self.ca)}
        variables["PATH"] = self.path()
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIONS_", "GIT", "RAMPD_"))}
        environment = kept | identity | variables | {"TMPDIR": str(self.directory)} | changed
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        self.builds.append(subprocess.Popen([program, str(path)], env=environment, **output))
        return self.builds[-1]


@pytest.fixture(params=sorted(RECIPES))
def ci(request: pytest.FixtureRequest, directory: Path) -> Iterator[Ci]:
    """Its builds end with the test."""
    for needed in {"wait.sh": ("jq", "curl"), "release.sh": ("grpcurl", "jq", "curl")}.get(request.param, ()):
        require(needed)
    with ci_issuer() as github, ci_issuer() as gitlab:
        made = Ci(directory, {"GitHub": github, "GitLab": gitlab}, request.param)
        yield made
        for process in made.builds:
            process.kill()
            process.communicate()


LONG = pytest.mark.parametrize("ci", by_day(sorted(RECIPES), 1), indirect=True)
"""By day, one recipe is enough for what takes long."""


@pytest.fixture
def server(ci: Ci) -> Iterator[ServerProcess]:
    with ci.server() as running:
        prepare(running)
        yield running


def admin(server: ServerProcess) -> "contextlib.AbstractContextManager[Stubs]":
    """All methods, over the socket that is the admin's."""
    return stubs(f"unix:{server.socket}")


def prepare(server: ServerProcess) -> None:
    with admin(server) as call:
        call("Release", component=C, tag="20200301")


def plan(server: ServerProcess, *, hold_s: int = 1) -> None:
    steps = [v1.Step(percent=percent, hold=Duration(seconds=hold_s)) for percent in (5, 50)]
    with admin(server) as call:
        call("SetPolicy", component=C, policy=v1.Policy(steps=steps, auto_start=True, auto_finalize=True))


def tags(server: ServerProcess) -> list[str]:
    """Of all releases, newest first."""
    with admin(server) as call:
        return [release.tag for release in call("ListReleases", component=C).releases]


def wait_until_next(server: ServerProcess) -> None:
    """Waits until the build has released its tag."""
    with admin(server) as call:
        eventually(lambda: call("GetRollout", component=C).rollout.next.tag == "20200409")


def finish(server: ServerProcess) -> None:
    """Makes the build's release current."""
    with admin(server) as call:
        call("Ramp", component=C, percent=50)
        call("Finalize", component=C)


@pytest.mark.parametrize(("host", "sub"), [*(("GitHub", form) for form in GITHUB_SUB), ("GitLab", "")])
def test_a_build_is_green_when_everybody_gets_its_release(server: ServerProcess, ci: Ci, host: str, sub: str) -> None:
    plan(server)
    ci.host = host
    if sub:
        ci.issuer.claims["sub"] = GITHUB_SUB[sub]
    process = ci.build(server.target)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output
    assert output.rstrip().endswith("Everybody gets 20200409.")
    again = ci.build(server.target)
    assert (again.communicate(timeout=60), again.returncode)[1] == 0
    with admin(server) as call:
        [release] = [event for event in call("ListEvents", component=C).events if event.action == "Release"][:1]
    assert release.actor == f"{host.lower()}-restyler (for gh-1234)"
    assert not release.actor_claimed


def test_a_job_of_another_kind_releases_nothing_and_hears_what_differs(server: ServerProcess, ci: Ci) -> None:
    for host, claims in (
        ("GitHub", {"repository_id": "456780"}),
        ("GitHub", {"ref": "refs/heads/topic"}),
        ("GitHub", {"event_name": "pull_request_target"}),
        ("GitHub", {"aud": "https://github.com/acme"}),
        ("GitLab", {"project_id": "21"}),
        ("GitLab", {"ref_path": "refs/tags/main", "ref_type": "tag"}),
        ("GitLab", {"ref_protected": "false"}),
    ):
        ci.host, ci.issuer.claims = host, dict(claims)
        process = ci.build(server.target)
        output, _ = process.communicate(timeout=100)
        assert process.returncode in RED, output
        assert f"It differs in {next(iter(claims))}: compare" in output
        assert tags(server) == ["20200301"]
        assert server.event("call_refused")["reason"] == "BAD_CREDENTIALS"


def test_a_job_without_an_identity_is_red_and_says_what_it_needs(server: ServerProcess, ci: Ci) -> None:
    process = ci.build(server.target, ACTIONS_ID_TOKEN_REQUEST_URL="")
    output, _ = process.communicate(timeout=100)
    assert process.returncode in RED, output
    assert "id-token: write" in output
    assert tags(server) == ["20200301"]


@LONG
def test_a_build_that_waits_for_longer_than_its_token_lives_goes_on_with_another_one(
    server: ServerProcess, ci: Ci
) -> None:
    """Given tokens that the server takes for some seconds more, by its leeway, expect a second one, and a green build."""
    ci.issuer.life_s = -45
    process = ci.build(server.target)
    wait_until_next(server)
    known = len(ci.issuer.given)
    assert server.event("call_refused", within_s=90)["reason"] == "BAD_CREDENTIALS"
    eventually(lambda: len(ci.issuer.given) > known)
    assert process.poll() is None
    finish(server)
    output, _ = process.communicate(timeout=100)
    assert process.returncode == 0, output


def test_a_token_is_in_no_argument_of_a_process_and_in_no_log(server: ServerProcess, ci: Ci) -> None:
    process = ci.build(server.target)
    wait_until_next(server)
    time.sleep(1)  # so that it waits for its release
    arguments = ""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            arguments += path.read_text(errors="replace")
    assert ci.recipe in arguments
    finish(server)
    output, _ = process.communicate(timeout=100)
    said = "\n".join((arguments, output, *server.raw))
    for token in ci.issuer.given:
        assert token.rpartition(".")[2] not in said


def test_a_build_is_red_when_its_release_is_rolled_back_and_says_why(server: ServerProcess, ci: Ci) -> None:
    process = ci.build(server.target)
    wait_until_next(server)
    with admin(server) as call:
        call("Rollback", component=C, note="errors everywhere")
    output, _ = process.communicate(timeout=100)
    assert process.returncode in RED, output
    assert "rolled back by anonymous: errors everywhere" in output


def test_a_build_is_red_when_automation_pauses_its_release_and_says_why(server: ServerProcess, ci: Ci) -> None:
    """The server has no source for checks, so that the check gets no answer."""
    with admin(server) as call:
        check = v1.Check(name="slow", query="up", max=1, interval=Duration(seconds=1), errors_allowed=0)
        call("SetPolicy", component=C, policy=v1.Policy(checks=[check]))
    process = ci.build(server.target)
    wait_until_next(server)
    with admin(server) as call:
        call("Ramp", component=C, percent=5)
    output, _ = process.communicate(timeout=100)
    assert process.returncode in RED, output
    assert "Paused by rampd: The check slow got no answer" in output


@LONG
def test_a_build_survives_a_restart_of_the_server(ci: Ci) -> None:
    """Given a server that stops while a build waits and starts again on its port, expect a green build."""
    with store_server(REDIS, directory=ci.directory, appendonly="yes") as store:
        target = free_address()
        with ci.server("--redis-url", store.url, "--listen", target) as server:
            prepare(server)
            process = ci.build(target)
            wait_until_next(server)
            time.sleep(1)
        time.sleep(3)  # so that the recipe tries again while no server is there
        assert process.poll() is None
        with ci.server("--redis-url", store.url, "--listen", target) as server:
            plan(server)
            with admin(server) as call:
                call("Resume", component=C)
            output, _ = process.communicate(timeout=90)
    assert process.returncode == 0, output


@LONG
def test_a_build_that_begins_while_the_server_is_away_is_green_when_it_is_back(ci: Ci) -> None:
    """Given a server that is stopped when a build releases its tag, expect one release, and a green build."""
    with store_server(REDIS, directory=ci.directory, appendonly="yes") as store:
        target = free_address()
        with ci.server("--redis-url", store.url, "--listen", target) as server:
            prepare(server)
            plan(server)
        process = ci.build(target)
        with pytest.raises(subprocess.TimeoutExpired):  # the build tries again
            process.wait(8)
        with ci.server("--redis-url", store.url, "--listen", target) as server:
            output, _ = process.communicate(timeout=90)
            assert tags(server) == ["20200409", "20200301"]
    assert process.returncode == 0, output


def test_a_build_gives_up_on_a_server_that_does_not_come_back(ci: Ci) -> None:
    with socket.socket() as taken:  # bound but not listening: nothing answers, and no other program can take the port
        taken.bind(("127.0.0.1", 0))
        process = ci.build(f"127.0.0.1:{taken.getsockname()[1]}", patience_s=3)
        output, _ = process.communicate(timeout=100)
    assert process.returncode in RED, output
    assert "refused" in output


def test_a_tag_with_special_characters_is_passed_as_a_value(server: ServerProcess, ci: Ci) -> None:
    """Given tags that would end a JSON string or a shell word early, expect a refusal that names the tag, and no release."""
    for tag in (
        'x", "expedite": true, "note": "y',
        '20200409"',
        "$(touch here)`id`",
        "back\\slash",
        "two\nlines",
        "-d",
        "",
    ):
        process = ci.build(server.target, tag=tag)
        output, _ = process.communicate(timeout=100)
        assert process.returncode in RED, output
        assert re.search("tag: |TAG is empty", output), tag
        assert tags(server) == ["20200301"]


def test_a_build_that_is_run_again_with_another_tag_is_refused(server: ServerProcess, ci: Ci) -> None:
    plan(server)
    assert ci.build(server.target).wait(60) == 0
    process = ci.build(server.target, tag="20200415")
    output, _ = process.communicate(timeout=100)
    assert process.returncode in RED, output
    assert "The request id gh-1234 was used for a Release that differs in tag." in output


WORKFLOWS = re.findall(r"```yaml\n(.*?)```", DOCUMENT, re.DOTALL)


def test_the_workflows_keep_no_secret_and_take_values_from_the_environment() -> None:
    assert "ssh" not in DOCUMENT
    for workflow in WORKFLOWS:
        assert "secrets." not in workflow
        # The shell would interpret what CI puts into a script. So values must come from the environment.
        script = "\n".join(line for line in workflow.splitlines() if not re.match(r" +[A-Z_]+: ", line))
        assert "${{" not in script


def test_the_workflows_run_the_recipes_and_nothing_else() -> None:
    assert len(WORKFLOWS) == 2
    for workflow in WORKFLOWS:
        assert set(re.findall(r"(?:wait|release)\.(?:sh|py)", workflow)) == set(RECIPES)
        assert {"RAMPD", "TAG", "BUILD_ID"} <= set(re.findall(r"^ +([A-Z_]+):", workflow, re.MULTILINE))


def test_the_workflows_ask_for_an_identity_and_for_the_audience_of_the_grants() -> None:
    github, gitlab = WORKFLOWS
    assert "id-token: write" in github
    assert f"RAMPD_ID_TOKEN:\n      aud: {AUDIENCE}\n" in gitlab
    for _, [script] in RECIPES.values():
        assert AUDIENCE in script


def test_the_grants_are_without_mistakes_and_not_too_wide() -> None:
    found = access_file.parse(GRANTS, names=NAMES)
    assert found.warnings == ()
    assert [(grant.name, str(grant.role), grant.components) for grant in found.grants] == [
        ("github-restyler", "ci", (C,)),
        ("gitlab-restyler", "ci", (C,)),
    ]
    assert {each["oidc"][0]["audience"] for each in tomllib.loads(GRANTS)["grant"]} == {AUDIENCE}


@dataclass
class PoliciesCi(Ci):
    """The builds of the repository that has the policies."""

    recipe: str = "policies.sh"

    @staticmethod
    def grants() -> str:
        [grants] = re.findall(r"```toml\n(.*?)```", POLICIES, re.DOTALL)
        return grants

    def run(self, target: str, verb: str) -> tuple[int, str]:
        """Runs `policies.sh`, and returns how it ended."""
        [script] = re.findall(r"```sh\n(.*?)```", POLICIES, re.DOTALL)
        (self.directory / "policies").mkdir(exist_ok=True)
        (self.directory / "policies.sh").write_text(script)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("ACTIONS_", "GIT", "RAMPD_"))}
        variables = {
            "RAMPD": target,
            "BUILD_ID": "gh-1234",
            "RAMPD_CA_FILE": str(self.ca),
            "PATH": self.path(),
            "COLUMNS": "100",
        }
        ran = subprocess.run(
            ["bash", "policies.sh", verb],
            cwd=self.directory,
            env=kept | self.issuer.job_on_github() | variables,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        return ran.returncode, ran.stdout + ran.stderr


def test_policies_come_from_git_and_a_pull_request_only_reads(directory: Path) -> None:
    """Given the file, the script and the grants of the document, expect a diff on a pull request, no change by one, and a change on
    main.
    """
    for needed in ("jq", "curl"):
        require(needed)
    file = re.search(r"```yaml\n(# yaml-language-server.*?)```", POLICIES, re.DOTALL)
    assert file is not None
    with ci_issuer() as github, ci_issuer() as gitlab:
        ci = PoliciesCi(directory, {"GitHub": github, "GitLab": gitlab})
        with ci.server() as server, admin(server) as call:
            for component in (C, "worker"):
                call("Release", component=component, tag="20200301")
            (directory / "policies").mkdir()
            (directory / "policies" / "all.yaml").write_text(file[1])

            github.claims = {"repository_id": "567890", "event_name": "pull_request", "ref": "refs/pull/7/merge"}
            code, said = ci.run(server.target, "diff")
            assert (code, "+  - percent: 50" in said) == (0, True), said
            code, said = ci.run(server.target, "apply")
            assert (code, "ROLE_REQUIRED" in said) == (1, True), said
            assert call("GetPolicy", component="worker").policy.auto_start is False

            github.claims = {"repository_id": "567890"}
            code, said = ci.run(server.target, "apply")
            assert code == 0, said
            assert call("GetPolicy", component="worker").policy.queue_mode == v1.QUEUE_MODE_LATEST
            event = call("ListEvents", component="worker").events[0]
            assert (event.actor, event.note, event.actor_claimed) == ("policies-apply", "gh-1234", False)
