"""The access file: grants in TOML. One mistake refuses the whole file."""

import re
import tomllib
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails

from rampd._contract.grammar import ACTOR, COMPONENT, word_violation
from rampd._contract.loopback import is_loopback
from rampd_server.access import not_meant
from rampd_server.access.globs import EVERY_COMPONENT
from rampd_server.access.grants import LATEST_S, Grant, Limits, SignIn, Trust
from rampd_server.access.rpc_roles import Role
from rampd_server.process.regular_file import content_of

_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key. A signature with a shared secret is never taken."""
_PROOFS: Final = frozenset({"tokens", "certificates", "oidc", "everybody"})
"""Settings of a grant that prove it."""
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_SCOPE: Final = re.compile(r"[!#-\[\]-~]+")
_OPENID: Final = "openid"
NO_GRANTS: Final = "# A caller needs a grant here."
"""What a file without grants has, so that it differs from a file that was cut."""
_MAX_BYTES: Final = 4 << 20
"""About 20,000 grants."""


class AccessFileError(Exception):
    """Raised when an access file can't be used. `mistakes` has a sentence for each mistake."""

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = mistakes


@dataclass(frozen=True)
class AccessList:
    """All grants of a file, and a warning for each setting that is probably not meant."""

    grants: tuple[Grant, ...]
    warnings: tuple[str, ...] = ()
    sign_in: SignIn | None = None
    """How people sign in to the page with accounts of an issuer. None: they don't."""


def read(path: Path, *, names: Collection[str]) -> AccessList:
    """Returns the grants of a file. `names` are the methods and flags that `allow` and `deny` may name. Raises
    AccessFileError.
    """
    try:
        text = content_of(path, max_bytes=_MAX_BYTES).decode()
    except UnicodeDecodeError as error:
        raise AccessFileError(f"{path} can't be read: it is not UTF-8 text.") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise AccessFileError(f"{path} can't be read: {reason}.") from error
    return parse(text, names=names)


def parse(text: str, *, names: Collection[str]) -> AccessList:
    """Returns the grants of a text. Raises AccessFileError."""
    if not text.strip():
        # A copy or an editor that is interrupted leaves such a file.
        raise AccessFileError(f"It is empty. To let nobody in, write a line such as: {NO_GRANTS}")
    try:
        content = tomllib.loads(text)
    except ValueError as error:  # a number with too many digits is a ValueError, but no TOMLDecodeError
        raise AccessFileError(f"It is not TOML: {error}.") from error
    except RecursionError:
        raise AccessFileError("It has values that are nested too deep.") from None
    try:
        file = _File.model_validate(content)
    except ValidationError as error:
        wrong = error.errors()
        rest = _File.model_construct(grant=list(_well_formed(content, wrong)))
        raise AccessFileError(*(_sentence(content, each) for each in wrong), *_mistakes(rest, names)) from error
    mistakes = tuple(_mistakes(file, names))
    if mistakes:
        raise AccessFileError(*mistakes)
    grants = tuple(each.grant() for each in file.grant)
    sign_in = None if file.sign_in is None else file.sign_in.sign_in()
    return AccessList(grants, tuple(not_meant.warnings(grants, sign_in)), sign_in)


def _name(value: str) -> str:
    wrong = word_violation(ACTOR, value, required=True)
    if wrong is not None:
        raise ValueError(wrong)
    if value == "anonymous" or value.startswith("rampd"):
        raise ValueError(f"{value!r} is a name that rampd uses itself; choose another one")
    return value


def _glob(value: str) -> str:
    if not COMPONENT.matches(value.replace("*", "x")):
        raise ValueError(f"{value!r} is not a component's name, with * for any characters")
    return value


def _digest(value: str) -> str:
    if _DIGEST.fullmatch(value) is None:
        raise ValueError(
            "the file has the digest of a token, never the token: sha256: and 64 hexadecimal digits; "
            "`rampd-server token create` writes it"
        )
    return value


def _end(value: object) -> datetime:
    """Returns when a grant ends. A date means the end of that day, by UTC."""
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone; write {value.isoformat()}Z for UTC")
        return value
    if isinstance(value, date):
        return datetime.combine(value, time.max, UTC)
    raise ValueError(f"{value!r} is not a date such as 2027-01-31, or a time such as 2027-01-31T12:00:00Z")


