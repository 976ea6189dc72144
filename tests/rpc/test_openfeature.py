"""The provider, called through OpenFeature's own SDK against a real server."""

import contextlib
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import EventDetails, ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationOptions, Reason
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus

from rampd import v1
from rampd.openfeature import RampdProvider
from tests.servers import Stubs, short_directory

C = "restyler"
APP = EvaluationContext("acme/app")


@pytest.fixture
def provide() -> Iterator[Callable[..., Any]]:
    """Gives a function that sets a provider and returns a client for it."""
    made: list[RampdProvider] = []

    def start(target: str, *, wait: bool = True, **options: Any) -> Any:
        made.append(RampdProvider(target, **options))
        (api.set_provider_and_wait if wait else api.set_provider)(made[-1])
        return api.get_client()

    yield start
    api.clear_providers()
    for provider in made:
        provider.shutdown()


class Events:
    """Keeps the events that handlers of a client get."""

    def __init__(self, client: Any) -> None:
        self.seen: list[tuple[ProviderEvent, EventDetails]] = []
        for event in ProviderEvent:
            client.add_handler(event, lambda details, event=event: self.seen.append((event, details)))

    def wait_for(self, event: ProviderEvent, within_s: float = 60) -> EventDetails:
        end = time.monotonic() + within_s
        while time.monotonic() < end:
            for seen, details in list(self.seen):
                if seen is event:
                    return details
            time.sleep(0.01)
        raise AssertionError(f"no {event}: {self.seen}")


def rolling_out(call: Stubs) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    call("Release", component=C, tag="t2", attributes={"commit": "2b"})
    call("Ramp", component=C, percent=100)


