"""An OIDC issuer at which people have accounts: it signs in whoever comes, and gives a token for a code."""

import base64
import contextlib
import hashlib
import secrets
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from tests.oidc_over_http import Answer, HttpIssuer, serving

CLIENT_ID, CLIENT_SECRET = "rampd-page", "the-secret-of-rampd"
ADA = {"sub": "248289761001", "email": "ada@example.com", "email_verified": True}


class PeopleIssuer(HttpIssuer):
    """It is as strict as RFC 6749, RFC 7636 and OpenID Connect ask: a code is good once, for who has begun."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.person: dict[str, Any] = dict(ADA)
        self.claims: dict[str, Any] = {}
        """Those of the next tokens that are wrong."""
        self.life_s = 3600
        self.refusal: dict[str, str] = {}
        """What it says instead of a code."""
        self.answer_to_code: Answer | None = None
        """What it says to the next codes."""
        self.takes_only_forms = False
        self.secret: str | None = CLIENT_SECRET
        self.begun: list[dict[str, str]] = []
        """What browsers have brought."""
        self._codes: dict[str, dict[str, str]] = {}

    def configuration(self) -> dict[str, Any]:
        return {
            **super().configuration(),
            "authorization_endpoint": f"{self.name}/authorize",
            "token_endpoint": f"{self.name}/token",
            **({"token_endpoint_auth_methods_supported": ["client_secret_post"]} if self.takes_only_forms else {}),
        }

    def answer_to(self, method: str, target: str, headers: Mapping[str, str], body: str) -> Answer:
        path, query = urlsplit(target).path, dict(parse_qsl(urlsplit(target).query))
        if (method, path) == ("GET", "/authorize"):
            return self._authorize(query)
        if (method, path) == ("POST", "/token"):
            return self.answer_to_code or self._token(dict(parse_qsl(body)), headers)
        return Answer(404)

    def _authorize(self, query: dict[str, str]) -> Answer:
        self.begun.append(query)
        assert (query["response_type"], query["client_id"]) == ("code", CLIENT_ID)
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe()
        self._codes[code] = query
        result = self.refusal or {"code": code}
        back = f"{query['redirect_uri']}?{urlencode({**result, 'state': query['state']})}"
        return Answer(302, headers={"location": back})

    def _token(self, form: dict[str, str], headers: Mapping[str, str]) -> Answer:
        if self._sender(form, headers) != (CLIENT_ID, self.secret or ""):
            return Answer(401, {"error": "invalid_client", "error_description": "the secret is wrong"})
        begun = self._codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (
            begun is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != begun["redirect_uri"]
            or challenge.decode().rstrip("=") != begun["code_challenge"]
        ):
            return Answer(400, {"error": "invalid_grant"})
        now_s = int(time.time())
        claims = {"aud": CLIENT_ID, "iat": now_s, "exp": now_s + self.life_s, "nonce": begun["nonce"], **self.person}
        return Answer(
            200, {"token_type": "Bearer", "access_token": "x", "id_token": self.token({**claims, **self.claims})}
        )

    def _sender(self, form: dict[str, str], headers: Mapping[str, str]) -> tuple[str, str]:
        authorization = headers.get("authorization", "")
        if self.takes_only_forms or not authorization:
            return form.get("client_id", ""), form.get("client_secret", "")
        name, _, secret = base64.b64decode(authorization.removeprefix("Basic ")).decode().partition(":")
        return unquote(name), unquote(secret)


@contextlib.contextmanager
def people_issuer() -> Iterator[PeopleIssuer]:
    """Runs an issuer for as long as the block lasts."""
    with serving(PeopleIssuer) as issuer:
        yield issuer
