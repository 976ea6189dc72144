"""Tokens of OIDC issuers, signed by a local issuer in the way of GitHub and GitLab."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rampd_server.access.grants import LATEST_S, Grant, Trust
from rampd_server.access.oidc import FETCH_AGAIN_S, LEEWAY_S, OidcVerifier
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import Reason, RefusedError
from tests.oidc_issuer import GITHUB, Issuer

CLAIMS = {
    "repository_id": "65",
    "repository_owner_id": "9",
    "ref": "refs/heads/main",
    "environment": "production",
    "job_workflow_ref": "acme/ci/.github/workflows/release.yml@refs/heads/main",
}
TRUST = Trust(GITHUB, "rampd", CLAIMS)
GRANT = Grant("ci-restyler", Role.CI, trusts=(TRUST,))


class World:
    """An issuer, a verifier that knows it, and the verifier's clock."""

    def __init__(self, issuer: Issuer | None = None) -> None:
        self.issuer = issuer or Issuer()
        self.now_s = 1000.0
        self.verifier = OidcVerifier(monotonic=lambda: self.now_s, transport=self.issuer.transport)

    def token(self, claims: Mapping[str, Any] = {}, **how: Any) -> str:
        now_s = int(time.time())
        return self.issuer.token({"aud": "rampd", "iat": now_s, "exp": now_s + 300, **CLAIMS, **claims}, **how)

    async def verify(self, token: str, *grants: Grant) -> tuple[Grant, float]:
        return await self.verifier.verify(
            token, [(grant, trust) for grant in grants or (GRANT,) for trust in grant.trusts]
        )

    async def refusal(self, token: str, *grants: Grant) -> str:
        with pytest.raises(RefusedError) as caught:
            await self.verify(token, *grants)
        assert caught.value.reason is Reason.BAD_CREDENTIALS
        assert token not in caught.value.message
        assert token.rpartition(".")[2][:20] not in caught.value.message or not token.rpartition(".")[2]
        return caught.value.message


@pytest.fixture
def world() -> World:
    return World()


async def test_a_token_with_the_claims_of_a_grant_proves_the_grant_until_the_token_ends(world: World) -> None:
    end_s = int(time.time()) + 120
    assert await world.verify(world.token({"exp": end_s})) == (GRANT, end_s + LEEWAY_S)


@pytest.mark.parametrize(
    "sub",
    [
        "repo:acme/restyler:ref:refs/heads/main",
        "repo:acme@9/restyler@65:ref:refs/heads/main",
    ],
    ids=["by name", "by name and id, as since 2026"],
)
async def test_the_form_of_sub_does_not_matter(world: World, sub: str) -> None:
    assert (await world.verify(world.token({"sub": sub})))[0] is GRANT


async def test_the_token_of_gitlab_proves_its_project() -> None:
    world = World()
    world.issuer = Issuer("https://gitlab.example.org")
    world.verifier = OidcVerifier(transport=world.issuer.transport)
    trust = Trust("https://gitlab.example.org", "rampd", {"project_id": "22", "ref_protected": "true"})
    grant = Grant("gitlab", Role.CI, trusts=(trust,))
    claims = {"project_id": "22", "ref_protected": "true", "sub": "project_path:acme/app:ref_type:branch:ref:main"}
    assert (await world.verify(world.token(claims), grant))[0] is grant
    assert "project_id" in await world.refusal(world.token({**claims, "project_id": "23"}), grant)


@pytest.mark.parametrize("audience", [["rampd"], ["other", "rampd"]])
async def test_one_of_several_audiences_is_enough(world: World, audience: list[str]) -> None:
    assert (await world.verify(world.token({"aud": audience})))[0] is GRANT


@pytest.mark.parametrize("audience", ["other", "rampd2", "https://rampd", [], ["other"], None, 3, {"rampd": 1}])
async def test_a_token_for_another_audience_is_refused(world: World, audience: Any) -> None:
    assert "differs in aud" in await world.refusal(world.token({"aud": audience}))


