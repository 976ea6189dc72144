"""3 a.m., typed key by key at a shell: one command finds the bad version, and one leaves it."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd import Admin, v1
from rampd.testing import RampdServer
from rampd.testing._server import running_server
from tests.cli.terminal import PATIENT, Terminal, program_on_terminal
from tests.servers import require
from tests.waiting import eventually

README = (Path(__file__).parents[2] / "README.md").read_text()
C = "restyler"
PROMPT = "@ready "
"""What the prompt begins with. The exit code of the line before follows, and another @."""


class Person:
    """Types at a shell, and counts commands and keys."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        # The quotes keep the terminal from showing the prompt while it is typed.
        terminal.types("PS1='@rea''dy $?@ '\r")
        self._at = self._end_of_prompt(0)
        self.commands = self.keys = 0

    def types(self, line: str) -> str:
        """Types a line and Enter. Returns all that the terminal then shows, up to the next prompt."""
        before = self._at
        for key in f"{line}\r":
            self._terminal.types(key)
            self.keys += 1
        self.commands += 1
        self._at = self._end_of_prompt(before)
        shown = self._terminal.text[before : self._at].replace("\r", "")
        assert shown.startswith(f"{line}\n"), shown
        assert shown.endswith(f"{PROMPT}0@ "), shown
        return shown

    def _end_of_prompt(self, after: int) -> int:
        return self._terminal.shows("@ ", after=self._terminal.shows(PROMPT, after=after))


@pytest.fixture
def server() -> Iterator[RampdServer]:
    with running_server() as found:
        yield found


@pytest.fixture
def admin(server: RampdServer) -> Admin:
    """Given a team with some components, and a policy that leaves it to people what is done about a bad one."""
    found = server.admin(actor="ci")
    for component in ("mailer", C, "search", "uploader"):
        found.release(component, "1.0")
    found.set_policy(C, v1.Policy(on_regression=v1.ON_REGRESSION_NOTIFY))
    found.release(C, "2.0")
    return found


@pytest.fixture
def person(server: RampdServer, tmp_path: Path) -> Iterator[Person]:
    (tmp_path / "patient.py").write_text(PATIENT)
    (tmp_path / "rampd").write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path}/patient.py "$@"\n')
    (tmp_path / "rampd").chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "RAMPD_SERVER": server.target,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "LC_ALL": "C.UTF-8",
    }
    shell = (require("bash"), "--norc", "--noprofile", "-i")
    with program_on_terminal(*shell, environment=environment, folder=tmp_path, columns=100, rows=50) as terminal:
        yield Person(terminal)


def jobs_run(server: RampdServer, admin: Admin) -> None:
    """Given that the jobs of 100 repos ran, and those with 2.0 failed."""
    revision = admin.get_rollout(C).revision
    resolver = server.resolver()
    for number in range(100):
        with resolver.job(C, repo=f"acme/{number}", min_revision=revision) as job:
            if job.tag == "2.0":
                job.failed()
    resolver.close()

    def counted() -> int:
        rollout = admin.get_rollout(C)
        return sum(each.jobs for each in rollout.outcomes) or rollout.current_outcomes.jobs

    eventually(lambda: counted() == 100)


def versions(server: RampdServer) -> set[str]:
    """Which versions of the component jobs get."""
    with server.resolver() as resolver:
        return {resolver.resolve(C, repo=f"acme/{number}").tag for number in range(100)}


def test_a_bad_next_is_found_and_left_with_two_commands(server: RampdServer, admin: Admin, person: Person) -> None:
    admin.ramp(C, 25)
    jobs_run(server, admin)

    found = person.types("rampd status")
    left = person.types("rampd rollback restyler")

    assert re.search(rf"^  {C} .* 1\.0 +2\.0 +25 % .* 0 % → 100 % ", found, re.MULTILINE)
    assert "nobody gets 2.0 any more" in left
    assert versions(server) == {"1.0"}
    assert (person.commands, person.keys) == (2, 37)
    assert f"`rampd rollback {C}`" in README


def test_a_bad_current_is_found_and_left_with_two_commands(server: RampdServer, admin: Admin, person: Person) -> None:
    admin.finalize(C, force=True)
    jobs_run(server, admin)

    found = person.types("rampd status")
    left = person.types("rampd revert restyler")

    assert f"  {C}  2.0  100 of 100 failed (100 %) since " in found
    assert "nobody gets 2.0 any more" in left
    assert versions(server) == {"1.0"}
    assert (person.commands, person.keys) == (2, 35)
    assert f"`rampd revert {C}`" in README
