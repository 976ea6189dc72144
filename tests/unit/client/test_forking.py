"""Forks and calls wait for each other."""

import copy
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from rampd import Admin, AsyncAdmin, AsyncResolver, Resolver
from rampd._runtime import fork_gate
from rampd._runtime.fork_gate import call_gate
from rampd.errors import InvalidArgumentError
from rampd.openfeature import RampdProvider


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


@pytest.fixture
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork and a call wait for each other for longer than the machine stands still."""
    monkeypatch.setattr(fork_gate, "_PATIENCE_S", 600)
    monkeypatch.setattr(fork_gate, "_LOST_AFTER_S", 600)


@pytest.mark.usefixtures("_patient")
def test_a_fork_waits_for_the_calls_under_way() -> None:
    inside, leave, order = threading.Event(), threading.Event(), []

    def call() -> None:
        with call_gate:
            inside.set()
            leave.wait(60)
            order.append("call")

    thread = in_thread(call)
    inside.wait(60)
    threading.Timer(0.05, leave.set).start()
    child = os.fork()
    if not child:
        os._exit(0)
    order.append("fork")
    thread.join()
    os.waitpid(child, 0)
    assert order == ["call", "fork"]


@pytest.mark.usefixtures("_patient")
def test_a_call_waits_for_a_fork() -> None:
    order = []

    def call() -> None:
        with call_gate:
            order.append("call")

    call_gate.before_fork()
    thread = in_thread(call)
    thread.join(0.05)
    order.append("fork")
    call_gate.after_in_parent()
    thread.join()
    assert order == ["fork", "call"]


@contextmanager
def call_under_way() -> Iterator[threading.Event]:
    """Runs another thread behind the gate. It leaves at the end of the block and then sets the event."""
    inside, leave, has_left = threading.Event(), threading.Event(), threading.Event()

    def call() -> None:
        with call_gate:
            inside.set()
            leave.wait(60)
            has_left.set()

    thread = in_thread(call)
    inside.wait(60)
    try:
        yield has_left
    finally:
        leave.set()
        thread.join()


def test_a_fork_does_not_wait_forever(monkeypatch) -> None:
    monkeypatch.setattr(fork_gate, "_PATIENCE_S", 0.01)
    with call_under_way() as has_left:
        child = os.fork()
        if not child:
            os._exit(0)
        assert not has_left.is_set()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_does_not_wait_for_calls_of_its_parent(monkeypatch) -> None:
    monkeypatch.setattr(fork_gate, "_PATIENCE_S", 0.01)
    with call_under_way():
        child = os.fork()
        if not child:
            with call_gate:
                os._exit(8 if call_gate.is_inside else 7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.usefixtures("_patient")
def test_a_long_call_makes_way_for_a_fork() -> None:
    class Stream:
        def __init__(self) -> None:
            self.is_over = threading.Event()

        def make_way(self) -> None:
            self.is_over.set()

    stream, inside, order = Stream(), threading.Event(), []

    def follow() -> None:
        with call_gate:
            inside.set()
            stream.is_over.wait(60)
            order.append("stream")

    call_gate.long_calls.add(stream)
    thread = in_thread(follow)
    inside.wait(60)
    call_gate.before_fork()
    order.append("fork")
    call_gate.after_in_parent()
    thread.join()
    assert order == ["stream", "fork"]


@pytest.mark.usefixtures("_patient")
def test_a_fork_does_not_wait_for_a_call_that_has_left_the_gate() -> None:
    outside, leave, has_left = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        with call_gate, call_gate.stepped_out():
            outside.set()
            leave.wait(60)
            has_left.set()

    thread = in_thread(work)
    outside.wait(60)
    call_gate.before_fork()
    assert not has_left.is_set()
    call_gate.after_in_parent()
    leave.set()
    thread.join(60)
    assert not thread.is_alive()


def test_a_fork_waits_a_moment_after_the_end_of_a_channel(monkeypatch) -> None:
    monkeypatch.setattr(fork_gate, "_SETTLE_S", 0.1)
    began = time.monotonic()
    call_gate.note_close()
    call_gate.before_fork()
    call_gate.after_in_parent()
    assert time.monotonic() - began > 0.05


def test_one_object_that_can_t_be_renewed_does_not_stop_the_others(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(fork_gate, "_renewals", [])
    renewed: list[object] = []

    class Member:
        def renew(self) -> None:
            renewed.append(self)
            raise RuntimeError("can't start new thread")

    members = [Member(), Member()]
    living = fork_gate.Living(renew=Member.renew)
    for member in members:
        living.add(member)
    fork_gate._renew()
    assert set(renewed) == set(members)
    assert "Member is not ready for a fork" in caplog.text


INTERRUPTED = """
import os, random, signal, threading, time
from rampd._runtime import fork_gate as forking
from rampd._runtime.fork_gate import call_gate

