"""The door that a call comes in by: what is asked of a caller there, and who calls."""

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
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import NoSnapshotError, RampdError
from rampd_server.domain.refusals import no_credentials
from rampd_server.rpc.call import ANONYMOUS, Context

_AUTHORIZATION: Final = "authorization"
_CHECK_AGAIN_S: Final = 20.0
"""How often the credential of an open stream is checked again."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Door:
    """A kind of address. All calls over it are asked for the same."""

    default: Caller | None
    """Who a caller without credentials is; None where credentials are asked for."""
    credentials: Credentials | None = None
    """None: credentials are not looked at."""
    takes_certificates: bool = False
    serves: Role | None = None
    """What this role has, and nothing else, whoever calls. None: everything."""
    how_else: Callable[[str], str] = lambda _method: ""
    """What a refusal of a method (`rampd.v1.RolloutService/Ramp`) says to do instead."""
    quotas: Quotas = field(default_factory=Quotas)

    def known(self, context: Context) -> Caller | None:
        """The caller, where that is known at once; None where it has to be proven."""
        if self.credentials is None:
            return self.default
        authorization = _authorization(context)
        if authorization is not None:
            return self.credentials.known(authorization)
        return None if self.takes_certificates else self.default

    async def prove(self, context: Context) -> Caller:
        """The caller. Raises RefusedError (NO_CREDENTIALS, BAD_CREDENTIALS)."""
        caller = None
        if self.credentials is not None:
            authorization = _authorization(context)
            if authorization is not None:
                return await self.credentials.prove(authorization)
            if self.takes_certificates:
                caller = self.credentials.of_certificate(*_certificate(context))
            caller = caller or self.credentials.without()
        caller = caller or self.default
        if caller is None:
            raise no_credentials(
                "This server asks for credentials: send the header `authorization: Bearer rampd_…` (RAMPD_TOKEN with rampd's "
                "clients, -H with grpcurl). An admin gives you a token with `rampd-server token create`."
            )
        return caller

    @asynccontextmanager
    async def while_proven(self, context: Context, caller: Caller) -> AsyncIterator[None]:
        """A block that is one open stream of the caller. It ends within a minute after the caller's credential has ended or
        was revoked: with BAD_CREDENTIALS, or with NO_SNAPSHOT where the grant has changed and the caller can come back.

        Raises RefusedError (LIMIT_EXCEEDED).
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
        """Ends the block of `limit` where the caller is not who it was, with the reason in `refusal`."""
        while not refusal:
            await asyncio.sleep(_CHECK_AGAIN_S)
            try:
                now = self.known(context) or await self.prove(context)
            except RampdError as error:
                refusal.append(error)
            except Exception:  # noqa: BLE001 - whatever it is, a stream that nobody checks must end
                _log.exception("credential_not_checked", identity=caller.identity)
                refusal.append(
                    NoSnapshotError(f"The credential of {caller.identity} can't be checked. Open the stream again.")
                )
            else:
                if now.grant != caller.grant:
                    refusal.append(
                        NoSnapshotError(f"The grant of {caller.identity} has changed. Open the stream again.")
                    )
        limit.reschedule(asyncio.get_running_loop().time())


def local(role: Role, *, proof: Proof = Proof.SOCKET, allow: frozenset[str] = frozenset()) -> Caller:
    """A caller that needs no credentials: whoever can open a socket, or reach an address."""
    return Caller(Grant(ANONYMOUS, role, allow=allow), proof)


def _authorization(context: Context) -> str | None:
    return authorization_of(context.invocation_metadata())


def authorization_of(metadata: Iterable[tuple[str, str | bytes]] | None) -> str | None:
    """The header that proves who calls; the first one, if there are several."""
    for key, value in metadata or ():
        if key == _AUTHORIZATION:
            return str(value)
    return None


def _certificate(context: Context) -> tuple[Sequence[str], float | None]:
    """The names in the SAN of the caller's certificate, and when it ends."""
    found = context.auth_context()
    names = [name.decode(errors="replace") for name in found.get("x509_subject_alternative_name", ())]
    pem = next(iter(found.get("x509_pem_cert", ())), None)
    if not names or pem is None:
        return (), None
    return names, _end_of(pem)


@lru_cache(maxsize=1_000)
def _end_of(pem: bytes) -> float:
    """Remembered, since every call of a connection brings its certificate along."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc.timestamp()
