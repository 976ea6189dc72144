"""OpenFeature's remote evaluation protocol, over a real port: alone, and through OpenFeature's own provider."""

import asyncio
import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from openfeature import api
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import FlagEvaluationDetails, Reason

from rampd import v1
from rampd.openfeature import RampdProvider
from rampd_server import testing
from rampd_server.access import following
from rampd_server.http import evaluation, ofrep
from rampd_server.http.evaluation import MAX_CONTEXT_BYTES
from rampd_server.listeners import Listening
from rampd_server.process.address import Address
from rampd_server.replica.store_clock import StoreClock
from tests.damaging import damage, make_servers_read_again
from tests.rpc.access_table import Tokens
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
FLAGS = "/ofrep/v1/evaluate/flags"
APP = {"targetingKey": "acme/app"}
JSON = {"content-type": "application/json"}
HTTP = Address("127.0.0.1", 0)
CORRUPT = "STORE_CORRUPT"

# An answer that becomes stale meanwhile has another ETag.
pytestmark = pytest.mark.usefixtures("never_stale")


@dataclass
class Port:
    """The port for HTTP of a server, and its methods over gRPC."""

    listening: Listening
    http: httpx.Client
    call: Stubs

    @property
    def url(self) -> str:
        return f"http://{self.listening.http}"

    def ask(self, component: str, context: object = APP, **headers: str) -> httpx.Response:
        return self.http.post(f"{FLAGS}/{component}", json={"context": context}, headers=headers)

    def ask_all(self, context: object = APP, **headers: str) -> httpx.Response:
        return self.http.post(FLAGS, json={"context": context}, headers=headers)

    def etag(self, context: object = APP) -> str:
        return self.ask_all(context).headers["etag"]


@contextlib.contextmanager
def port(directory: Path, url: str, **settings: Any) -> Iterator[Port]:
    with (
        testing.listening(directory, url, http=HTTP, **settings) as listening,
        httpx.Client(base_url=f"http://{listening.http}", timeout=60) as http,
        stubs(str(listening.grpc)) as call,
    ):
        yield Port(listening, http, call)


@pytest.fixture
def here(store_process: StoreServer, namespace: str) -> Iterator[Port]:
    with short_directory() as directory, port(directory, store_process.url, namespace=namespace) as made:
        yield made


def rolling_out(call: Stubs) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    call("Release", component=C, tag="t2", attributes={"commit": "2b"})
    call("Ramp", component=C, percent=50)


# One flag


def test_a_component_is_a_flag(here: Port) -> None:
    here.call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    response = here.ask(C)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    answer = response.json()
    age_s = answer["metadata"]["snapshot_age_s"]
    assert 0 <= age_s < 60
    assert answer == {
        "key": C,
        "value": "t1",
        "variant": "current",
        "reason": "STATIC",
        "metadata": {
            "release": 1,
            "revision": 1,
            "rampd_reason": "STEADY",
            "stale": False,
            "channel": "current",
            "snapshot_age_s": age_s,
            "attribute.commit": "1a",
        },
    }


def test_the_job_decides_where_the_rollout_is_by_job(here: Port) -> None:
    here.call("Release", component=C, tag="t1")
    here.call("SetPolicy", component=C, policy={"unit": v1.UNIT_JOB}, update_mask={"paths": ["unit"]})
    here.call("Release", component=C, tag="t2")
    here.call("Ramp", component=C, percent=50)
    jobs = [str(number) for number in range(40)]
    found = [here.ask(C, APP | {"job_id": job}).json()["metadata"]["bucket"] for job in jobs]
    asked = [here.call("Resolve", component=C, repo="acme/app", job_id=job).bucket for job in jobs]
    assert found == asked
    assert len(set(found)) > 30


