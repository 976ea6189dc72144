"""Verifies tokens of OIDC issuers: signature, issuer, audience, times and claims (OpenID Connect Core 1.0 and RFC 7519)."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import httpx
import jwt
import structlog

from rampd_server.access.asking_issuer import TIMEOUT_S, address, client, configuration, json_of
from rampd_server.access.grants import LATEST_S, Grant, Trust
from rampd_server.domain.refusals import bad_credentials

LEEWAY_S: Final = 60
"""How far the clocks of an issuer and of this machine may differ."""
FETCH_AGAIN_S: Final = 30.0
"""The shortest time between two fetches of an issuer's keys, even if tokens have key ids that are not known."""
_KEYS_LIVE_S: Final = 3600.0
"""After this time the next token causes a fetch of the keys: the issuer may have withdrawn one."""
_MAX_TOKEN: Final = 16 * 1024

_log = structlog.get_logger(__name__)


class OidcVerifier:
    """Verifies tokens with the keys of their issuers, which it fetches when they are needed."""

    def __init__(
        self, *, monotonic: Callable[[], float] = time.monotonic, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._monotonic = monotonic
        self._transport = transport
        self._issuers: dict[tuple[str, str | None], _Issuer] = {}

    async def verify(self, token: str, trusts: Iterable[tuple[Grant, Trust]]) -> tuple[Grant, float]:
        """Returns the grant that a token proves, and when the token ends, in seconds since 1970. Raises RefusedError."""
        if len(token) > _MAX_TOKEN:
            raise bad_credentials(f"The token has {len(token)} characters. The limit is {_MAX_TOKEN}.")
        try:
            header = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except (jwt.PyJWTError, RecursionError) as error:
            raise bad_credentials(f"The token is not a JSON web token: {error}.") from None
        candidates = [(grant, trust) for grant, trust in trusts if trust.issuer == issuer]
        if not candidates:
            raise bad_credentials("The access file names no grant for the issuer of this token.")
        algorithm = header.get("alg")
        taken = [(grant, trust) for grant, trust in candidates if algorithm in trust.algorithms]
        if not taken:
            algorithms = dict.fromkeys(each for _, trust in candidates for each in trust.algorithms)
            raise bad_credentials(
                f"The token is signed with {algorithm!r:.40}, and the access file takes {', '.join(algorithms)}."
            )
        # Verifying a signature costs much more than comparing claims, and anybody can have a token of a public issuer. So each
        # signature is verified once, not once for each grant.
        verified: dict[str | None, Mapping[str, Any]] = {}
        mismatches: dict[str, None] = {}
        for grant, trust in taken:
            if trust.ca_file not in verified:
                verified[trust.ca_file] = await self._claims(token, header, trust)
            claims = verified[trust.ca_file]
            if not (differing := _what_differs(claims, trust)):
                return grant, float(min(int(claims["exp"]) + LEEWAY_S, LATEST_S))
            mismatches |= dict.fromkeys(differing)
        raise bad_credentials(
            f"No grant for {issuer} has what this token says. It differs in {', '.join(mismatches)}: compare the token's claims "
            "with the access file."
        )

    async def _claims(self, token: str, header: Mapping[str, Any], trust: Trust) -> Mapping[str, Any]:
        """Returns the claims of a token if its signature, issuer and times are right. Raises RefusedError."""
        issuer = self._issuers.get((trust.issuer, trust.ca_file))
        if issuer is None:
            issuer = self._issuers[trust.issuer, trust.ca_file] = _Issuer(trust, self._monotonic, self._transport)
        key = await issuer.key(str(header.get("kid", "")))
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[header["alg"]],
                issuer=trust.issuer,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iss"], "verify_aud": False},
            )
        except jwt.ExpiredSignatureError:
            raise bad_credentials("The token has expired. Get another one from its issuer.") from None
        except (jwt.PyJWTError, TypeError, OverflowError) as error:
            # PyJWT 2.10 raises the last two for a time that is none.
            raise bad_credentials(f"The token is not valid: {error}.") from None


def _what_differs(claims: Mapping[str, Any], trust: Trust) -> list[str]:
    """Returns the names of the claims that differ from what a grant asks for. `aud` may be one of them."""
    differing = [name for name, value in trust.claims.items() if _text(claims.get(name)) != value]
    audience = claims.get("aud")
    audiences = audience if isinstance(audience, list) else [audience]
    if trust.audience is not None and trust.audience not in audiences:
        differing.append("aud")
    return differing


def _text(claim: object) -> str | None:
    if isinstance(claim, bool):
        return str(claim).lower()
    return str(claim) if isinstance(claim, str | int) else None


class _Issuer:
    """The keys of one issuer. If a fetch fails, the last good keys stay in use."""

    def __init__(
        self, trust: Trust, monotonic: Callable[[], float], transport: httpx.AsyncBaseTransport | None
    ) -> None:
        self._issuer = trust.issuer
        self._ca_file = trust.ca_file
        self._monotonic = monotonic
        self._transport = transport
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s: float | None = None
        self._asked_s: float | None = None
        self._fetching: asyncio.Task[None] | None = None
        self._problem = ""

    async def key(self, key_id: str) -> jwt.PyJWK:
        """Returns the key with this id. Raises RefusedError if the issuer has no such key."""
        is_due = self._needs_keys(key_id)
        if is_due:
            # The fetch is a task of its own: other callers may wait for it when this caller goes away.
            self._asked_s = self._monotonic()
            self._fetching = asyncio.create_task(self._fetch())
        if self._fetching is not None and (is_due or key_id not in self._keys):
            await asyncio.shield(self._fetching)
        if key_id not in self._keys:
            raise bad_credentials(
                f"{self._issuer} has no key {key_id!r:.60} for this token"
                + (f", and its keys can't be fetched: {self._problem}. Try again." if self._problem else ".")
            )
        return self._keys[key_id]

    def _needs_keys(self, key_id: str) -> bool:
        now_s = self._monotonic()
        if self._asked_s is not None and now_s < self._asked_s + FETCH_AGAIN_S:
            return False
        is_old = self._fetched_s is None or now_s >= self._fetched_s + _KEYS_LIVE_S
        return is_old or key_id not in self._keys

    async def _fetch(self) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S), await client(self._ca_file, self._transport) as by:
                keys = await self._fetched(by)
        except Exception as error:  # noqa: BLE001 - the earlier keys stay in use after any failure
            self._problem = str(error) or type(error).__name__
            _log.warning(
                "issuer_keys_not_fetched", issuer=self._issuer, error=self._problem, keys_in_use=len(self._keys)
            )
            return
        self._keys, self._fetched_s, self._problem = keys, self._monotonic(), ""

    async def _fetched(self, by: httpx.AsyncClient) -> dict[str, jwt.PyJWK]:
        """Fetches the keys that the issuer has now. Raises httpx.HTTPError; ValueError."""
        about = await configuration(self._issuer, by)
        keys = dict(_keys(await json_of(by, "GET", address(about, "jwks_uri"))))
        if not keys:
            raise ValueError("it has no key that can be used")
        return keys


def _keys(found: Mapping[str, Any]) -> Iterable[tuple[str, jwt.PyJWK]]:
    """Yields the keys of a set (RFC 7517) with their ids. Leaves out keys of an unknown kind."""
    keys = found.get("keys")
    for each in keys if isinstance(keys, list) else ():
        try:
            yield str(each["kid"]), jwt.PyJWK.from_dict(each)
        except Exception:  # noqa: BLE001, S112 - one bad key must not hide the good ones
            continue
