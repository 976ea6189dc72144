"""The commands that a message tells people to type."""

import re
from collections.abc import Iterator

from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import FULL, Absent, Rollout
from rampd_server.domain.rollout.moves import Context
from rampd_server.domain.rollout.transition import transition

_COMMAND = re.compile(
    # `the Ramp of` is a noun, and `until Resume` names a later end: neither is advice.
    r"(?<![Tt]he )(?<!No )(?<!until )\b"
    r"(?:(?P<tagged>Revert with `tag`|Unquarantine(?! it\b)) (?P<tag>[^\s,.;:]+)"
    r"|(?P<verb>Unfreeze|Ramp|Abandon|Finalize|Rollback|Revert|Resume|Confirm)\b(?: with `(?P<flag>all|force)`)?)"
)
_NEXT_IN_TURN = re.compile(r"(, then| and) ")


def recommended(message: str) -> Iterator[list[commands.Command | str]]:
    """Yields each way that the message names: a list of commands to type in order. `all` is Unfreeze of the namespace."""
    way: list[commands.Command | str] = []
    end = None
    for found in _COMMAND.finditer(message):
        if end is None or not _NEXT_IN_TURN.fullmatch(message[end : found.start()]):
            if way:
                yield way
            way = []
        way.append(_command(found))
        end = found.end()
    if way:
        yield way


def _command(found: re.Match[str]) -> commands.Command | str:
    if found["tagged"]:
        verb = commands.Unquarantine if found["tagged"] == "Unquarantine" else commands.Revert
        return verb(found["tag"])
    match found["verb"], found["flag"]:
        case "Unfreeze", "all":
            return "all"
        case "Ramp", _:
            return commands.Ramp(FULL)
        case "Finalize", flag:
            return commands.Finalize(force=flag == "force")
    made: commands.Command = getattr(commands, found["verb"])()
    return made


def require_taken(message: str, rollout: Rollout | Absent, context: Context) -> None:
    """Fails if a recommended command is refused, or if a recommended Revert changes nothing."""
    assert message
    for way in recommended(message):
        after, then = rollout, context
        for command in way:
            if isinstance(command, str):
                then = Context(then.now_ms, then.actor)
                continue
            try:
                outcome = transition(after, command, then)
            except Exception as error:
                raise AssertionError(f"{message!r} recommends {way}, and {command} is refused: {error}") from error
            assert outcome.changed or not isinstance(command, commands.Revert), f"{message!r} recommends {way}"
            after = outcome.after