@pytest.mark.parametrize(
    ("component", "context", "status", "code"),
    [
        ("other", APP, 404, "FLAG_NOT_FOUND"),
        ("Not A Component", APP, 404, "FLAG_NOT_FOUND"),
        ("a%2Fb", APP, 404, "FLAG_NOT_FOUND"),
        ("a%0Ab", APP, 404, "FLAG_NOT_FOUND"),
        (f"{C}%0A", APP, 404, "FLAG_NOT_FOUND"),
        ("", APP, 404, "FLAG_NOT_FOUND"),
        ("%ff", APP, 404, "FLAG_NOT_FOUND"),
        (C, None, 400, "TARGETING_KEY_MISSING"),
        (C, {}, 400, "TARGETING_KEY_MISSING"),
        (C, {"targetingKey": ""}, 400, "TARGETING_KEY_MISSING"),
        (C, {"targetingKey": "no repo"}, 400, "INVALID_CONTEXT"),
        (C, {"targetingKey": "é"}, 400, "INVALID_CONTEXT"),
        (C, APP | {"job_id": 42}, 400, "INVALID_CONTEXT"),
        (C, APP | {"job_id": "a b"}, 400, "INVALID_CONTEXT"),
        (C, [], 400, "INVALID_CONTEXT"),
    ],
)
def test_a_question_without_an_answer_says_why(
    here: Port, component: str, context: object, status: int, code: str
) -> None:
    here.call("Release", component=C, tag="t1")
    response = here.ask(component, context)
    answer = response.json()
    assert (response.status_code, answer["errorCode"]) == (status, code)
    assert answer["errorDetails"]
    assert isinstance(answer["key"], str)


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/{C}"])
@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{", JSON, 400),
        (b"", JSON, 400),
        (b'{"context": {"targetingKey": "acme/app"}}', {"content-type": "text/plain"}, 415),
        (b'{"context": {"targetingKey": "acme/app"}}', {}, 415),
    ],
)
def test_only_json_is_read(here: Port, path: str, body: bytes, headers: dict[str, str], status: int) -> None:
    here.call("Release", component=C, tag="t1")
    response = here.http.post(path, content=body, headers=headers)
    assert (response.status_code, response.json()["errorCode"]) == (status, "PARSE_ERROR")
    assert response.json()["errorDetails"]


@pytest.mark.parametrize("in_pieces", [False, True])
def test_a_context_is_at_most_64_kib_and_a_larger_one_is_told_so(here: Port, in_pieces: bool) -> None:
    here.call("Release", component=C, tag="t1")

    def asked(size: int) -> httpx.Response:
        body = json.dumps({"context": APP | {"more": ""}}).encode()
        body = body.replace(b'""', b'"%s"' % (b"x" * (size - len(body))))
        assert len(body) == size
        pieces = iter([body[:1000], body[1000:]])
        return here.http.post(f"{FLAGS}/{C}", content=pieces if in_pieces else body, headers=JSON)

    assert asked(MAX_CONTEXT_BYTES).json()["value"] == "t1"
    for size in (MAX_CONTEXT_BYTES + 1, 1_000_000):
        response = asked(size)
        assert (response.status_code, response.json()["errorCode"]) == (400, "INVALID_CONTEXT")
        assert "leave other keys out of the context" in response.json()["errorDetails"]
    assert here.ask(C).json()["value"] == "t1"


@pytest.mark.parametrize("path", [FLAGS, f"{FLAGS}/{C}"])
def test_of_a_request_that_is_too_large_only_the_beginning_is_read(here: Port, path: str) -> None:
    """Given more than any call may send, announced but not sent, expect the sentence about the context, and not one about the
    answer.
    """
    here.call("Release", component=C, tag="t1")
    head = (f"POST {path} HTTP/1.1", "Host: localhost", "Content-Type: application/json", "Content-Length: 50000000")
    answer = raw(here, *head, body=b" " * 70_000)
    assert answer.startswith(b"HTTP/1.1 400 ")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])
    assert (error["errorCode"], "leave other keys out" in error["errorDetails"]) == ("INVALID_CONTEXT", True)


def test_a_get_is_no_evaluation(here: Port) -> None:
    assert here.http.get(f"{FLAGS}/{C}").status_code == 405
    assert here.http.get(FLAGS).status_code == 405


