"""The access file: one mistake refuses the whole file, and each mistake has a sentence."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from rampd._contract.token import digest_of, new_token
from rampd_server.access.access_file import AccessFileError, AccessList, parse, read
from rampd_server.access.grants import Grant, Limits, SignIn, Trust
from rampd_server.access.rpc_roles import Role
from rampd_server.rpc.binding import NAMES

DIGEST = "sha256:" + "0123456789abcdef" * 4
OTHER = "sha256:" + "f" * 64
TOKENS = f'tokens = ["{DIGEST}"]'


def grants(text: str) -> AccessList:
    return parse(text, names=NAMES)


def of(*lines: str, name: str = "ci-restyler", role: str = "ci", proof: str = TOKENS) -> str:
    """Returns the text of one grant that has these lines."""
    return "\n".join(["[[grant]]", f'name = "{name}"', f'role = "{role}"', proof, *lines, ""])


def oidc(*lines: str, issuer: str = "https://token.actions.githubusercontent.com") -> str:
    return "\n".join(["[[grant.oidc]]", f'issuer = "{issuer}"', *lines, ""])


ACCOUNTS = "https://accounts.example.com"


def sign_in(*lines: str, issuer: str = ACCOUNTS, client_id: str = "rampd-page") -> str:
    return "\n".join(["[sign_in]", f'issuer = "{issuer}"', f'client_id = "{client_id}"', *lines, ""])


def person(claims: str = 'sub = "248289761001"', audience: str = "rampd-page") -> str:
    """Returns the text of a grant for somebody with an account."""
    proof = oidc(f'audience = "{audience}"', f"claims = {{ {claims} }}", issuer=ACCOUNTS)
    return of(proof, name="ada", role="operator", proof="")


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
    found = grants("# nobody yet\n")
    assert (found.grants, len(found.warnings)) == ((), 1)
    assert found.warnings[0].startswith("There is no grant, so nobody gets in with a credential.")


@pytest.mark.parametrize("text", ["", "\n", " \n\t\n"])
def test_an_empty_file_is_a_mistake(text: str) -> None:
    [sentence] = mistakes(text)
    assert sentence.startswith("It is empty. To let nobody in, write a line such as: # ")
    assert grants(sentence.partition(": ")[2]).grants == ()


@pytest.mark.parametrize("role", Role)
def test_each_role_has_its_name(role: Role) -> None:
    assert grants(of(role=role)).grants[0].role is role


@pytest.mark.parametrize(
    ("expires", "end"),
    [
        ("2027-01-31", datetime(2027, 1, 31, 23, 59, 59, 999999, tzinfo=UTC)),
        ("2027-01-31T12:00:00Z", datetime(2027, 1, 31, 12, tzinfo=UTC)),
        ("2027-01-31T12:00:00+02:00", datetime(2027, 1, 31, 10, tzinfo=UTC)),
        # An answer of WhoAmI can't hold a later time.
        ("9999-12-31T23:00:00-12:00", datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    ],
)
def test_a_date_ends_with_its_day_and_a_time_at_once(expires: str, end: datetime) -> None:
    assert grants(of(f"expires = {expires}")).grants[0].expires_s == end.timestamp()


MISTAKES: dict[str, tuple[str, str]] = {
    "no TOML": ("[[grant]\n", "It is not TOML: "),
    "a number that is too long": ("x = " + "9" * 5_000, "It is not TOML: "),
    "lists that are too deep": ("x = " + "[" * 5_000, "It has values that are nested too deep."),
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
    "one table": (f'[grant]\nname = "a"\nrole = "ci"\n{TOKENS}', "grant: each grant begins with [[grant]]."),
    "a component that is none": (of('components = ["Restyler"]'), "grant ci-restyler: components.0: 'Restyler' is not a component's name"),
    "a pattern": (of('components = ["a|b"]'), "grant ci-restyler: components.0: 'a|b' is not a component's name"),
    "no components": (of("components = []"), "grant ci-restyler: components: "),
    "components as text": (of('components = "a"'), 'grant ci-restyler: components: it has to be a list, such as ["a", "b"].'),
    "an unknown method": (of('allow = ["Ramp", "Rampe"]'), "grant ci-restyler: allow: there is no method or flag 'Rampe'."),
    "an unknown flag": (of('deny = ["everything"]'), "grant ci-restyler: deny: there is no method or flag 'everything'."),
    "a token itself": (of(proof='tokens = ["rampd_x"]'), "grant ci-restyler: tokens.0: the file has the digest of a token, never the token: sha256: and 64"),
    "a short digest": (of(proof='tokens = ["sha256:abc"]'), "grant ci-restyler: tokens.0: the file has the digest of a token, never the token: sha256: and 64"),
    "a token twice": (of() + of(name="b"), "sha256:0123456789ab… is the token of more than one grant"),
    "a name twice": (of() + of(proof=f'tokens = ["{OTHER}"]'), "'ci-restyler' is the name of more than one grant"),
    "a certificate twice": (
        of('certificates = ["a.b"]') + of('certificates = ["a.b"]', name="b", proof=""),
        "'a.b' is the certificate's name of more than one grant",
    ),
    "the same tokens of an issuer": (
        of(GITHUB, proof="") + of(oidc('claims = { ref = "refs/heads/main", repository_id = 65 }', 'audience = "rampd"', 'algorithms = ["ES256"]'), name="b", proof=""),
        "The grants ci-restyler, b take the same tokens of https://token.actions.githubusercontent.com: ",
    ),
    "no proof": (of(proof=""), "grant ci-restyler: nothing proves this identity. Add `tokens`"),
    "everybody twice": (
        of("everybody = true", proof="") + of("everybody = true", name="b", proof=""),
        "2 grants are for everybody: only one grant can be.",
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
        "grant ci-restyler: oidc.0.claims.sub: 'repo:acme/*' has a *: a claim has to be equal, and there are no patterns.",
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
    "an issuer for people in the clear": (
        person() + sign_in(issuer="http://accounts.example.com"),
        "sign_in.issuer: 'http://accounts.example.com' is not an https:// address.",
    ),
    "no name at the issuer": (person() + f'[sign_in]\nissuer = "{ACCOUNTS}"', "sign_in.client_id is missing."),
    "an empty name at the issuer": (person() + sign_in(client_id=""), "sign_in.client_id: "),
    "a secret itself": (person() + sign_in('client_secret = "x"'), "there is no setting 'sign_in.client_secret'."),
    "scopes that bring no token": (
        person() + sign_in('scopes = ["email"]'),
        "sign_in.scopes: without 'openid' the issuer gives no ID token; write [\"openid\", \"email\"].",
    ),
    "two scopes in one": (person() + sign_in('scopes = ["openid email"]'), "sign_in.scopes.0: 'openid email' is not one scope, such as email."),
    "scopes as text": (person() + sign_in('scopes = "openid"'), 'sign_in.scopes: it has to be a list, such as ["a", "b"].'),
    "several issuers for people": (person() + "[[sign_in]]", "sign_in: it has to be a table."),
    "no algorithm": (of(oidc('claims = { ref = "a" }', "algorithms = []"), proof=""), "grant ci-restyler: oidc.0.algorithms: "),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), MISTAKES.values(), ids=MISTAKES)
def test_a_mistake_refuses_the_file_and_gives_a_sentence(text: str, said: str) -> None:
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
        "sha256",
    ]
    together = of('allow = ["X"]', name="a") + of('deny = ["Y"]', name="b", proof="")
    assert len(mistakes(together)) == 3


def test_mistakes_of_the_form_hide_no_other_mistake() -> None:
    """Given grants with settings of a wrong form, expect also what is wrong with their other settings, and nothing that a
    setting of a wrong form only seems to lack.
    """
    text = "\n".join([
        of('allow = ["Rampe"]', name="a", role="root"),
        of("components = []", 'certificates = ["a.b"]', name="a", proof=""),
        of(proof='tokens = ["rampd_x"]', name="cut"),
        '[[grant]]\ncertificates = ["a.b"]',
        of(name="bare", role="root", proof=""),
    ])  # fmt: skip
    assert [sentence[:60] for sentence in mistakes(text)] == [
        "grant a: role: 'root' is not one of launcher, viewer, ci, op",
        "grant a: components: list should have at least 1 item after ",
        "grant cut: tokens.0: the file has the digest of a token, nev",
        "grant number 4: name is missing.",
        "grant number 4: role is missing.",
        "grant bare: role: 'root' is not one of launcher, viewer, ci,",
        "'a' is the name of more than one grant, so it would not be c",
        "'a.b' is the certificate's name of more than one grant, so i",
        "grant a: allow: there is no method or flag 'Rampe'.",
        "grant bare: nothing proves this identity. Add `tokens` (with",
    ]
    assert mistakes('grant = ["a", 3]') == [
        "grant number 1: it has to be a table.",
        "grant number 2: it has to be a table.",
    ]


@pytest.mark.parametrize(
    "other",
    [
        oidc('audience = "rampd"', 'claims = { repository_id = "65", ref = "refs/heads/other" }'),
        oidc('audience = "other"', 'claims = { repository_id = "65", ref = "refs/heads/main" }'),
        oidc('audience = "rampd"', 'claims = { repository_id = "65", ref = "refs/heads/main" }', issuer="https://a.b"),
    ],
    ids=["claims", "audience", "issuer"],
)
def test_grants_whose_tokens_differ_are_no_mistake(other: str) -> None:
    assert len(grants(of(GITHUB, proof="") + of(other, name="b", proof="")).grants) == 2


def test_the_same_tokens_of_an_issuer_twice_in_one_grant_are_no_mistake() -> None:
    """Given one grant for two authorities of an issuer, expect that who calls is clear."""
    again = GITHUB + 'ca_file = "/etc/ca.pem"\n'
    assert len(grants(of(GITHUB, again, proof="")).grants[0].trusts) == 2


@pytest.mark.parametrize("place", ['tokens = ["{}"]', "tokens = {}", 'token = "{}"', "tokens = [{}]", 'tokens = "{}"'])
def test_a_message_does_not_repeat_a_token_that_the_file_has(place: str) -> None:
    token = new_token()
    assert token[6:20] not in " ".join(mistakes(of(proof=place.format(token))))


def test_a_file_that_can_t_be_read_gives_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(AccessFileError, match=r"/none can't be read: No such file or directory\.$"):
        read(tmp_path / "none", names=NAMES)
    (tmp_path / "odd").write_bytes(b"\xff\xfe")
    with pytest.raises(AccessFileError, match=r"/odd can't be read: it is not UTF-8 text\.$"):
        read(tmp_path / "odd", names=NAMES)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AccessFileError, match=r"/pipe can't be read: it is not a file\.$"):
        read(tmp_path / "pipe", names=NAMES)
    (tmp_path / "huge").touch()
    os.truncate(tmp_path / "huge", 1 << 40)
    with pytest.raises(AccessFileError, match=r"/huge can't be read: it has more than 4 MiB\.$"):
        read(tmp_path / "huge", names=NAMES)
    with pytest.raises(AccessFileError, match=r"can't be read: it is not a file\.$"):
        read(tmp_path, names=NAMES)


WARNINGS: dict[str, tuple[str, str]] = {
    "a slash after an issuer": (of(oidc('audience = "rampd"', 'claims = { repository_id = "1" }', issuer="https://gitlab.example.org/"), proof=""), "grant ci-restyler: the issuer https://gitlab.example.org/ ends with a slash."),
    "everybody": (of("everybody = true", role="viewer"), "grant ci-restyler: everybody who reaches the server has the role viewer, without any credentials."),
    "any audience": (of(oidc('claims = { repository_id = "1" }'), proof=""), "grant ci-restyler: it takes tokens of https://token.actions.githubusercontent.com for any audience"),
    "any repository": (of(oidc('audience = "rampd"', 'claims = { repository_owner_id = "1" }'), proof=""), "grant ci-restyler: no claim names one repository"),
    "whoever calls a workflow": (of(oidc('audience = "rampd"', 'claims = { job_workflow_ref = "acme/ci/.github/workflows/x.yml@refs/heads/main" }'), proof=""), "grant ci-restyler: no claim names one repository"),
    "people who can't sign in": (person(audience="other", claims='repository_id = "1"') + sign_in(), f"sign_in: no grant takes a token of {ACCOUNTS} for rampd-page, so nobody can sign in with it."),
    "people of another issuer": (of() + sign_in(), f"sign_in: no grant takes a token of {ACCOUNTS} for rampd-page"),
    "several people with one name": (person('department = "ops"') + sign_in(), "grant ada: no claim names one person"),
    "an address that anybody may write": (person('email = "ada@example.com"') + sign_in(), "grant ada: at some issuers a person can write any address into `email`."),
    "an address that is not verified": (person('email = "ada@example.com", email_verified = false') + sign_in(), "grant ada: at some issuers a person can write any address"),
    "sub": (of(oidc('audience = "rampd"', 'claims = { repository_id = "1", sub = "repo:acme/app:ref:refs/heads/main" }'), proof=""), "grant ci-restyler: GitHub changed the form of `sub`"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WARNINGS.values(), ids=WARNINGS)
def test_a_setting_that_is_probably_not_meant_gives_a_warning(text: str, said: str) -> None:
    [warning] = grants(text).warnings
    assert warning.startswith(said)


@pytest.mark.parametrize(
    "text",
    [
        person() + sign_in(),
        person('email = "ada@example.com", email_verified = true') + sign_in(),
        person('email = "ada@example.com", sub = "1"') + sign_in(),
        person() + person('sub = "2"').replace('"ada"', '"bob"') + of(GITHUB, proof="") + sign_in(),
        # The issuer of people may be that of jobs, too.
        person()
        + of(oidc('audience = "rampd"', 'claims = { project_id = "1" }', issuer=ACCOUNTS), proof="")
        + sign_in(),
    ],
)
def test_grants_for_people_who_sign_in_give_no_warning_about_jobs(text: str) -> None:
    assert grants(text).warnings == ()


def test_people_sign_in_as_the_file_says() -> None:
    assert grants(of()).sign_in is None
    assert grants(person() + sign_in()).sign_in == SignIn(ACCOUNTS, "rampd-page")
    more = sign_in('client_secret_file = "/etc/rampd/secret"', 'scopes = ["openid"]', 'ca_file = "/etc/ca.pem"')
    assert grants(more + person()).sign_in == SignIn(
        ACCOUNTS, "rampd-page", Path("/etc/rampd/secret"), ("openid",), "/etc/ca.pem"
    )


def test_an_issuer_for_people_may_end_with_a_slash() -> None:
    """Given an issuer such as Auth0, whose tokens have the slash, expect no warning that GitHub has none."""
    text = (person() + sign_in()).replace(ACCOUNTS, f"{ACCOUNTS}/")
    assert grants(text).warnings == ()


@pytest.mark.parametrize("text", [of(), of(GITHUB, proof=""), of('certificates = ["a.b"]', proof="", role="admin")])
def test_a_narrow_grant_gives_no_warning(text: str) -> None:
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
