"""Finds the caller of a credential by the access list in force, and remembers which callers are proven."""

import time
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from rampd._contract.token import PREFIX, digest_of, is_whole
from rampd_server.access.access_file import AccessList
from rampd_server.access.grants import Caller, Grant, Proof, Trust, earliest
from rampd_server.domain.refusals import bad_credentials

_BEARER: Final = "bearer "
_MOST_REMEMBERED: Final = 10_000
_VERIFIED_LIVES_S: Final = 3600.0
"""After this time a token of an issuer is verified again, however long it is valid: the issuer may have withdrawn its key."""


class Verifier(Protocol):
    """Verifies the tokens of OIDC issuers."""

    async def verify(self, token: str, trusts: Iterable[tuple[Grant, Trust]]) -> tuple[Grant, float]:
        """Returns the grant that a token proves, and when the token ends, in seconds since 1970. Raises RefusedError."""


class Credentials:
    """The access list in force. A credential that was checked is known until it ends or the list changes."""

    def __init__(self, access_list: AccessList, verifier: Verifier, *, clock: Callable[[], float] = time.time) -> None:
        self._verifier = verifier
        self._clock = clock
        self.generation = 0
        """The number of lists that were in force so far."""
        self.replace(access_list)

    def replace(self, access_list: AccessList) -> None:
        """Puts another list in force. Every credential is checked again."""
        self.generation += 1
        self._known: dict[str, Caller] = {}
        self._by_token = {digest: grant for grant in access_list.grants for digest in grant.tokens}
        self._by_certificate = {name: grant for grant in access_list.grants for name in grant.certificates}
        self._trusts = [(grant, trust) for grant in access_list.grants for trust in grant.trusts]
        self.sign_in = access_list.sign_in
        """How people sign in to the page with accounts of an issuer. None: they don't."""
        self._everybody = next((grant for grant in access_list.grants if grant.is_for_everybody), None)

    def known(self, authorization: str) -> Caller | None:
        """Returns the caller of an `authorization` header that was checked before. None if it has to be checked."""
        caller = self._known.get(authorization)
        if caller is None or caller.known_until_s is None or self._clock() < caller.known_until_s:
            return caller
        return None

    async def prove(self, authorization: str) -> Caller:
        """Checks an `authorization` header and returns its caller. Raises RefusedError (BAD_CREDENTIALS)."""
        token = _token_of(authorization)
        generation = self.generation
        if token.startswith(PREFIX):
            caller = self._of_token(token)
        elif token.count(".") == 2 and self._trusts:
            grant, ends_s = await self._verifier.verify(token, self._trusts)
            end_s = earliest(grant.expires_s, ends_s)
            known_until_s = earliest(end_s, self._clock() + _VERIFIED_LIVES_S)
            caller = Caller(grant, Proof.OIDC, end_s, generation, known_until_s)
        else:
            raise bad_credentials(
                "The token is neither one of rampd nor one of an OIDC issuer that the access file names."
            )
        self._require_in_time(caller)
        # A header with more spaces is not remembered: one token would fill the memory with long headers.
        is_short = len(authorization) == len(_BEARER) + len(token)
        if generation == self.generation and is_short:
            if len(self._known) >= _MOST_REMEMBERED:
                self._known.clear()
            self._known[authorization] = caller
        return caller

    def of_certificate(self, names: Iterable[str], ends_s: float | None = None) -> Caller | None:
        """Returns the caller of a client certificate by the names in its SAN. None if no grant has one of these names. Raises
        RefusedError (BAD_CREDENTIALS).
        """
        for name in names:
            grant = self._by_certificate.get(name)
            if grant is not None:
                caller = Caller(grant, Proof.CERTIFICATE, earliest(grant.expires_s, ends_s), self.generation)
                self._require_in_time(caller)
                return caller
        return None

    def without(self) -> Caller | None:
        """Returns the caller of a call without a credential: the grant for everybody. None if there is no such grant, or it has
        ended.
        """
        grant = self._everybody
        if grant is None:
            return None
        caller = Caller(grant, Proof.NONE, grant.expires_s, self.generation)
        return caller if self._is_in_time(caller) else None

    def _of_token(self, token: str) -> Caller:
        if not is_whole(token):
            raise bad_credentials(
                "The token is cut or mistyped: its checksum does not fit. Copy the whole token again."
            )
        grant = self._by_token.get(digest_of(token))
        if grant is None:
            raise bad_credentials(
                "No grant of the access file has this token. It was revoked, or it is for another server."
            )
        return Caller(grant, Proof.TOKEN, grant.expires_s, self.generation, known_until_s=grant.expires_s)

    def _is_in_time(self, caller: Caller) -> bool:
        return caller.expires_s is None or self._clock() < caller.expires_s

    def _require_in_time(self, caller: Caller) -> None:
        if not self._is_in_time(caller):
            ended = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(caller.expires_s))
            raise bad_credentials(
                f"The credential of {caller.identity} ended at {ended}. Ask an admin for another one."
            )


def _token_of(authorization: str) -> str:
    if authorization[: len(_BEARER)].lower() != _BEARER:
        raise bad_credentials("The header `authorization` has to be `Bearer` and a token.")
    token = authorization[len(_BEARER) :].strip()
    if not token:
        raise bad_credentials("The header `authorization` has no token after `Bearer`. Check that its variable is set.")
    if token.startswith("$"):
        raise bad_credentials(
            "The header has the name of a variable in place of a token: grpcurl needs the flag -expand-headers."
        )
    return token
