"""SIGTERM and SIGINT, in a process of its own."""

import signal
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # what is started in the background ignores it
from rampd_server.signals import stop_signals

async def main():
    with stop_signals() as stop:
        os.kill(os.getpid(), int(sys.argv[1]))
        await stop.wait()
        print("stopping", flush=True)
        for number in sys.argv[2:]:
            os.kill(os.getpid(), int(number))
            await asyncio.sleep(0)
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


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_asks_for_an_orderly_end(number):
    assert run(number) == (0, ["stopping", "stopped", "True True"])


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_at_once(first, second):
    assert run(first, second) == (-second, ["stopping"])
