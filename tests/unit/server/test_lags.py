"""How late a change of the feed is, by the store's clock."""

from rampd_server.domain.errors import NoSnapshotError
from rampd_server.metrics.lags import FeedLag
from rampd_server.ports import FeedEntry


class FakeReplica:
    """A copy, and what the store's clock says. None: nobody knows that yet."""

    def __init__(self, now_ms: int | None) -> None:
        self._now_ms = now_ms
        self.listeners: list[FeedLag] = []

    def subscribe(self, listener: FeedLag) -> None:
        self.listeners.append(listener)

    def now_ms(self) -> int:
        if self._now_ms is None:
            raise NoSnapshotError("There is no state yet.")
        return self._now_ms


def lag_of(entry_id: str, *, now_ms: int | None) -> tuple[int, float]:
    """How many changes were measured, and the sum of their seconds, after one change that was made at `entry_id`."""
    replica = FakeReplica(now_ms)
    lag = FeedLag(replica)
    assert replica.listeners == [lag]
    lag.applied(FeedEntry(entry_id, "0-0"), None, None)
    return lag.seconds.cumulative[-1], lag.seconds.sum_s


def test_the_lag_is_from_the_commit_until_the_copy_has_the_change() -> None:
    assert lag_of("1000-0", now_ms=1250) == (1, 0.25)
    assert lag_of("1000-7", now_ms=1000) == (1, 0)


def test_a_clock_that_is_behind_gives_no_lag_below_zero() -> None:
    assert lag_of("1000-0", now_ms=900) == (1, 0)


def test_without_the_clock_of_the_store_there_is_no_lag() -> None:
    assert lag_of("1000-0", now_ms=None) == (0, 0)
