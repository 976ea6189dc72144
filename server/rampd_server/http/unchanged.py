"""Which answers of a bulk evaluation are still right, so that a client that asks again costs little.

An answer changes with the state, when an override ends, and when the state becomes stale. Each of these ends what is kept. An ETag is
kept for an hour at most, so that rampd sees the repo of a caller that asks the same for weeks.
"""

from collections.abc import Sequence
from typing import Final, TypeAlias

from rampd import v1
from rampd._decision.resolution import ComponentSnapshot
from rampd._decision.staleness import is_stale
from rampd_server.http.evaluation import Question
from rampd_server.ports import FeedEntry
from rampd_server.replica.replica import Replica

Asked: TypeAlias = tuple[tuple[str, ...], Question]
"""The components of a caller's grant, and for whom they are evaluated."""

_MOST: Final = 10_000
_KEPT_MS: Final = 3_600_000


class Unchanged:
    """The ETags of answers that came from the present state."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._etags: dict[Asked, tuple[str, int]] = {}
        self.state = 0
        """The number of the present state. Take it before the answer is made."""
        replica.subscribe(self)

    def applied(self, _entry: FeedEntry, _before: ComponentSnapshot | None, _after: ComponentSnapshot | None) -> None:
        """Forgets all answers: one component has changed."""
        self.reloaded()

    def reloaded(self) -> None:
        """Forgets all answers."""
        self.state += 1
        self._etags.clear()

    def etag(self, asked: Asked) -> str | None:
        """The ETag of the answer, if it is known and still right."""
        etag, end_ms = self._etags.get(asked, (None, 0))
        if etag is None or self._replica.damaged or is_stale(self._replica.age_s):
            return None
        return etag if self._replica.likely_ms() < end_ms else None

    def keep(
        self, asked: Asked, state: int, etag: str, components: Sequence[str], answer: v1.BatchResolveResponse
    ) -> None:
        """Keeps the ETag of an answer for `components` that was made since `state`."""
        if not components:
            # Without components nothing has checked the length of the question.
            return
        if state != self.state or not all(
            result.HasField("response") and not result.response.stale for result in answer.results
        ):
            return
        if len(self._etags) >= _MOST:
            self._etags.clear()
        self._etags[asked] = etag, self._end_ms(components, asked[1].repo)

    def _end_ms(self, components: Sequence[str], repo: str) -> int:
        """When the first override that is in force for a repo ends, but at most an hour from now."""
        ends = [self._replica.likely_ms() + _KEPT_MS]
        for known in map(self._replica.get, components):
            choice = known.overrides.find(repo, self._replica.likely_ms) if known and len(known.overrides) else None
            if choice is not None and choice.expire_ms is not None:
                ends.append(choice.expire_ms)
        return min(ends)
