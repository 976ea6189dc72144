"""Every command that changes something, with credentials: of the environment, of a profile, and too weak ones."""

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd import Admin, Token
from rampd._contract.token import digest_of, new_token
from tests.cli.conftest import Ran, Run
from tests.cli.test_views_access import COMMANDS
from tests.cli_document import commands
from tests.servers import ServerProcess, rampd_server, short_directory

OPS, VIEWER = new_token(), new_token()
ACCESS = f"""
[[grant]]
name = "ops"
role = "admin"
tokens = ["{digest_of(OPS)}"]

[[grant]]
name = "watcher"
role = "viewer"
tokens = ["{digest_of(VIEWER)}"]
"""
CHANGES = [
    ["release", "{c}", "3.0"],
    ["release", "{c}", "3.1"],
    ["queue", "cancel", "{c}", "3.1"],
    ["release", "{c}", "4.0", "--expedite", "--yes"],
    ["ramp", "{c}", "20", "--confirm-within", "1h"],
    ["confirm", "{c}"],
    ["pause", "{c}"],
    ["resume", "{c}"],
    ["freeze", "{c}"],
    ["unfreeze", "{c}"],
    ["freeze", "--all"],
    ["unfreeze", "--all"],
    ["quarantine", "add", "{c}", "9.9"],
    ["quarantine", "remove", "{c}", "9.9"],
    ["override", "set", "{c}", "acme/app", "--tag", "pb/x"],
    ["override", "remove", "{c}", "acme/app"],
    ["rollback", "{c}"],
    ["finalize", "{c}", "--force", "--yes"],
    ["revert", "{c}"],
    ["abandon", "{c}"],
    ["delete", "{c}", "--yes"],
]
FILES = ["override import {c} o.csv", "policy edit {c}", "policy apply p.yaml"]
"""The changes that are written in a file."""


def test_every_command_that_asks_a_server_is_tried_with_credentials_and_without() -> None:
    tried = {*map(" ".join, CHANGES), *FILES, *COMMANDS}
    others = {name for name, _ in commands() if not any(each.startswith(name.removeprefix("rampd ")) for each in tried)}

    asking = {name for name in others if not name.startswith(("rampd config", "rampd completion"))}
    assert asking == {
        "rampd doctor",
        "rampd policy schema",
    }  # tests/cli/test_doctor.py has the one, and the other asks nobody


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with short_directory() as directory:
        (directory / "access.toml").write_text(ACCESS)
        with rampd_server(directory, "--access-file", str(directory / "access.toml")) as server:
            server.event("listening")
            yield server


@pytest.fixture
def ops(run: Run, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line with the token of a profile."""
    (tmp_path / "token").write_text(OPS)
    run("config", "set", "server", server.target, "--profile", "ops")
    run("config", "set", "token_file", "token", "--profile", "ops")
    monkeypatch.setenv("RAMPD_SERVER", server.target)
    return run


@pytest.fixture
def viewer(ops: Run, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command line with a token of the environment, which wins over the profile."""

    def run(*words: str) -> Ran:
        with monkeypatch.context() as patch:
            patch.setenv("RAMPD_TOKEN", VIEWER)
            return ops(*words)

    return run


def test_every_change_is_made_with_the_token_of_a_profile_and_refused_to_a_viewer(
    ops: Run, viewer: Run, server: ServerProcess
) -> None:
    for tag in ("1.0", "2.0"):
        assert ops("release", "restyler", tag).code == 0

    for line in CHANGES:
        words = [word.format(c="restyler") for word in line]
        refused = viewer(*words)
        made = ops(*words)

        assert (refused.code, refused.out, "(ROLE_REQUIRED)" in refused.err) == (1, "", True), words
        assert refused.err.splitlines()[-1] == "Next: rampd doctor"
        assert (made.code, made.err, made.rows[0][1]) == (0, "", "yes"), words

    with Admin(server.target, credentials=Token(OPS)) as admin:
        events = list(admin.list_events("restyler"))
    assert {(each.actor, each.actor_claimed) for each in events if each.actor != "rampd"} == {("ops", False)}


@pytest.mark.parametrize("line", FILES)
def test_a_file_is_sent_with_the_token_of_a_profile_and_refused_to_a_viewer(  # noqa: PLR0917
    ops: Run,
    viewer: Run,
    server: ServerProcess,
    component: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
) -> None:
    ops("release", component, "1.0")
    (tmp_path / "o.csv").write_text("repo,tag\nacme/app,1.0\n")
    (tmp_path / "p.yaml").write_text(f"policies: {{{component}: {{alpha: 0.1}}}}\n")
    (tmp_path / "editor").write_text(f'#!/bin/sh\nsed -i "s/{component}: {{}}/{component}: {{alpha: 0.1}}/" "$1"\n')
    (tmp_path / "editor").chmod(0o755)
    monkeypatch.setenv("VISUAL", str(tmp_path / "editor"))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    words = line.format(c=component).split()

    refused = viewer(*words)
    with Admin(server.target, credentials=Token(OPS)) as admin:
        before = admin.get_rollout(component).revision
        made = ops(*words)
        event = next(admin.list_events(component))

    assert (refused.code, refused.out, "(ROLE_REQUIRED)" in refused.err, before) == (1, "", True, 1)
    assert (made.code, event.revision, event.actor, event.actor_claimed) == (0, 2, "ops", False)


@pytest.mark.parametrize(
    ("token", "reason"), [(None, "NO_CREDENTIALS"), (new_token(), "BAD_CREDENTIALS")], ids=["none", "unknown"]
)
def test_a_change_without_a_known_credential_is_refused(
    run: Run, server: ServerProcess, monkeypatch: pytest.MonkeyPatch, token: str | None, reason: str
) -> None:
    if token is not None:
        monkeypatch.setenv("RAMPD_TOKEN", token)

    ran = run("--server", server.target, "pause", "restyler", "-o", "json")

    assert (ran.code, ran.out, json.loads(ran.err)["reason"]) == (1, "", reason)
