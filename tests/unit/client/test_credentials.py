"""Credentials of clients: tokens, files, and the targets to which a token may be sent."""

import base64
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import FrameType, SimpleNamespace

import grpc
import pytest

from rampd import (
    Admin,
    ClientCertificate,
    DeadlineExceededError,
    GitHubActions,
    GitLab,
    InvalidArgumentError,
    Token,
    TokenFile,
    UnauthenticatedError,
)
from rampd import credentials as module
from rampd._calls import held_token
from rampd._calls.channel import CHANNEL_OPTIONS
from rampd._calls.endpoint import Endpoint, is_local
from rampd._contract.token import end_of, new_token
from rampd._runtime import fork_gate
from rampd.credentials import Credentials
from rampd.testing import FixedResolver
from tests.authority import Authority
from tests.children import in_child
from tests.waiting import PATIENCE_S, eventually

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
def test_a_text_that_can_t_be_in_a_header_is_not_a_token(text: str) -> None:
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


def test_the_same_rule_holds_for_a_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_after_a_refusal_the_credentials_are_asked_for_another_token(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(new_token())
    endpoint = Endpoint("127.0.0.1:1", TokenFile(path))
    sent(endpoint)
    second = new_token()
    path.write_text(second)
    refused = endpoint.authorization()
    endpoint.forget_token()
    assert endpoint.has_other_than(refused, 60.0)
    assert sent(endpoint) == f"Bearer {second}"
    refused = endpoint.authorization()
    endpoint.forget_token()
    assert not endpoint.has_other_than(refused, 1.0)


def test_a_token_file_that_is_missing_or_cut_for_a_moment_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "token"
    token = new_token()
    path.write_text(token)
    endpoint = Endpoint("127.0.0.1:1", TokenFile(path))
    sent(endpoint)
    began_s = time.time()
    for later_s, content in ((5, None), (10, ""), (15, token[:20])):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        now_s = began_s + later_s
        monkeypatch.setattr(time, "time", lambda now_s=now_s: now_s)
        assert sent(endpoint) == f"Bearer {token}"
    endpoint.forget_token()  # a server has refused it
    with pytest.raises(UnauthenticatedError, match="cut or mistyped"):
        sent(endpoint)


def test_a_token_file_is_followed_through_the_link_of_a_kubernetes_secret(tmp_path: Path) -> None:
    tokens = [new_token(), new_token()]
    for number, token in enumerate(tokens):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "token").write_text(token)
    (tmp_path / "..data").symlink_to("0")
    (tmp_path / "token").symlink_to("..data/token")
    endpoint = Endpoint("127.0.0.1:1", TokenFile(tmp_path / "token"))
    assert sent(endpoint) == f"Bearer {tokens[0]}"
    (tmp_path / "..new").symlink_to("1")
    (tmp_path / "..new").replace(tmp_path / "..data")
    endpoint.forget_token()
    assert sent(endpoint) == f"Bearer {tokens[1]}"


@pytest.mark.parametrize("content", [None, "", "two words"])
def test_the_error_about_a_token_file_without_a_token_names_the_file(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "token"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UnauthenticatedError, match=str(path)):
        sent(Endpoint("127.0.0.1:1", TokenFile(path)))


class Issuing:
    """A callable that gives `token-1`, `token-2` and so on, each good for `life_s`. It may wait first."""

    def __init__(self, life_s: float | None = 600, *, waits: bool = False) -> None:
        self.asked = 0
        self.life_s = life_s
        self.may_answer = threading.Event()
        self.fails = False
        if not waits:
            self.may_answer.set()

    def __call__(self) -> tuple[str, float | None]:
        self.asked += 1
        self.may_answer.wait(600)
        if self.fails:
            raise OSError("not now")
        return f"token-{self.asked}", None if self.life_s is None else time.time() + self.life_s


def at(monkeypatch: pytest.MonkeyPatch, later_s: float) -> None:
    """Sets this machine's clock forward. From then on it stands still."""
    now_s = time.time() + later_s
    monkeypatch.setattr(time, "time", lambda: now_s)


