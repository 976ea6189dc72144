"""The outcomes that the reporter keeps, sends, sends again and drops, without a server."""

import pickle

import pytest

from rampd import (
    Channel,
    InvalidArgumentError,
    PermissionDeniedError,
    Resolution,
    ResolveReason,
    ResourceExhaustedError,
    UnauthenticatedError,
    UnavailableError,
    UnimplementedError,
    v1,
)
from rampd._contract.validation import violations
from rampd._decision.resolution import Decision
from rampd._reporting.outcome_buffer import GATHER_S, Outcome, OutcomeBuffer, can_place, checked

LOST = UnavailableError("nobody there")


def resolution(tag: str = "t2", release: int = 2, reason: ResolveReason = ResolveReason.WEIGHT) -> Resolution:
    return Resolution(Decision(tag, Channel.NEXT, reason, release), revision=7, bucket=12)


def outcome(job_id: str = "1", *, succeeded: bool = True) -> Outcome:
    return Outcome("restyler", "acme/app", job_id, resolution(), succeeded, 1.5)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def reporting(clock: Clock) -> OutcomeBuffer:
    return OutcomeBuffer(capacity=5000, clock=clock, chance=lambda: 1.0)


def jobs(batch: v1.ReportOutcomesRequest | None) -> list[str]:
    assert batch is not None
    return [each.job_id for each in batch.outcomes]


def test_a_message_has_the_resolution_and_the_outcome(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome("42", succeeded=False))
    batch = reporting.batch()
    assert batch is not None
    assert (batch.sequence, len(batch.client_id)) == (1, 32)
    (message,) = batch.outcomes
    assert message.duration.ToMilliseconds() == 1500
    message.ClearField("duration")
    assert message == v1.Outcome(
        component="restyler",
        release=2,
        revision=7,
        channel=v1.CHANNEL_NEXT,
        reason=v1.RESOLVE_REASON_WEIGHT,
        repo="acme/app",
        job_id="42",
        result=v1.OUTCOME_RESULT_FAILED,
    )


def test_a_first_outcome_waits_a_little_for_others_and_a_full_batch_is_sent_at_once(
    reporting: OutcomeBuffer, clock: Clock
) -> None:
    assert reporting.pause_s() is None
    assert reporting.add(outcome())
    assert reporting.pause_s() == pytest.approx(GATHER_S)
    clock.now_s += GATHER_S / 2
    assert not reporting.add(outcome())
    assert reporting.pause_s() == pytest.approx(GATHER_S / 2)
    assert [reporting.add(outcome()) for _ in range(998)].count(True) == 1
    assert reporting.pause_s() == 0


def test_a_batch_stays_the_same_until_it_is_answered(reporting: OutcomeBuffer) -> None:
    for number in range(1500):
        reporting.add(outcome(str(number)))
    first = reporting.batch()
    # Compared by their ends: pytest takes a minute to explain how two lists of this length differ.
    assert (len(jobs(first)), jobs(first)[0], jobs(first)[-1]) == (1000, "0", "999")
    reporting.failed(LOST)
    reporting.add(outcome("late"))
    again = reporting.batch()
    assert again is not None
    assert (again.sequence, jobs(again) == jobs(first)) == (first.sequence, True)
    reporting.answered(v1.ReportOutcomesResponse(accepted=1000))
    second = reporting.batch()
    assert second is not None
    assert (second.sequence, second.client_id) == (first.sequence + 1, first.client_id)
    assert (len(jobs(second)), jobs(second)[0], jobs(second)[-1]) == (501, "1000", "late")
    status = reporting.status()
    assert (status.sent, status.buffered, status.dropped, status.error) == (1000, 501, 0, "")


def test_pauses_grow_up_to_ten_seconds_and_end_with_an_answer(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    reporting.batch()
    pauses = []
    for _ in range(9):
        reporting.failed(LOST)
        pauses.append(reporting.pause_s())
    assert pauses == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10, 10])
    assert reporting.status().error == "nobody there"
    reporting.answered(v1.ReportOutcomesResponse(accepted=1))
    assert reporting.status().error == ""
    reporting.add(outcome())
    reporting.batch()
    reporting.failed(LOST)
    assert reporting.pause_s() == pytest.approx(0.1)


def test_a_missing_permission_is_tried_again_after_a_long_pause(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    reporting.batch()
    reporting.failed(PermissionDeniedError("no"))
    assert reporting.pause_s() == 30
    assert reporting.status().buffered == 1


def test_refused_credentials_are_tried_again_by_a_growing_pause(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    reporting.batch()
    pauses = []
    for _ in range(7):
        reporting.failed(UnauthenticatedError("no"))
        pauses.append(reporting.pause_s())
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 30, 30])


