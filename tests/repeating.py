"""Does something again and again beside the rest of a test."""

import contextlib
import threading
from collections.abc import Callable, Iterator


@contextlib.contextmanager
def repeated(do: Callable[[], object], a_second: float) -> Iterator[None]:
    """Calls `do` in a thread of its own, so many times a second, until the block ends."""
    is_over = threading.Event()

    def work() -> None:
        while not is_over.wait(1 / a_second):
            do()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
