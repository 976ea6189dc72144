"""Runs the commands of docs/automation.md that set a policy."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

from rampd import v1
from tests.servers import rampd_server, short_directory, stubs

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "automation.md").read_text()


COMMANDS = re.findall(r"^rampd ([^\n]*) <<'EOF'\n(.*?)^EOF$", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_the_policies_that_the_document_shows_are_accepted() -> None:
    policies: list[v1.Policy] = []
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="20200301")
            for command, text in COMMANDS:
                words = (sys.executable, "-m", "rampd_cli", "--server", server.target, *shlex.split(command))
                done = subprocess.run(
                    words, input=text, env=os.environ, check=False, capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, done.stderr
                policies.append(call("GetPolicy", component="restyler").policy)

    with_check, with_steps = policies
    (check,) = with_check.checks
    assert (check.name, check.max, check.interval.seconds, check.errors_allowed) == ("slow-jobs", 120, 30, 4)
    assert 'tag="{{tag}}"' in check.query
    plan = tomllib.loads((ROOT / "tests/bench/rollout/configurations/rampd.toml").read_text())
    assert [(step.percent, step.hold.seconds / 60, step.min_jobs) for step in with_steps.steps] == [
        (step["percent"], step["hold_min"], step["min_jobs"]) for step in plan["steps"]
    ]
