"""The way of a person to an OIDC issuer and back."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from rampd_server.access import sign_in
from rampd_server.access.client_secret import secret_of, what_is_wrong
from rampd_server.access.grants import SignIn
from rampd_server.access.sign_in import Attempt, PeopleIssuer, SignInError, claims_of
from tests.oidc_over_http import Answer
from tests.people_issuer import ADA, CLIENT_ID, CLIENT_SECRET
from tests.people_issuer import PeopleIssuer as Issuer

NAME = "https://accounts.example.com"
BACK = "https://rampd.example.com/sign-in/oidc/return"
PEER = "10.0.0.7"


class World:
    """An issuer, what rampd knows of it, and a browser."""

    def __init__(self, directory: Path) -> None:
        self.secret = directory / "client-secret"
        self.secret.write_text(f"{CLIENT_SECRET}\n")
        self.issuer = Issuer(NAME)
        self.now_s = 1_000.0
        self.settings = SignIn(NAME, CLIENT_ID, self.secret)
        self.people = self.knowing(self.settings)
        self.attempt = Attempt.new()

    def knowing(self, settings: SignIn) -> PeopleIssuer:
        return PeopleIssuer(settings, monotonic=lambda: self.now_s, transport=self.issuer.transport)

    async def begun(self) -> dict[str, str]:
        """What the browser brings to the issuer."""
        return dict(parse_qsl(urlsplit(await self.people.begin(self.attempt, BACK)).query))

    async def code(self) -> str:
        """What the browser brings back."""
        there = await self.people.begin(self.attempt, BACK)
        back = self.issuer.answer_to("GET", there, {}, "").headers["location"]
        assert back.startswith(f"{BACK}?")
        query = dict(parse_qsl(urlsplit(back).query))
        assert query["state"] == self.attempt.state
        return query["code"]

    async def token(self) -> str:
        return await self.people.end(self.attempt, await self.code(), BACK, peer=PEER)

    async def refusal(self) -> str:
        with pytest.raises(SignInError) as caught:
            await self.token()
        return str(caught.value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_person_gets_a_token_that_says_who_they_are(world: World) -> None:
    claims = claims_of(await world.token())
    assert {name: claims[name] for name in ADA} == ADA
    assert (claims["iss"], claims["aud"], claims["nonce"]) == (NAME, CLIENT_ID, world.attempt.nonce)


async def test_the_issuer_is_asked_for_a_code_with_a_challenge(world: World) -> None:
    world.people = world.knowing(replace(world.settings, scopes=("openid", "groups")))
    there = await world.people.begin(world.attempt, BACK)
    assert there.startswith(f"{NAME}/authorize?")
    query = await world.begun()
    assert query == {
        "response_type": "code",
        "client_id": CLIENT_ID,
        "redirect_uri": BACK,
        "scope": "openid groups",
        "state": world.attempt.state,
        "nonce": world.attempt.nonce,
        "code_challenge": query["code_challenge"],
        "code_challenge_method": "S256",
    }
    assert world.attempt.verifier not in there


def test_nobody_can_guess_an_attempt() -> None:
    first, second = Attempt.new(), Attempt.new()
    parts = {first.state, first.nonce, first.verifier, second.state, second.nonce, second.verifier}
    assert len(parts) == 6
    # 43 characters are the fewest that PKCE allows for a verifier.
    assert {len(part) for part in parts} == {43}


async def test_a_code_is_worth_nothing_without_the_attempt_that_has_got_it(world: World) -> None:
    code = await world.code()
    with pytest.raises(SignInError, match="it refuses the code: invalid_grant"):
        await world.people.end(Attempt.new(), code, BACK, peer=PEER)


async def test_a_code_is_good_once(world: World) -> None:
    code = await world.code()
    await world.people.end(world.attempt, code, BACK, peer=PEER)
    with pytest.raises(SignInError, match="invalid_grant"):
        await world.people.end(world.attempt, code, BACK, peer=PEER)


async def test_the_secret_is_read_again_for_each_sign_in(world: World) -> None:
    await world.token()
    world.issuer.secret = "another-secret"
    assert "invalid_client: the secret is wrong" in await world.refusal()
    world.secret.write_text("another-secret")
    await world.token()


async def test_an_issuer_that_takes_no_header_gets_the_secret_in_the_form(world: World) -> None:
    world.issuer.takes_only_forms = True
    await world.token()


async def test_an_issuer_may_ask_for_no_secret(world: World) -> None:
    world.issuer.secret = None
    world.people = world.knowing(replace(world.settings, client_secret_file=None))
    await world.token()


@pytest.mark.parametrize(
    ("claims", "said"),
    [
        ({"nonce": "another"}, "the answer to another sign-in"),
        ({"nonce": None}, "the answer to another sign-in"),
        ({"aud": "another"}, "for somebody else than rampd"),
        ({"aud": ["another", "third"]}, "for somebody else than rampd"),
        ({"aud": None}, "for somebody else than rampd"),
        ({"azp": "another", "aud": [CLIENT_ID, "another"]}, "for somebody else than rampd"),
        ({"iss": "https://evil.example"}, "for somebody else than rampd"),
    ],
)
async def test_a_token_that_is_no_answer_to_this_sign_in_is_refused(
    world: World, claims: dict[str, Any], said: str
) -> None:
    world.issuer.claims = claims
    assert said in await world.refusal()


async def test_a_token_may_be_for_others_too(world: World) -> None:
    world.issuer.claims = {"aud": [CLIENT_ID, "another"], "azp": CLIENT_ID}
    await world.token()


ANSWERS = {
    "an error in words": (Answer(400, {"error": "invalid_scope", "error_description": "no such scope."}), "it refuses the code: invalid_scope: no such scope."),
    "an error without words": (Answer(401, {"error": "invalid_client"}), "it refuses the code: invalid_client."),
    "no token": (Answer(200, {"access_token": "x"}), "it has given no ID token"),
    "a token that is no text": (Answer(200, {"id_token": {"a": 1}}), "it has given no ID token"),
    "a token that is none": (Answer(200, {"id_token": "a.b.c"}), "is no JSON web token"),
    "a list": (Answer(200, []), "its answer to the code can't be read"),
    "a failure": (Answer(500, {"error": "x"}), "its answer to the code can't be read: Server error '500 Internal Server Error'"),
    "a way elsewhere": (Answer(302, {}, {"location": "https://evil.example"}), "its answer to the code can't be read: Redirect response '302 Found'"),
    "very many words": (Answer(400, {"error": "x" * 10_000}), "it refuses the code: x"),
}  # fmt: skip


@pytest.mark.parametrize(("answer", "said"), ANSWERS.values(), ids=ANSWERS)
async def test_what_is_wrong_at_the_issuer_is_said_in_words(world: World, answer: Answer, said: str) -> None:
    world.issuer.answer_to_code = answer
    message = await world.refusal()
    assert said in message
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 600
    assert CLIENT_SECRET not in message


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (httpx.ConnectError("connection refused"), "can't be asked: connection refused. Try again"),
        (httpx.ReadTimeout("slow"), "can't be asked: it does not answer within 5 s. Try again"),
        (TimeoutError(), "can't be asked: it does not answer within 5 s. Try again"),
        (404, "can't be asked: Client error '404 Not Found'"),
    ],
    ids=str,
)
async def test_an_issuer_that_can_t_be_asked_is_said_to_the_person(
    world: World, failure: Exception | int, said: str
) -> None:
    world.issuer.fails_with = failure
    message = await world.refusal()
    assert message.startswith(NAME)
    assert said in message


async def test_a_configuration_about_another_issuer_is_refused(world: World) -> None:
    world.issuer.name = "https://evil.example"
    assert "its configuration is about the issuer 'https://evil.example'" in await world.refusal()


@pytest.mark.parametrize("name", ["authorization_endpoint", "token_endpoint"])
@pytest.mark.parametrize("where", ["http://accounts.example.com/x", None])
async def test_nobody_is_sent_to_an_address_in_the_clear(
    world: World, monkeypatch: pytest.MonkeyPatch, name: str, where: str | None
) -> None:
    about = world.issuer.configuration()
    monkeypatch.setattr(world.issuer, "configuration", lambda: {**about, name: where})
    message = await world.refusal()
    assert f"its {name} is 'http://" in message or f"its configuration has no {name}" in message


async def test_the_configuration_is_asked_for_once_an_hour(world: World) -> None:
    for _ in range(5):
        await world.token()
    world.now_s += 3_599
    await world.token()
    assert world.issuer.asked.count("/.well-known/openid-configuration") == 1
    world.now_s += 1
    await world.token()
    assert world.issuer.asked.count("/.well-known/openid-configuration") == 2


async def test_an_issuer_that_does_not_answer_is_asked_again_after_a_moment_and_not_at_once(world: World) -> None:
    """Given many people, or one hostile caller, expect one question in five seconds."""
    world.issuer.fails_with = 500
    messages = await asyncio.gather(*(world.refusal() for _ in range(20)))
    assert len(set(messages)) == 1
    assert len(world.issuer.asked) == 1
    world.issuer.fails_with = None
    world.now_s += 4
    await world.refusal()
    world.now_s += 1
    await world.token()


async def test_the_last_good_configuration_stays_in_use(world: World) -> None:
    await world.token()
    world.now_s += 3_600
    world.issuer.fails_with = 500
    assert NAME in await world.people.begin(world.attempt, BACK)


async def test_made_up_codes_make_the_server_ask_the_issuer_only_so_often(world: World) -> None:
    async def one(peer: str = PEER) -> str:
        with pytest.raises(SignInError) as caught:
            await world.people.end(Attempt.new(), "made up", BACK, peer=peer)
        return str(caught.value)

    said = [await one() for _ in range(200)]
    assert world.issuer.asked.count("/token") < 60
    assert said[-1] == "Too many people sign in at once. Try again in a moment, or sign in with a token."
    world.now_s += 1
    assert "invalid_grant" in await one()
    for number in range(1_000):
        await one(f"10.0.1.{number % 50}")
    assert 400 < world.issuer.asked.count("/token") < 600


async def test_made_up_codes_of_one_peer_keep_nobody_else_from_signing_in(world: World) -> None:
    for _ in range(2_000):
        with pytest.raises(SignInError):
            await world.people.end(Attempt.new(), "made up", BACK, peer="10.0.0.66")
    await world.token()


async def test_made_up_codes_do_not_fill_the_log(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    lines: list[str] = []
    monkeypatch.setattr(sign_in._log, "warning", lambda event, **_: lines.append(event), raising=False)
    for number in range(400):
        with pytest.raises(SignInError, match="invalid_grant"):
            await world.people.end(Attempt.new(), "made up", BACK, peer=f"10.0.1.{number % 50}")
    assert 0 < len(lines) < 100


# The secret


@pytest.mark.parametrize(
    ("content", "secret"),
    [
        (b"abc\n", "abc"),
        (b"  a+/=b~:%  ", "a+/=b~:%"),
        (b"", None),
        (b"\n", None),
        (b"a b", None),
        (b"\xff", None),
        (b"a\nb", None),
    ],
)
def test_the_file_of_the_secret_has_one_word(tmp_path: Path, content: bytes, secret: str | None) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)
    file.chmod(0o600)
    if secret is None:
        with pytest.raises(ValueError, match="it has to have one word"):
            secret_of(file)
        [said] = what_is_wrong(file)
        assert said.endswith("So nobody can sign in with this issuer.")
    else:
        assert secret_of(file) == secret
        assert list(what_is_wrong(file)) == []


async def test_without_the_secret_nobody_signs_in_and_the_log_says_why(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[dict[str, object]] = []
    monkeypatch.setattr(
        sign_in._log, "warning", lambda event, **fields: lines.append({"event": event, **fields}), raising=False
    )
    world.secret.unlink()
    assert "rampd can't read its secret for the issuer: No such file or directory." in await world.refusal()
    [line] = lines
    assert (line["event"], line["issuer"]) == ("sign_in_failed", NAME)


@pytest.mark.parametrize(("mode", "number"), [(0o600, 0), (0o640, 0), (0o644, 1)])
def test_a_secret_that_every_user_may_read_is_told(tmp_path: Path, mode: int, number: int) -> None:
    file = tmp_path / "secret"
    file.write_text("abc")
    file.chmod(mode)
    assert len(list(what_is_wrong(file))) == number
