"""From a credential to its caller: known, ended, replaced."""

from collections.abc import Iterable
from dataclasses import replace

import pytest

from rampd._contract.token import digest_of, new_token
from rampd_server.access import credentials as module
from rampd_server.access.access_file import AccessList
from rampd_server.access.credentials import Credentials
from rampd_server.access.grants import Caller, Grant, Proof, Trust
from rampd_server.access.rpc_roles import Role
from rampd_server.domain.errors import Reason, RefusedError

TOKEN, SECOND, OF_NOBODY = new_token(), new_token(), new_token()
JWT = "aaa.bbb.ccc"
CI = Grant("ci-restyler", Role.CI, tokens=(digest_of(TOKEN), digest_of(SECOND)), expires_s=500.0)
LAUNCHER = Grant("launcher", Role.LAUNCHER, certificates=("spiffe://team/launcher", "launcher.example.org"))
GITHUB = Grant("github", Role.CI, trusts=(Trust("https://issuer", "rampd", {"repository_id": "1"}),))


class FakeVerifier:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.ends_s = 300.0
        self.during: object = None

    async def verify(self, token: str, trusts: Iterable[tuple[Grant, Trust]]) -> tuple[Grant, float]:
        self.asked.append(token)
        [(grant, _)] = trusts
        if callable(self.during):
            self.during()
        return grant, self.ends_s


class World:
    def __init__(self, *grants: Grant) -> None:
        self.now_s = 100.0
        self.verifier = FakeVerifier()
        self.credentials = Credentials(AccessList(grants), self.verifier, clock=lambda: self.now_s)

    async def refusal(self, authorization: str) -> str:
        with pytest.raises(RefusedError) as caught:
            await self.credentials.prove(authorization)
        assert caught.value.reason is Reason.BAD_CREDENTIALS
        secret = authorization.rpartition(" ")[2][6:]
        assert not secret or secret not in caught.value.message
        return caught.value.message


@pytest.fixture
def world() -> World:
    return World(CI, LAUNCHER, GITHUB)


@pytest.mark.parametrize("token", [TOKEN, SECOND], ids=["first", "second"])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "Bearer "])
async def test_each_token_of_a_grant_proves_it(world: World, token: str, scheme: str) -> None:
    caller = await world.credentials.prove(f"{scheme} {token}")
    assert caller == Caller(CI, Proof.TOKEN, 500.0, world.credentials.generation)


async def test_what_was_proven_is_known_from_then_on(world: World) -> None:
    header = f"Bearer {TOKEN}"
    assert world.credentials.known(header) is None
    caller = await world.credentials.prove(header)
    assert world.credentials.known(header) is caller
    assert world.credentials.known(f"Bearer {SECOND}") is None


async def test_nothing_that_was_refused_is_known(world: World) -> None:
    await world.refusal(f"Bearer {OF_NOBODY}")
    assert world.credentials.known(f"Bearer {OF_NOBODY}") is None


async def test_a_token_ends_with_its_grant(world: World) -> None:
    header = f"Bearer {TOKEN}"
    await world.credentials.prove(header)
    world.now_s = 499.9
    assert world.credentials.known(header)
    world.now_s = 500.0
    assert world.credentials.known(header) is None
    assert (
        await world.refusal(header)
        == "The credential of ci-restyler ended at 1970-01-01 00:08 UTC. Ask an admin for another one."
    )


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ("", "The header `authorization` has to be `Bearer` and a token."),
        (TOKEN, "The header `authorization` has to be `Bearer` and a token."),
        (f"Basic {TOKEN}", "The header `authorization` has to be `Bearer` and a token."),
        (f"Bearer{TOKEN}", "The header `authorization` has to be `Bearer` and a token."),
        (f"Bearer {TOKEN[:-1]}", "The token is cut or mistyped: its checksum does not fit. Copy it again, whole."),
        (f"Bearer {TOKEN}x", "The token is cut or mistyped: its checksum does not fit. Copy it again, whole."),
        (f"Bearer {OF_NOBODY}", "No grant of the access file has this token. It was revoked, or it is for another server."),
        ("Bearer ", "The token is neither one of rampd nor one of an OIDC issuer that the access file names."),
        ("Bearer secret-of-another", "The token is neither one of rampd nor one of an OIDC issuer that the access file names."),
        (f"Bearer {digest_of(TOKEN)}", "The token is neither one of rampd nor one of an OIDC issuer that the access file names."),
    ],
    ids=range(10),
)  # fmt: skip
async def test_a_refusal_says_what_is_wrong_and_nothing_of_the_token(world: World, header: str, said: str) -> None:
    assert await world.refusal(header) == said


