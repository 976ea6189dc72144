"""Which roles may call an RPC. The rule comes from the descriptors, so that a new RPC has one from the start."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pb2 import MethodOptions
from google.protobuf.message import Message


class Role(StrEnum):
    """What a caller is for. Each role can do what `rampd.v1` and docs/security.md say."""

    # That of Enum is in Python, and every call looks its role up.
    __hash__ = str.__hash__

    LAUNCHER = "launcher"
    """Resolves, watches and reports outcomes."""
    VIEWER = "viewer"
    """Reads everything."""
    CI = "ci"
    """A viewer that hands in releases and cancels them."""
    OPERATOR = "operator"
    """`ci`, and every verb on a component except SetPolicy and DeleteComponent."""
    ADMIN = "admin"
    """Everything."""


Roles = frozenset[Role]

_EVERY_ROLE: Final = Roles(Role)
_READERS: Final = Roles({Role.VIEWER, Role.CI, Role.OPERATOR, Role.ADMIN})
_REPORTERS: Final = Roles({Role.LAUNCHER, Role.ADMIN})
_RELEASERS: Final = Roles({Role.CI, Role.OPERATOR, Role.ADMIN})
_OPERATORS: Final = Roles({Role.OPERATOR, Role.ADMIN})
_ADMINS: Final = Roles({Role.ADMIN})

_FOR_ADMINS: Final = frozenset({"SetPolicy", "DeleteComponent"})
"""Verbs on a component that an operator does not have."""
_FOR_ANY_CREDENTIAL: Final = frozenset({"WhoAmI"})

WHOLE_NAMESPACE: Final = "all"
REQUEST_FLAGS: Final[Mapping[str, Roles]] = {WHOLE_NAMESPACE: _ADMINS, "expedite": _OPERATORS, "force": _OPERATORS}
"""Fields of a request that need more than its method does, where they are true: the whole namespace instead of one component,
a release that skips the ramp, a release that lifts a quarantine or a Finalize below the last step.
"""


def roles_of(method: MethodDescriptor) -> Roles:
    """The roles that may call a method; none where no rule covers it, so that nobody may.

    A read has the option `idempotency_level = NO_SIDE_EFFECTS`. A change has a `request_id` in its request.
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
    """The one of several roles that may do the least: the one to ask an admin for. None where there is none."""
    return next((role for role in Role if role in roles), None)


def flags_of(method: MethodDescriptor) -> tuple[str, ...]:
    """The fields of a method's request that REQUEST_FLAGS names."""
    return tuple(name for name in REQUEST_FLAGS if name in method.input_type.fields_by_name)


def is_set(request: Message, flag: str) -> bool:
    """Whether a request has a flag of `flags_of` set."""
    return bool(getattr(request, flag))
