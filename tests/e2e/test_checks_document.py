"""Runs the command of docs/automation.md that sets a policy with a check."""

import re
import shlex
import subprocess
from pathlib import Path

from tests.servers import rampd_server, require, short_directory, stubs

DOCUMENT = (Path(__file__).parents[2] / "docs" / "automation.md").read_text()


def test_the_policy_that_the_document_shows_is_accepted() -> None:
    require("grpcurl")
    (command, message) = re.findall(r"^(grpcurl .*?) <<'EOF'\n(.*?)^EOF$", DOCUMENT, re.DOTALL | re.MULTILINE)[0]
    with short_directory() as directory, rampd_server(directory, "--insecure-admin") as server:
        server.event("serving")
        with stubs(server.target) as call:
            call("Release", component="restyler", tag="20200301")
            words = shlex.split(command.replace("127.0.0.1:50051", server.target))
            done = subprocess.run(words, input=message, check=False, capture_output=True, text=True, timeout=30)
            assert done.returncode == 0, done.stderr
            (check,) = call("GetPolicy", component="restyler").policy.checks

    assert (check.name, check.max, check.interval.seconds, check.errors_allowed) == ("slow-jobs", 120, 30, 4)
    assert 'tag="{{tag}}"' in check.query