def stop_the_other_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stops the monotonic clock by which a token is new and a failure is recent."""
    clocks = SimpleNamespace(time=time.time, monotonic=lambda: 1_000.0)
    monkeypatch.setattr(held_token, "time", clocks)


def test_a_callable_is_asked_again_before_its_token_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    issuing = Issuing()
    endpoint = Endpoint("127.0.0.1:1", issuing)
    assert {sent(endpoint) for _ in range(3)} == {"Bearer token-1"}
    at(monkeypatch, 575)
    sent(endpoint)
    eventually(lambda: sent(endpoint) == "Bearer token-2")
    assert issuing.asked == 2


def test_a_token_stays_in_use_until_it_ends_if_no_other_token_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    at(monkeypatch, 0)
    issuing = Issuing()
    endpoint = Endpoint("127.0.0.1:1", issuing)
    sent(endpoint)
    issuing.fails = True
    issuing.may_answer.clear()
    at(monkeypatch, 595)
    for _ in range(5):  # while the client asks for another token
        assert dict(endpoint.authorization(0.05)) == {"authorization": "Bearer token-1"}
    issuing.may_answer.set()
    eventually(lambda: issuing.asked == 2)
    for _ in range(5):
        assert sent(endpoint) == "Bearer token-1"
    at(monkeypatch, 10)  # later than the end
    with pytest.raises(UnauthenticatedError, match="OSError"):
        sent(endpoint)


@pytest.mark.parametrize("life_s", [None, 0.0, -3600.0])
def test_a_callable_is_not_asked_at_each_call_even_if_its_token_has_ended(
    life_s: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    at(monkeypatch, 0)
    stop_the_other_clock(monkeypatch)
    issuing = Issuing(life_s)
    endpoint = Endpoint("127.0.0.1:1", issuing)
    for _ in range(5):
        assert sent(endpoint) == "Bearer token-1"
        endpoint.forget_token()  # even if a server refuses it
    assert issuing.asked == 1


def test_a_callable_that_fails_is_not_asked_again_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_other_clock(monkeypatch)
    issuing = Issuing()
    issuing.fails = True
    endpoint = Endpoint("127.0.0.1:1", issuing)
    for _ in range(5):
        with pytest.raises(UnauthenticatedError, match="OSError"):
            sent(endpoint)
    assert issuing.asked == 1


def test_a_fetched_token_that_a_server_refuses_is_replaced_unless_it_is_new(monkeypatch: pytest.MonkeyPatch) -> None:
    stop_the_other_clock(monkeypatch)
    endpoint = Endpoint("127.0.0.1:1", Issuing())
    first = endpoint.authorization()
    endpoint.forget_token()
    assert not endpoint.has_other_than(first, 60.0)
    monkeypatch.setattr(held_token, "_LEAST_LIFE_S", 0.0)
    endpoint.forget_token()
    assert endpoint.has_other_than(first, 60.0)


def test_with_a_callable_that_hangs_a_call_ends_after_its_time_out() -> None:
    issuing = Issuing(waits=True)
    endpoint = Endpoint("127.0.0.1:1", issuing)
    for _ in range(3):
        with pytest.raises(DeadlineExceededError, match="nothing was sent"):
            endpoint.authorization(0.05)
    assert not issuing.may_answer.is_set()
    assert issuing.asked == 1
    issuing.may_answer.set()
    assert dict(endpoint.authorization(60.0)) == {"authorization": "Bearer token-1"}


def test_many_threads_ask_for_one_token() -> None:
    issuing = Issuing(waits=True)
    endpoint = Endpoint("127.0.0.1:1", issuing)
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(sent(endpoint))) for _ in range(8)]
    for thread in threads:
        thread.start()
    issuing.may_answer.set()
    for thread in threads:
        thread.join(60)
    assert (found, issuing.asked) == (["Bearer token-1"] * 8, 1)


def test_a_child_that_was_forked_during_a_fetch_fetches_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    # If the fork waited for the fetch, it would wait for longer than this test does.
    monkeypatch.setattr(fork_gate, "_PATIENCE_S", 300)
    issuing = Issuing(waits=True)
    endpoint = Endpoint("127.0.0.1:1", issuing)
    with pytest.raises(DeadlineExceededError):
        endpoint.authorization(0.05)
    began_s = time.monotonic()
    child = os.fork()
    if not child:
        with in_child():
            issuing.may_answer = threading.Event()
            issuing.may_answer.set()
            assert dict(endpoint.authorization(PATIENCE_S)) == {"authorization": "Bearer token-2"}
    assert time.monotonic() - began_s < 100, "the fork has waited for the fetch"
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    issuing.may_answer.set()


def test_a_signal_handler_may_ask_for_the_token_while_it_is_fetched() -> None:
    issuing = Issuing(waits=True)
    endpoint = Endpoint("127.0.0.1:1", issuing)
    found: list[str] = []

    def handle(_number: int, _frame: FrameType | None) -> None:
        issuing.may_answer.set()
        found.append(sent(endpoint))

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        main = threading.main_thread().ident
        assert main is not None
        threading.Timer(0.1, signal.pthread_kill, (main, signal.SIGUSR1)).start()
        found.append(sent(endpoint))
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert found == ["Bearer token-1"] * 2


def test_a_signal_handler_may_ask_for_a_token_at_any_moment_of_another_request_for_one() -> None:
    endpoint = Endpoint("127.0.0.1:1", Issuing())
    found: list[str] = []

    def interrupted() -> None:
        assert endpoint._token is not None
        with endpoint._token._news:  # here the handler comes
            found.append(sent(endpoint))

    thread = threading.Thread(target=interrupted, daemon=True)
    thread.start()
    thread.join(60)
    assert found == ["Bearer token-1"]


WAITS = """
import signal
import threading
from rampd import DeadlineExceededError
from rampd._calls.endpoint import Endpoint

