"""`rampd history`, `wait` and `explain` with credentials: a viewer sees what it may see, and nobody else sees anything."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rampd import Admin, Token
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
                admin.release(component, "1.0")
        yield found


@pytest.fixture
def as_viewer(run: Run, target: str, tokens: Tokens, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    monkeypatch.setenv("RAMPD_SERVER", target)
    (tmp_path / "token").write_text(tokens.of["grafana"])
    (tmp_path / "token").chmod(0o600)
    monkeypatch.setenv("RAMPD_TOKEN_FILE", str(tmp_path / "token"))
    return run


COMMANDS = (("history",), ("wait", "restyler"), ("explain", "restyler", "acme/app"))


@pytest.mark.parametrize("words", COMMANDS)
def test_a_viewer_may_see_everything_of_its_components(as_viewer: Run, words: tuple[str, ...]) -> None:
    ran = as_viewer(*words)
    assert (ran.code, ran.err) == (0, "")
    assert "1.0" in ran.out
    assert "mailer" not in ran.out


@pytest.mark.parametrize("words", [("history", "mailer"), ("wait", "mailer"), ("explain", "mailer", "acme/app")])
def test_other_components_do_not_exist_for_a_viewer(as_viewer: Run, words: tuple[str, ...]) -> None:
    ran = as_viewer(*words)
    assert (ran.code, ran.out) == (1, "")
    assert "(ROLE_REQUIRED)" in ran.err or "(COMPONENT_NOT_FOUND)" in ran.err


@pytest.mark.parametrize("words", COMMANDS)
def test_without_credentials_nothing_is_shown(run: Run, target: str, words: tuple[str, ...]) -> None:
    ran = run(*words, "--server", target)
    assert (ran.code, ran.out) == (1, "")
    assert "(NO_CREDENTIALS)" in ran.err
