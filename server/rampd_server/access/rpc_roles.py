"""Which roles may call an RPC. The rule follows from the descriptors, so that a new RPC has a rule from the start."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message


class Role(StrEnum):
    """What a caller is for. docs/security.md has a table of what each role may do."""

    # Every call looks up its role. The __hash__ of Enum is slow, because it is written in Python.
    __hash__ = str.__hash__

    LAUNCHER = "launcher"
    """Resolves, watches and reports outcomes."""
    VIEWER = "viewer"
    """Reads everything."""
    CI = "ci"
    """Does what a viewer does, hands in releases, and cancels them."""
    OPERATOR = "operator"
    """Does what `ci` does, and calls every verb on a component except SetPolicy and DeleteComponent."""
    ADMIN = "admin"
    """Does everything."""


Roles = frozenset[Role]

_EVERY_ROLE: Final = Roles(Role)
_READERS: Final = Roles({Role.VIEWER, Role.CI, Role.OPERATOR, Role.ADMIN})
_REPORTERS: Final = Roles({Role.LAUNCHER, Role.ADMIN})
_RELEASERS: Final = Roles({Role.CI, Role.OPERATOR, Role.ADMIN})
_OPERATORS: Final = Roles({Role.OPERATOR, Role.ADMIN})
_ADMINS: Final = Roles({Role.ADMIN})

_FOR_ADMINS: Final = frozenset({"SetPolicy", "DeleteComponent"})
"""Verbs on a component that an operator may not call."""
_FOR_ANY_CREDENTIAL: Final = frozenset({"WhoAmI"})

WHOLE_NAMESPACE: Final = "all"
REQUEST_FLAGS: Final[Mapping[str, Roles]] = {WHOLE_NAMESPACE: _ADMINS, "expedite": _OPERATORS, "force": _OPERATORS}
"""Fields of a request that need a higher role than the method if they are true. `all` means the whole namespace instead of one
component. `expedite` means a release that skips the ramp. `force` means a release that lifts a quarantine, or a Finalize of a
release that nobody has tried.
"""


def roles_of(method: MethodDescriptor) -> Roles:
    """Returns the roles that may call a method. If no rule covers the method, no role may call it.

    A read has the option `idempotency_level = NO_SIDE_EFFECTS`. The request of a change has the field `request_id`.
    """
    is_read = method.GetOptions().idempotency_level == MethodOptions.NO_SIDE_EFFECTS
    is_change = "request_id" in method.input_type.fields_by_name
    match method.containing_service.name:
        case _ if method.name in _FOR_ANY_CREDENTIAL:
            return _EVERY_ROLE
        case "ResolverService":
            return _EVERY_ROLE if is_read else _REPORTERS
        case _ if is_read:
            return _READERS
        case "ReleaseService" if is_change:
            return _RELEASERS
        case "RolloutService" if is_change:
            return _ADMINS if method.name in _FOR_ADMINS else _OPERATORS
        case _:
            return Roles()


def least(roles: Roles) -> Role | None:
    """Returns the role of several that may do the least: callers ask an admin for this role. None if `roles` is empty."""
    return next((role for role in Role if role in roles), None)


def flags_of(method: MethodDescriptor) -> tuple[str, ...]:
    """Returns the fields of a method's request that REQUEST_FLAGS names."""
    return tuple(name for name in REQUEST_FLAGS if name in method.input_type.fields_by_name)


def is_set(request: Message, flag: str) -> bool:
    """Returns whether a flag of `flags_of` is set in a request."""
    return bool(getattr(request, flag))
