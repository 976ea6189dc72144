"""A call of `Admin` that is not made yet: one request, a list in pages, or a stream. No I/O."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypedDict, TypeVar

from google.protobuf.message import Message

from rampd._calls.request import make

Response = TypeVar("Response", bound=Message)
Result_co = TypeVar("Result_co", covariant=True)
Streamed_co = TypeVar("Streamed_co", bound=Message, covariant=True)


class ChangeOptions(TypedDict, total=False):
    """Every call that changes something also takes these arguments.

    `request_id`: an idempotency key, remembered for 24 h. A repeat changes nothing and gets the first answer. Default: a new
    key, so that a call that is tried again applies once.
    `expected_revision`: only if the component is at this revision; otherwise AbortedError (REVISION_MISMATCH).
    `note`: kept in the history.
    `dry_run`: the server answers as if it made the change, or refuses it, and writes nothing. The answer's `preview` says to whom
    the change would give another version. The `request_id` is not used up.
    `timeout`: seconds; default that of the admin.
    """

    request_id: str
    expected_revision: int
    note: str
    dry_run: bool
    timeout: float


class Read(TypedDict, total=False):
    """Every call that only reads also takes this argument.

    `timeout`: seconds; default that of the admin.
    """

    timeout: float


@dataclass(frozen=True, slots=True)
class Ask(Generic[Result_co]):
    """One call: its request, and how to take the result out of the response."""

    request: Message
    response: type[Message]
    result: Callable[[Any], Result_co]
    timeout: float | None


class ListResponse(Protocol):
    """The field that every response of a list has."""

    next_page_token: str


@dataclass(frozen=True, slots=True)
class Pages(Generic[Result_co]):
    """One call for each page, and the items of all of them."""

    request: Message
    response: type[Any]
    items: Callable[[Any], Sequence[Result_co]]
    timeout: float | None

    def following(self, response: ListResponse) -> "Pages[Result_co] | None":
        """Returns the call for the pages after this response. None if it was the last page."""
        if not response.next_page_token:
            return None
        request: Any = type(self.request)()
        request.CopyFrom(self.request)
        request.page_token = response.next_page_token
        return replace(self, request=request)


@dataclass(frozen=True, slots=True)
class Follow(Generic[Streamed_co]):
    """One call, and a stream of responses."""

    request: Message
    response: type[Streamed_co]
    timeout: float | None


def change_of(
    request: type[Message], response: type[Response], change: ChangeOptions, **fields: object
) -> Ask[Response]:
    """Returns a call that changes something. Raises InvalidArgumentError."""
    made = make(
        request,
        **fields,
        request_id=change.get("request_id") or os.urandom(16).hex(),
        expected_revision=change.get("expected_revision"),
        note=change.get("note"),
        dry_run=change.get("dry_run"),
    )
    return Ask(made, response, _itself, change.get("timeout"))


def _itself(response: Response) -> Response:
    return response
