"""Pages of a list: up to the number of items asked for, as many as fit into a message, and the token of the next page."""

import re
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import Final, Protocol, TypeVar

from google.protobuf.message import Message

from rampd_server.domain.errors import InvalidRequestError
from rampd_server.process.long_work import in_pieces

DEFAULT_PAGE_SIZE: Final = 100
MAX_PAGE_BYTES: Final = 3 * 1024 * 1024
"""Well below 4 MiB, the limit of a message."""

Item = TypeVar("Item")
Shown = TypeVar("Shown", bound=Message)


class PagedRequest(Protocol):
    """The fields that every list request has."""

    page_size: int
    page_token: str


def page_size(request: PagedRequest) -> int:
    """Returns how many items a page shows."""
    return request.page_size or DEFAULT_PAGE_SIZE


def page_token(request: PagedRequest, form: re.Pattern[str]) -> str:
    """Returns the token, empty for the first page. Raises InvalidRequestError if the token does not have the list's
    form.
    """
    if request.page_token and not form.fullmatch(request.page_token):
        raise InvalidRequestError([("page_token", "is not a next_page_token of this list")])
    return request.page_token


def piece_size(request: PagedRequest) -> int:
    """Returns how many items to read at once: one more than the page shows, so that the server knows whether there is
    another page. A large page is read in pieces, because its bytes may reach the limit long before its number of items.
    """
    return min(page_size(request), DEFAULT_PAGE_SIZE) + 1


async def one_by_one(items: Iterable[Item]) -> AsyncGenerator[Item]:
    """Gives items that are in memory already to `paged`. Other tasks have their turn in between: a page may have a thousand."""
    async for item in in_pieces(items):
        yield item


async def paged(request: PagedRequest, items: AsyncGenerator[tuple[str, Shown]]) -> tuple[list[Shown], str]:
    """Returns the page and the token of the next page; the token is empty after the last page.

    `items` begin at the page's first item. Each comes with the token of a page that begins after it. The page ends
    before the item that would exceed MAX_PAGE_BYTES, but has at least one item.
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