def test_a_flag_is_a_component_and_says_why(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1", attributes={"commit": "1a"})
    client = provide(target)
    assert client.get_provider_status() is ProviderStatus.READY
    details = client.get_string_details(C, "none", APP)
    assert (details.value, details.reason, details.variant, details.error_code) == (
        "t1",
        Reason.STATIC,
        "current",
        None,
    )
    age_s = details.flag_metadata["snapshot_age_s"]
    assert 0 <= age_s < 60
    assert details.flag_metadata == {
        "release": 1,
        "revision": 1,
        "rampd_reason": "STEADY",
        "stale": age_s >= 5,
        "channel": "current",
        "snapshot_age_s": age_s,
        "attribute.commit": "1a",
    }


def test_weights_and_overrides_have_their_reasons(target: str, call: Stubs, provide: Any) -> None:
    rolling_out(call)
    call("SetOverride", component=C, repo="acme/old", channel=v1.CHANNEL_CURRENT)
    call("SetOverride", component=C, repo="acme/mine", tag="pb/x")
    client = provide(target)
    found = {}
    for repo in ("acme/app", "acme/old", "acme/mine"):
        details = client.get_string_details(C, "none", EvaluationContext(repo, {"job_id": "42"}))
        found[repo] = (details.value, details.reason, details.variant, details.flag_metadata["release"])
        assert 0 <= details.flag_metadata["bucket"] < 10_000
    assert found == {
        "acme/app": ("t2", Reason.SPLIT, "next", 2),
        "acme/old": ("t1", Reason.TARGETING_MATCH, "current", 1),
        "acme/mine": ("pb/x", Reason.TARGETING_MATCH, "pb/x", 0),
    }


async def test_the_provider_resolves_in_asyncio(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    assert await client.get_string_value_async(C, "none", APP) == "t1"
    details = await client.get_string_details_async("other", "none", APP)
    assert (details.value, details.error_code) == ("none", ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        (("other", APP), ErrorCode.FLAG_NOT_FOUND),
        (("Not A Component", APP), ErrorCode.FLAG_NOT_FOUND),
        ((C, None), ErrorCode.TARGETING_KEY_MISSING),
        ((C, EvaluationContext("", {"job_id": "1"})), ErrorCode.TARGETING_KEY_MISSING),
        ((C, EvaluationContext("no repo")), ErrorCode.INVALID_CONTEXT),
        ((C, EvaluationContext("acme/app", {"job_id": 42})), ErrorCode.INVALID_CONTEXT),
    ],
)
def test_a_question_without_an_answer_gets_the_default_and_the_reason(
    target: str, call: Stubs, provide: Any, question: tuple[str, Any], expected: ErrorCode
) -> None:
    call("Release", component=C, tag="t1")
    flag, context = question
    details = provide(target).get_string_details(flag, "mine", context)
    assert (details.value, details.error_code, details.reason) == ("mine", expected, Reason.ERROR)
    assert details.error_message


def test_a_flag_can_only_be_read_as_a_string(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    for details in (
        client.get_boolean_details(C, True, APP),
        client.get_integer_details(C, 1, APP),
        client.get_float_details(C, 1.5, APP),
        client.get_object_details(C, {"a": 1}, APP),
    ):
        assert details.error_code is ErrorCode.TYPE_MISMATCH


def test_hooks_see_the_answer(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1")
    seen = []

    class Seeing(Hook):
        def after(self, hook_context: Any, details: Any, hints: Any) -> None:
            seen.append((hook_context.flag_key, details.value, details.reason))

    provide(target).get_string_value(C, "none", APP, FlagEvaluationOptions(hooks=[Seeing()]))
    assert seen == [(C, "t1", Reason.STATIC)]


def test_a_change_names_the_flags_that_changed(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    events = Events(client)
    assert events.wait_for(ProviderEvent.PROVIDER_READY).provider_name == "rampd"
    revision = call("Release", component=C, tag="t2").revision
    changed = events.wait_for(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED)
    assert (changed.flags_changed, changed.metadata) == ([C], {"revision": revision})


def test_a_provider_with_an_old_state_is_stale_and_later_ready_again(
    target: str, call: Stubs, provide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    events = Events(client)
    feed = client.provider.resolver._watching.local.feed
    real = feed._take_heartbeat
    monkeypatch.setattr(feed, "_take_heartbeat", lambda _heartbeat, _now_s: None)
    feed.confirmed_s -= 60
    stale = events.wait_for(ProviderEvent.PROVIDER_STALE)
    assert "s old" in str(stale.message)
    assert client.get_provider_status() is ProviderStatus.STALE
    details = client.get_string_details(C, "none", APP)
    assert (details.value, details.flag_metadata["stale"]) == ("t1", True)
    events.seen.clear()
    monkeypatch.setattr(feed, "_take_heartbeat", real)
    events.wait_for(ProviderEvent.PROVIDER_READY)


def test_events_come_again_after_a_thread_could_not_start(
    target: str, call: Stubs, provide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("Release", component=C, tag="t1")
    real, refused = threading.Thread.start, []

    def start(thread: threading.Thread) -> None:
        if thread.name == "rampd-openfeature" and not refused:
            refused.append(thread)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    client = provide(target)
    assert refused
    events = Events(client)
    client.provider.resolver._watching.local.feed.confirmed_s -= 60
    monkeypatch.setattr(client.provider.resolver._watching.local.feed, "_take_heartbeat", lambda *_: None)
    assert client.get_string_value(C, "none", APP) == "t1"
    events.wait_for(ProviderEvent.PROVIDER_STALE)


def test_events_come_again_after_one_could_not_be_emitted(
    target: str, call: Stubs, provide: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    real, failed = client.provider.emit_provider_stale, []

    def emit(details: Any) -> None:
        if not failed:
            failed.append(details)
            raise SystemExit("the SDK ends")
        real(details)

    monkeypatch.setattr(client.provider, "emit_provider_stale", emit)
    events = Events(client)
    monkeypatch.setattr(client.provider.resolver._watching.local.feed, "_take_heartbeat", lambda *_: None)
    client.provider.resolver._watching.local.feed.confirmed_s -= 60
    events.wait_for(ProviderEvent.PROVIDER_STALE)
    assert failed


def test_next_is_not_given_from_a_state_that_is_too_old(target: str, call: Stubs, provide: Any) -> None:
    rolling_out(call)
    client = provide(target, next_max_stale=0)
    details = client.get_string_details(C, "none", APP)
    assert (details.value, details.reason, details.variant) == ("t1", Reason.STALE, "current")


def test_without_a_server_the_provider_has_an_error_and_gives_the_default(provide: Any) -> None:
    with pytest.raises(ProviderNotReadyError, match=r"no state has come from 127\.0\.0\.1:1"):
        provide("127.0.0.1:1", timeout=0.2)
    client = api.get_client()
    Events(client).wait_for(ProviderEvent.PROVIDER_ERROR)
    assert client.get_provider_status() is ProviderStatus.ERROR
    assert client.get_string_value(C, "mine", APP) == "mine"


def test_the_provider_can_be_initialised_again_after_a_shutdown(target: str, call: Stubs, provide: Any) -> None:
    call("Release", component=C, tag="t1")
    client = provide(target)
    client.provider.shutdown()
    client.provider.initialize(EvaluationContext())
    assert client.get_string_value(C, "none", APP) == "t1"


def test_a_shutdown_of_the_provider_ends_its_threads(target: str, call: Stubs, provide: Any) -> None:
    before = set(threading.enumerate())
    client = provide(target)
    client.provider.shutdown()
    end = time.monotonic() + 60
    while own := [each for each in set(threading.enumerate()) - before if each.name.startswith("rampd-")]:
        assert time.monotonic() < end, own
        time.sleep(0.01)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['openfeature.provider'] = None\n"
        "import rampd, rampd.resolver\nassert 'openfeature' not in sys.modules\nimport rampd.openfeature"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
    assert "pip install 'rampd[openfeature]'" in done.stderr.splitlines()[-1]


SET_AND_FORK = """
    import os, signal, sys, threading, time
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEvent
    from rampd.openfeature import RampdProvider

    client, seen, first = api.get_client(), [], threading.Event()
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda _: first.set())
    first.wait(20)  # the SDK's default provider is ready, so the SDK's threads have run
    client.add_handler(ProviderEvent.PROVIDER_CONFIGURATION_CHANGED, lambda details: seen.append("changed"))
    provider = RampdProvider("unix:" + sys.argv[1], timeout=0.2)
    when = sys.argv[2]
    if when == "under way":
        api.set_provider(provider)
    else:
        try:
            api.set_provider_and_wait(provider)
        except Exception:
            pass
        if when == "later":
            time.sleep(1.5)
    child = os.fork()
    if child:
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        sys.exit()
    signal.alarm(60)
    ready = threading.Event()
    client.add_handler(ProviderEvent.PROVIDER_READY, lambda _: ready.set())
    print("forked", flush=True)
    got = ready.wait(50), client.get_string_value("restyler", "none", EvaluationContext("acme/app"))
    print("ready", *got, flush=True)
    end = time.monotonic() + 50
    while not seen and time.monotonic() < end:
        time.sleep(0.01)
    print(seen[0], flush=True)
    os._exit(0)
"""


@pytest.mark.parametrize("when", ["under way", "at once", "later"])
def test_a_provider_that_was_not_ready_at_a_fork_becomes_ready_in_the_child(
    target: str, call: Stubs, when: str
) -> None:
    call("Release", component=C, tag="t1")
    host, port = target.rsplit(":", 1)
    with short_directory() as directory:
        path = directory / "late.sock"
        process = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(SET_AND_FORK), str(path), when], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "forked\n"
            with proxy_at(path, host, int(port)):
                assert process.stdout.readline() == "ready True t1\n"
                call("Release", component=C, tag="t2")
                assert process.stdout.readline() == "changed\n"
                # Not communicate(): it would miss the text that was already read into the buffer with the line before.
                assert process.stdout.read() == "0\n"
        finally:
            process.kill()
            process.wait()
            process.stdout.close()


@contextlib.contextmanager
def proxy_at(path: Path, host: str, port: int) -> Iterator[None]:
    """Listens on a unix socket, and passes its connections on to `host:port`."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()

    def pass_on(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(65536):
                sink.sendall(piece)
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def accept() -> None:
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            while True:
                near = stack.enter_context(listener.accept()[0])
                far = stack.enter_context(socket.create_connection((host, port)))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=pass_on, args=pair, daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(20)
