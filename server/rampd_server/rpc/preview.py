"""The preview of a dry run: to which of the repos that were seen in the last day a change would give another version."""

from collections.abc import Mapping

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot, Overrides
from rampd_server.domain.errors import RampdError
from rampd_server.domain.preview import preview
from rampd_server.domain.rollout.model import Absent, Rollout
from rampd_server.ports import Override
from rampd_server.replica.projection import choice_of, snapshot_of
from rampd_server.replica.replica import Replica
from rampd_server.service.seen_repos import SeenRepos


class SeenPreviewer:
    """A `Previewer` that knows the repos that were seen."""

    def __init__(self, replica: Replica, seen: SeenRepos) -> None:
        self._replica = replica
        self._seen = seen

    async def __call__(
        self, before: Rollout | Absent, after: Rollout | Absent, overrides: Mapping[str, Override | None], /
    ) -> v1.Preview | None:
        """None if the repos can't be read: a dry run does not fail because of them."""
        try:
            sample = await self._seen.sample(before.component)
        except RampdError:
            return None
        known = self._replica.get(before.component)
        found = preview(
            _snapshot(before),
            _snapshot(after),
            overrides=known.overrides if known else Overrides(),
            changes={repo: None if each is None else choice_of(each) for repo, each in overrides.items()},
            sample=sample,
            now_ms=self._replica.likely_ms,
        )
        return v1.Preview(
            repos_seen=found.repos_seen,
            repos_moved=found.repos_moved,
            estimated=found.is_estimated,
            moves=[v1.RepoMove(repo=move.repo, before=move.before, after=move.after) for move in found.moves],
        )


def _snapshot(rollout: Rollout | Absent) -> ComponentSnapshot | None:
    return snapshot_of(rollout) if isinstance(rollout, Rollout) else None
