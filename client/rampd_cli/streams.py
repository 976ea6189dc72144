"""stdin, stdout and stderr of the process: opens closed ones, escapes what they can't write, and notices that nobody reads."""

import codecs
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, NoReturn, TextIO

_GONE: Final = select.POLLERR | select.POLLHUP
_AGAIN_MS: Final = 1000


def ready() -> None:
    """Opens the streams that the caller has closed, and lets each write an escape for what its encoding has not."""
    # A closed one would be the number of the next file or connection. The first free number is that of the first closed one.
    while (opened := os.open(os.devnull, os.O_RDWR)) < 3:
        os.set_inheritable(opened, True)
    os.close(opened)
    for number, (name, mode) in enumerate((("stdin", "r"), ("stdout", "w"), ("stderr", "w"))):
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def is_utf8(stream: TextIO) -> bool:
    """Whether a program that expects UTF-8 can read what is written to a stream."""
    return codecs.lookup(stream.encoding or "ascii").name == "utf-8"


def throw_away(stream: TextIO) -> None:
    """Discards what is written to a stream that nobody reads. Otherwise Python would complain when it flushes the stream at the end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def may_be_lost(stream: TextIO) -> Iterator[None]:
    """While the block writes to a stream, nobody may be there to read it: the terminal is gone, or the disk is full. That changes
    nothing about how the command ends, and its exit code says it.
    """
    try:
        yield
    except OSError:
        throw_away(stream)


@contextmanager
def hang_up_is_an_error() -> Iterator[None]:
    """While the block waits for a person at a terminal, the end of the terminal raises OSError. Otherwise it would end the process."""
    before = signal.signal(signal.SIGHUP, _hung_up)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)


def _hung_up(_number: int, _frame: FrameType | None) -> NoReturn:
    raise OSError("The terminal is gone.")


def pause(seconds: float) -> None:
    """Waits. Raises BrokenPipeError as soon as the program that reads stdout has ended: there may be nothing to write for hours, and
    so no write that fails.
    """
    place = _place()
    if place is None:
        time.sleep(seconds)
        return
    poll = select.poll()
    poll.register(place, 0)
    found = poll.poll(seconds * 1000)
    if any(state & _GONE for _, state in found):
        raise BrokenPipeError
    if found:  # this system can't wait for the reader of such a file
        time.sleep(seconds)


@contextmanager
def ending_with_reader() -> Iterator[None]:
    """Does in a block that waits for something else what `pause` does: raises BrokenPipeError as soon as the program that reads stdout
    has ended. A thread looks for that, and a signal interrupts the block. A terminal sends a signal of its own.
    """
    place = _place()
    if place is None or sys.stdout.isatty():
        yield
        return
    has_ended = threading.Event()

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        if has_ended.is_set():
            raise _ReaderEnded

    before = signal.signal(signal.SIGPIPE, interrupt)
    ours, theirs = os.pipe()
    looking = threading.Thread(target=_look, args=(place, ours, has_ended), daemon=True)
    try:
        looking.start()
        yield
    except _ReaderEnded:
        raise BrokenPipeError from None
    finally:
        has_ended.clear()
        os.close(theirs)  # the thread ends
        looking.join()
        os.close(ours)
        signal.signal(signal.SIGPIPE, before)


class _ReaderEnded(BaseException):
    """Raised wherever the block is. No OSError, because code that expects one would take it for its own."""


def _look(place: int, end: int, has_ended: threading.Event) -> None:
    """Interrupts the main thread when nobody reads `place` any more. Ends when the other side of `end` is closed."""
    poll = select.poll()
    poll.register(place, 0)
    poll.register(end, 0)
    found = dict(poll.poll())
    if end in found or not found[place] & _GONE:
        return
    has_ended.set()
    poll.unregister(place)
    while True:
        # More than once, because an exception in a destructor gets lost.
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGPIPE)
        if poll.poll(_AGAIN_MS):
            return


def _place() -> int | None:
    """The number of stdout. None if it is no file."""
    try:
        return sys.stdout.fileno()
    except (OSError, ValueError):
        return None
