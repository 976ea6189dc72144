"""How a release ended, where its state does not say it. Pure."""

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from rampd import v1

REVERTED: Final = "reverted to "
"""How `Release.end_reason` begins if a Revert left the release. Its state is RETIRED, as if a later release had taken its place."""


def is_reverted(release: "v1.Release") -> bool:
    """Whether a release was current, and people went back from it."""
    return release.end_reason.startswith(REVERTED)
