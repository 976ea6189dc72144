"""Every command that only reads, with credentials: a viewer sees what it may see, and nobody else sees anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd import Admin, Token, v1
from rampd_server import testing
from tests.cli.conftest import Run
from tests.rpc.access_table import Tokens
from tests.servers import short_directory


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Tokens:
    made = Tokens(tmp_path_factory.mktemp("access") / "access.toml")
    made.grant("boss", "admin")
    made.grant("grafana", "viewer", 'components = ["restyler"]')
    made.grant("worker", "launcher")
    return made


@pytest.fixture(scope="module")
def target(tokens: Tokens) -> Iterator[str]:
    settings = {"access_file": tokens.path, "insecure_plaintext": True, "insecure_admin": False}
    with short_directory() as directory, testing.run(directory, **settings) as found:
        with Admin(found, credentials=Token(tokens.of["boss"])) as admin:
            for component in ("restyler", "mailer"):
                for tag in ("1.0", "2.0", "3.0"):
                    admin.release(component, tag)
                admin.set_policy(component, v1.Policy(steps=[v1.Step(percent=10)]))
                admin.quarantine(component, "0.9", note="loses files")
                admin.set_override(component, "acme/web", tag="pb/x")
        yield found


@pytest.fixture(autouse=True)
def _file(settings: None, tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("policies: {restyler: {alpha: 0.1}}")


@pytest.fixture
def as_viewer(run: Run, target: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("RAMPD_SERVER", target)
    (tmp_path / "token").write_text(tokens.of["grafana"])
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("RAMPD_TOKEN_FILE", str(tmp_path / "token"))
    return run


COMMANDS = {
    # what is typed                              something that it shows
    "status":                                    "1.0",
    "status restyler":                           "1.0",
    "history":                                   "1.0",
    "history restyler":                          "1.0",
    "explain restyler acme/app":                 "1.0",
    "plan restyler --jobs-per-hour 400":         "10",
    "wait restyler 1.0":                         "1.0",
    "queue list restyler":                       "3.0",
    "quarantine list restyler":                  "loses files",
    "override list restyler":                    "pb/x",
    "override export restyler":                  "pb/x",
    "policy show":                               "percent: 10",
    "policy show restyler":                      "percent: 10",
    "policy diff p.yaml":                        "alpha",
}  # fmt: skip
OTHERS = [line.replace("restyler", "mailer") for line in COMMANDS if "restyler" in line]


@pytest.mark.parametrize("line", COMMANDS)
def test_a_viewer_may_see_everything_of_its_components(as_viewer: Run, line: str) -> None:
    ran = as_viewer(*line.split())
    assert (ran.code, ran.err) == (0, "")
    assert COMMANDS[line] in ran.out
    assert "mailer" not in ran.out


@pytest.mark.parametrize("line", OTHERS)
def test_other_components_do_not_exist_for_a_viewer(as_viewer: Run, line: str) -> None:
    ran = as_viewer(*line.split())
    assert (ran.code, ran.out) == (1, "")
    assert "(ROLE_REQUIRED)" in ran.err or "(COMPONENT_NOT_FOUND)" in ran.err


@pytest.mark.parametrize("line", COMMANDS)
def test_without_credentials_nothing_is_shown(run: Run, target: str, line: str) -> None:
    ran = run(*line.split(), "--server", target)
    assert (ran.code, ran.out) == (1, "")
    assert "(NO_CREDENTIALS)" in ran.err