async def test_a_token_of_an_issuer_is_verified_once_and_ends_with_what_ends_first(world: World) -> None:
    header = f"Bearer {JWT}"
    caller = await world.credentials.prove(header)
    assert (caller.grant, caller.proof, caller.expires_s) == (GITHUB, Proof.OIDC, 300.0)
    assert world.credentials.known(header) is caller
    assert world.verifier.asked == [JWT]
    world.now_s = 300.0
    assert world.credentials.known(header) is None
    world.credentials.replace(AccessList((replace(GITHUB, expires_s=200.0),)))
    world.now_s = 150.0
    assert (await world.credentials.prove(header)).expires_s == 200.0


async def test_without_an_issuer_in_the_file_nobody_verifies_anything() -> None:
    world = World(CI)
    await world.refusal(f"Bearer {JWT}")
    assert world.verifier.asked == []


async def test_with_another_list_everything_is_checked_again(world: World) -> None:
    header, other = f"Bearer {TOKEN}", f"Bearer {SECOND}"
    before = await world.credentials.prove(header)
    await world.credentials.prove(other)
    world.credentials.replace(AccessList((replace(CI, tokens=(digest_of(SECOND),)),)))
    assert world.credentials.known(header) is None
    assert "It was revoked" in await world.refusal(header)
    after = await world.credentials.prove(other)
    assert after.generation == before.generation + 1


async def test_what_was_proven_by_the_list_of_before_is_not_remembered(world: World) -> None:
    """Given a list that is replaced while an issuer is asked, expect that the next call is checked by the new one."""
    world.verifier.during = lambda: world.credentials.replace(AccessList(()))
    await world.credentials.prove(f"Bearer {JWT}")
    assert world.credentials.known(f"Bearer {JWT}") is None


async def test_the_memory_of_what_was_proven_has_an_end(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_REMEMBERED", 3)
    for number in range(20):
        await world.credentials.prove(f"Bearer a.b.{number}")
        assert len(world.credentials._known) <= 3


@pytest.mark.parametrize("name", LAUNCHER.certificates)
def test_a_certificate_proves_the_grant_that_has_one_of_its_names(world: World, name: str) -> None:
    caller = world.credentials.of_certificate(["other", name], 400.0)
    assert caller == Caller(LAUNCHER, Proof.CERTIFICATE, 400.0, world.credentials.generation)


@pytest.mark.parametrize(
    "names", [[], ["other"], ["spiffe://team"], ["LAUNCHER.example.org"], ["launcher.example.org."]]
)
def test_a_certificate_without_such_a_name_proves_nothing(world: World, names: list[str]) -> None:
    assert world.credentials.of_certificate(names) is None


def test_a_certificate_that_has_ended_is_refused(world: World) -> None:
    with pytest.raises(RefusedError, match="The credential of launcher ended at"):
        world.credentials.of_certificate(["launcher.example.org"], 99.0)


def test_everybody_is_the_grant_that_says_so(world: World) -> None:
    assert world.credentials.without() is None
    grant = Grant("all", Role.VIEWER, is_for_everybody=True, expires_s=200.0)
    world.credentials.replace(AccessList((CI, grant)))
    assert world.credentials.without() == Caller(grant, Proof.NONE, 200.0, world.credentials.generation)


def test_a_grant_for_everybody_that_has_ended_lets_nobody_in(world: World) -> None:
    world.credentials.replace(AccessList((Grant("all", Role.VIEWER, is_for_everybody=True, expires_s=200.0),)))
    world.now_s = 200.0
    assert world.credentials.without() is None
