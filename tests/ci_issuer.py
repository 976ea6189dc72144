"""What GitHub Actions and GitLab give to a job as its identity: tokens with the claims that theirs have, signed by a local issuer."""

import contextlib
import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.oidc_over_http import Answer, HttpIssuer, serving

REQUEST_TOKEN = "a secret of this job"
"""What a job of GitHub Actions shows to get a token."""
GITHUB_SUB = {
    "by name": "repo:acme/app:ref:refs/heads/main",
    "with ids": "repo:acme@123456/app@456789:ref:refs/heads/main",
}
"""`sub` of repositories from before 15 July 2026, and of later ones. Both have the other claims."""


def github_claims(audience: str) -> dict[str, Any]:
    """Those of a push to main. A token lives for five minutes."""
    now = int(time.time())
    return {
        "jti": f"job-{now}",
        "sub": GITHUB_SUB["with ids"],
        "aud": audience,
        "ref": "refs/heads/main",
        "sha": "5f6a1b2c3d4e5f60718293a4b5c6d7e8f9012345",
        "repository": "acme/app",
        "repository_owner": "acme",
        "repository_owner_id": "123456",
        "repository_id": "456789",
        "repository_visibility": "private",
        "run_id": "1234",
        "run_number": "10",
        "run_attempt": "1",
        "actor": "octocat",
        "actor_id": "12",
        "workflow": "release",
        "workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "workflow_sha": "5f6a1b2c3d4e5f60718293a4b5c6d7e8f9012345",
        "job_workflow_ref": "acme/app/.github/workflows/release.yml@refs/heads/main",
        "job_workflow_sha": "5f6a1b2c3d4e5f60718293a4b5c6d7e8f9012345",
        "head_ref": "",
        "base_ref": "",
        "event_name": "push",
        "ref_type": "branch",
        "ref_protected": "true",
        "runner_environment": "github-hosted",
        "nbf": now - 600,
        "iat": now,
        "exp": now + 300,
    }


def gitlab_claims(audience: str) -> dict[str, Any]:
    """Those of a push to main. A token lives as long as its job may."""
    now = int(time.time())
    return {
        "namespace_id": "72",
        "namespace_path": "acme",
        "project_id": "20",
        "project_path": "acme/app",
        "user_id": "1",
        "user_login": "ada",
        "user_email": "ada@example.com",
        "user_access_level": "developer",
        "pipeline_id": "574",
        "pipeline_source": "push",
        "job_id": "302",
        "ref": "main",
        "ref_type": "branch",
        "ref_path": "refs/heads/main",
        "ref_protected": "true",
        "runner_id": 1,
        "runner_environment": "self-hosted",
        "sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "project_visibility": "private",
        "ci_config_ref_uri": "gitlab.com/acme/app//.gitlab-ci.yml@refs/heads/main",
        "ci_config_sha": "714a629c0b401fdce83e847fc9589983fc6f46bc",
        "jti": f"job-{now}",
        "iat": now,
        "nbf": now - 5,
        "exp": now + 6 * 3600,
        "sub": "project_path:acme/app:ref_type:branch:ref:main",
        "aud": audience,
    }


class CiIssuer(HttpIssuer):
    """Gives tokens to jobs."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.claims: dict[str, object] = {}
        """Those that differ from `github_claims` and `gitlab_claims`."""
        self.life_s: int | None = None
        """How long tokens live; None: as long as those of GitHub and GitLab."""
        self.given: list[str] = []

    def job_on_github(self) -> dict[str, str]:
        """The variables of a job with `permissions: id-token: write`."""
        return {
            "GITHUB_ACTIONS": "true",
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{self.name}/idtoken/1234?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": REQUEST_TOKEN,
        }

    def job_on_gitlab(self, audience: str) -> dict[str, str]:
        """The variables of a job with `id_tokens:`."""
        return {"GITLAB_CI": "true", "RAMPD_ID_TOKEN": self._give(gitlab_claims(audience))}

    def answer_to(self, method: str, target: str, headers: Mapping[str, str], body: str) -> Answer:
        """GitHub's answer to a job."""
        if headers.get("authorization", "").lower() != f"bearer {REQUEST_TOKEN}":
            return Answer(401)
        [audience] = parse_qs(urlsplit(target).query)["audience"]
        return Answer(200, {"count": 1, "value": self._give(github_claims(audience))})

    def _give(self, claims: Mapping[str, object]) -> str:
        life = {} if self.life_s is None else {"exp": int(time.time()) + self.life_s}
        self.given.append(self.token({**claims, **life, **self.claims}))
        return self.given[-1]


@contextlib.contextmanager
def ci_issuer() -> Iterator[CiIssuer]:
    """Runs an issuer for as long as the block lasts."""
    with serving(CiIssuer) as issuer:
        yield issuer
