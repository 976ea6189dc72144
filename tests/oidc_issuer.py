"""An OIDC issuer that signs as GitHub and GitLab do, and that answers for its keys."""

import json
from collections.abc import Mapping
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

GITHUB = "https://token.actions.githubusercontent.com"

_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Issuer:
    """`transport` is how a client reaches it; `asked` are the paths that were asked for."""

    def __init__(self, name: str = GITHUB) -> None:
        self.name = name
        self.claimed_name = name
        self.keys: dict[str, _Key] = {"key-1": rsa.generate_private_key(65537, 2048)}
        self.asked: list[str] = []
        self.fails_with: Exception | int | None = None
        self.keys_at = f"{name}/.well-known/jwks"
        self.answer: bytes | None = None
        """What it answers for its keys in place of them."""

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        if isinstance(self.fails_with, Exception):
            raise self.fails_with
        if self.fails_with is not None:
            return httpx.Response(self.fails_with)
        if request.url.path.endswith("/.well-known/openid-configuration"):
            return httpx.Response(200, json={"issuer": self.claimed_name, "jwks_uri": self.keys_at})
        return httpx.Response(200, content=self.answer if self.answer is not None else self.key_set())

    def key_set(self) -> bytes:
        return json.dumps({"keys": [self._public(key_id, key) for key_id, key in self.keys.items()]}).encode()

    def _public(self, key_id: str, key: _Key) -> dict[str, Any]:
        algorithm = algorithm_of(key)
        found = jwt.get_algorithm_by_name(algorithm).to_jwk(key.public_key(), as_dict=True)
        return {**found, "kid": key_id, "alg": algorithm, "use": "sig"}

    def token(self, claims: Mapping[str, Any], *, key_id: str = "key-1", algorithm: str = "", **headers: object) -> str:
        """Signed by one of its keys; `iss` is its own unless a claim says otherwise."""
        key = self.keys[key_id]
        return jwt.encode(
            {"iss": self.name, **claims}, key, algorithm or algorithm_of(key), headers={"kid": key_id, **headers}
        )


def algorithm_of(key: _Key) -> str:
    """The one that an issuer would take."""
    match key:
        case rsa.RSAPrivateKey():
            return "RS256"
        case ec.EllipticCurvePrivateKey():
            return "ES256"
        case _:
            return "EdDSA"
