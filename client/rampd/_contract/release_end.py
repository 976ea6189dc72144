"""How a release ended, where its state does not say it. Pure."""

from typing import Final

REVERTED: Final = "reverted to "
"""How `Release.end_reason` begins if a Revert left the release. Its state is RETIRED, as if a later release had taken its place."""
