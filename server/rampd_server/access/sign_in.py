"""Signs people in with their accounts at an OIDC issuer: the authorization code flow (OpenID Connect Core 1.0, section 3.1) with PKCE
(RFC 7636).

Nothing is kept here while a person is at the issuer. What the end needs is in the browser (`Attempt`), so any server can end what
another one has begun.
"""

import asyncio
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import httpx
import jwt
import structlog

from rampd_server.access.asking_issuer import TIMEOUT_S, address, client, configuration, json_of
from rampd_server.access.client_secret import secret_of
from rampd_server.access.grants import SignIn
from rampd_server.access.peers import PeerRates
from rampd_server.access.quotas import Rate

_CONFIGURATION_LIVES_S: Final = 3600.0
_ASK_AGAIN_S: Final = 5.0
"""The shortest time between two questions for a configuration that could not be read."""
_ENDS_PER_S: Final = 5.0
_BURST: Final = 50.0
"""Anybody who reaches the page can make the server ask the issuer about a made-up code. For one peer it asks no more often than this."""
_ALL_ENDS_PER_S: Final = 50.0
_ALL_BURST: Final = 500.0
"""The same for all peers together."""
_LINES_PER_S: Final = 5.0
_LINES_BURST: Final = 50.0
"""How often the log says that a sign-in has failed."""
_MOST_SAID: Final = 300
"""How many characters of an issuer's own words are shown."""
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint")

_log = structlog.get_logger(__name__)


class SignInError(Exception):
    """Raised when somebody can't sign in by the issuer. The message says why, to that person."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One way to the issuer and back. Only the browser that has it can end it."""

    state: str
    """Comes back with the browser, so that nobody can make a browser end an attempt of somebody else."""
    nonce: str
    """Comes back in the token, so that no token of another attempt is taken."""
    verifier: str
    """Proves to the issuer that who brings the code has also begun (PKCE)."""

    @classmethod
    def new(cls) -> "Attempt":
        """Returns an attempt that nobody can guess."""
        return cls(*(secrets.token_urlsafe(32) for _ in range(3)))


