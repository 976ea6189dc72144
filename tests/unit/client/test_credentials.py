"""What proves who calls: tokens, files, and where a token may be sent."""

import base64
import json
import os
import time
from pathlib import Path

import pytest

from rampd import ClientCertificate, GitHubActions, GitLab, InvalidArgumentError, Token, TokenFile, UnauthenticatedError
from rampd._calls.endpoint import Endpoint, is_local
from rampd._contract.token import new_token
from rampd.credentials import Credentials, end_of
from rampd.testing import FixedResolver

VARIABLES = ("RAMPD_TOKEN", "RAMPD_TOKEN_FILE", "RAMPD_CA_FILE", "RAMPD_CERT_FILE", "RAMPD_KEY_FILE")


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def json_web_token(**claims: object) -> str:
    parts = [{"alg": "none"}, claims]
    return ".".join(
        [*(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts), "x"]
    )


def sent(endpoint: Endpoint) -> str:
    return dict(endpoint.authorization()).get("authorization", "")


def test_a_token_is_sent_as_a_bearer_and_never_shown() -> None:
    token = new_token()
    endpoint = Endpoint("127.0.0.1:1", Token(token))
    assert sent(endpoint) == f"Bearer {token}"
    assert token not in f"{Token(token)!r} {endpoint!r} {vars(Token)!r}"


def test_a_cut_token_is_refused_at_once_and_not_shown() -> None:
    token = new_token()[:-1]
    with pytest.raises(InvalidArgumentError, match="cut or mistyped") as caught:
        Token(token)
    assert token not in str(caught.value)


@pytest.mark.parametrize("text", ["", "two words", "nothing\nelse", "ä"])
def test_a_text_that_no_header_can_have_is_not_a_token(text: str) -> None:
    with pytest.raises(InvalidArgumentError):
        Token(text)


@pytest.mark.parametrize(
    ("target", "is_taken"),
    [
        ("127.0.0.1:50051", True),
        ("[::1]:50051", True),
        ("localhost:50051", True),
        ("unix:/run/rampd.sock", True),
        ("https://rampd.example:443", True),
        ("rampd.example:50051", False),
        ("10.0.0.1:50051", False),
        ("dns:localhost:50051", False),
    ],
)
def test_a_token_is_not_sent_in_the_clear_to_another_machine(target: str, is_taken: bool) -> None:
    if is_taken:
        assert sent(Endpoint(target, Token(new_token())))
    else:
        with pytest.raises(InvalidArgumentError, match="https://host:port"):
            Endpoint(target, Token(new_token()))
    assert is_local(target) == (is_taken and not target.startswith("https"))


def test_a_token_of_the_environment_is_held_to_the_same_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_TOKEN", new_token())
    assert sent(Endpoint("127.0.0.1:1"))
    with pytest.raises(InvalidArgumentError):
        Endpoint("rampd.example:50051")
    assert FixedResolver({"c": "t"}).resolve("c", repo="a/b").tag == "t"


def test_credentials_of_the_caller_win_over_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAMPD_TOKEN", new_token())
    token = new_token()
    (tmp_path / "token").write_text(f"{token}\n")
    assert sent(Endpoint("127.0.0.1:1", TokenFile(tmp_path / "token"))) == f"Bearer {token}"


def test_a_token_file_is_read_again_after_a_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "token"
    first, second = new_token(), new_token()
    path.write_text(first)
    endpoint = Endpoint("127.0.0.1:1", TokenFile(path))
    assert sent(endpoint) == f"Bearer {first}"
    path.write_text(second)
    now_s = time.time() + 5
    monkeypatch.setattr(time, "time", lambda: now_s)
    assert sent(endpoint) == f"Bearer {second}"


def test_a_refused_token_is_asked_for_again_where_another_can_come(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(new_token())
    endpoint = Endpoint("127.0.0.1:1", TokenFile(path))
    sent(endpoint)
    second = new_token()
    path.write_text(second)
    assert endpoint.forget_token()
    assert sent(endpoint) == f"Bearer {second}"
    assert not Endpoint("127.0.0.1:1", Token(second)).forget_token()


@pytest.mark.parametrize("content", [None, "", "two words"])
def test_a_token_file_without_a_token_is_told_by_its_name(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnauthenticatedError, match=str(path)):
        sent(Endpoint("127.0.0.1:1", TokenFile(path)))


def test_a_callable_is_asked_again_before_its_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = 0
    began_s = time.time()

    def ask() -> tuple[str, float | None]:
        nonlocal asked
        asked += 1
        return f"token-{asked}", began_s + 600

    endpoint = Endpoint("127.0.0.1:1", ask)
    assert {sent(endpoint) for _ in range(3)} == {"Bearer token-1"}
    monkeypatch.setattr(time, "time", lambda: began_s + 590)
    assert sent(endpoint) == "Bearer token-2"


def test_what_a_callable_raises_is_one_error_of_ours() -> None:
    def ask() -> tuple[str, float | None]:
        raise RuntimeError("secret")

    with pytest.raises(UnauthenticatedError, match="RuntimeError") as caught:
        sent(Endpoint("127.0.0.1:1", ask))
    assert "secret" not in str(caught.value)


def test_the_end_of_a_json_web_token_is_its_own_word() -> None:
    assert end_of(json_web_token(exp=1_900_000_000)) == 1_900_000_000
    assert end_of(json_web_token(sub="x")) is None
    assert end_of(new_token()) is None
    assert end_of("a.b.c") is None


def test_a_job_of_gitlab_has_its_token_in_a_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UnauthenticatedError, match="id_tokens"):
        GitLab()()
    token = json_web_token(exp=1_900_000_000)
    monkeypatch.setenv("RAMPD_ID_TOKEN", token)
    assert GitLab()() == (token, 1_900_000_000)


def test_outside_of_github_the_advice_names_the_permission(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_URL", raising=False)
    with pytest.raises(UnauthenticatedError, match="id-token: write"):
        GitHubActions("rampd")()


def test_a_client_certificate_needs_tls(tmp_path: Path) -> None:
    certificate = ClientCertificate(tmp_path / "c.pem", tmp_path / "c.key")
    with pytest.raises(InvalidArgumentError, match="https"):
        Endpoint("127.0.0.1:1", certificate)
    assert not Endpoint("https://rampd.example:443", certificate).authorization()


def test_files_of_a_certificate_that_change_ask_for_another_channel(tmp_path: Path) -> None:
    for name in ("c.pem", "c.key"):
        (tmp_path / name).write_text("x")
    endpoint = Endpoint("https://rampd.example:443", ClientCertificate(tmp_path / "c.pem", tmp_path / "c.key"))
    before = endpoint.stamp()
    assert endpoint.stamp() == before
    os.utime(tmp_path / "c.key", (1, 1))
    assert endpoint.stamp() != before


def test_half_a_certificate_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_CERT_FILE", "c.pem")
    with pytest.raises(InvalidArgumentError, match="RAMPD_KEY_FILE"):
        Endpoint("https://rampd.example:443")


@pytest.mark.parametrize("wrong", ["token", 7])
def test_credentials_of_another_kind_are_refused(wrong: Credentials) -> None:
    with pytest.raises(InvalidArgumentError, match="one of rampd"):
        Endpoint("127.0.0.1:1", wrong)
