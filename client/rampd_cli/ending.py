"""The end of the process from outside: a `kill` or the end of the terminal raises an exception, as Ctrl-C does."""

import signal
from types import FrameType
from typing import NoReturn


def end_with_exception() -> None:
    """From now on, SIGTERM and SIGHUP raise SystemExit. So a terminal is restored, a text is kept, and a change that may have been
    made is named. A signal that is ignored, as after `nohup`, stays ignored.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, _end)


def _end(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
