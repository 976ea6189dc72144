"""What in an access file is probably not meant, although the file can be used. Pure."""

from collections.abc import Iterator, Sequence
from typing import Final

from rampd_server.access.grants import Grant, SignIn, Trust

_REPOSITORY_CLAIMS: Final = frozenset({"repository_id", "project_id"})
"""Claims of GitHub's and GitLab's tokens that name one repository. `job_workflow_ref` names none: other repositories can call the same
workflow.
"""
_PERSON_CLAIMS: Final = frozenset({"sub", "email"})
"""Claims of an issuer for people that name one of them."""


def warnings(grants: Sequence[Grant], sign_in: SignIn | None) -> Iterator[str]:
    """Yields a sentence for each setting that is probably not meant."""
    if not grants:
        yield "There is no grant, so nobody gets in with a credential. Add one with `rampd-server token create`."
    for grant in grants:
        if grant.is_for_everybody:
            yield f"grant {grant.name}: everybody who reaches the server has the role {grant.role}, without any credentials."
        for trust in grant.trusts:
            found = _of_people(trust) if sign_in is not None and sign_in.gives(trust) else _of_jobs(trust)
            yield from (f"grant {grant.name}: {each}" for each in found)
    if sign_in is not None and not any(sign_in.gives(trust) for grant in grants for trust in grant.trusts):
        yield (
            f"sign_in: no grant takes a token of {sign_in.issuer} for {sign_in.client_id}, so nobody can sign in with it. Add "
            f'[[grant.oidc]] with this issuer, `audience = "{sign_in.client_id}"`, and the `claims` of a person.'
        )


def _of_jobs(trust: Trust) -> Iterator[str]:
    if trust.issuer.endswith("/"):
        yield (
            f"the issuer {trust.issuer} ends with a slash. Compare it with `iss` of a token: GitHub and GitLab have no slash there."
        )
    if trust.audience is None:
        yield (
            f"it takes tokens of {trust.issuer} for any audience, so a token that a job gives to another service opens rampd, too. "
            "Add `audience`."
        )
    if not trust.claims.keys() & _REPOSITORY_CLAIMS:
        yield (
            "no claim names one repository, so more than one can use it. Add `repository_id` (GitHub) or `project_id` (GitLab)."
        )
    if "sub" in trust.claims:
        yield "GitHub changed the form of `sub` in 2026. Use `repository_id` with `ref` or `environment` instead."


def _of_people(trust: Trust) -> Iterator[str]:
    if not trust.claims.keys() & _PERSON_CLAIMS:
        yield (
            "no claim names one person, so several people have this name in the history. Add `sub`, or `email` with "
            "`email_verified = true`."
        )
    elif "sub" not in trust.claims and trust.claims.get("email_verified") != "true":
        yield (
            "at some issuers a person can write any address into `email`. Add `email_verified = true`, or use `sub`, which nobody can "
            "choose."
        )