class PeopleIssuer:
    """The issuer at which people have accounts."""

    def __init__(
        self,
        settings: SignIn,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.settings = settings
        self._monotonic = monotonic
        self._transport = transport
        self._about: Mapping[str, Any] | None = None
        self._asked_s = -math.inf
        self._problem = ""
        self._asking = asyncio.Lock()
        self._ends = Rate(_ALL_ENDS_PER_S, _ALL_BURST)
        self._ends_of = PeerRates(_ENDS_PER_S, _BURST)
        self._lines = Rate(_LINES_PER_S, _LINES_BURST)

    async def begin(self, attempt: Attempt, back: str) -> str:
        """Returns the address to which the browser goes. The issuer sends it back to `back`. Raises SignInError."""
        about = await self._configuration()
        from authlib.oauth2 import OAuth2Client  # noqa: PLC0415 - see `_load`

        by = OAuth2Client(
            None,
            self.settings.client_id,
            scope=" ".join(self.settings.scopes),
            redirect_uri=back,
            code_challenge_method="S256",
        )
        url, _ = by.create_authorization_url(
            address(about, "authorization_endpoint"),
            state=attempt.state,
            code_verifier=attempt.verifier,
            nonce=attempt.nonce,
        )
        return str(url)

    async def end(self, attempt: Attempt, code: str, back: str, *, peer: str) -> str:
        """Returns the ID token for the code with which the browser has come back. Whoever takes the token has to verify its signature.
        `peer` is the address from which the browser comes. Raises SignInError.
        """
        now_s = self._monotonic()
        # Its own limit first, so that one peer does not use up that of all.
        if self._ends_of.take(peer, now_s) or self._ends.take(1, now_s):
            raise SignInError("Too many people sign in at once. Try again in a moment, or sign in with a token.")
        about = await self._configuration()
        try:
            secret = await self._secret()
        except (OSError, ValueError) as error:
            raise self._failed(f"rampd can't read its secret for the issuer: {_words(error)}") from error
        try:
            answer = await self._exchange(about, secret, attempt, code, back)
        except Exception as error:
            raise self._failed(f"its answer to the code can't be read: {_words(error)}") from error
        if "error" in answer:
            raise self._failed(f"it refuses the code: {said(answer)}")
        token = answer.get("id_token")
        if not isinstance(token, str):
            raise self._failed("it has given no ID token. Look at `scopes` in the access file")
        self._require_ours(token, attempt)
        return token

    async def _exchange(
        self, about: Mapping[str, Any], secret: str, attempt: Attempt, code: str, back: str
    ) -> Mapping[str, Any]:
        from authlib.oauth2 import ClientAuth  # noqa: PLC0415 - see `_load`
        from authlib.oauth2.rfc6749.parameters import prepare_token_request  # noqa: PLC0415 - see `_load`

        form = prepare_token_request("authorization_code", "", back, code=code, code_verifier=attempt.verifier)
        proof = ClientAuth(self.settings.client_id, secret, _way_to_prove(about, has_secret=bool(secret)))
        headers = {"accept": "application/json", "content-type": "application/x-www-form-urlencoded"}
        url, headers, body = proof.prepare("POST", address(about, "token_endpoint"), headers, form)
        async with asyncio.timeout(TIMEOUT_S), await client(self.settings.ca_file, self._transport) as by:
            return await json_of(by, "POST", url, takes_refusal=True, headers=headers, content=body)

    async def _secret(self) -> str:
        file = self.settings.client_secret_file
        # A file may be on a disk that does not answer, and Resolve must not wait for it.
        return "" if file is None else await asyncio.to_thread(secret_of, file)

    def _require_ours(self, token: str, attempt: Attempt) -> None:
        """Raises SignInError: the token is not the answer to this attempt."""
        issuer, client_id = self.settings.issuer, self.settings.client_id
        claims = claims_of(token)
        audience = claims.get("aud")
        audiences = audience if isinstance(audience, list) else [audience]
        if claims.get("iss") != issuer or client_id not in audiences or claims.get("azp", client_id) != client_id:
            raise self._failed("its ID token is for somebody else than rampd. Look at `client_id` in the access file")
        if not secrets.compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()):
            raise self._failed("its ID token is the answer to another sign-in. Try again")

    async def _configuration(self) -> Mapping[str, Any]:
        async with self._asking:
            now_s = self._monotonic()
            wait_s = _ASK_AGAIN_S if self._problem else _CONFIGURATION_LIVES_S
            if now_s >= self._asked_s + wait_s:
                self._asked_s = now_s
                await self._ask()
        if self._about is None:
            raise SignInError(
                f"{self.settings.issuer} can't be asked: {self._problem}. Try again, or sign in with a token."
            )
        return self._about

    async def _ask(self) -> None:
        """Asks the issuer for its configuration. If that fails, the last good one stays in use."""
        try:
            await asyncio.to_thread(_load)
            async with asyncio.timeout(TIMEOUT_S), await client(self.settings.ca_file, self._transport) as by:
                about = await configuration(self.settings.issuer, by)
                for name in _ENDPOINTS:
                    address(about, name)
        except Exception as error:  # noqa: BLE001 - a person is told after any failure
            self._problem = _words(error)
            _log.warning("sign_in_failed", issuer=self.settings.issuer, error=self._problem)
            return
        self._about, self._problem = about, ""

    def _failed(self, why: str) -> SignInError:
        if not self._lines.take(1, self._monotonic()):
            _log.warning("sign_in_failed", issuer=self.settings.issuer, error=why)
        return SignInError(f"Signing in with {self.settings.issuer} has failed: {why}.")


def _load() -> None:
    """Loads what only a server with such an issuer needs. That takes some 50 ms, for which Resolve must not wait."""
    import authlib.oauth2.rfc6749.parameters  # noqa: F401, PLC0415


def said(answer: Mapping[str, Any]) -> str:
    """Returns what an issuer says about its refusal (RFC 6749, sections 4.1.2.1 and 5.2)."""
    code, description = (str(answer.get(name) or "") for name in ("error", "error_description"))
    return ": ".join(filter(None, (code, description)))[:_MOST_SAID].rstrip(".")


def claims_of(token: str) -> Mapping[str, Any]:
    """Returns what a token says, not verified. Raises SignInError."""
    try:
        claims: Mapping[str, Any] = jwt.decode(token, options={"verify_signature": False})
    except (jwt.PyJWTError, RecursionError) as error:
        raise SignInError(f"The issuer has given an ID token that is no JSON web token: {error}.") from None
    return claims


def _way_to_prove(about: Mapping[str, Any], *, has_secret: bool) -> str:
    """How rampd proves to the token endpoint that it is rampd. Without a list, every issuer takes the first way."""
    if not has_secret:
        return "none"
    taken = about.get("token_endpoint_auth_methods_supported")
    by_form = isinstance(taken, list) and "client_secret_basic" not in taken and "client_secret_post" in taken
    return "client_secret_post" if by_form else "client_secret_basic"


def _words(error: Exception) -> str:
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return f"it does not answer within {TIMEOUT_S:g} s"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0][:_MOST_SAID] or type(error).__name__
