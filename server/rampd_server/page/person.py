"""The person whose browser asks. What they see and do goes through the same handlers as every other call of the API."""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final, TypeVar

from google.protobuf.message import Message
from starlette.requests import Request

from rampd import v1
from rampd_server.access.grants import Caller
from rampd_server.domain.errors import RampdError
from rampd_server.http.call import call, counted, proven, refuse, stream
from rampd_server.rpc.binding import PERMISSIONS, SERVICES, Handlers
from rampd_server.rpc.door import Door

_Answer = TypeVar("_Answer", bound=Message)

_PATHS: Final = {
    method.input_type.full_name: f"/{service.full_name}/{method.name}"
    for service in SERVICES.values()
    for method in service.methods
}
"""The path of a method, by the name of the message of its request."""


class Person:
    """Asks the API in the name of one request's sender. Every method raises CallError if the API refuses or fails."""

    def __init__(self, request: Request, caller: Caller, handlers: Handlers, door: Door) -> None:
        self._request = request
        self._caller = caller
        self._handlers = handlers
        self._door = door

    @classmethod
    async def of(cls, request: Request, handlers: Handlers, door: Door) -> "Person":
        """Finds out who sends a request. Raises CallError: no credentials, or wrong ones."""
        return cls(request, await proven(door, request), handlers, door)

    @property
    def identity(self) -> str:
        """The name that the history shows."""
        return self._caller.identity

    @property
    def mark(self) -> tuple[str, ...]:
        """The globs of the components that exist for this person; empty if all do. Watch puts them into its cursors."""
        return () if self._caller.grant.sees_every_component else self._caller.grant.components

    def may(self, name: str) -> bool:
        """Whether this person may call a method, such as `Rollback`, or set a flag of a request, such as `all`."""
        permission = PERMISSIONS.get(name)
        if permission is None:
            return self._caller.grant.may_set(name)
        return self._door.has(permission.roles) and self._caller.grant.may(name, permission.roles)

    async def require(self, message: Message) -> None:
        """Refuses who may not call the method that the message is the request of, as the method itself would. Raises CallError."""
        path = _PATHS[message.DESCRIPTOR.full_name]
        permission, how_else = PERMISSIONS[path.rpartition("/")[2]], partial(self._door.how_else, path.strip("/"))
        with counted(self._handlers, path):
            try:
                permission.require(self._caller.grant, message, how_else)
            except RampdError as error:
                await refuse(error, self._request, self._caller)

    async def ask(self, message: Message, answer: type[_Answer]) -> _Answer:
        """Calls the method that the message is the request of."""
        path = _PATHS[message.DESCRIPTOR.full_name]
        return answer.FromString(await call(self._handlers, path, message.SerializeToString(), self._request))

    async def follow(self, message: v1.WatchRequest, write: Callable[[bytes], Awaitable[None]]) -> None:
        """Calls Watch, and gives each of its messages to `write`, until the stream ends."""
        path = _PATHS[message.DESCRIPTOR.full_name]
        await stream(self._handlers, path, message.SerializeToString(), self._request, write)

    async def first(self, message: Message, answer: type[_Answer], *, within_s: float) -> _Answer | None:
        """Calls a method that answers with a stream, and returns the first message. None: there is none in that time."""
        path = _PATHS[message.DESCRIPTOR.full_name]
        found: list[bytes] = []
        is_there = asyncio.Event()

        async def take(data: bytes) -> None:
            found.append(data)
            is_there.set()

        streaming = asyncio.create_task(stream(self._handlers, path, message.SerializeToString(), self._request, take))
        waiting = asyncio.create_task(is_there.wait())
        try:
            await asyncio.wait((streaming, waiting), timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            if not found and streaming.done():
                streaming.result()
            return answer.FromString(found[0]) if found else None
        finally:
            streaming.cancel()
            waiting.cancel()
            await asyncio.gather(streaming, waiting, return_exceptions=True)
