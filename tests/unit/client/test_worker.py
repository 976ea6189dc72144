"""A daemon thread that never ends without a log line."""

import threading

import pytest

from rampd._runtime import daemon_thread as module
from rampd._runtime.daemon_thread import Worker
from tests.waiting import PATIENCE_S


@pytest.mark.parametrize("raised", [RuntimeError, SystemExit, KeyboardInterrupt, MemoryError, GeneratorExit])
def test_a_thread_continues_after_any_exception_of_its_work(
    raised: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AGAIN_AFTER_S", 0.0)
    times = 0
    is_done = threading.Event()

    def work() -> None:
        nonlocal times
        times += 1
        if times < 3:
            raise raised
        is_done.set()

    worker = Worker("rampd-test", work)
    worker.start()
    assert is_done.wait(PATIENCE_S)
    worker.join(PATIENCE_S)
    assert not worker.runs
    assert times == 3


def test_a_thread_is_started_once() -> None:
    may_end = threading.Event()
    worker = Worker("rampd-test", lambda: may_end.wait(PATIENCE_S) and None)
    worker.start()
    first = worker._thread
    worker.start()
    assert worker._thread is first
    may_end.set()
    worker.join(PATIENCE_S)
    worker.start()
    assert worker._thread is not first
    worker.join(PATIENCE_S)


def test_a_thread_that_could_not_be_started_is_started_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    is_done = threading.Event()
    worker = Worker("rampd-test", is_done.set)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError):
            worker.start()
    assert not worker.runs
    worker.start()
    assert is_done.wait(PATIENCE_S)
    worker.join(PATIENCE_S)
