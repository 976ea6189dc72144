"""Pages of a list: as many items as were asked for and fit into a message, and where the next page begins."""

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from rampd_server.domain.errors import InvalidRequestError

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_BYTES: Final = 3 * 1024 * 1024
"""Well below the 4 MiB that no message passes."""

Item = TypeVar("Item")
Shown = TypeVar("Shown", bound=Message)


class PagedRequest(Protocol):
    """The fields that every list request has."""

    page_size: int
    page_token: str


def page_size(request: PagedRequest) -> int:
    """How many to show."""
    return request.page_size or DEFAULT_PAGE_SIZE


def page_token(request: PagedRequest, form: re.Pattern[str]) -> str:
    """The token, empty for the first page. Raises InvalidRequestError for one that is not of the list's form."""
    if request.page_token and not form.fullmatch(request.page_token):
        raise InvalidRequestError([("page_token", "is not one that this list gave as next_page_token")])
    return request.page_token


def piece_size(request: PagedRequest) -> int:
    """How many to read at once: one more than the page shows, which tells whether there is another page. A large page is read
    in pieces, since it may be full of bytes long before.
    """
    return min(page_size(request), DEFAULT_PAGE_SIZE) + 1


async def one_by_one(items: Iterable[Item]) -> AsyncGenerator[Item]:
    """What is in memory already, for `paged`."""
    for item in items:
        yield item


async def paged(request: PagedRequest, items: AsyncGenerator[tuple[str, Shown]]) -> tuple[list[Shown], str]:
    """The page, and the token of the next one; empty where that was all.

    `items` begin where the page does: each with the token that goes on behind it. The page ends before the item that would
    take it past MAX_PAGE_BYTES, but has at least one.
    """
    shown: list[Shown] = []
    token, room = "", MAX_PAGE_BYTES
    async with aclosing(items):
        async for following, item in items:
            room -= item.ByteSize()
            if shown and (room < 0 or len(shown) == page_size(request)):
                return shown, token
            shown.append(item)
            token = following
    return shown, ""
