"""Which overrides can decide about a repo. Pure."""

from collections.abc import Iterator


def candidates(repo: str) -> Iterator[str]:
    """Yields the places in which an override of a repo can be: the repo itself, then its prefixes, the longest first. The first
    one that has an override decides.
    """
    yield repo
    prefix = repo
    while "/" in prefix:
        prefix = prefix.rpartition("/")[0]
        if f"{prefix}/*" != repo:
            yield f"{prefix}/*"
