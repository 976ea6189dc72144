"""The access file: read whole, or refused whole with every mistake in a sentence."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from rampd._contract.token import digest_of, new_token
from rampd_server.access.access_file import AccessFileError, AccessList, parse, read
from rampd_server.access.grants import Grant, Limits, Trust
from rampd_server.access.rpc_roles import Role
from rampd_server.rpc.binding import NAMES

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
TOKENS = f'tokens = ["{DIGEST}"]'


def grants(text: str) -> AccessList:
    return parse(text, names=NAMES)


def of(*lines: str, name: str = "ci-restyler", role: str = "ci", proof: str = TOKENS) -> str:
    """One grant, with these lines in it."""
    return "\n".join(["[[grant]]", f'name = "{name}"', f'role = "{role}"', proof, *lines, ""])


def oidc(*lines: str, issuer: str = "https://token.actions.githubusercontent.com") -> str:
    return "\n".join(["[[grant.oidc]]", f'issuer = "{issuer}"', *lines, ""])


GITHUB = oidc('audience = "rampd"', 'claims = { repository_id = "65", ref = "refs/heads/main" }')


def mistakes(text: str) -> list[str]:
    with pytest.raises(AccessFileError) as caught:
        grants(text)
    return list(caught.value.mistakes)


def test_a_grant_has_what_the_file_says() -> None:
    text = of(
        'components = ["restyler*", "*-prod"]',
        'allow = ["Rollback", "expedite"]',
        'deny = ["CancelRelease"]',
        "expires = 2027-01-31T12:00:00Z",
        'certificates = ["spiffe://team/ci", "ci.example.org"]',
        "everybody = true",
        "[grant.limits]",
        "calls_per_s = 5",
        "burst = 7.5",
        "streams = 3",
        "outcomes_per_s = 9",
        oidc(
            'audience = "rampd"',
            "claims = { repository_id = 65, is_fork = false }",
            'algorithms = ["EdDSA"]',
            'ca_file = "/etc/ca.pem"',
            issuer="https://issuer.example.org/path",
        ),
    )
    [grant] = grants(text).grants
    assert grant == Grant(
        "ci-restyler",
        Role.CI,
        components=("restyler*", "*-prod"),
        allow=frozenset({"Rollback", "expedite"}),
        deny=frozenset({"CancelRelease"}),
        expires_s=datetime(2027, 1, 31, 12, tzinfo=UTC).timestamp(),
        tokens=(DIGEST,),
        certificates=("spiffe://team/ci", "ci.example.org"),
        trusts=(
            Trust(
                "https://issuer.example.org/path",
                "rampd",
                {"repository_id": "65", "is_fork": "false"},
                ("EdDSA",),
                "/etc/ca.pem",
            ),
        ),
        is_for_everybody=True,
        limits=Limits(5, 7.5, 3, 9),
    )


def test_a_grant_that_says_little_has_the_defaults() -> None:
    assert grants(of()).grants == (Grant("ci-restyler", Role.CI, tokens=(DIGEST,)),)
    [trust] = grants(of(GITHUB, proof="")).grants[0].trusts
    assert trust.algorithms == ("RS256", "ES256")


def test_a_file_without_grants_lets_nobody_in() -> None:
    assert grants("# nobody yet\n") == AccessList(())


@pytest.mark.parametrize("role", Role)
def test_each_role_has_its_name(role: Role) -> None:
    assert grants(of(role=role)).grants[0].role is role


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ("2027-01-31", datetime(2027, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
    ],
)
def test_a_date_ends_with_its_day_and_a_time_at_once(expires: str, end: datetime) -> None:
    assert grants(of(f"expires = {expires}")).grants[0].expires_s == end.timestamp()


MISTAKES: dict[str, tuple[str, str]] = {
    "no TOML": ("[[grant]\n", "It is not TOML: "),
    "no name": (f'[[grant]]\nrole = "ci"\n{TOKENS}', "grant number 1: name is missing."),
    "no role": (f'[[grant]]\nname = "a"\n{TOKENS}', "grant a: role is missing."),
    "a name of another type": (f'[[grant]]\nname = 3\nrole = "ci"\n{TOKENS}', "grant number 1: name: input should be"),
    "an empty name": (of(name=""), "grant number 1: name: "),
    "a name of rampd": (of(name="rampd-bot"), "grant rampd-bot: name: 'rampd-bot' is a name that rampd uses itself"),
    "anonymous": (of(name="anonymous"), "grant anonymous: name: 'anonymous' is a name that rampd uses itself"),
    "a long name": (of(name="a" * 129), "grant " + "a" * 129 + ": name: "),
    "an unknown role": (of(role="root"), "grant ci-restyler: role: 'root' is not one of launcher, viewer, ci, operator, admin."),
    "an unknown setting": (of('rolle = "ci"'), "grant ci-restyler: there is no setting 'rolle'."),
    "an unknown table": ('grants = []\n', "there is no setting 'grants'."),
    "one table": (f'[grant]\nname = "a"\nrole = "ci"\n{TOKENS}', "grant: input should be a valid list."),
    "a component that is none": (of('components = ["Restyler"]'), "grant ci-restyler: components.0: 'Restyler' is not a component's name"),
    "a pattern": (of('components = ["a|b"]'), "grant ci-restyler: components.0: 'a|b' is not a component's name"),
    "no components": (of("components = []"), "grant ci-restyler: components: "),
    "components as text": (of('components = "a"'), "grant ci-restyler: components: input should be a valid list."),
    "an unknown method": (of('allow = ["Ramp", "Rampe"]'), "grant ci-restyler: allow: there is no method or flag 'Rampe'."),
    "an unknown flag": (of('deny = ["everything"]'), "grant ci-restyler: deny: there is no method or flag 'everything'."),
    "a token itself": (of(proof='tokens = ["rampd_x"]'), "grant ci-restyler: tokens.0: a token is kept as sha256: and 64"),
    "a short digest": (of(proof='tokens = ["sha256:abc"]'), "grant ci-restyler: tokens.0: a token is kept as sha256: and 64"),
    "a token twice": (of() + of(name="b"), "sha256:0123456789ab… is the token of more than one grant"),
    "a name twice": (of() + of(proof=f'tokens = ["{OTHER}"]'), "'ci-restyler' is the name of more than one grant"),
    "a certificate twice": (
        of('certificates = ["a.b"]') + of('certificates = ["a.b"]', name="b", proof=""),
        "'a.b' is the certificate's name of more than one grant",
    ),
    "no proof": (of(proof=""), "grant ci-restyler: nothing proves it. Add `tokens`"),
    "everybody twice": (
        of("everybody = true", proof="") + of("everybody = true", name="b", proof=""),
        "2 grants are for everybody: only one can be.",
    ),
    "an end that is text": (of('expires = "2027-01-31"'), "grant ci-restyler: expires: '2027-01-31' is not a date such as 2027-01-31"),
    "an end without a zone": (of("expires = 2027-01-31T12:00:00"), "grant ci-restyler: expires: 2027-01-31 12:00:00 has no time zone; write 2027-01-31T12:00:00Z"),
    "a limit of nothing": (of("limits = { calls_per_s = 0 }"), "grant ci-restyler: limits.calls_per_s: input should be greater than 0."),
    "no number": (of("limits = { calls_per_s = nan }"), "grant ci-restyler: limits.calls_per_s: "),
    "half a stream": (of("limits = { streams = 1.5 }"), "grant ci-restyler: limits.streams: "),
    "an unknown limit": (of("limits = { calls = 1 }"), "grant ci-restyler: there is no setting 'limits.calls'."),
    "an issuer in the clear": (
        of(oidc('claims = { repository_id = "1" }', issuer="http://issuer.example.org"), proof=""),
        "grant ci-restyler: oidc.0.issuer: 'http://issuer.example.org' is not an https:// address.",
    ),
    "an issuer with a question": (
        of(oidc('claims = { repository_id = "1" }', issuer="https://issuer.example.org?a=b"), proof=""),
        "grant ci-restyler: oidc.0.issuer: 'https://issuer.example.org?a=b' is not the address of an issuer",
    ),
    "no claims": (of(oidc('audience = "rampd"'), proof=""), "grant ci-restyler: oidc.0.claims is missing."),
    "empty claims": (of(oidc("claims = {}"), proof=""), "grant ci-restyler: oidc.0.claims: "),
    "a pattern on a claim": (
        of(oidc('claims = { sub = "repo:acme/*" }'), proof=""),
        "grant ci-restyler: oidc.0.claims.sub: 'repo:acme/*' has a *: a claim has to be equal, there are no patterns.",
    ),
    "a claim that is a list": (of(oidc('claims = { ref = ["a"] }'), proof=""), "grant ci-restyler: oidc.0.claims.ref: ['a'] is not a text."),
    "an empty claim": (of(oidc('claims = { ref = "" }'), proof=""), "grant ci-restyler: oidc.0.claims.ref: '' is not a text."),
    "an empty audience": (of(oidc('audience = ""', 'claims = { ref = "a" }'), proof=""), "grant ci-restyler: oidc.0.audience: "),
    "a shared secret": (
        of(oidc('claims = { ref = "a" }', 'algorithms = ["HS256"]'), proof=""),
        "grant ci-restyler: oidc.0.algorithms.0: 'HS256' is not one of RS256, ",
    ),
    "no signature": (
        of(oidc('claims = { ref = "a" }', 'algorithms = ["none"]'), proof=""),
        "grant ci-restyler: oidc.0.algorithms.0: 'none' is not one of RS256, ",
    ),
    "no algorithm": (of(oidc('claims = { ref = "a" }', "algorithms = []"), proof=""), "grant ci-restyler: oidc.0.algorithms: "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_refuses_the_file_and_is_a_sentence(text: str, said: str) -> None:
    [sentence] = mistakes(text)
    assert sentence.startswith(said)
    assert sentence.endswith(".")


def test_every_mistake_is_named_at_once_with_its_grant() -> None:
    text = of(name="") + of('components = ["A"]', role="root") + of("expires = 1", name="c")
    assert [sentence.partition(":")[0] for sentence in mistakes(text)] == [
        "grant number 1",
        "grant ci-restyler",
        "grant ci-restyler",
        "grant c",
    ]
    together = of('allow = ["X"]', name="a") + of('deny = ["Y"]', name="b", proof="")
    assert len(mistakes(together)) == 3


@pytest.mark.parametrize("place", ['tokens = ["{}"]', "tokens = {}", 'token = "{}"', "tokens = [{}]", 'tokens = "{}"'])
def test_a_token_that_stands_in_the_file_itself_is_not_repeated(place: str) -> None:
    token = new_token()
    assert token[6:20] not in " ".join(mistakes(of(proof=place.format(token))))


def test_a_file_that_can_t_be_read_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match=r"/none can't be read: No such file or directory\.$"):
        read(tmp_path / "none", names=NAMES)
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    with pytest.raises(AccessFileError, match=r"/odd can't be read: it is not UTF-8 text\.$"):
        read(tmp_path / "odd", names=NAMES)


WARNINGS: dict[str, tuple[str, str]] = {
    "everybody": (of("everybody = true", role="viewer"), "grant ci-restyler: everybody who reaches the server is viewer, without any credentials."),
    "any audience": (of(oidc('claims = { repository_id = "1" }'), proof=""), "grant ci-restyler: it takes tokens of https://token.actions.githubusercontent.com for any audience"),
    "any repository": (of(oidc('audience = "rampd"', 'claims = { repository_owner_id = "1" }'), proof=""), "grant ci-restyler: no claim names one repository"),
    "whoever calls a workflow": (of(oidc('audience = "rampd"', 'claims = { job_workflow_ref = "acme/ci/.github/workflows/x.yml@refs/heads/main" }'), proof=""), "grant ci-restyler: no claim names one repository"),
    "sub": (of(oidc('audience = "rampd"', 'claims = { repository_id = "1", sub = "repo:acme/app:ref:refs/heads/main" }'), proof=""), "grant ci-restyler: GitHub changed the form of `sub`"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WARNINGS.values(), ids=WARNINGS)
def test_what_is_too_wide_is_a_warning(text: str, said: str) -> None:
    [warning] = grants(text).warnings
    assert warning.startswith(said)


@pytest.mark.parametrize("text", [of(), of(GITHUB, proof=""), of('certificates = ["a.b"]', proof="", role="admin")])
def test_what_is_no_wider_than_it_has_to_be_has_no_warning(text: str) -> None:
    assert grants(text).warnings == ()


@pytest.mark.parametrize(
    "issuer", ["https://gitlab.example.org", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost"]
)
def test_an_issuer_is_reached_over_tls_or_on_this_machine(issuer: str) -> None:
    [grant] = grants(of(oidc('claims = { project_id = "1" }', issuer=issuer), proof="")).grants
    assert grant.trusts[0].issuer == issuer


def test_several_tokens_of_one_grant_are_for_rotation() -> None:
    digests = [digest_of(new_token()) for _ in range(3)]
    text = of(proof=f"tokens = {digests!r}".replace("'", '"'))
    assert grants(text).grants[0].tokens == tuple(digests)


def test_the_same_token_twice_in_one_grant_is_a_mistake() -> None:
    [sentence] = mistakes(of(proof=f'tokens = ["{DIGEST}", "{DIGEST}"]'))
    assert "more than one" in sentence
