"""Every command that changes something, with credentials: of the environment, of a profile, and too weak ones."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd import Admin, Token
from rampd._contract.token import digest_of, new_token
from tests.cli.conftest import Run
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


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with short_directory() as directory:
        (directory / "access.toml").write_text(ACCESS)
        with rampd_server(directory, "--access-file", str(directory / "access.toml")) as server:
            server.event("listening")
            yield server


def test_every_change_is_made_with_the_token_of_a_profile_and_refused_to_a_viewer(
    run: Run, server: ServerProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(OPS)
    run("config", "set", "server", server.target, "--profile", "ops")
    run("config", "set", "token_file", "token", "--profile", "ops")
    monkeypatch.setenv("RAMPD_SERVER", server.target)
    for tag in ("1.0", "2.0"):
        assert run("release", "restyler", tag).code == 0

    for line in CHANGES:
        words = [word.format(c="restyler") for word in line]
        with monkeypatch.context() as patch:
            patch.setenv("RAMPD_TOKEN", VIEWER)  # the environment wins over the profile
            refused = run(*words)
        made = run(*words)

        assert (refused.code, refused.out, "(ROLE_REQUIRED)" in refused.err) == (1, "", True), words
        assert refused.err.splitlines()[-1] == "Next: rampd doctor"
        assert (made.code, made.err, made.rows[0][1]) == (0, "", "yes"), words

    with Admin(server.target, credentials=Token(OPS)) as admin:
        events = list(admin.list_events("restyler"))
    assert {(each.actor, each.actor_claimed) for each in events if each.actor != "rampd"} == {("ops", False)}


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