def raw(here: Port, *lines: str, body: bytes = b"") -> bytes:
    """What the server says to a request that no client of HTTP would send."""
    address = here.listening.http
    assert address is not None
    with socket.create_connection((address.host, address.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*lines, "Connection: close", "", ""]).encode() + body)
        said = b""
        while part := connection.recv(65536):
            said += part
    return said


WRONG = {
    "a body with two lengths": (
        400,
        f"POST {FLAGS}/{C} HTTP/1.1",
        "Host: localhost",
        "Content-Length: 2",
        "Transfer-Encoding: chunked",
    ),
    "a page of another host": (403, f"POST {FLAGS}/{C} HTTP/1.1", "Host: localhost", "Origin: http://evil.example"),
    "nothing there": (404, "POST /ofrep/v1/configuration HTTP/1.1", "Host: localhost"),
    "a GET": (405, f"GET {FLAGS}/{C} HTTP/1.1", "Host: localhost"),
    "a long path": (414, f"POST {FLAGS}/{'x' * 16_500} HTTP/1.1", "Host: localhost"),
    "a name of another machine": (421, f"POST {FLAGS}/{C} HTTP/1.1", "Host: evil.example"),
    "large headers": (431, f"POST {FLAGS}/{C} HTTP/1.1", "Host: localhost", f"X: {'x' * 16_500}"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_refused_before_it_is_a_question_is_also_said_in_the_words_of_the_protocol(
    here: Port, what: str
) -> None:
    status, *lines = WRONG[what]
    head, _, content = raw(here, *lines).partition(b"\r\n\r\n")
    assert int(head.split()[1]) == status
    error = json.loads(content)
    assert (error.pop("errorCode"), len(error.pop("errorDetails")) > 20, error) == ("GENERAL", True, {})


@pytest.mark.parametrize(("fault", "status"), [(RuntimeError, 500), (asyncio.CancelledError, 503)])
def test_a_defect_and_a_stop_are_also_said_in_the_words_of_the_protocol(
    here: Port, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException], status: int
) -> None:
    async def fails(*_: object) -> bytes:
        raise fault

    monkeypatch.setattr(ofrep, "call", fails)
    response = here.ask(C)
    assert (response.status_code, response.json()["errorCode"]) == (status, "GENERAL")
    assert response.json()["errorDetails"]


# Who asks


@pytest.fixture
def guarded(
    store_process: StoreServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Port, Tokens]]:
    """A server with an access file."""
    monkeypatch.setattr(following, "_LOOK_S", 0.02)
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("admin", "admin")
        tokens.grant("worker", "launcher")
        tokens.grant("of others", "launcher", 'components = ["other*"]')
        tokens.grant("may not", "launcher", 'deny = ["Resolve", "BatchResolve"]')
        tokens.grant("impatient", "launcher", "limits = { calls_per_s = 0.01, burst = 2 }")
        given = {"access_file": tokens.path, "insecure_admin": False, "namespace": namespace}
        with (
            port(directory, store_process.url, **given) as made,
            grpc.insecure_channel(str(made.listening.grpc)) as channel,
        ):
            for name in (C, "other", "other-2"):
                channel.unary_unary("/rampd.v1.ReleaseService/Release")(
                    v1.ReleaseRequest(component=name, tag="t1").SerializeToString(),
                    metadata=tokens.metadata("admin"),
                    timeout=60,
                )
            yield made, tokens


