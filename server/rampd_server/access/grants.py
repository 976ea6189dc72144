"""Grants: who gets in, by which proof, and what they may do. Pure."""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Final

from rampd_server.access.rpc_roles import REQUEST_FLAGS, WHOLE_NAMESPACE, Role

EVERY_COMPONENT: Final = ("*",)


class Proof(StrEnum):
    """How a caller is known."""

    TOKEN = "token"  # noqa: S105 - a kind of proof
    CERTIFICATE = "certificate"
    OIDC = "oidc"
    SOCKET = "socket"
    """By the unix socket that only its owner, or a group, can open."""
    NONE = "none"
    """By nothing: everybody who reaches the address."""


@dataclass(frozen=True)
class Trust:
    """Which tokens of an OIDC issuer prove a grant."""

    issuer: str
    audience: str | None
    claims: Mapping[str, str]
    """Each has to be equal to the token's claim of this name."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    ca_file: str | None = None
    """Certificates of the authorities that sign the issuer's TLS certificate. None: those of the system."""


@dataclass(frozen=True)
class Limits:
    """What one identity may use of a server."""

    calls_per_s: float = 2_000.0
    burst: float = 10_000.0
    """Calls that may come at once after a pause."""
    streams: int = 1_000
    """Open streams at a time."""
    outcomes_per_s: float = 20_000.0


@dataclass(frozen=True)
class Grant:
    """One identity, and what it may do."""

    name: str
    """The identity; the actor of its changes in the history."""
    role: Role
    components: tuple[str, ...] = EVERY_COMPONENT
    """Globs: `*` stands for any characters."""
    allow: frozenset[str] = frozenset()
    """Methods (`Rollback`) and flags (`expedite`) beyond those of the role."""
    deny: frozenset[str] = frozenset()
    """Methods and flags of the role that this grant does not give."""
    expires_s: float | None = None
    """Seconds since 1970. None: never."""
    tokens: tuple[str, ...] = ()
    """Digests, as `rampd._contract.token.digest_of` has them."""
    certificates: tuple[str, ...] = ()
    """Names in a client certificate: URIs and DNS names of its SAN."""
    trusts: tuple[Trust, ...] = ()
    is_for_everybody: bool = False
    limits: Limits = field(default_factory=Limits)

    def may(self, name: str, roles: Collection[Role]) -> bool:
        """Whether it gives a method or a flag, which these roles have."""
        return name not in self.deny and (self.role in roles or name in self.allow)

    def may_set(self, flag: str) -> bool:
        """Whether it gives a flag of a request. What is for the whole namespace is for who has every component."""
        return self.may(flag, REQUEST_FLAGS[flag]) and (flag != WHOLE_NAMESPACE or self.sees_every_component)

    def sees(self, component: str) -> bool:
        """Whether a component is there for it."""
        return self._matches_component(component) is not None

    @cached_property
    def sees_every_component(self) -> bool:
        return "*" in self.components

    @cached_property
    def _matches_component(self) -> "re._FullMatch":  # type: ignore[name-defined]
        globs = (
            "".join(".*" if part == "*" else re.escape(part) for part in re.split(r"(\*)", glob))
            for glob in self.components
        )
        return re.compile("|".join(globs)).fullmatch


@dataclass(frozen=True)
class Caller:
    """Who makes a call, as it was proven."""

    grant: Grant
    proof: Proof
    expires_s: float | None = None
    """When the credential ends, in seconds since 1970: the grant's end, or the token's or the certificate's if that is
    earlier.
    """
    generation: int = 0
    """Of the access file that it was checked against."""

    @property
    def identity(self) -> str:
        return self.grant.name


def earliest(*times_s: float | None) -> float | None:
    """The first of several ends; None where nothing ends."""
    return min((each for each in times_s if each is not None), default=None)
