"""Pages of a list: ask for one more than fits, and hand on where the next page begins."""

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

DEFAULT_PAGE_SIZE = 100

Item = TypeVar("Item")


class PagedRequest(Protocol):
    """The fields that every list request has."""

    page_size: int
    page_token: str


def page_size(request: PagedRequest) -> int:
    """How many to show."""
    return request.page_size or DEFAULT_PAGE_SIZE


def paged(found: Sequence[Item], limit: int, key: Callable[[Item], str]) -> tuple[list[Item], str]:
    """The page, and the token of the next one; empty where that was all. `found` has one more where there is more."""
    shown = list(found[:limit])
    return shown, key(shown[-1]) if len(found) > limit else ""