forking._PATIENCE_S, forking._LOST_AFTER_S = 200, 0.2

def fork():  # as os.fork() calls the hooks: an exception in one is lost
    try:
        call_gate.before_fork()
    finally:
        call_gate.after_in_parent()

signal.signal(signal.SIGALRM, signal.default_int_handler)
chance, interrupted, ends = random.Random(1), 0, time.monotonic() + 2
while time.monotonic() < ends or interrupted <= 10:
    try:
        signal.setitimer(signal.ITIMER_REAL, chance.random() * 0.0003 + 0.000001)
        while True:
            WORK
    except KeyboardInterrupt:
        interrupted += 1
others = []

def enter():
    with call_gate:
        others.append("in")

thread = threading.Thread(target=enter, daemon=True)
thread.start()
thread.join(60)
began = time.monotonic()
call_gate.before_fork()
call_gate.after_in_parent()
print(others, interrupted > 10, time.monotonic() - began < 100, flush=True)
os._exit(0)
"""


@pytest.mark.parametrize(
    "work",
    ["\n            ".join(["with call_gate:", "    pass"]), "fork()"],
    ids=["call", "fork"],
)
def test_ctrl_c_inside_the_gate_does_not_block_later_calls_and_forks(work: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED.replace("WORK", work)],
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert (done.stdout, done.stderr) == ("['in'] True True\n", "")


def test_ctrl_c_at_the_end_of_entering_the_gate_leaves_no_thread_inside() -> None:
    class Interrupted:
        """A lock. Ctrl-C comes when it is released for the first time."""

        def __init__(self) -> None:
            self._lock = threading.RLock()
            self._releases = 0

        def __enter__(self) -> None:
            self._lock.acquire()

        def __exit__(self, *_: object) -> None:
            self._lock.release()
            self._releases += 1
            if self._releases == 1:
                raise KeyboardInterrupt

    gate = fork_gate._Gate()
    gate._lock = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        gate.__enter__()
    with ThreadPoolExecutor(1) as another:
        assert not another.submit(lambda: gate.is_inside).result()
    with gate, ThreadPoolExecutor(1) as another:
        assert another.submit(lambda: gate.is_inside).result()


def test_a_signal_handler_can_make_calls_while_its_thread_forks() -> None:
    called = []

    class Stream:
        def make_way(self) -> None:  # by the thread that forks, as a handler
            with call_gate:
                called.append(call_gate.is_forking)

    stream = Stream()
    call_gate.long_calls.add(stream)
    call_gate.before_fork()
    call_gate.after_in_parent()
    assert called == [True]


@pytest.mark.parametrize("copied", [pickle.dumps, copy.copy, copy.deepcopy])
@pytest.mark.parametrize("kind", [Resolver, AsyncResolver, Admin, AsyncAdmin, RampdProvider])
def test_objects_with_connections_cannot_be_copied(kind: type, copied: Callable[[object], object]) -> None:
    with pytest.raises(TypeError, match=rf"^{kind.__name__} can't be pickled or copied.*: make one in each process\.$"):
        copied(kind("127.0.0.1:1"))


def test_a_resolver_that_eventlet_would_stop_fails_at_once_with_a_clear_error(monkeypatch) -> None:
    patcher = SimpleNamespace(is_monkey_patched=lambda name: name == "thread")
    monkeypatch.setitem(sys.modules, "eventlet.patcher", patcher)
    with pytest.raises(InvalidArgumentError, match="eventlet has patched threads"):
        Resolver("127.0.0.1:1").resolve("restyler", repo="acme/app", fallback="t0")
