"""The effect of each signal: an orderly end, or only a line in the log."""

import asyncio
import signal
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress

import structlog

_ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGXCPU)
_HANGUP = signal.SIGHUP
# Without a handler each of them would kill the process. macOS lacks some.
_IGNORED = tuple(
    getattr(signal, name)
    for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGVTALRM", "SIGPROF", "SIGIO", "SIGPWR", "SIGSTKFLT")
    if hasattr(signal, name)
)

log = structlog.get_logger()


@contextmanager
def stop_signals() -> Iterator[asyncio.Event]:
    """Gives an event that the first SIGTERM, SIGINT, SIGQUIT, SIGXCPU or SIGHUP sets.

    A second SIGTERM, SIGINT, SIGQUIT or SIGXCPU ends the process as without a handler. A terminal that closes may send
    SIGHUP twice, so the second SIGHUP does nothing. The first SIGHUP does nothing either if it was ignored before
    (`nohup`). SIGUSR1, SIGALRM and similar signals are ignored. Use it on the main thread, inside a running loop. At
    the end of the block the signals have their former effect again.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = [*_ENDING, *_IGNORED]
    if signal.getsignal(_HANGUP) is not signal.SIG_IGN:
        numbers.append(_HANGUP)
    before = {number: signal.getsignal(number) for number in numbers}

    has_come = False

    def on_signal(number: signal.Signals) -> None:
        nonlocal has_come
        if number in _IGNORED:
            log.info("signal_ignored", signal=number.name)
            return
        if has_come:
            return
        has_come = True
        stop.set()
        for each in _ENDING:
            loop.remove_signal_handler(each)
            signal.signal(each, signal.SIG_DFL)

    for number in numbers:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number, handler in before.items():
            loop.remove_signal_handler(number)
            signal.signal(number, handler)


async def run_until(stop: asyncio.Event, main: Coroutine[None, None, None]) -> None:
    """Runs `main` to its end. When `stop` is set, it cancels `main` and waits for its orderly end."""
    running = asyncio.create_task(main)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            log.info("stopping")
    finally:
        stopping.cancel()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
