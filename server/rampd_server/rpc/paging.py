"""Pages of a list: ask for one more than fits, and hand on where the next page begins."""

import re
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from rampd_server.domain.errors import InvalidRequestError

DEFAULT_PAGE_SIZE = 100

Item = TypeVar("Item")


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


def paged(found: Sequence[Item], limit: int, key: Callable[[Item], str]) -> tuple[list[Item], str]:
    """The page, and the token of the next one; empty where that was all. `found` has one more where there is more."""
    shown = list(found[:limit])
    return shown, key(shown[-1]) if len(found) > limit else ""
