"""Children that a test forks."""

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def in_child() -> Iterator[None]:
    """What a forked child does. The child ends with the block: with 1 if the block raises. It would go on as a second run of the tests
    otherwise.
    """
    try:
        yield
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)