def ask():
    print("waits", flush=True)
    threading.Event().wait()

endpoint = Endpoint("127.0.0.1:1", ask)
# A process in the background may start with this signal ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    endpoint.authorization(600.0)
except KeyboardInterrupt:
    pass
try:
    endpoint.authorization(0.05)
except DeadlineExceededError:
    print("interrupted, and usable", flush=True)
"""


def test_ctrl_c_ends_the_wait_for_a_token() -> None:
    with subprocess.Popen([sys.executable, "-c", WAITS], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "waits\n"
        time.sleep(0.2)  # so that it most likely waits already, and does not just begin to
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    assert said == "interrupted, and usable\n"


@pytest.mark.parametrize(
    "found",
    [
        None,
        "token",
        ("token", "soon"),
        ("token", 10**400),
        ("two words", None),
        ("token\n", None),
        (7, None),
        ("rampd_cut", None),
    ],
)
def test_the_error_about_a_wrong_result_of_a_callable_does_not_show_it(found: object) -> None:
    def ask() -> tuple[str, float | None]:
        return found  # type: ignore[return-value]

    with pytest.raises(UnauthenticatedError) as caught:
        sent(Endpoint("127.0.0.1:1", ask))
    assert "two words" not in "".join(traceback.format_exception(caught.value))


def test_no_traceback_shows_a_token_even_with_its_variables() -> None:
    token = new_token()
    endpoint = Endpoint("127.0.0.1:1", Token(token))
    metadata = endpoint.authorization()
    with grpc.insecure_channel("127.0.0.1:1") as channel, pytest.raises(grpc.RpcError) as caught:
        channel.unary_unary("/a/b")(b"", metadata=metadata, timeout=1)
    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    # This test's own frame has the token in a variable of its own.
    shown.stack.pop(0)
    text = "".join(shown.format())
    assert "'authorization', '…'" in text
    assert token not in text
    assert token not in f"{metadata!r} {vars(Token(token))!r} {vars(endpoint)!r}"


def shown_with_variables(error: BaseException) -> str:
    """The traceback as a tool shows it that prints the variables of each frame, without those of the test itself."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    here: traceback.TracebackException | None = shown
    while here is not None:
        here.stack = traceback.StackSummary.from_list([frame for frame in here.stack if frame.filename != __file__])
        here = here.__cause__ or here.__context__
    return "".join(shown.format())