def test_a_server_that_says_when_to_come_back_is_left_alone_for_as_long(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    reporting.batch()
    limit = ResourceExhaustedError("no", reason="LIMIT_EXCEEDED")
    limit.retry_after_s = 7.0
    reporting.failed(limit)
    assert reporting.pause_s() == 14  # chance may double it


def test_a_full_buffer_drops_the_oldest_and_counts_them(clock: Clock) -> None:
    reporting = OutcomeBuffer(capacity=3, clock=clock)
    for number in range(5):
        reporting.add(outcome(str(number)))
    assert jobs(reporting.batch()) == ["2", "3", "4"]
    assert reporting.status().dropped == 2


def test_a_batch_that_is_wrong_in_itself_is_dropped_and_the_next_one_goes(reporting: OutcomeBuffer) -> None:
    for _ in range(1001):
        reporting.add(outcome())
    reporting.batch()
    reporting.failed(InvalidArgumentError("no"))
    assert len(jobs(reporting.batch())) == 1
    assert reporting.status().dropped == 1000


def test_a_server_without_outcomes_is_asked_again_after_ten_minutes(reporting: OutcomeBuffer, clock: Clock) -> None:
    reporting.add(outcome())
    reporting.batch()
    reporting.failed(UnimplementedError("not yet"))
    assert not reporting.add(outcome())
    assert reporting.pause_s() is None
    assert reporting.status().dropped == 2
    clock.now_s += 601
    assert reporting.add(outcome())
    reporting.batch()
    reporting.answered(v1.ReportOutcomesResponse(accepted=1))
    assert reporting.add(outcome())


def test_outcomes_that_the_server_ignores_are_counted_with_the_last_reason(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    reporting.batch()
    answer = v1.ReportOutcomesResponse()
    answer.ignored.add(index=0, reason="REVISION_TOO_OLD", message="too old")
    reporting.answered(answer)
    status = reporting.status()
    assert (status.sent, status.ignored, status.last_ignored) == (1, 1, "REVISION_TOO_OLD: too old")


def test_after_the_end_remaining_and_new_outcomes_are_dropped(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    assert reporting.finish() == 1
    assert not reporting.add(outcome())
    assert reporting.status().dropped == 2
    assert reporting.batch() is None


def test_a_child_is_another_client_with_nothing_to_send(reporting: OutcomeBuffer) -> None:
    reporting.add(outcome())
    parents = reporting.batch()
    reporting.renew()
    assert reporting.batch() is None
    reporting.add(outcome())
    own = reporting.batch()
    assert parents is not None
    assert own is not None
    assert (own.client_id != parents.client_id, own.sequence) == (True, 1)


@pytest.mark.parametrize(
    ("given", "placed"),
    [
        (resolution(), True),
        (resolution(reason=ResolveReason.STALE), True),
        (resolution("mine", 0, ResolveReason.FALLBACK), False),
        (resolution("pb/x", 0, ResolveReason.OVERRIDE_TAG), False),
    ],
)
def test_only_a_resolution_of_a_release_can_be_placed(given: Resolution, placed: bool) -> None:
    assert can_place(given) is placed


def test_all_fields_of_an_outcome_from_a_caller_are_checked_at_once() -> None:
    wrong = Outcome("Restyler", "a b", "é", "t1", 1, float("nan"))  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError) as caught:
        checked(wrong)
    fields = [field for field, _ in caught.value.violations]
    assert fields == ["component", "repo", "job_id", "resolution", "succeeded", "duration"]


def test_the_longest_duration_is_the_same_for_client_and_server(reporting: OutcomeBuffer) -> None:
    longest = outcome()._replace(duration_s=366 * 86400.0)
    reporting.add(checked(longest))
    batch = reporting.batch()
    assert batch is not None
    assert violations(batch) == []
    with pytest.raises(InvalidArgumentError, match="from 0 to 31622400 "):
        checked(longest._replace(duration_s=366 * 86400.0 + 1))
    batch.outcomes[0].duration.seconds += 1
    assert [field for field, _ in violations(batch)] == ["outcomes[0].duration"]


def test_a_resolution_can_go_to_the_process_in_which_the_job_ends() -> None:
    there = pickle.loads(pickle.dumps(resolution()))
    ours = resolution()
    names = ("tag", "channel", "reason", "release", "revision", "bucket", "attributes", "snapshot_age_s")
    assert [getattr(there, name) for name in names] == [getattr(ours, name) for name in names]