async def test_a_token_without_an_audience_is_refused(world: World) -> None:
    token = world.issuer.token({"exp": time.time() + 300, **CLAIMS})
    assert "differs in aud" in await world.refusal(token)


async def test_a_grant_without_an_audience_takes_any(world: World) -> None:
    grant = replace(GRANT, trusts=(replace(TRUST, audience=None),))
    assert (await world.verify(world.token({"aud": "other"}), grant))[0] is grant


@pytest.mark.parametrize("claim", CLAIMS)
@pytest.mark.parametrize("value", ["other", "", "*", None, ["{}"], "{} ", "x{}", True])
async def test_each_claim_has_to_be_equal(world: World, claim: str, value: Any) -> None:
    wrong = value.format(CLAIMS[claim]) if isinstance(value, str) else value
    wrong = [CLAIMS[claim]] if value == ["{}"] else wrong
    message = await world.refusal(world.token({claim: wrong}))
    assert f"It differs in {claim}:" in message
    assert CLAIMS[claim] not in message


async def test_a_number_is_equal_to_its_text(world: World) -> None:
    assert (await world.verify(world.token({"repository_id": 65})))[0] is GRANT


async def test_the_grant_is_the_first_whose_claims_are_equal(world: World) -> None:
    other = Grant("other", Role.ADMIN, trusts=(replace(TRUST, claims={**CLAIMS, "environment": "staging"}),))
    assert (await world.verify(world.token(), other, GRANT))[0] is GRANT
    assert (await world.verify(world.token({"environment": "staging"}), GRANT, other))[0] is other


async def test_a_grant_with_another_algorithm_does_not_block_the_other_grants(world: World) -> None:
    picky = Grant("picky", Role.ADMIN, trusts=(replace(TRUST, algorithms=("EdDSA",)),))
    assert (await world.verify(world.token(), picky, GRANT))[0] is GRANT