def test_no_traceback_shows_the_secret_of_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_URL", "http://127.0.0.1:1/token")
    monkeypatch.setenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN", "secret-of-the-job")
    with pytest.raises(UnauthenticatedError) as caught:
        sent(Endpoint("127.0.0.1:1", GitHubActions("rampd")))
    assert "secret-of-the-job" not in shown_with_variables(caught.value)
    with pytest.raises(UnauthenticatedError) as caught:
        GitHubActions("rampd")()
    assert "secret-of-the-job" not in shown_with_variables(caught.value)


def test_no_traceback_shows_a_token_that_was_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    cut = new_token()[:-1]
    monkeypatch.setenv("RAMPD_TOKEN", cut)
    for use in (lambda: Token(cut), lambda: Endpoint("127.0.0.1:1")):
        with pytest.raises(InvalidArgumentError) as caught:
            use()
        assert cut not in shown_with_variables(caught.value)


@pytest.mark.parametrize(
    "kind", ["file", "variable", "callable", "callable, no end", "callable, absurd end", "callable, no pair"]
)
def test_no_traceback_shows_a_token_that_can_t_be_used(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut = new_token()[:-1]
    (tmp_path / "token").write_text(cut)
    monkeypatch.setenv("RAMPD_ID_TOKEN", f"{cut} {cut}")
    credentials: Credentials = {
        "file": TokenFile(tmp_path / "token"),
        "variable": GitLab(),
        "callable": lambda: (f"{cut}\n", None),
        "callable, no end": lambda: (cut, "later"),  # type: ignore[dict-item,return-value]
        "callable, absurd end": lambda: (cut, 10**400),
        "callable, no pair": lambda: cut,  # type: ignore[dict-item,return-value]
    }[kind]
    with pytest.raises(UnauthenticatedError) as caught:
        sent(Endpoint("127.0.0.1:1", credentials))
    assert cut not in shown_with_variables(caught.value)


def test_an_exception_of_a_callable_becomes_unauthenticated_error() -> None:
    def ask() -> tuple[str, float | None]:
        raise RuntimeError("secret")

    with pytest.raises(UnauthenticatedError, match="RuntimeError") as caught:
        sent(Endpoint("127.0.0.1:1", ask))
    assert "secret" not in str(caught.value)


def test_the_end_of_a_json_web_token_is_its_claim_exp() -> None:
    assert end_of(json_web_token(exp=1_900_000_000)) == 1_900_000_000
    assert end_of(json_web_token(sub="x")) is None
    assert end_of(new_token()) is None
    assert end_of("a.b.c") is None


@pytest.mark.parametrize("end", ["soon", None, [], 10**400], ids=["text", "null", "list", "too large for a float"])
def test_an_end_that_is_no_time_is_not_known(end: object) -> None:
    token = json_web_token(exp=end)
    assert end_of(token) is None
    assert sent(Endpoint("127.0.0.1:1", Token(token))) == f"Bearer {token}"


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


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_files_of_tls_that_change_ask_for_another_channel(tmp_path: Path, authority: Authority) -> None:
    certificate, key = authority.issue("spiffe://team/a").write(tmp_path, "c")
    ca_file = authority.write(tmp_path)
    endpoint = Endpoint("https://rampd.example:443", ClientCertificate(certificate, key), ca_file)
    stamps = {endpoint.stamp(), endpoint.stamp()}
    assert len(stamps) == 1
    for path in (certificate, key, ca_file):
        path.write_bytes(path.read_bytes())
        os.utime(path, (1, 1))
        stamps.add(endpoint.stamp())
    assert len(stamps) == 4


def test_the_certificate_that_was_checked_is_the_one_that_was_read(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a key that is still being written when it is read, and whole when it is checked, expect the whole key."""
    certificate, key = authority.issue("spiffe://team/a").write(tmp_path, "c")
    whole, reads = key.read_bytes(), []

    def read(path: Path) -> bytes:
        reads.append(path)
        return whole[:100] if reads == [certificate, key] else path.read_bytes()

    monkeypatch.setattr(module, "content_of", read)
    assert ClientCertificate(certificate, key).read() == (certificate.read_bytes(), whole)


@pytest.mark.parametrize("wrong", ["key of another", "no PEM", "gone", "with a password"])
def test_files_of_tls_that_can_not_be_used_are_refused_at_first_and_later_change_nothing(
    tmp_path: Path, authority: Authority, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    certificate, key = authority.issue("spiffe://team/a").write(tmp_path, "c")
    good = key.read_bytes()
    endpoint = Endpoint("https://rampd.example:443", ClientCertificate(certificate, key), authority.write(tmp_path))

    def spoil() -> None:
        key.unlink()
        if wrong == "with a password":
            key.write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n")
        elif wrong != "gone":
            key.write_bytes(authority.issue("x").key if wrong == "key of another" else b"hello")

    spoil()
    with pytest.raises(UnauthenticatedError, match=str(key)):
        endpoint.open_channel(CHANNEL_OPTIONS)
    key.write_bytes(good)
    endpoint.open_channel(CHANNEL_OPTIONS).close()
    spoil()
    with caplog.at_level(logging.WARNING, "rampd"):
        endpoint.open_channel(CHANNEL_OPTIONS).close()
    assert "The files that were read before stay in use." in caplog.text


@pytest.mark.parametrize("content", [None, "", "hello"])
def test_a_ca_file_without_a_certificate_is_refused_at_once(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InvalidArgumentError, match=f"ca_file: {path}"):
        Endpoint("https://rampd.example:443", ca_file=path)


def test_the_environment_may_have_a_token_and_a_certificate(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate, key = authority.issue("spiffe://team/a").write(tmp_path, "c")
    token = new_token()
    for name, value in (("TOKEN", f"{token}\n"), ("CERT_FILE", certificate), ("KEY_FILE", key)):
        monkeypatch.setenv(f"RAMPD_{name}", str(value))
    endpoint = Endpoint("https://rampd.example:443")
    assert sent(endpoint) == f"Bearer {token}"
    assert len(endpoint.stamp()) == 2  # type: ignore[arg-type]


def test_half_a_certificate_in_the_environment_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAMPD_CERT_FILE", "c.pem")
    with pytest.raises(InvalidArgumentError, match="RAMPD_KEY_FILE"):
        Endpoint("https://rampd.example:443")


@pytest.mark.parametrize("wrong", ["token", 7])
def test_credentials_of_another_kind_are_refused(wrong: Credentials) -> None:
    with pytest.raises(InvalidArgumentError, match="one of rampd"):
        Endpoint("127.0.0.1:1", wrong)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: path.symlink_to("/dev/zero"), "Not a regular file"),
        (os.mkfifo, "Not a regular file"),
        (lambda path: path.mkdir(), "Is a directory"),
        (lambda path: path.write_bytes(b"x" * (1 << 20) + b"x"), "File too large"),
    ],
    ids=["without an end", "pipe", "folder", "of 1 MiB and a byte"],
)
def test_what_is_no_small_file_is_refused_and_not_waited_for(
    tmp_path: Path, make: Callable[[Path], object], says: str
) -> None:
    """Given a pipe that nobody writes into, or /dev/zero, expect an error for each kind of file, and no client that hangs."""
    path = tmp_path / "odd"
    make(path)

    for read in (TokenFile(path), ClientCertificate(path, path).read):
        with pytest.raises(UnauthenticatedError, match=rf"can't be read: .*{says}"):
            read()
    with pytest.raises(InvalidArgumentError, match=f"can't be read: {says}"):
        Admin("https://127.0.0.1:1", ca_file=path)
