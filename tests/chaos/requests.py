"""From a request to what a server does for it, by the code of the server itself: the servicers run on a service that only listens."""

import dataclasses
from collections.abc import Coroutine, Mapping
from types import SimpleNamespace
from typing import Any, Never
from unittest.mock import MagicMock

from google.protobuf.message import Message

from rampd_server.domain.rollout.commands import Command
from rampd_server.ports import Author, Override
from rampd_server.rpc.release import ReleaseServicer
from rampd_server.rpc.rollout import RolloutServicer


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for: exactly one of a command, changes of overrides, and a freeze of everything or its end."""

    component: str
    command: Command | None = None
    overrides: Mapping[str, Override | None] | None = None
    freezes_all: bool | None = None
    expire_ms: int | None = None
    expected_revision: int | None = None
    must_exist: bool = False


class _HeardError(Exception):
    def __init__(self, asked: Asked) -> None:
        super().__init__()
        self.asked = asked


class _Listener:
    """Stands for the service."""

    async def execute(
        self, component: str, command: Command, _author: Author, *, expected_revision: int | None, **_: object
    ) -> Never:
        raise _HeardError(Asked(component, command, expected_revision=expected_revision))

    async def set_overrides(
        self,
        component: str,
        changes: Mapping[str, Override | None],
        _author: Author,
        *,
        expected_revision: int | None,
        must_exist: bool,
        **_: object,
    ) -> Never:
        raise _HeardError(
            Asked(component, overrides=changes, expected_revision=expected_revision, must_exist=must_exist)
        )

    async def freeze_all(self, expire_ms: int | None, _author: Author, **_: object) -> Never:
        raise _HeardError(Asked("", freezes_all=True, expire_ms=expire_ms))

    async def unfreeze_all(self, _author: Author, **_: object) -> Never:
        raise _HeardError(Asked("", freezes_all=False))


class _Call:
    """Stands for the call."""

    actor = "anonymous"
    is_actor_claimed = False
    digest = ""
    parts: Mapping[str, str] = {}
    timeout_s = None
    context = SimpleNamespace(invocation_metadata=tuple)

    def __init__(self, method: str) -> None:
        self.method = method


_LISTENER: Any = _Listener()
_NOTHING: Any = MagicMock()
"""Stands for what a servicer has, and does not need to turn a request into a command."""
_SERVICERS = (
    ReleaseServicer(_LISTENER, _NOTHING, _NOTHING, _NOTHING),
    RolloutServicer(_LISTENER, _NOTHING, _NOTHING, _NOTHING, _NOTHING, status=_NOTHING),
)


def asked(method: str, request: Message) -> Asked:
    """Returns what a mutation asks for."""
    name = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in method).lstrip("_")
    servicer = next(each for each in _SERVICERS if hasattr(each, name))
    coroutine: Coroutine[Any, Any, Any] = getattr(servicer, name)(request, _Call(method))
    try:
        coroutine.send(None)
    except _HeardError as heard:
        return heard.asked
    raise AssertionError(f"{method} did not ask the service")
