"""The Lua scripts: each atomic operation is one file in `lua/`.

The loader puts the constants, `lua/prelude.lua`, and a local for each key and argument in front of the file. The head of the
file names the keys and arguments in their order: `-- KEYS[2]  feed-bytes  string`, `-- ARGV[7]  component`.
`-- ARGV[8..]  event` stands for all remaining arguments. A call gives keys and arguments by these names.
"""

import hashlib
import re
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from redis import exceptions

from rampd_server.storage import limits
from rampd_server.storage.exchange import all_may_fail, exchange
from rampd_server.storage.keys import Keys
from rampd_server.storage.schema import SCHEMA

_FOLDER: Final = files(__package__) / "lua"
_DECLARED: Final = re.compile(r"^-- (KEYS|ARGV)\[(\d+)(\.\.)?\] +([a-z_-]+)", re.MULTILINE)


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
    NOT_EMPTY = 15
    IMPORTING = 16
    NOT_IMPORTING = 17


class Script:
    """A script with its text as Redis gets it. A run is one EVALSHA. If Redis has lost the text, the text is loaded again.

    Redis may lose the text again before the next EVALSHA (SCRIPT FLUSH, a failover). Then EVAL sends text and arguments in one
    command. EVAL is the last attempt, because a user of Redis may have the right to EVALSHA, but not to EVAL.
    """

    def __init__(self, name: str, body: str) -> None:
        """Raises ValueError if the head has a name twice, or does not number its names one after the other."""
        declared: dict[str, list[str]] = {"KEYS": [], "ARGV": []}
        rest = ""
        for kind, number, is_rest, each in _DECLARED.findall(body):
            names = declared[kind]
            names.append(each.replace("-", "_"))
            if int(number) != len(names) or rest:
                raise ValueError(f"{name}.lua: {kind}[{number}] comes out of turn")
            rest = names[-1] if is_rest else ""
        keys, arguments = declared.values()
        if len({*keys, *arguments}) < len(keys) + len(arguments):
            raise ValueError(f"{name}.lua: a name is there twice")
        if rest:
            arguments.pop()
        lines = [
            *([f"local {', '.join(keys)} = unpack(KEYS)"] if keys else []),
            *([f"local {', '.join(arguments)} = unpack(ARGV, 1, {len(arguments)})"] if arguments else []),
            *([f"local {rest} = {{unpack(ARGV, {len(arguments) + 1})}}"] if rest else []),
        ]
        self.name, self.keys, self.arguments, self.rest = name, tuple(keys), tuple(arguments), rest
        self.text = "\n".join((_constants(), (_FOLDER / "prelude.lua").read_text("utf-8"), *lines, body))
        self.sha = hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()

    def given(self, own: object, shared: Keys, named: dict[str, Any]) -> list[Any]:
        """Returns the keys and arguments of a call in their order, as EVALSHA takes them, and empties `named`.

        A key that is not in `named` is taken from `own`, the keys of a component or of its outcomes, or otherwise from `shared`,
        the keys of the namespace. Raises TypeError for a name that is missing, or that the script does not have.
        """
        given: list[Any] = [len(self.keys)]
        of_namespace = vars(shared)
        try:
            for name in self.keys:
                key = named.pop(name, None) or getattr(own, name, None)
                given.append(of_namespace[name] if key is None else key)
            given += [named.pop(name) for name in self.arguments]
            given += named.pop(self.rest) if self.rest else ()
        except KeyError as exc:
            raise TypeError(f"{self.name}.lua is called without {exc}") from exc
        if named:
            raise TypeError(f"{self.name}.lua has no {', '.join(named)}")
        return given

    async def run(self, client: Any, given: Sequence[Any]) -> Any:  # noqa: ANN401 - as redis-py has it
        """Returns the answer. Raises the errors of redis-py."""
        try:
            return await client.evalsha(self.sha, *given)
        except exceptions.NoScriptError:
            await client.script_load(self.text)
        try:
            return await client.evalsha(self.sha, *given)
        except exceptions.NoScriptError:
            return await client.eval(self.text, *given)

    async def run_and_wait(
        self,
        client: Any,  # noqa: ANN401
        given: Sequence[Any],
        *,
        replicas: int,
        wait_ms: int,
    ) -> tuple[Any, int | None]:
        """Returns the answer, and how many replicas have what the script wrote; None if it wrote nothing. Waits until `replicas` have
        it, up to `wait_ms`.

        Both go over one connection, because Redis tells for each connection how far its own writes have come. The script is not
        sent together with the question: if Redis has lost its text, the question would wait for nothing.
        """
        async with client.client() as connection:
            answer = await self.run(connection, given)
            found = await connection.wait(replicas, wait_ms) if answer[0] == Code.DONE else None
        return answer, found

    async def run_many(self, client: Any, calls: Sequence[Sequence[Any]]) -> list[Any]:  # noqa: ANN401
        """Returns the answers of several calls in one exchange. A call that failed has an exception of redis-py as its answer."""
        replies = await self._exchange(client, calls)
        lost = [place for place, reply in enumerate(replies) if isinstance(reply, exceptions.NoScriptError)]
        if lost:
            await client.script_load(self.text)
            for place, reply in zip(lost, await self._exchange(client, [calls[place] for place in lost]), strict=True):
                replies[place] = reply
        return replies

    async def _exchange(self, client: Any, calls: Sequence[Sequence[Any]]) -> list[Any]:  # noqa: ANN401
        def build(pipe: Any) -> None:  # noqa: ANN401
            for given in calls:
                pipe.evalsha(self.sha, *given)

        return await exchange(client, build, all_may_fail)


@cache
def script(name: str) -> Script:
    """Returns the script of the file `lua/<name>.lua`."""
    return Script(name, (_FOLDER / f"{name}.lua").read_text("utf-8"))


def _constants() -> str:
    constants = {
        **{code.name: int(code) for code in Code},
        **{name: limit for name, limit in vars(limits).items() if name.isupper()},
        "SCHEMA": SCHEMA,
    }
    return f"local {', '.join(constants)} = {', '.join(map(str, constants.values()))}"
