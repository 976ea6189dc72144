"""Runs the commands of docs/automation.md that set a policy."""

import re
import shlex
import subprocess
import tomllib
from pathlib import Path

from tests.servers import rampd_server, require, short_directory, stubs

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "automation.md").read_text()


COMMANDS = re.findall(r"^(grpcurl .*?) <<'EOF'\n(.*?)^EOF$", DOCUMENT, re.DOTALL | re.MULTILINE)


def test_the_policies_that_the_document_shows_are_accepted() -> None:
    require("grpcurl")
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="20200301")
            for command, message in COMMANDS:
                words = shlex.split(command.replace("127.0.0.1:50051", server.target))
                done = subprocess.run(words, input=message, check=False, capture_output=True, text=True, timeout=30)
                assert done.returncode == 0, done.stderr
            policy = call("GetPolicy", component="restyler").policy

    (check,) = policy.checks
    assert (check.name, check.max, check.interval.seconds, check.errors_allowed) == ("slow-jobs", 120, 30, 4)
    assert 'tag="{{tag}}"' in check.query
    plan = tomllib.loads((ROOT / "tests/bench/rollout/configurations/rampd.toml").read_text())
    assert [(step.percent, step.hold.seconds / 60, step.min_jobs) for step in policy.steps] == [
        (step["percent"], step["hold_min"], step["min_jobs"]) for step in plan["steps"]
    ]
