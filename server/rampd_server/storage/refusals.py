"""The errors of a store, with what a person at a terminal does next."""

from typing import Any

from rampd_server.domain.errors import (
    HOW_TO_ADOPT,
    RampdError,
    StoreCorruptError,
    StoreResetError,
    StoreUnavailableError,
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


def store_reset(meta_key: str, believed: str, found: str | None) -> StoreResetError:
    is_there = f"its epoch is now {found}, not {believed}" if found else f"its epoch is gone from {meta_key}"
    return StoreResetError(
        f"This store is not the one that the server knows: {is_there}, so it was emptied or replaced. Nothing was "
        f"written. Restore the data; or, if what is there now is right, {HOW_TO_ADOPT}.",
        believed=believed,
        found=found or "",
    )


def newer_schema(found: str) -> StoreUnavailableError:
    return StoreUnavailableError(
        f"The store's data has schema {found}, and this server knows up to {SCHEMA}: another one has changed its form. "
        f"Nothing was written. Update this server.",
        found=found,
        known=SCHEMA,
    )


def corrupt(key: str, field: str, problem: str, *, component: str = "") -> StoreCorruptError:
    place = f"{key}, field {field!r}" if field else key
    return StoreCorruptError(
        f"{place}: {ended(problem)} This is not what rampd wrote: put it right with redis-cli, or restore it from a backup."
        f"{_or_delete(component)}",
        key=key,
    )


def wrong_type(key: str, *, component: str = "") -> StoreCorruptError:
    return StoreCorruptError(
        f"{key} is not of the type that rampd writes. Look at it with `redis-cli TYPE '{key}'`, and restore it from a "
        f"backup or rename it.{_or_delete(component)}",
        key=key,
    )


def _or_delete(component: str) -> str:
    return f" Or begin {component} again: DeleteComponent works, and then Release." if component else ""


def refusal(
    reply: list[Any],
    *,
    meta_key: str,
    epoch: str,
    component: str = "",
    expected_revision: int | None = None,
    request_id: str = "",
) -> RampdError | ConflictError | UntimelyError | None:
    """What a script's answer means where it wrote nothing; None where the caller has to look at it."""
    match reply[0]:
        case Code.RESET:
            return store_reset(meta_key, epoch, reply[1])
        case Code.NEWER_SCHEMA:
            return newer_schema(reply[1])
        case Code.CONFLICT:
            return ConflictError(f"another writer was first: revision {reply[1]}")
        case Code.UNTIMELY:
            return UntimelyError(f"it was not decided now; the store's clock is at {reply[1]}")
        case Code.WRONG_TYPE:
            return wrong_type(reply[1])
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