def _issuer(value: str) -> str:
    url = urlsplit(value)
    if url.scheme != "https" and not (url.scheme == "http" and is_loopback(url.hostname or "")):
        raise ValueError(f"{value!r} is not an https:// address")
    if not url.hostname or url.query or url.fragment or url.username is not None:
        raise ValueError(f"{value!r} is not the address of an issuer, as it stands in `iss` of its tokens")
    return value


def _scope(value: str) -> str:
    if _SCOPE.fullmatch(value) is None:
        raise ValueError(f"{value!r} is not one scope, such as email")
    return value


def _scopes(value: list[str]) -> list[str]:
    if _OPENID not in value:
        raise ValueError(f'without {_OPENID!r} the issuer gives no ID token; write ["{_OPENID}", "email"]')
    return value


def _algorithm(value: str) -> str:
    if value not in _ALGORITHMS:
        raise ValueError(f"{value!r} is not one of {', '.join(_ALGORITHMS)}")
    return value


def _claim(value: object) -> str:
    """Returns the value of a claim as text: some issuers write a number as a number, others as a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int) and str(value):
        if "*" in str(value):
            raise ValueError(f"{value!r} has a *: a claim has to be equal, and there are no patterns")
        return str(value)
    raise ValueError(f"{value!r} is not a text")


def _role(value: object) -> Role:
    if value not in list(Role):
        raise ValueError(f"{value!r} is not one of {', '.join(Role)}")
    return Role(str(value))


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class _Oidc(_Part):
    issuer: Annotated[str, AfterValidator(_issuer)]
    audience: Annotated[str, Field(min_length=1)] | None = None
    claims: dict[str, Annotated[str, BeforeValidator(_claim)]] = Field(min_length=1)
    algorithms: list[Annotated[str, AfterValidator(_algorithm)]] = Field(["RS256", "ES256"], min_length=1)
    ca_file: str | None = None

    def trust(self) -> Trust:
        return Trust(self.issuer, self.audience, self.claims, tuple(self.algorithms), self.ca_file)


class _SignIn(_Part):
    issuer: Annotated[str, AfterValidator(_issuer)]
    client_id: Annotated[str, Field(min_length=1)]
    client_secret_file: Annotated[str, Field(min_length=1)] | None = None
    scopes: Annotated[list[Annotated[str, AfterValidator(_scope)]], AfterValidator(_scopes)] = [_OPENID, "email"]
    ca_file: str | None = None

    def sign_in(self) -> SignIn:
        secret = None if self.client_secret_file is None else Path(self.client_secret_file)
        return SignIn(self.issuer, self.client_id, secret, tuple(self.scopes), self.ca_file)


class _Limits(_Part):
    calls_per_s: float = Field(Limits.calls_per_s, gt=0, strict=False)
    burst: float = Field(Limits.burst, ge=1, strict=False)
    streams: int = Field(Limits.streams, ge=0)
    outcomes_per_s: float = Field(Limits.outcomes_per_s, gt=0, strict=False)


class _Grant(_Part):
    name: Annotated[str, AfterValidator(_name)]
    role: Annotated[Role, BeforeValidator(_role)]
    components: list[Annotated[str, AfterValidator(_glob)]] = Field(list(EVERY_COMPONENT), min_length=1)
    allow: list[str] = []
    deny: list[str] = []
    expires: Annotated[datetime, BeforeValidator(_end)] | None = None
    tokens: list[Annotated[str, AfterValidator(_digest)]] = []
    certificates: list[Annotated[str, Field(min_length=1)]] = []
    oidc: list[_Oidc] = []
    everybody: bool = False
    limits: _Limits = Field(default_factory=lambda: _Limits.model_validate({}))

    def grant(self) -> Grant:
        return Grant(
            name=self.name,
            role=self.role,
            components=tuple(self.components),
            allow=frozenset(self.allow),
            deny=frozenset(self.deny),
            expires_s=None if self.expires is None else min(self.expires.timestamp(), LATEST_S),
            tokens=tuple(self.tokens),
            certificates=tuple(self.certificates),
            trusts=tuple(each.trust() for each in self.oidc),
            is_for_everybody=self.everybody,
            limits=Limits(**self.limits.model_dump()),
        )


class _File(_Part):
    grant: list[_Grant] = []
    sign_in: _SignIn | None = None


def _well_formed(content: dict[str, Any], wrong: Sequence[ErrorDetails]) -> Iterator[_Grant]:
    """The grants without their settings of a wrong form, so that the other settings are looked at too."""
    grants = content.get("grant")
    left_out = {details["loc"][1:3] for details in wrong}
    for index, grant in enumerate(grants if isinstance(grants, list) else ()):
        if not isinstance(grant, dict):
            continue
        kept = {key: value for key, value in grant.items() if (index, key) not in left_out}
        if grant.keys() & _PROOFS and not kept.keys() & _PROOFS:
            # The grant has a proof, although the form of the proof is wrong.
            kept["certificates"] = [f"number {index + 1}"]
        found = _Grant.model_validate({"name": "nameless", "role": Role.VIEWER} | kept)
        yield found.model_copy(update={"name": _told(content, index)})


def _mistakes(file: _File, names: Collection[str]) -> Iterator[str]:
    """Yields what is wrong although each setting alone is right."""
    for what, values in (
        ("the name", [each.name for each in file.grant]),
        ("the token", [token for each in file.grant for token in each.tokens]),
        ("the certificate's name", [name for each in file.grant for name in each.certificates]),
    ):
        for value in sorted(value for value, number in Counter(values).items() if number > 1):
            yield f"{_shortened(value)} is {what} of more than one grant, so it would not be clear who calls."
    taken: dict[tuple[object, ...], list[str]] = {}
    for each in file.grant:
        for key in dict.fromkeys((oidc.issuer, oidc.audience, *sorted(oidc.claims.items())) for oidc in each.oidc):
            taken.setdefault(key, []).append(each.name)
    for (issuer, *_), grants in taken.items():
        if len(grants) > 1:
            yield (
                f"The grants {', '.join(grants)} take the same tokens of {issuer}: their audience and claims are equal, so it "
                "would not be clear who calls."
            )
    for each in file.grant:
        for listed in ("allow", "deny"):
            for name in getattr(each, listed):
                if name not in names:
                    yield f"grant {each.name}: {listed}: there is no method or flag {name!r}."
        if not (each.tokens or each.certificates or each.oidc or each.everybody):
            yield (
                f"grant {each.name}: nothing proves this identity. Add `tokens` (with `rampd-server token create`), `certificates`, "
                "`[[grant.oidc]]`, or `everybody = true`."
            )
    if (number := sum(each.everybody for each in file.grant)) > 1:
        yield f"{number} grants are for everybody: only one grant can be."


def _shortened(text: str) -> str:
    return f"{text[:19]}…" if text.startswith("sha256:") else repr(text)


def _sentence(content: dict[str, Any], details: ErrorDetails) -> str:
    """Returns the sentence for one mistake of the form. It names the grant that has the mistake."""
    places = list(details["loc"])
    where = ""
    if len(places) > 1 and places[0] == "grant" and isinstance(places[1], int):
        where = f"grant {_told(content, places[1])}: "
        places = places[2:]
    path = ".".join(str(each) for each in places)
    match details["type"]:
        case "missing":
            return f"{where}{path} is missing."
        case "extra_forbidden":
            return f"{where}there is no setting {path!r}."
        case "value_error":
            reason = details.get("ctx", {}).get("error", details["msg"])
        case "list_type" if path == "grant":
            reason = "each grant begins with [[grant]]"
        case "list_type":
            reason = 'it has to be a list, such as ["a", "b"]'
        case "model_type":
            reason = "it has to be a table"
        case _:
            reason = details["msg"][:1].lower() + details["msg"][1:]
    return f"{where}{path}: {reason}." if path else f"{where}{reason}."


def _told(content: dict[str, Any], index: int) -> str:
    """Returns the name of a grant, or its number if it has no name."""
    each: object = content["grant"][index] if isinstance(content.get("grant"), Sequence) else None
    name = each.get("name") if isinstance(each, dict) else None
    return name if isinstance(name, str) and name else f"number {index + 1}"
