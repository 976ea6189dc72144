"""Grants: which callers get in, by which proof, and what they may do. Pure."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Final

from rampd_server.access.globs import EVERY_COMPONENT, matcher
from rampd_server.access.rpc_roles import REQUEST_FLAGS, WHOLE_NAMESPACE, Role

LATEST_S: Final = 253_402_300_799
"""The end of the year 9999, in seconds since 1970: the latest time that a message can hold."""


class Proof(StrEnum):
    """How the server knows a caller."""

    TOKEN = "token"  # noqa: S105 - a kind of proof
    CERTIFICATE = "certificate"
    OIDC = "oidc"
    SOCKET = "socket"
    """The caller has opened the unix socket, which only its owner, or a group, can open."""
    NONE = "none"
    """Nothing proves the caller: everybody who reaches the address is this caller."""


@dataclass(frozen=True)
class Trust:
    """Which tokens of an OIDC issuer prove a grant."""

    issuer: str
    audience: str | None
    claims: Mapping[str, str]
    """By its name, the value that the token's claim has to have."""
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    ca_file: str | None = None
    """Certificates of the authorities that sign the issuer's TLS certificate. None: the authorities that the system knows."""


@dataclass(frozen=True)
class SignIn:
    """How people sign in to the page with their accounts at an OIDC issuer. The grants that take its tokens say what they may do."""

    issuer: str
    client_id: str
    """The name that the issuer has for rampd. It is the audience of the tokens."""
    client_secret_file: Path | None = None
    """None: the issuer asks rampd for no secret."""
    scopes: tuple[str, ...] = ("openid", "email")
    ca_file: str | None = None
    """As of a `Trust`."""

    def gives(self, trust: Trust) -> bool:
        """Returns whether a trust is for people who sign in. The issuer may also give tokens to jobs, for another audience."""
        return trust.issuer == self.issuer and trust.audience == self.client_id


@dataclass(frozen=True)
class Limits:
    """How much of a server one identity may use."""

    calls_per_s: float = 2_000.0
    burst: float = 10_000.0
    """Calls that may come at once after a pause."""
    streams: int = 1_000
    """How many streams may be open at a time."""
    outcomes_per_s: float = 20_000.0


@dataclass(frozen=True)
class Grant:
    """One identity, and what it may do."""

    name: str
    """The identity. It is the actor in the history."""
    role: Role
    components: tuple[str, ...] = EVERY_COMPONENT
    """Globs: `*` stands for any characters."""
    allow: frozenset[str] = frozenset()
    """Methods (`Rollback`) and flags (`expedite`) that the grant gives in addition to those of the role."""
    deny: frozenset[str] = frozenset()
    """Methods and flags of the role that this grant does not give."""
    expires_s: float | None = None
    """Seconds since 1970. None: never."""
    tokens: tuple[str, ...] = ()
    """Digests, in the form of `rampd._contract.token.digest_of`."""
    certificates: tuple[str, ...] = ()
    """Names in a client certificate: URIs and DNS names of its SAN."""
    trusts: tuple[Trust, ...] = ()
    is_for_everybody: bool = False
    limits: Limits = field(default_factory=Limits)

    def may(self, name: str, roles: Collection[Role]) -> bool:
        """Returns whether the grant gives a method or a flag. `roles` are the roles that have it."""
        return name not in self.deny and (self.role in roles or name in self.allow)

    def may_set(self, flag: str) -> bool:
        """Returns whether the grant gives a flag of a request. A flag for the whole namespace needs every component, too."""
        return self.may(flag, REQUEST_FLAGS[flag]) and (flag != WHOLE_NAMESPACE or self.sees_every_component)

    def sees(self, component: str) -> bool:
        """Returns whether a component exists for callers with this grant."""
        return self._matches_component(component) is not None

    @cached_property
    def rights(self) -> "Grant":
        """The grant without its end and without what proves it. A caller keeps its rights while its tokens are replaced."""
        return replace(self, expires_s=None, tokens=(), certificates=(), trusts=(), is_for_everybody=False)

    @cached_property
    def sees_every_component(self) -> bool:
        return "*" in self.components

    @cached_property
    def _matches_component(self) -> Callable[[str], object]:
        return matcher(self.components)


@dataclass(frozen=True)
class Caller:
    """The identity that makes a call, and how it was proven."""

    grant: Grant
    proof: Proof
    expires_s: float | None = None
    """When the credential ends, in seconds since 1970: the grant's end, or the token's or the certificate's if that is
    earlier.
    """
    generation: int = 0
    """The `Credentials.generation` of the access list that the credential was checked against."""
    known_until_s: float | None = field(default=None, compare=False)
    """When the credential has to be checked again, in seconds since 1970. Never later than its end. None: never."""

    @property
    def identity(self) -> str:
        return self.grant.name


def earliest(*times_s: float | None) -> float | None:
    """Returns the earliest of several times. None stands for never."""
    return min((each for each in times_s if each is not None), default=None)
