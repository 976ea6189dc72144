"""Forks and calls wait for each other."""

import os
import threading
from collections.abc import Callable

from rampd import forking
from rampd.forking import call_gate


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_a_fork_waits_for_the_calls_under_way() -> None:
    inside, leave, order = threading.Event(), threading.Event(), []

    def call() -> None:
        with call_gate:
            inside.set()
            leave.wait(20)
            order.append("call")

    thread = in_thread(call)
    inside.wait(20)
    threading.Timer(0.05, leave.set).start()
    child = os.fork()
    if not child:
        os._exit(0)
    order.append("fork")
    thread.join()
    os.waitpid(child, 0)
    assert order == ["call", "fork"]


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


def test_a_fork_does_not_wait_for_ever(monkeypatch) -> None:
    monkeypatch.setattr(forking, "_PATIENCE_S", 0.01)
    with call_gate:
        child = os.fork()
        if not child:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_child_is_not_kept_waiting_by_calls_of_its_parent(monkeypatch) -> None:
    monkeypatch.setattr(forking, "_PATIENCE_S", 0.01)
    with call_gate:
        child = os.fork()
        if not child:
            with call_gate:
                os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
