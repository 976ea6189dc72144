"""How long a change waits for replicas."""

from rampd_server.storage.replica_wait import ReplicaWait


def test_while_replicas_are_away_changes_wait_only_for_a_moment() -> None:
    wait = ReplicaWait(2, deadline_s=10.0)
    assert wait.ms == 5_000
    wait.note(1)
    assert wait.ms == 50
    wait.note(0)
    assert wait.ms == 50
    wait.note(2)
    assert wait.ms == 5_000


def test_a_short_wait_is_no_longer_than_the_usual_one() -> None:
    wait = ReplicaWait(1, deadline_s=0.02)
    wait.note(0)
    assert wait.ms == 10
