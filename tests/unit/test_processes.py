"""The examination of processes that end meanwhile."""

import os
import subprocess
import sys
import threading

import pytest

from tests.processes import children, command_line, has_ended, is_reaped

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_process_that_has_ended_still_exists_until_it_is_reaped() -> None:
    process = subprocess.Popen(["sleep", "60"])
    assert not has_ended(process.pid)
    assert process.pid in children(os.getpid())
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert has_ended(process.pid)
    assert not is_reaped(process.pid)
    process.wait()
    assert has_ended(process.pid)
    assert is_reaped(process.pid)


def test_a_process_may_end_at_any_moment_while_it_is_examined() -> None:
    started: list[int] = []

    def start_and_end() -> None:
        for _ in range(100):
            process = subprocess.Popen(["sleep", "60"])
            started.append(process.pid)
            process.kill()
            process.wait()

    thread = threading.Thread(target=start_and_end)
    thread.start()
    while thread.is_alive():
        for pid in started[-1:]:
            assert children(pid) == []
            command_line(pid)
            has_ended(pid)
    assert all(has_ended(pid) for pid in started)
