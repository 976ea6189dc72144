"""The Lua scripts: each atomic operation is one file in `lua/`, with `lua/prelude.lua` and the constants before it."""

import hashlib
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any

from redis import exceptions

from rampd_server.storage import limits
from rampd_server.storage.schema import SCHEMA


class Code(IntEnum):
    """The first item of each script's answer."""

    DONE = 0
    UNCHANGED = 1
    REPLAYED = 2
    REUSED = 3
    CONFLICT = 4
    RESET = 5
    NO_COMPONENT = 6
    REVISION_MISMATCH = 7
    NO_OVERRIDE = 8
    WRONG_TYPE = 9
    MALFORMED = 10
    UNTIMELY = 11
    NEWER_SCHEMA = 12
    TOO_MANY_COMPONENTS = 13
    TOO_MANY_OVERRIDES = 14


@cache
def source(name: str) -> str:
    """The whole text of a script, as Redis gets it."""
    folder = files(__package__) / "lua"
    body = (folder / f"{name}.lua").read_text("utf-8")
    return f"{_constants()}\n{(folder / 'prelude.lua').read_text('utf-8')}\n{body}"


def _constants() -> str:
    constants = {
        **{code.name: int(code) for code in Code},
        **{name: limit for name, limit in vars(limits).items() if name.isupper()},
        "SCHEMA": SCHEMA,
    }
    return f"local {', '.join(constants)} = {', '.join(map(str, constants.values()))}"


class Script:
    """A script of a client. Calling it is one EVALSHA; Redis is given the text again where it has lost it.

    Redis may lose it again between the text and the call (SCRIPT FLUSH, a failover): then both go in one command. That is
    not the first thing to try, since a user of Redis may have the right to EVALSHA and not to EVAL.
    """

    def __init__(self, client: Any, name: str) -> None:  # noqa: ANN401 - as above
        self._client = client
        self.text = source(name)
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, keys: Sequence[str] = (), arguments: Sequence[Any] = ()) -> Any:  # noqa: ANN401
        """The answer. Raises what redis-py raises."""
        given = _given(keys, arguments)
        try:
            return await self._client.evalsha(self.sha, *given)
        except exceptions.NoScriptError:
            await self._client.script_load(self.text)
        try:
            return await self._client.evalsha(self.sha, *given)
        except exceptions.NoScriptError:
            return await self._client.eval(self.text, *given)

    async def many(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """The answers of several calls (keys, arguments) in one exchange; an exception of redis-py where one failed."""
        replies = await self._exchange(calls)
        lost = [place for place, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if lost:
            await self._client.script_load(self.text)
            for place, reply in zip(lost, await self._exchange([calls[place] for place in lost]), strict=True):
                replies[place] = reply
        return replies

    async def _exchange(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        for keys, arguments in calls:
            pipe.evalsha(self.sha, *_given(keys, arguments))
        replies: list[Any] = await pipe.execute(raise_on_error=False)
        return replies


def _given(keys: Sequence[str], arguments: Sequence[Any]) -> tuple[Any, ...]:
    return len(keys), *keys, *arguments


class Scripts:
    """The scripts of one client."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - redis-py's script interface is not typed
        self.read_rollout = Script(client, "read_rollout")
        self.count_overrides = Script(client, "count_overrides")
        self.commit_rollout = Script(client, "commit_rollout")
        self.delete_damaged = Script(client, "delete_damaged")
        self.commit_overrides = Script(client, "commit_overrides")
        self.commit_namespace = Script(client, "commit_namespace")
        self.sweep_overrides = Script(client, "sweep_overrides")
        self.remember_request = Script(client, "remember_request")
        self.count_outcomes = Script(client, "count_outcomes")
        self.read_outcomes = Script(client, "read_outcomes")
        self.forget_outcomes = Script(client, "forget_outcomes")
        self.lease_check = Script(client, "lease_check")
        self.record_check = Script(client, "record_check")
        self.check_permissions = Script(client, "check_permissions")
        self.begin_epoch = Script(client, "begin_epoch")
        self.raise_schema = Script(client, "raise_schema")
