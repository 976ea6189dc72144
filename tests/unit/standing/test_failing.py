"""Which currents are said to fail more often than usual."""

from rampd import v1
from rampd._standing.clock import Clock
from rampd._standing.failing import failing, told
from tests.cli.rollouts import FLEET, NOW, current


def named(*some: v1.Rollout) -> list[str]:
    """The components that are said to fail, in their order."""
    return [each.rollout.component for each in failing([*FLEET, *some])]


def test_what_failed_long_ago_and_what_is_usual_is_not_named() -> None:
    assert named(current("was-bad", (50_000, 5_000), (500, 1))) == []
    assert named(current("two-failures", (50_000, 100), (20, 2))) == []
    assert named(*(current(f"usual{number}", (1_000, 40), (200, 9)) for number in range(20))) == []


def test_few_jobs_are_judged_by_all_jobs_since_current_became_current_and_too_few_not_at_all() -> None:
    assert named(current("slow", (40, 40), (2, 2)), current("new", (3, 3), (3, 3)), current("one", (1, 1), (1, 1))) == [
        *("slow", "new"),
    ]
    [slow] = failing([current("slow", (40, 40), (2, 2))])
    assert told(slow, Clock(NOW)) == "40 of 40 failed (100 %) since it became current"


def test_a_server_that_does_not_count_what_was_lately_gives_all_jobs() -> None:
    assert named(current("bad", (1_000, 120)), current("good", (1_000, 9))) == ["bad"]
