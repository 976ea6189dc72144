"""The errors of a store. Each message says what to do next."""

from typing import Any

from rampd_server.domain.errors import (
    RampdError,
    ShardUnavailableError,
    StoreCorruptError,
    StoreResetError,
    StoreUnavailableError,
    begin_again,
    ways_on,
)
from rampd_server.domain.refusals import (
    component_not_found,
    override_not_found,
    request_id_reused,
    revision_mismatch,
    too_large,
)
from rampd_server.domain.wording import ended
from rampd_server.ports import ConflictError, UntimelyError
from rampd_server.storage.schema import SCHEMA
from rampd_server.storage.scripts import Code

_NOT_DELETED = frozenset({"request", "checks"})
"""Kinds of keys that end with a name, but that DeleteComponent does not delete."""


def store_reset(meta_key: str, believed: str, found: str | None, adopt_command: str) -> StoreResetError:
    is_there = f"it has epoch {found}, and this server knows {believed}" if found else f"it has no epoch in {meta_key}"
    return StoreResetError(
        f"The store was emptied or replaced: {is_there}. Jobs keep their versions, and nothing is written. "
        f"{ways_on(adopt_command)}",
        believed=believed,
        found=found or "",
    )


def import_under_way(digest: str) -> StoreResetError:
    return StoreResetError(
        f"An import into this namespace has not ended, so the namespace has only a part of the data. Type rampd-server import "
        f"with the same input (SHA-256 {digest[:12]}…) to begin it again, or rampd-server import --discard to empty the namespace."
    )


def newer_schema(found: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The store's data has schema {found}, and this server knows up to {SCHEMA}: somebody has raised the schema. "
        f"Nothing was written. Update this server.",
        found=found,
        known=SCHEMA,
    )


def shard_unavailable(error: StoreUnavailableError) -> ShardUnavailableError:
    """`error` is that of the call of the shard."""
    return ShardUnavailableError(
        f"The shard of the Redis Cluster that has these outcomes can't be used. {error.message}",
        code=error.metadata.get("code"),
    )


def corrupt(key: str, field: str, problem: str, *, or_else: str = "") -> StoreCorruptError:
    """`or_else` is a sentence with another way to mend the key, if there is one."""
    place = f"{key}, field {field!r}" if field else key
    problem = f"{place}: {ended(problem)}"
    advice = "This is not what rampd wrote: put it right with redis-cli, or restore it from a backup."
    return StoreCorruptError(
        " ".join(filter(None, (problem, advice, or_else, _or_begin_again(key)))), key=key, problem=problem
    )


def wrong_type(key: str, found: str = "", wanted: str = "") -> StoreCorruptError:
    """`found` and `wanted` are the types as Redis names them, or empty if they are not known."""
    if found:
        problem, advice = (
            f"{key} is a {found}, and rampd keeps a {wanted} there.",
            "Restore it from a backup, or rename it.",
        )
    else:
        problem = f"{key} does not have the type that rampd writes."
        advice = f"Look at it with `redis-cli TYPE '{key}'`, and restore it from a backup or rename it."
    return StoreCorruptError(" ".join(filter(None, (problem, advice, _or_begin_again(key)))), key=key, problem=problem)


def _or_begin_again(key: str) -> str:
    """Returns the sentence of `begin_again` if the key belongs to one component, otherwise an empty text."""
    kind, _, component = key.partition("}:")[2].partition(":")
    if not component or kind in _NOT_DELETED:
        return ""
    return begin_again(component)


def refusal(
    reply: list[Any],
    *,
    meta_key: str,
    epoch: str,
    adopt_command: str,
    component: str = "",
    expected_revision: int | None = None,
    request_id: str = "",
) -> RampdError | ConflictError | UntimelyError | None:
    """Returns the error for an answer that refuses a write, or None for an answer that the caller has to handle."""
    match reply[0]:
        case Code.RESET:
            return store_reset(meta_key, epoch, reply[1], adopt_command)
        case Code.NEWER_SCHEMA:
            return newer_schema(reply[1])
        case Code.IMPORTING:
            return import_under_way(reply[1])
        case Code.NOT_IMPORTING:
            return StoreResetError(
                "Another command has taken this import over, has discarded it, or has adopted the namespace. This one wrote nothing more."
            )
        case Code.CONFLICT:
            return ConflictError(f"another writer was first: revision {reply[1]}")
        case Code.UNTIMELY:
            return UntimelyError(f"the decision is too far from the store's clock, which is at {reply[1]}")
        case Code.WRONG_TYPE:
            return wrong_type(*reply[1])
        case Code.MALFORMED:
            return corrupt(reply[1], reply[2], "is not a whole number")
        case Code.REUSED:
            return request_id_reused(request_id=request_id)
        case Code.NO_COMPONENT:
            return component_not_found(component=component)
        case Code.REVISION_MISMATCH:
            return revision_mismatch(component, expected=expected_revision or 0, actual=reply[1])
        case Code.NO_OVERRIDE:
            return override_not_found(component=component, repo=reply[1])
        case Code.TOO_MANY_COMPONENTS:
            return too_large(
                f"This namespace has {reply[1]:,} components already, so there is no room for {component}. ListRollouts shows "
                "them: DeleteComponent those that nobody rolls out any more, or take another namespace.",
                limit=reply[1],
            )
        case Code.TOO_MANY_OVERRIDES:
            return too_large(
                f"{component} would have more than {reply[1]:,} overrides. Delete some with BatchSetOverrides, or set one for a "
                "prefix such as owner/* in the place of many.",
                limit=reply[1],
            )
    return None