def bearer(tokens: Tokens, name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {tokens.of[name]}"}


def test_a_component_that_is_not_there_for_a_caller_is_a_flag_that_is_not_there(guarded: tuple[Port, Tokens]) -> None:
    here, tokens = guarded
    token = bearer(tokens, "of others")
    assert here.ask("other", **token).json()["value"] == "t1"
    hidden, unknown = here.ask(C, **token), here.ask("missing", **token)
    assert (hidden.status_code, unknown.status_code) == (404, 404)
    assert hidden.text.replace(C, "missing") == unknown.text
    assert sorted(hidden.headers) == sorted(unknown.headers)
    assert [each["key"] for each in here.ask_all(**token).json()["flags"]] == ["other", "other-2"]
    everything = here.ask_all(**bearer(tokens, "worker")).json()["flags"]
    assert [each["key"] for each in everything] == ["other", "other-2", C]


@pytest.mark.parametrize("context", [APP, {}])
def test_who_proves_nothing_and_who_may_not_resolve_get_nothing(guarded: tuple[Port, Tokens], context: object) -> None:
    here, tokens = guarded
    wrong: tuple[dict[str, str], ...] = (
        {},
        {"authorization": "Bearer rampd_wrong"},
        {"x-api-key": tokens.of["worker"]},
    )
    for token in wrong:
        for response in (here.ask(C, context, **token), here.ask_all(context, **token)):
            assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
            assert response.json()["errorCode"] == "GENERAL"
            assert "token" in response.json()["errorDetails"]
    token = bearer(tokens, "may not")
    for response in (here.ask(C, **token), here.ask_all(**token)):
        assert (response.status_code, response.json()["metadata"]) == (403, {"rampd_reason": "ROLE_REQUIRED"})


def test_who_may_not_resolve_does_not_learn_that_there_is_no_component(guarded: tuple[Port, Tokens]) -> None:
    here, tokens = guarded
    token = tokens.grant("nothing", "launcher", 'components = ["none"]', 'deny = ["BatchResolve"]')
    eventually(lambda: here.ask_all(authorization=f"Bearer {token}").status_code == 403)
    tokens.grant("nothing", "launcher", 'components = ["none"]')
    eventually(lambda: here.ask_all(authorization=f"Bearer {token}").json() == {"flags": []})


@pytest.mark.parametrize("context", [APP, {}])
def test_who_is_over_the_limit_is_told_when_to_come_back(guarded: tuple[Port, Tokens], context: object) -> None:
    here, tokens = guarded
    token = bearer(tokens, "impatient")
    answers = [here.ask(C, context, **token) for _ in range(4)]
    assert [each.status_code for each in answers][-1] == 429
    assert 1 <= int(answers[-1].headers["retry-after"]) <= 200
    assert "limits.calls_per_s" in answers[-1].json()["errorDetails"]


def test_a_question_for_too_many_flags_counts_against_the_limits(
    guarded: tuple[Port, Tokens], monkeypatch: pytest.MonkeyPatch
) -> None:
    here, tokens = guarded
    monkeypatch.setattr(evaluation, "MAX_BATCH", 0)
    answers = [here.ask_all(**bearer(tokens, "impatient")) for _ in range(4)]
    assert [each.status_code for each in answers[::3]] == [400, 429]


# All flags


def test_all_components_are_answered_for_one_repo_in_order(here: Port) -> None:
    rolling_out(here.call)
    here.call("Release", component="a", tag="20200301")
    response = here.ask_all()
    flags = response.json()["flags"]
    assert [each["key"] for each in flags] == ["a", C]
    for each in flags:
        alone = here.ask(each["key"]).json()
        del alone["metadata"]["snapshot_age_s"]
        assert each == alone
    assert here.ask_all({}).json()["errorCode"] == "TARGETING_KEY_MISSING"
    assert "key" not in here.ask_all({}).json()


def test_a_server_without_components_has_no_flags(here: Port) -> None:
    response = here.ask_all()
    assert (response.status_code, response.json()) == (200, {"flags": []})
    assert here.ask_all(**{"if-none-match": response.headers["etag"]}).status_code == 304


def test_who_has_the_answer_gets_304_while_nothing_changes(here: Port) -> None:
    rolling_out(here.call)
    etag = here.etag()
    time.sleep(1.2)  # the copy is confirmed again, so that the age of the state has changed
    for known in (etag, f"W/{etag}", f'"x", {etag}'):
        response = here.ask_all(**{"if-none-match": known})
        assert (response.status_code, response.content, response.headers["etag"]) == (304, b"", etag)
    assert here.ask_all(**{"if-none-match": '"x"'}).status_code == 200
    assert here.etag({"targetingKey": "acme/app", "country": "CA"}) == etag
    assert here.etag({"targetingKey": "acme/other"}) != etag


def test_a_304_for_a_known_answer_evaluates_nothing(here: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    rolling_out(here.call)
    etag = here.etag()
    monkeypatch.setattr(ofrep, "call", None)
    assert here.ask_all(**{"if-none-match": etag}).status_code == 304
    assert here.ask_all(**{"if-none-match": '"x"'}).status_code == 500


def test_each_change_of_an_answer_changes_the_etag(here: Port) -> None:
    rolling_out(here.call)
    seen = [here.etag()]
    steps: list[Callable[[], object]] = [
        lambda: here.call("Ramp", component=C, percent=100),
        lambda: here.call("SetOverride", component=C, repo="acme/*", tag="pb/x"),
        lambda: here.call("Rollback", component=C),
        lambda: here.call("Release", component="a", tag="t1"),
        lambda: here.call("DeleteComponent", component="a", confirm="a"),
    ]
    for step in steps:
        step()
        eventually(lambda: here.etag() != seen[-1])
        seen.append(here.etag())
    assert len(set(seen)) == len(steps)
    assert seen[-1] == seen[-3], "the answer is again what it was before the last two steps"


def test_the_etag_changes_when_an_override_ends(here: Port, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a time that passes only for the server, so that the store does not change, expect that it ends an answer."""
    rolling_out(here.call)
    before = here.ask_all().json()
    end = Timestamp(seconds=int(time.time()) + 1800)
    here.call("SetOverride", component=C, repo="acme/app", tag="pb/x", expire_time=end)
    eventually(lambda: here.ask(C).json()["value"] == "pb/x")
    during = here.etag()
    assert here.ask_all(**{"if-none-match": during}).status_code == 304
    take = StoreClock.take
    monkeypatch.setattr(StoreClock, "take", lambda clock, time_ms, *moments: take(clock, time_ms + 3_600_000, *moments))
    eventually(lambda: here.ask(C).json()["value"] != "pb/x")
    response = here.ask_all(**{"if-none-match": during})
    assert (response.status_code, response.json()["flags"][0]["value"]) == (200, before["flags"][0]["value"])


def test_all_servers_have_the_same_etag(here: Port, store_process: StoreServer, namespace: str) -> None:
    """Behind a balancer, a client asks another server each time."""
    rolling_out(here.call)
    with short_directory() as directory, port(directory, store_process.url, namespace=namespace) as other:
        eventually(lambda: other.etag() == here.etag())


async def test_a_damaged_component_fails_alone(here: Port, store_process: StoreServer, namespace: str) -> None:
    for name in ("a", C):
        here.call("Release", component=name, tag="t1")
    store = store_process.store(namespace)
    try:
        await damage(store, C, "rollout", "state")
        await make_servers_read_again(store, "a")
    finally:
        await store.close()
    with short_directory() as directory, port(directory, store_process.url, namespace=namespace) as other:
        flags = {each["key"]: each for each in other.ask_all().json()["flags"]}
        assert flags["a"]["value"] == "t1"
        assert (flags[C]["errorCode"], flags[C]["metadata"]) == ("GENERAL", {"rampd_reason": CORRUPT})
        alone = other.ask(C)
        assert (alone.status_code, alone.json()["metadata"]) == (500, {"rampd_reason": CORRUPT})


@pytest.mark.parametrize(
    ("number", "attributes", "says"),
    [
        (1001, {}, "You see 1001 components, and a bulk answer holds at most 1000."),
        (300, {f"k{number}": "x" * 1000 for number in range(16)}, "has more than 4194304 bytes."),
    ],
    ids=["components", "bytes"],
)
def test_a_bulk_answer_is_bounded_and_leaves_nothing_out_in_silence(
    here: Port, number: int, attributes: dict[str, str], says: str
) -> None:
    names = [f"c{each:04}" for each in range(number)]

    def release(name: str) -> None:
        """On a busy machine the store may not answer in time. The call is sent again with the same request_id."""
        request = {"component": name, "tag": "t", "attributes": attributes, "request_id": name}
        eventually(lambda: here.call("Release", **request), suppressed=grpc.RpcError)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(release, names))
    response = here.ask_all()
    assert (response.status_code, response.json()["errorCode"]) == (400, "GENERAL")
    assert response.json()["errorDetails"].startswith((says, f"The answer for all components that you see {says}"))
    assert "names fewer components" in response.json()["errorDetails"]
    here.call("DeleteComponent", component=names[0], confirm=names[0])
    if not attributes:
        eventually(lambda: here.ask_all().status_code == 200)
        assert [each["key"] for each in here.ask_all().json()["flags"]] == names[1:]


# OpenFeature's own provider


@pytest.fixture
def provide() -> Iterator[Callable[[Any], Any]]:
    """Gives a function that sets a provider under a name of its own and returns a client for it."""
    made: list[Any] = []

    def start(provider: Any) -> Any:
        made.append(provider)
        domain = f"d{len(made)}"
        api.set_provider_and_wait(provider, domain)
        return api.get_client(domain)

    yield start
    api.clear_providers()
    for provider in made:
        provider.shutdown()
        if isinstance(provider, OFREPProvider):
            provider.session.close()


def said(details: FlagEvaluationDetails[str]) -> tuple[Any, ...]:
    metadata = {name: value for name, value in details.flag_metadata.items() if name != "snapshot_age_s"}
    return details.value, details.variant, details.reason, details.error_code, metadata


def steady(call: Stubs) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})


def to_everybody(call: Stubs) -> None:
    rolling_out(call)
    call("Ramp", component=C, percent=100)


def override_to_a_channel(call: Stubs) -> None:
    rolling_out(call)
    call("SetOverride", component=C, repo="acme/*", channel=v1.CHANNEL_NEXT)


def override_to_a_release(call: Stubs) -> None:
    rolling_out(call)
    call("SetOverride", component=C, repo="acme/*", tag="t1")


def override_to_a_tag(call: Stubs) -> None:
    rolling_out(call)
    call("SetOverride", component=C, repo="acme/*", tag="next")


def held(call: Stubs) -> None:
    rolling_out(call)
    call("Rollback", component=C)


def no_component(call: Stubs) -> None:
    call("Release", component="other", tag="t1")


STORIES = (
    steady,
    rolling_out,
    to_everybody,
    override_to_a_channel,
    override_to_a_release,
    override_to_a_tag,
    held,
    no_component,
)


@pytest.mark.parametrize("story", STORIES)
def test_openfeatures_provider_says_the_same_as_that_of_rampd(
    here: Port, provide: Callable[[Any], Any], story: Callable[[Stubs], None]
) -> None:
    story(here.call)
    remote, local = provide(OFREPProvider(here.url, timeout=60)), provide(RampdProvider(str(here.listening.grpc)))
    for repo in (*(f"acme/app-{number}" for number in range(20)), "no repo", ""):
        context = EvaluationContext(repo, {"job_id": "42"})
        for name in (C, "Not A Component"):
            found = said(remote.get_string_details(name, "mine", context))
            assert found == said(local.get_string_details(name, "mine", context))
    wrong = EvaluationContext("acme/app", {"job_id": 42})
    assert remote.get_string_details(C, "mine", wrong).error_code is ErrorCode.INVALID_CONTEXT
    assert remote.get_string_details(C, "mine").error_code is ErrorCode.TARGETING_KEY_MISSING
    assert remote.get_string_details(C, "mine", wrong).error_message


def test_openfeatures_provider_with_a_wrong_token_gives_the_default(
    guarded: tuple[Port, Tokens], provide: Callable[[Any], Any]
) -> None:
    here, tokens = guarded
    for token, expected in ((tokens.of["worker"], ("t1", Reason.STATIC)), ("rampd_wrong", ("mine", Reason.ERROR))):
        headers = {"authorization": f"Bearer {token}"}
        client = provide(OFREPProvider(here.url, headers_factory=headers.copy, timeout=60))
        details = client.get_string_details(C, "mine", EvaluationContext("acme/app"))
        assert (details.value, details.reason) == expected
