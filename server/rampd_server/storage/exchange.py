"""Sends several commands to Redis at once."""

from collections.abc import Callable
from typing import Any

Build = Callable[[Any], object]
"""Puts commands into a pipeline of redis-py."""
MayFail = Callable[[int, Exception], bool]
"""Says of a command, by its place and its error, whether the others count without it."""


def none_may_fail(_place: int, _error: Exception) -> bool:
    """Each error fails the exchange."""
    return False


def all_may_fail(_place: int, _error: Exception) -> bool:
    """Each reply counts by itself."""
    return True


def wrong_type_may_fail(_place: int, error: Exception) -> bool:
    """A key of the wrong type does not keep the other keys from being read."""
    return "WRONGTYPE" in str(error)


async def exchange(client: Any, build: Build, may_fail: MayFail = none_may_fail) -> list[Any]:  # noqa: ANN401 - as redis-py has it
    """Returns the replies to all commands. A command that may fail has its error of redis-py as its reply. Raises the first
    other error.
    """
    pipe = client.pipeline(transaction=False)
    build(pipe)
    replies: list[Any] = await pipe.execute(raise_on_error=False)
    for place, reply in enumerate(replies):
        if isinstance(reply, Exception) and not may_fail(place, reply):
            raise reply
    return replies
