"""The Lua scripts: each atomic operation is one file in `lua/`, with `lua/prelude.lua` and the constants before it."""

from enum import IntEnum
from functools import cache
from importlib.resources import files
from typing import Any, Final

from rampd_server.storage.history import MAX_EVENTS
from rampd_server.storage.schema import SCHEMA

MAX_REMOVED: Final = 10_000
"""Feed entries that one write removes at most: it bounds how long the first write under a lower limit takes."""
MAX_LEASE_MS: Final = 60_000
"""The longest that one server may take to ask a check. A lease that ends later was made before the clock was set back."""


MAX_DECISION_AGE_MS: Final = 1_000
"""How far from the store's clock a decision of automation may be: a store that hung, or whose clock was set, refuses it."""
MAX_MATURED: Final = 1_000
"""Outcomes whose wait is over that one batch moves at most, of each kind."""
UNIT_BITS: Final = 2**21
"""Size of the array in which a trial remembers units."""
MAX_REPORTERS: Final = 1_000
"""Identities that are told apart in a trial: those that come later count as one."""


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


@cache
def source(name: str) -> str:
    """The whole text of a script, as Redis gets it."""
    folder = files(__package__) / "lua"
    body = (folder / f"{name}.lua").read_text("utf-8")
    return f"{_constants()}\n{(folder / 'prelude.lua').read_text('utf-8')}\n{body}"


def _constants() -> str:
    limits = {
        "SCHEMA": SCHEMA,
        "MAX_EVENTS": MAX_EVENTS,
        "MAX_REMOVED": MAX_REMOVED,
        "MAX_LEASE_MS": MAX_LEASE_MS,
        "MAX_DECISION_AGE_MS": MAX_DECISION_AGE_MS,
        "MAX_MATURED": MAX_MATURED,
        "MAX_REPORTERS": MAX_REPORTERS,
        "UNIT_BITS": UNIT_BITS,
    }
    constants = {**{code.name: int(code) for code in Code}, **limits}
    return f"local {', '.join(constants)} = {', '.join(map(str, constants.values()))}"


class Scripts:
    """The scripts of one client. Calling one is one EVALSHA; Redis is given the text again where it has lost it."""

    def __init__(self, client: Any) -> None:  # noqa: ANN401 - redis-py's script interface is not typed
        self.read_rollout = client.register_script(source("read_rollout"))
        self.count_overrides = client.register_script(source("count_overrides"))
        self.commit_rollout = client.register_script(source("commit_rollout"))
        self.commit_overrides = client.register_script(source("commit_overrides"))
        self.commit_namespace = client.register_script(source("commit_namespace"))
        self.sweep_overrides = client.register_script(source("sweep_overrides"))
        self.remember_request = client.register_script(source("remember_request"))
        self.count_outcomes = client.register_script(source("count_outcomes"))
        self.read_outcomes = client.register_script(source("read_outcomes"))
        self.forget_outcomes = client.register_script(source("forget_outcomes"))
        self.lease_check = client.register_script(source("lease_check"))
        self.record_check = client.register_script(source("record_check"))
        self.check_permissions = client.register_script(source("check_permissions"))
        self.begin_epoch = client.register_script(source("begin_epoch"))
