"""The hot path: answers one question from memory, if there is nothing to wait for, to report or to refuse.

Repos and fallbacks that were valid once are remembered, because they come again with every job.
"""

import math
import time

from rampd._contract.grammar import TAG, check_resolve, word_violation
from rampd._decision.resolution import Decision, Resolution, ResolveReason, resolve
from rampd._decision.staleness import STALE_AFTER_S
from rampd._watching.feed import Feed
from rampd.errors import InvalidArgumentError

# Valid repos, with their UTF-8 bytes. They come again with every job, and a look-up costs a third of a check.
valid_repos: dict[str, bytes] = {}
_MAX_VALID_REPOS = 16_384
valid_tags: set[str] = set()
"""Valid fallbacks."""
_MAX_VALID_TAGS = 1024
_monotonic = time.monotonic


def answer_at_once(  # noqa: PLR0917 - as `resolve`
    feed: Feed, component: str, repo: str, job_id: str, fallback: str | None, next_max_stale_s: float
) -> Resolution | None:
    """Returns the answer, or None if there is something to wait for, to report or to refuse. Takes any value, never raises.

    Its time is the cost of one local resolution.
    """
    try:
        known = feed.components[component]
        age_s = _monotonic() - feed.confirmed_s
        if (
            age_s < STALE_AFTER_S
            and (job_id == "" or is_valid_job_id(job_id))
            and (fallback is None or fallback in valid_tags)
        ):
            return resolve(
                known.snapshot,
                known.overrides,
                repo,
                job_id,
                feed.store_clock,
                age_s,
                next_max_stale_s,
                valid_repos[repo],
            )
    except (KeyError, TypeError, AttributeError):  # no such component; a new repo; not a string
        pass
    return None


def is_valid_job_id(job_id: str) -> bool:
    """Whether the job's id is valid."""
    # Almost every job has another id, so remembering is useless. Methods of str cost half of a regular expression.
    return job_id.isascii() and job_id.isprintable() and " " not in job_id and len(job_id) <= 255


def check_question(component: str, repo: str, job_id: str, fallback: str | None) -> None:
    """Raises InvalidArgumentError with every wrong field."""
    found = check_resolve(component, repo, job_id)
    if not found:
        if len(valid_repos) >= _MAX_VALID_REPOS:
            valid_repos.clear()
        valid_repos[repo] = repo.encode()
    if fallback is not None:
        if (wrong := word_violation(TAG, fallback, required=True)) is not None:
            found = [*found, ("fallback", wrong)]
        else:
            if len(valid_tags) >= _MAX_VALID_TAGS:
                valid_tags.clear()
            valid_tags.add(fallback)
    if found:
        raise InvalidArgumentError(violations=found)


def fallback_of(tag: str, age_s: float = math.inf) -> Resolution:
    """Returns the caller's own tag as an answer."""
    return Resolution(Decision(tag, None, ResolveReason.FALLBACK, 0), revision=0, snapshot_age_s=age_s)