async def test_a_signature_is_verified_once_for_all_grants(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    verified = []
    decode = jwt.decode

    def counting(token: str, key: object = "", **options: Any) -> Any:
        if key:
            verified.append(token)
        return decode(token, key, **options)

    monkeypatch.setattr(jwt, "decode", counting)
    others = [Grant(f"g{n}", Role.CI, trusts=(replace(TRUST, claims={"ref": str(n)}),)) for n in range(500)]
    await world.refusal(world.token(), *others)
    assert len(verified) == 1


@pytest.mark.parametrize("late_s", [LEEWAY_S + 5, 86_400])
async def test_an_expired_token_is_refused(world: World, late_s: int) -> None:
    assert "The token has expired" in await world.refusal(world.token({"exp": int(time.time()) - late_s}))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
async def test_a_token_of_the_future_is_refused(world: World, claim: str) -> None:
    assert "not valid" in await world.refusal(world.token({claim: int(time.time()) + LEEWAY_S + 30}))


async def test_clocks_may_differ_by_a_minute(world: World) -> None:
    now_s = int(time.time())
    # The clock goes on until the token is looked at.
    await world.verify(world.token({"exp": now_s - LEEWAY_S + 40}))
    await world.verify(world.token({"nbf": now_s + LEEWAY_S, "iat": now_s + LEEWAY_S}))


@pytest.mark.parametrize("missing", ["exp", "iss"])
async def test_a_token_that_does_not_say_when_it_ends_or_who_made_it_is_refused(world: World, missing: str) -> None:
    claims = {"iss": GITHUB, "aud": "rampd", "exp": int(time.time()) + 300, **CLAIMS}
    del claims[missing]
    await world.refusal(jwt.encode(claims, world.issuer.keys["key-1"], "RS256", headers={"kid": "key-1"}))


@pytest.mark.parametrize("issuer", ["https://evil.example.org", f"{GITHUB}/", GITHUB.upper(), "", None, [GITHUB]])
async def test_an_issuer_that_the_file_does_not_name_is_not_asked(world: World, issuer: Any) -> None:
    token = jwt.encode(
        {"exp": time.time() + 300, **CLAIMS} | ({} if issuer is None else {"x": 0}), world.issuer.keys["key-1"], "RS256"
    )
    head, _, signature = token.split(".")
    body = base64.urlsafe_b64encode(json.dumps({"iss": issuer, **CLAIMS}).encode()).rstrip(b"=").decode()
    await world.refusal(f"{head}.{body}.{signature}")
    assert world.issuer.asked == []


async def test_a_token_that_another_key_has_signed_is_refused(world: World) -> None:
    other = Issuer()
    assert "Signature verification failed" in await world.refusal(
        other.token({"aud": "rampd", "exp": time.time() + 300, **CLAIMS})
    )


async def test_a_token_whose_claims_were_changed_is_refused(world: World) -> None:
    head, _, signature = world.token({"repository_id": "66"}).split(".")
    body = world.token().split(".")[1]
    assert "Signature verification failed" in await world.refusal(f"{head}.{body}.{signature}")


def encoded(part: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize("algorithm", ["none", "None", "NONE", "", None, "HS256", "HS512", 7, ["RS256"]])
async def test_a_token_without_a_signature_or_with_a_shared_secret_is_refused(world: World, algorithm: Any) -> None:
    """Given a token whose shared secret is the issuer's public key, which everybody knows, expect a refusal."""
    await world.verify(world.token())
    head = encoded({"alg": algorithm, "typ": "JWT", "kid": "key-1"})
    body = encoded({"iss": GITHUB, "aud": "rampd", "exp": int(time.time()) + 300, **CLAIMS})
    public = world.issuer.keys["key-1"].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = base64.urlsafe_b64encode(hmac.digest(public, f"{head}.{body}".encode(), "sha256")).rstrip(b"=").decode()
    for signature in ("", mac):
        await world.refusal(f"{head}.{body}.{signature}")


async def test_an_algorithm_that_the_grant_does_not_take_is_refused(world: World) -> None:
    world.issuer.keys["key-2"] = ed25519.Ed25519PrivateKey.generate()
    token = world.token(key_id="key-2")
    message = await world.refusal(token)
    assert message == "The token is signed with 'EdDSA', and the access file takes RS256, ES256."
    assert world.issuer.asked == []
    grant = replace(GRANT, trusts=(replace(TRUST, algorithms=("EdDSA",)),))
    assert (await world.verify(token, grant))[0] is grant


async def test_a_key_is_used_with_its_own_algorithm_only(world: World) -> None:
    """Given a token that says RS512 and names a key that is for RS256, expect a refusal."""
    grant = replace(GRANT, trusts=(replace(TRUST, algorithms=("RS256", "RS512")),))
    await world.verify(world.token(), grant)
    await world.refusal(world.token(algorithm="RS512"), grant)


async def test_elliptic_curves_are_taken_too(world: World) -> None:
    world.issuer.keys["key-2"] = ec.generate_private_key(ec.SECP256R1())
    assert (await world.verify(world.token(key_id="key-2")))[0] is GRANT


async def test_keys_are_fetched_once(world: World) -> None:
    for _ in range(20):
        await world.verify(world.token())
    assert world.issuer.asked == ["/.well-known/openid-configuration", "/.well-known/jwks"]


async def test_an_unknown_key_id_causes_a_fetch_at_most_every_30_seconds(world: World) -> None:
    await world.verify(world.token())
    asked = len(world.issuer.asked)
    hostile = Issuer()
    for number in range(100):
        hostile.keys[f"random-{number}"] = hostile.keys["key-1"]
        token = hostile.token({"aud": "rampd", "exp": time.time() + 300, **CLAIMS}, key_id=f"random-{number}")
        assert f"has no key 'random-{number}'" in await world.refusal(token)
    assert len(world.issuer.asked) == asked
    world.now_s += FETCH_AGAIN_S
    await world.refusal(token)
    await world.refusal(token)
    assert len(world.issuer.asked) == asked + 2
    # Meanwhile the known key still works.
    await world.verify(world.token())


class SlowIssuer(Issuer):
    """An issuer that answers only after `is_open` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.is_open = asyncio.Event()

    @property
    def transport(self) -> httpx.MockTransport:
        async def answer(request: httpx.Request) -> httpx.Response:
            await self.is_open.wait()
            return self._answer(request)

        return httpx.MockTransport(answer)


async def test_a_caller_who_comes_during_a_fetch_of_the_keys_waits_for_it() -> None:
    issuer = SlowIssuer()
    world = World(issuer)
    first = asyncio.create_task(world.verify(world.token()))
    await asyncio.sleep(0.01)
    others = [asyncio.create_task(world.verify(world.token())) for _ in range(3)]
    await asyncio.sleep(0.01)
    issuer.is_open.set()
    assert [(await each)[0] for each in (first, *others)] == [GRANT] * 4
    assert len(issuer.asked) == 2


async def test_a_caller_who_goes_does_not_end_the_fetch_for_the_others() -> None:
    """Given a caller who sends a wrong token and goes away at once, expect that callers who come later get in."""
    issuer = SlowIssuer()
    world = World(issuer)
    hostile = Issuer().token({"aud": "rampd", "exp": time.time() + 300}, kid="random")
    gone = asyncio.create_task(world.verify(hostile))
    await asyncio.sleep(0.01)
    gone.cancel()
    with pytest.raises(asyncio.CancelledError):
        await gone
    issuer.is_open.set()
    assert (await world.verify(world.token()))[0] is GRANT


async def test_a_new_key_of_the_issuer_is_found(world: World) -> None:
    await world.verify(world.token())
    world.issuer.keys = {"key-2": rsa.generate_private_key(65537, 2048)}
    token = world.token(key_id="key-2")
    await world.refusal(token)
    world.now_s += FETCH_AGAIN_S
    assert (await world.verify(token))[0] is GRANT


async def test_a_key_that_the_issuer_has_withdrawn_is_good_for_an_hour_at_most(world: World) -> None:
    token = world.token()
    await world.verify(token)
    world.issuer.keys = {"key-2": rsa.generate_private_key(65537, 2048)}
    world.now_s += 3_599
    await world.verify(token)
    world.now_s += 1
    assert "has no key 'key-1'" in await world.refusal(token)


@pytest.mark.parametrize(
    "failure",
    [httpx.ConnectError("refused"), httpx.ReadTimeout("slow"), TimeoutError(), 500, 404, 302],
    ids=str,
)
async def test_the_last_good_keys_stay_in_use_if_a_fetch_fails(world: World, failure: Exception | int) -> None:
    await world.verify(world.token())
    world.issuer.fails_with = failure
    world.now_s += 10_000
    assert (await world.verify(world.token()))[0] is GRANT
    world.issuer.fails_with = None
    world.issuer.keys["key-2"] = rsa.generate_private_key(65537, 2048)
    world.now_s += FETCH_AGAIN_S
    assert (await world.verify(world.token(key_id="key-2")))[0] is GRANT


ANSWERS = {
    "no JSON": b"<html>",
    "a list": b"[]",
    "no keys": b'{"keys": []}',
    "keys without ids": b'{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}',
    "keys of another kind": b'{"keys": [{"kid": "key-1", "kty": "XYZ"}]}',
    "keys that are none": b'{"keys": [3, null, "x", {"kid": "key-1"}]}',
    "keys that are no list": b'{"keys": 3}',
    "too much": b'{"keys": [], "x": "' + b"x" * (1 << 20) + b'"}',
    "too deep": b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "not UTF-8": b'{"keys": "\xff"}',
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_a_wrong_answer_of_the_issuer_does_not_change_the_keys(world: World, answer: bytes) -> None:
    await world.verify(world.token())
    world.issuer.answer = answer
    world.now_s += 10_000
    assert (await world.verify(world.token()))[0] is GRANT


@pytest.mark.parametrize(
    "key",
    [{"kty": "RSA", "n": "AQAB", "e": "AQAB", "alg": "none"}, {"kty": "RSA", "n": "!", "e": "Ag"}, {"kty": []}],
    ids=str,
)
async def test_a_key_that_can_t_be_used_does_not_block_the_other_keys(world: World, key: dict[str, Any]) -> None:
    keys = json.loads(world.issuer.key_set())["keys"]
    world.issuer.answer = json.dumps({"keys": [{"kid": "odd", **key}, *keys]}).encode()
    assert (await world.verify(world.token()))[0] is GRANT


async def test_if_the_keys_can_t_be_fetched_the_refusal_says_why(world: World) -> None:
    world.issuer.fails_with = httpx.ConnectError("connection refused")
    message = await world.refusal(world.token())
    assert message.endswith("and its keys can't be fetched: connection refused. Try again.")


async def test_a_configuration_about_another_issuer_is_refused(world: World) -> None:
    world.issuer.claimed_name = "https://evil.example.org"
    assert "its configuration is about the issuer 'https://evil.example.org'" in await world.refusal(world.token())


async def test_keys_are_not_fetched_in_the_clear(world: World) -> None:
    world.issuer.keys_at = "http://token.actions.githubusercontent.com/.well-known/jwks"
    assert "which is not an https:// address" in await world.refusal(world.token())
    assert world.issuer.asked == ["/.well-known/openid-configuration"]


async def test_a_key_that_is_a_shared_secret_is_not_used(world: World) -> None:
    secret = base64.urlsafe_b64encode(b"s" * 32).rstrip(b"=").decode()
    world.issuer.answer = json.dumps({"keys": [{"kty": "oct", "kid": "key-1", "k": secret}]}).encode()
    await world.refusal(world.token())


DEEP = base64.urlsafe_b64encode(b'{"a":' + b"[" * 8_000 + b"]" * 100).rstrip(b"=").decode()
LONG_NUMBER = base64.urlsafe_b64encode(b'{"alg": "RS256", "exp": ' + b"1" * 5_000 + b"}").rstrip(b"=").decode()
HEAD = encoded({"alg": "RS256", "kid": "key-1"})


@pytest.mark.parametrize(
    "token",
    [
        "..",
        "a.b.c",
        f"{DEEP}.{HEAD}.eHg",
        f"{HEAD}.{DEEP}.eHg",
        f"{HEAD}.{LONG_NUMBER}.eHg",
        f"{LONG_NUMBER}.{HEAD}.eHg",
        f"{HEAD}.{encoded({'iss': GITHUB})}.!!!",
        f"{encoded({'alg': 'RS256', 'kid': 7})}.{encoded({'iss': GITHUB})}.eHg",
        f"{encoded({'alg': 'RS256', 'kid': ['key-1']})}.{encoded({'iss': GITHUB})}.eHg",
        f"{encoded({'alg': 'RS256', 'crit': ['x']})}.{encoded({'iss': GITHUB})}.eHg",
        f"{HEAD}.{encoded({'iss': GITHUB, 'exp': 'soon'})}.eHg",
        f"{HEAD}.Iw.eHg",
        f"{HEAD}.W10.eHg",
        f"W10.{HEAD}.eHg",
        "x" * 10_000 + "." + "y" * 10_000 + ".z",
    ],
    ids=range(15),
)
async def test_a_text_that_is_no_token_is_refused(world: World, token: str) -> None:
    with pytest.raises(RefusedError) as caught:
        await world.verify(token)
    assert caught.value.reason is Reason.BAD_CREDENTIALS
    assert len(caught.value.message) < 400


@pytest.mark.parametrize("end", [1e400, "soon", None, [], -1])
async def test_a_wrong_end_is_refused(world: World, end: Any) -> None:
    await world.refusal(world.token({"exp": end}))


@pytest.mark.parametrize("claim", ["nbf", "iat"])
@pytest.mark.parametrize("begin", [1e400, "soon", None, []], ids=str)
async def test_a_wrong_beginning_is_refused(world: World, claim: str, begin: Any) -> None:
    await world.refusal(world.token({claim: begin}))


@pytest.mark.parametrize("end", [1e300, 10**400, "9" * 20])
async def test_a_token_ends_with_the_year_9999_at_the_latest(world: World, end: Any) -> None:
    assert (await world.verify(world.token({"exp": end})))[1] == LATEST_S
