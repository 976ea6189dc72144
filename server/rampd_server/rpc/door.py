"""The door that a call comes through: which proof it asks for, and who the caller is."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

import structlog
from cryptography import x509

from rampd_server.access.credentials import Credentials
from rampd_server.access.grants import Caller, Grant, Proof
from rampd_server.access.quotas import Quotas
from rampd_server.access.rpc_roles import Role, Roles
from rampd_server.domain.errors import NoSnapshotError, RampdError
from rampd_server.domain.refusals import no_credentials
from rampd_server.rpc.call import ANONYMOUS, Context

_AUTHORIZATION: Final = "authorization"
_CHECK_AGAIN_S: Final = 20.0
"""How often the credential of an open stream is checked again."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Door:
    """A kind of address. All calls over it need the same proof."""

    default: Caller | None
    """The caller of a call without credentials. None: a call needs credentials."""
    credentials: Credentials | None = None
    """None: the door does not look at credentials."""
    takes_certificates: bool = False
    serves: Role | None = None
    """The door serves only the methods of this role, also to a caller with a higher role. None: the door serves all methods."""
    how_else: Callable[[str], str] = lambda _method: ""
    """Returns what to do instead, for the message that refuses a method (`rampd.v1.RolloutService/Ramp`)."""
    quotas: Quotas = field(default_factory=Quotas)

    def known(self, context: Context) -> Caller | None:
        """Returns the caller if it is known without a check. None if `prove` has to find out."""
        if self.credentials is None:
            return self.default
        authorization = _authorization(context)
        if authorization is not None:
            return self.credentials.known(authorization)
        return None if self.takes_certificates else self.default

    def without_credentials(self) -> Caller | None:
        """Returns the caller of a call without credentials. None if the door refuses such a call."""
        if self.default is not None or self.credentials is None:
            return self.default
        return self.credentials.without()

    def has(self, roles: Roles) -> bool:
        """Returns whether the door serves a method that these roles may call."""
        return self.serves is None or self.serves in roles

    async def prove(self, context: Context) -> Caller:
        """Checks the credentials and returns the caller. Raises RefusedError (NO_CREDENTIALS, BAD_CREDENTIALS)."""
        caller = None
        if self.credentials is not None:
            authorization = _authorization(context)
            if authorization is not None:
                return await self.credentials.prove(authorization)
            if self.takes_certificates:
                caller = self.credentials.of_certificate(*_certificate(context))
        caller = caller or self.without_credentials()
        if caller is None:
            raise no_credentials(
                "This server asks for credentials: send the header `authorization: Bearer rampd_…` (RAMPD_TOKEN with rampd's "
                "clients, -H with grpcurl). An admin gives you a token with `rampd-server token create`."
            )
        return caller

    @asynccontextmanager
    async def while_proven(self, context: Context, caller: Caller) -> AsyncIterator[None]:
        """Counts one open stream of the caller for as long as the block lasts. Ends the block within a minute after the
        caller's credential has ended or was revoked: with BAD_CREDENTIALS. If the caller's rights have changed, it ends with
        NO_SNAPSHOT, because the caller can open the stream again.

        Raises RefusedError (LIMIT_EXCEEDED) if the caller has too many streams open.
        """
        if self.credentials is None:
            yield
            return
        quota = self.quotas.of(caller.grant)
        quota.open_stream()
        refusal: list[RampdError] = []
        try:
            async with asyncio.timeout(None) as limit:
                checking = asyncio.create_task(self._check_again(context, caller, limit, refusal))
                try:
                    yield
                finally:
                    checking.cancel()
        except TimeoutError:
            if not refusal:
                raise
            raise refusal[0] from None
        finally:
            quota.close_stream()

    async def _check_again(
        self, context: Context, caller: Caller, limit: asyncio.Timeout, refusal: list[RampdError]
    ) -> None:
        """Ends the block of `limit` when the caller is not proven any more or its rights have changed. Puts the reason into
        `refusal`.
        """
        while not refusal:
            await asyncio.sleep(_CHECK_AGAIN_S)
            try:
                now = self.known(context) or await self.prove(context)
            except RampdError as error:
                refusal.append(error)
            except Exception:  # noqa: BLE001 - a stream that nobody can check must end
                _log.exception("credential_not_checked", identity=caller.identity)
                refusal.append(
                    NoSnapshotError(f"The credential of {caller.identity} can't be checked. Open the stream again.")
                )
            else:
                # The check has proven the credential again. So a new token or a new end of the grant does not end the stream.
                if now.grant.rights != caller.grant.rights:
                    refusal.append(
                        NoSnapshotError(f"The grant of {caller.identity} has changed. Open the stream again.")
                    )
        limit.reschedule(asyncio.get_running_loop().time())


def local(role: Role, *, proof: Proof = Proof.SOCKET, allow: frozenset[str] = frozenset()) -> Caller:
    """Returns the caller of all calls without credentials, over a socket or over an address."""
    return Caller(Grant(ANONYMOUS, role, allow=allow), proof)


def _authorization(context: Context) -> str | None:
    return authorization_of(context.invocation_metadata())


def authorization_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """Returns the header that proves who calls. If there are several, the first one counts."""
    for key, value in metadata or ():
        if key == _AUTHORIZATION:
            return str(value)
    return None


def _certificate(context: Context) -> tuple[Sequence[str], float | None]:
    """Returns the names in the SAN of the caller's certificate, and when the certificate ends. IP addresses and e-mail
    addresses do not count as names.
    """
    found = context.auth_context()
    names = [name.decode(errors="replace") for kind in ("peer_uri", "peer_dns") for name in found.get(kind, ())]
    pem = next(iter(found.get("x509_pem_cert", ())), None)
    if not names or pem is None:
        return (), None
    return names, _end_of(pem)


@lru_cache(maxsize=1_000)
def _end_of(pem: bytes) -> float:
    """Returns when a certificate ends. The cache helps because each call of a connection has the same certificate."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
