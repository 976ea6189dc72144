"""The deadline of a call, its repeats, and its valid targets."""

from typing import Any

import pytest

from rampd import AbortedError, InvalidArgumentError, NotFoundError, UnavailableError
from rampd._calls.methods import METHODS
from rampd._calls.retry import Attempts
from rampd._calls.target import channel_target, checked_target
from rampd._calls.timeout import checked_timeout

CONTENTION = AbortedError("others wrote", reason="CONTENTION")


def test_contention_is_tried_again_after_growing_pauses() -> None:
    attempts = Attempts(5, now_s=100, chance=lambda: 1.0)
    assert [attempts.pause_s(CONTENTION, 100) for _ in range(7)] == [0.02, 0.04, 0.08, 0.16, 0.32, 0.5, 0.5]


def test_pauses_are_spread_over_half_of_their_length() -> None:
    attempts = Attempts(5, now_s=0, chance=lambda: 0.0)
    assert attempts.pause_s(CONTENTION, 0) == 0.01


def test_no_pause_lasts_beyond_the_deadline() -> None:
    attempts = Attempts(5, now_s=0, chance=lambda: 1.0)
    assert attempts.left_s(4.99) == pytest.approx(0.01)
    assert attempts.pause_s(CONTENTION, 4.99) is None
    assert attempts.left_s(7) == 0


@pytest.mark.parametrize(
    "error",
    [
        AbortedError("no", reason="REVISION_MISMATCH"),
        NotFoundError("no", reason="COMPONENT_NOT_FOUND"),
        UnavailableError("gRPC has tried already"),
    ],
)
def test_no_other_error_is_tried_again(error: Any) -> None:
    assert Attempts(5, now_s=0).pause_s(error, 0) is None


def test_every_request_belongs_to_one_method() -> None:
    assert len(METHODS) == len({method.path for method in METHODS.values()}) == 34
    assert {method.name for method in METHODS.values() if method.streams} == {"Watch", "WatchRelease"}


@pytest.mark.parametrize(
    "target",
    [
        "127.0.0.1:50051",
        "localhost:1",
        "[::1]:65535",
        "unix:/run/rampd.sock",
        "unix:///run/rampd.sock",
        "dns:///a:1",
        "unix:/a b/ä%20'#?\n.sock",
        "unix:relative.sock",
        "unix:///a%20b",
        "ipv6:[::1]:1",
    ],
)
def test_a_target_that_grpc_knows_is_accepted(target: str) -> None:
    assert checked_target(target) == target


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("http://localhost:50051", 'must be "localhost:50051", without http://, or "https://localhost:50051" for a server with TLS; got'),
        ("http://[::1]:50051/", 'must be "[::1]:50051", without http://, or "https://[::1]:50051" for a server with TLS; got'),
        ("https://rampd", 'must be "https://host:port" for a server with TLS; got'),
        ("http://rampd", 'must be "host:port", without http://, or "https://host:port" for a server with TLS; got'),
        ("grpc://rampd:1", 'must be "rampd:1", without grpc://, or "https://rampd:1" for a server with TLS; got'),
        ("http://ada:secret@rampd:1", 'must be "rampd:1", without http://'),
        ("redis://:secret@rampd:6379/0", 'must be "host:port" of a rampd server. Only the server needs the address of Redis'),
        ("unix://run/rampd.sock", "must have an absolute path after unix://, as in unix:///run/rampd.sock; got"),
    ],
)  # fmt: skip
def test_a_url_is_refused_at_once_and_without_its_password(target: str, told: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        checked_target(target)
    [(_, text)] = caught.value.violations
    assert text.startswith(told)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("target", "given"),
    [
        ("unix:/a b%20c", "unix:/a%20b%2520c"),
        ("unix:///a b%20c", "unix:/a%20b%20c"),
        ("unix:/ä#?\udcff", "unix:/%C3%A4%23%3F%FF"),
        ("unix:run/r.sock", "unix:run/r.sock"),
        ("localhost:1", "localhost:1"),
        ("dns:///a:1", "dns:///a:1"),
    ],
)
def test_grpc_gets_the_path_of_a_socket_with_url_escapes(target: str, given: str) -> None:
    assert channel_target(checked_target(target)) == given


@pytest.mark.parametrize(
    "target",
    ["", "localhost", "localhost:", ":50051", "localhost:0", "localhost:65536", "a:b", "unix:", "a b:1", "a:1\n", None, 7,
     b"a:1", "a:１", "unix://run/rampd.sock", "unix:/a\0b", "ada@host:1", "host/path:1"],
)  # fmt: skip
def test_any_other_target_is_refused(target: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        checked_target(target)
    assert [field for field, _ in caught.value.violations] == ["target"]


@pytest.mark.parametrize("timeout", [0, -1, float("nan"), float("inf"), "1", True, None])
def test_a_timeout_is_a_number_of_seconds(timeout: Any) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        checked_timeout(timeout)
    assert [field for field, _ in caught.value.violations] == ["timeout"]
    assert checked_timeout(0.5) == 0.5
