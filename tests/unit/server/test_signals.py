"""The effect of each signal, in its own process."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
from rampd_server.process.signals import stop_signals

async def main():
    with stop_signals() as stop:
        os.kill(os.getpid(), int(sys.argv[1]))
        await stop.wait()
        print("stopping", flush=True)
        for number in sys.argv[2:]:
            os.kill(os.getpid(), int(number))
            await asyncio.sleep(0.01)
        print("stopped", flush=True)

asyncio.run(main())
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
"""


def run(*numbers: signal.Signals) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *(str(int(number)) for number in numbers)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU]


@pytest.mark.parametrize("number", [*ENDING, signal.SIGHUP])
def test_the_first_signal_asks_for_an_orderly_end(number):
    assert run(number) == (0, ["stopping", "stopped", "True True"])


@pytest.mark.parametrize("first", [*ENDING, signal.SIGHUP])
@pytest.mark.parametrize("second", ENDING)
def test_a_second_signal_ends_at_once(first, second):
    assert run(first, second) == (-second, ["stopping"])


@pytest.mark.parametrize("first", [*ENDING, signal.SIGHUP])
def test_a_terminal_that_closes_may_send_sighup_twice(first):
    assert run(first, signal.SIGHUP) == (0, ["stopping", "stopped", "True True"])


IGNORES = """
import asyncio, os, signal, sys
from rampd_server.process.signals import stop_signals

async def main():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    with stop_signals() as stop:
        for number in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGALRM, signal.SIGVTALRM, signal.SIGPROF, signal.SIGIO, signal.SIGHUP):
            os.kill(os.getpid(), number)
            await asyncio.sleep(0.01)
        print(stop.is_set(), flush=True)

asyncio.run(main())
"""


def test_other_deadly_signals_and_sighup_under_nohup_are_ignored_and_logged():
    done = subprocess.run([sys.executable, "-c", IGNORES], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    *logged, is_stopping = done.stdout.splitlines()
    assert is_stopping == "False"
    names = ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO")
    assert [name for line in logged for name in (*names, "SIGHUP") if name in line] == list(names)
