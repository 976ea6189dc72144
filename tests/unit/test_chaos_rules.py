"""The rules of `make chaos`: they find nothing in a record in which everything is right, and each finds what it is for."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd._calls.methods import METHODS
from rampd_server.domain.rollout import commands
from rampd_server.domain.rollout.model import Rollout
from tests.chaos import planting
from tests.chaos.clients import VERBS
from tests.chaos.faults import KINDS
from tests.chaos.histories import Histories
from tests.chaos.judge import RULES, judge
from tests.chaos.record import Call, Clock, End, Fault, Record, load
from tests.chaos.stories import Story


def whole_story() -> Record:
    """Everything that happens in a run, done right."""
    story = Story()
    story.call("Release", tag="t0")
    release = story.call("Release", tag="t1")
    story.call("Ramp", percent=50, confirm_within=Duration(seconds=1), request_id="unconfirmed")
    story.watch()
    story.wait(1.0)
    story.rampd("Rollback", commands.Decide(rollout(story).progress, commands.Rollback("t1")))
    ramp = story.call("Ramp", percent=10, request_id="ten")
    story.repeat(release)
    story.repeat(ramp)
    story.call("Ramp", percent=10, request_id="again")
    story.call("Confirm", request_id="confirm")
    story.call("SetOverride", repo="acme/a", tag="pin1")
    story.watch()
    story.read()
    story.resolve(server=1)
    story.call("Freeze", expire_time=story.timestamp(0.5))
    story.call("Abandon")
    story.call("Release", tag="t2")
    story.wait(0.3)
    story.rampd("Settle", commands.Settle())
    story.call("Freeze", component="", all=True)
    story.call("Ramp", percent=20, request_id="frozen")
    story.call("Unfreeze", component="", all=True)
    story.call("Release", component="planned", tag="p0")
    steps = [v1.Step(percent=percent, hold=Duration(seconds=1)) for percent in (5, 50)]
    story.call("SetPolicy", component="planned", policy=v1.Policy(steps=steps, auto_start=True))
    story.call("Release", component="planned", tag="p1")
    for percent in (5, 50):
        progress = rollout(story, "planned").progress.stepped(story.now_ms)
        story.rampd("Step", commands.Decide(progress, commands.Ramp(percent * 100, "p1")), "planned")
        story.wait(1.0)
    head, states = story.head, dict(story.states)
    story.call("Ramp", percent=30, request_id="lost")
    story.resolve()
    known = rollout(story)
    story.fail_over(head, states)
    story.record_loss(known)
    story.resolve()
    story.wait(20.0)
    story.watch()
    return story.end()


def rollout(story: Story, component: str = "restyler") -> Rollout:
    state = story.state(component)
    assert isinstance(state, Rollout)
    return state


def test_a_record_in_which_everything_is_right_breaks_no_rule() -> None:
    _, violations = judge(whole_story())

    assert not violations


def test_a_switch_that_fires_after_the_clock_was_set_on_is_in_time() -> None:
    """Given an override after the clock was set on by 30 s, expect that the time before that does not count as late."""
    story = Story()
    begun(story)
    story.call("Ramp", percent=10, confirm_within=Duration(seconds=20))
    story.wait(8.0)
    story.fault("clock", 0.5)
    story.set_clock(30_000)
    story.call("Pause")
    story.wait(0.3)
    story.rampd("Rollback", commands.Decide(rollout(story).progress, commands.Rollback("t1")))

    _, violations = judge(story.end())

    assert [each.what for each in violations if each.rule == "every_dead_man_switch_fires_in_time"] == []


@pytest.mark.parametrize("is_busy", [True, False])
def test_a_switch_that_fires_late_is_in_time_only_if_the_machine_was_busy(is_busy: bool) -> None:
    """Given a switch that fires ten seconds late, and a Resolve that took as long or not, expect that the rule tells them apart."""
    story = Story()
    begun(story)
    story.call("Ramp", percent=10, confirm_within=Duration(seconds=1))
    story.wait(10.0)
    call = story.resolve()
    if is_busy:
        story.record.calls[-1] = replace(call, began_s=call.began_s - 9.5)
    story.rampd("Rollback", commands.Decide(rollout(story).progress, commands.Rollback("t1")))

    _, violations = judge(story.end())

    assert ("every_dead_man_switch_fires_in_time" in {each.rule for each in violations}) is not is_busy


def test_a_record_in_a_file_is_the_same_record(tmp_path: Any) -> None:
    record = whole_story()

    record.save(tmp_path / "record.jsonl")

    assert load(tmp_path / "record.jsonl") == record


Spoil = Callable[[Record], None]


def call_of(record: Record, request_id: str = "", method: str = "") -> int:
    """Returns the place of the last call of a request, or of a method."""
    return max(
        place
        for place, call in enumerate(record.calls)
        if (not request_id or call.request_id == request_id) and (not method or call.method == method)
    )


def answer(request_id: str = "", method: str = "", **fields: Any) -> Spoil:
    """Changes the answer to a call."""

    def spoil(record: Record) -> None:
        call = record.calls[call_of(record, request_id, method)]
        for name, value in fields.items():
            at, *path = name.split("__")
            place: Any = call.response
            for part in (at, *path)[:-1]:
                place = getattr(place, part)
            setattr(place, (at, *path)[-1], value)

    return spoil


def call(request_id: str = "", method: str = "", **fields: Any) -> Spoil:
    """Changes a call."""

    def spoil(record: Record) -> None:
        place = call_of(record, request_id, method)
        record.calls[place] = replace(record.calls[place], **fields)

    return spoil


def entry(place: int, **fields: str) -> Spoil:
    """Changes fields of an entry, or of its author."""

    def spoil(record: Record) -> None:
        found = record.entries[place]
        both = [
            {**part, **{name: fields[name] for name in fields if name in part}} for part in (found.fields, found.author)
        ]
        record.entries[place] = replace(found, fields=both[0], author=both[1])

    return spoil


def watched(place: int, **fields: Any) -> Spoil:
    def spoil(record: Record) -> None:
        record.watched[place] = replace(record.watched[place], **fields)

    return spoil


def patched(action: str, before: str, after: str) -> Spoil:
    """Changes the patch of the last entry of an action."""

    def spoil(record: Record) -> None:
        place = max(place for place, each in enumerate(record.entries) if each.author["action"] == action)
        found = record.entries[place]
        assert before in found.fields["patch"]
        patch = found.fields["patch"].replace(before, after)
        record.entries[place] = replace(found, fields={**found.fields, "patch": patch})

    return spoil


def told_otherwise(tell: Callable[[Story], None]) -> Spoil:
    """Takes another story in place of the whole one."""

    def spoil(record: Record) -> None:
        story = Story()
        tell(story)
        other = story.end()
        for name in ("calls", "entries", "lives", "clocks", "watched", "faults", "ends"):
            setattr(record, name, getattr(other, name))

    return spoil


def begun(story: Story) -> None:
    story.call("Release", tag="t0")
    story.call("Release", tag="t1")


def twice(story: Story) -> None:
    begun(story)
    story.call("Ramp", percent=10, request_id="same")
    story.call("Ramp", percent=20)
    story.call("Ramp", percent=10, request_id="same")


def dry_run(story: Story) -> None:
    begun(story)
    story.call("Ramp", percent=10, dry_run=True)


def dry_override(story: Story) -> None:
    begun(story)
    story.call("SetOverride", repo="acme/a", tag="x", dry_run=True)


def never_confirmed(story: Story) -> None:
    begun(story)
    story.call("Ramp", percent=10, confirm_within=Duration(seconds=1))
    story.wait(10.0)
    story.resolve()


def confirmed_by_nobody(story: Story) -> None:
    begun(story)
    story.call("Ramp", percent=10, confirm_within=Duration(seconds=1))
    for _ in range(10):
        story.wait(1.0)
        story.call("SetOverride", repo="acme/a", tag=f"x{story.at_s}")


def frozen_for_ever(story: Story) -> None:
    begun(story)
    story.call("Freeze", expire_time=story.timestamp(1.0))
    story.call("Abandon")
    story.call("Release", tag="t2")
    story.wait(10.0)
    story.resolve()


def all_frozen_for_ever(story: Story) -> None:
    story.call("Release", tag="t0")
    story.call("Freeze", component="", all=True, expire_time=story.timestamp(1.0))
    story.call("Release", tag="t2")
    story.wait(10.0)
    story.resolve()


def frozen_for_ever_beside_others(story: Story) -> None:
    begun(story)
    story.call("Release", component="linter", tag="t0")
    story.call("Freeze", expire_time=story.timestamp(1.0))
    story.call("Abandon")
    story.call("Release", tag="t2")
    for number in range(10):
        story.wait(1.0)
        story.call("SetOverride", component="linter", repo="acme/a", tag=f"x{number}")


def planned(story: Story, *percents: int, hold_s: float = 1.0) -> None:
    story.call("Release", tag="t0")
    steps = [v1.Step(percent=percent, hold=Duration(seconds=1)) for percent in (5, 20, 50)]
    story.call("SetPolicy", policy=v1.Policy(steps=steps, auto_start=True))
    story.call("Release", tag="t1")
    for percent in percents:
        progress = rollout(story).progress.stepped(story.now_ms)
        story.rampd("Step", commands.Decide(progress, commands.Ramp(percent * 100, "t1")))
        story.wait(hold_s)


def reported(story: Story, *, counted: int, held: bool, seconds: float = 0.5) -> None:
    """Half of 40 jobs run next and fail. `counted` jobs of next are in the store afterwards."""
    begun(story)
    story.call("Ramp", percent=50)
    outcomes = [
        v1.Outcome(
            component="restyler",
            release=2 if job % 2 else 1,
            result=v1.OUTCOME_RESULT_FAILED if job % 2 else v1.OUTCOME_RESULT_SUCCEEDED,
        )
        for job in range(40)
    ]
    request = v1.ReportOutcomesRequest(client_id="c", sequence=1, outcomes=outcomes)
    for _ in range(2):
        story.answer("ReportOutcomes", request, v1.ReportOutcomesResponse(accepted=40))
    story.wait(seconds)
    if held:
        story.rampd("Rollback", commands.Decide(rollout(story).progress, commands.Rollback("t1")))
    release = v1.Release(number=2, jobs=counted)
    request = v1.GetReleaseRequest(component="restyler", release=2)
    story.answer("GetRelease", request, v1.GetReleaseResponse(release=release))


def test_reports_that_count_once_and_a_guard_that_acts_break_no_rule() -> None:
    story = Story()
    reported(story, counted=20, held=True)

    _, violations = judge(story.end())

    assert not violations


def decided_late(story: Story) -> None:
    planned(story, 5)
    found = story.record.entries[-1]
    time_ms = int(found.author["time"]) + 5_000
    story.record.entries[-1] = replace(found, author=found.author | {"time": str(time_ms)})


def decided_early(story: Story) -> None:
    decided_late(story)
    found = story.record.entries[-1]
    time_ms = int(found.author["time"]) - 10_000
    story.record.entries[-1] = replace(found, author=found.author | {"time": str(time_ms)})


def without_loss(story: Story) -> None:
    begun(story)
    head, states = story.head, dict(story.states)
    story.call("Ramp", percent=30)
    story.fail_over(head, states)
    story.wait(30.0)
    story.call("SetOverride", repo="acme/a", tag="x")


def lost_too_little(story: Story) -> None:
    begun(story)
    head, states = story.head, dict(story.states)
    story.call("Ramp", percent=30)
    story.call("Ramp", percent=40)
    known = rollout(story)
    story.fail_over(head, states)
    story.record_loss(replace(known, revision=known.revision - 1))
    story.wait(30.0)
    story.resolve()


def fails(record: Record) -> None:
    record.calls.append(
        Call("ada", 0, "Resolve", v1.ResolveRequest(component="restyler"), 1.0, 2.0, code="INTERNAL", message="defect")
    )


def cancelled(record: Record) -> None:
    record.calls.append(Call("ada", 0, "Ramp", v1.RampRequest(component="restyler"), 1.0, 2.0, code="CANCELLED"))


def refused(reason: str) -> Spoil:
    """Refuses a call for a reason that was not there."""

    def spoil(record: Record) -> None:
        place = call_of(record, "confirm")
        record.calls[place] = replace(record.calls[place], reason=reason)

    return spoil


def goes_back(record: Record) -> None:
    first, last = record.watched[0], record.watched[-1]
    record.watched.append(replace(first, at_s=last.at_s + 1))


def unknown_life(record: Record) -> None:
    record.faults[:] = [fault for fault in record.faults if fault.kind != "failover"]


def other_fault(record: Record) -> None:
    unknown_life(record)
    record.faults.append(Fault("kill", -1, 0.0, 100.0))


def resolved(place: int, **fields: Any) -> Spoil:
    """Changes the n-th answer of Resolve."""

    def spoil(record: Record) -> None:
        calls = [call for call in record.calls if call.method == "Resolve"]
        for name, value in fields.items():
            setattr(calls[place].response, name, value)

    return spoil


def older_again(record: Record) -> None:
    """Lets the server that has told of a revision give the answer of an earlier one once more."""
    calls = [call for call in record.calls if call.method == "Resolve"]
    end_s = record.calls[-1].ended_s
    record.calls.append(replace(calls[0], server=0, began_s=end_s + 1, ended_s=end_s + 2))


def stale_after_write(record: Record) -> None:
    ramp = record.calls[call_of(record, "lost")]
    early = next(call for call in record.calls if call.method == "Resolve")
    record.calls.append(replace(early, server=ramp.server, began_s=ramp.ended_s + 0.01, ended_s=ramp.ended_s + 0.02))


def end(**fields: Any) -> Spoil:
    def spoil(record: Record) -> None:
        place = next(place for place, each in enumerate(record.ends) if each.component == "restyler")
        record.ends[place] = replace(record.ends[place], **fields)

    return spoil


SPOILED: list[tuple[str, Spoil]] = [
    ("every_entry_is_what_its_request_makes", patched("SetPolicy", "FIFO", "LATEST")),
    ("every_entry_is_what_its_request_makes", patched("Rollback", "rolled back by rampd", "why not")),
    ("every_entry_is_what_its_request_makes", entry(3, request_id="of nobody", actor="ada")),
    ("every_entry_is_what_its_request_makes", entry(5, prev="1-1")),
    ("every_entry_is_what_its_request_makes", entry(2, revision="9")),
    ("no_request_is_carried_out_twice", told_otherwise(twice)),
    ("no_dry_run_is_carried_out", told_otherwise(dry_run)),
    ("no_dry_run_is_carried_out", told_otherwise(dry_override)),
    ("every_replay_repeats_the_first_answer", answer("r1", replayed=True, release=7)),
    ("every_replay_repeats_the_first_answer", answer("ten", replayed=True, revision=17)),
    ("every_replay_repeats_the_first_answer", answer("lost", replayed=True)),
    ("every_change_is_answered_as_it_is", answer("lost", revision=99)),
    ("every_change_is_answered_as_it_is", answer("lost", rollout__next_percent=99.0)),
    ("every_change_is_answered_as_it_is", answer("lost", message="Nothing.")),
    ("every_change_is_answered_as_it_is", call("lost", began_s=0.5, ended_s=0.6)),
    ("every_unchanged_answer_fits_a_state", answer("again", message="t1 was at 20 % already.")),
    ("every_unchanged_answer_fits_a_state", call("again", began_s=1.0, ended_s=1.1)),
    ("every_read_is_of_a_state_in_between", answer(method="GetRollout", rollout__revision=1)),
    ("every_read_is_of_a_state_in_between", call(method="GetRollout", began_s=1.0, ended_s=1.1)),
    ("no_call_ends_with_a_defect", fails),
    ("no_call_ends_with_a_defect", cancelled),
    ("every_refusal_is_right", refused("HELD")),
    ("every_refusal_is_right", refused("REQUEST_ID_REUSED")),
    ("every_refusal_is_right", call("frozen", began_s=1.0, ended_s=1.1)),
    ("every_answer_is_as_fresh_as_it_says", resolved(0, tag="t1")),
    ("every_answer_is_as_fresh_as_it_says", resolved(1, revision=2)),
    ("every_answer_is_as_fresh_as_it_says", resolved(-1, stale=True)),
    ("no_server_goes_back", older_again),
    ("no_server_goes_back", stale_after_write),
    ("no_watcher_goes_back", goes_back),
    ("no_watcher_goes_back", watched(1, problem="no sense")),
    ("every_watcher_knows_the_state_at_its_cursor", watched(1, components={})),
    ("every_watcher_knows_the_state_at_its_cursor", watched(1, cursor="epoch/5-5")),
    ("no_watcher_takes_its_state_for_fresher_than_it_is", watched(0, confirmed_s=10.0, at_s=10.5)),
    ("no_watcher_takes_its_state_for_fresher_than_it_is", watched(1, at_s=50.0, confirmed_s=49.9)),
    ("every_dead_man_switch_fires_in_time", told_otherwise(never_confirmed)),
    ("every_dead_man_switch_fires_in_time", told_otherwise(confirmed_by_nobody)),
    ("every_freeze_ends_in_time", told_otherwise(frozen_for_ever)),
    ("every_freeze_ends_in_time", told_otherwise(all_frozen_for_ever)),
    ("every_freeze_ends_in_time", told_otherwise(frozen_for_ever_beside_others)),
    ("every_step_follows_the_plan", told_otherwise(lambda story: planned(story, 5, 50))),
    ("every_step_follows_the_plan", told_otherwise(lambda story: planned(story, 5, 20, hold_s=0.2))),
    ("every_decision_is_of_its_time", told_otherwise(decided_late)),
    ("every_decision_is_of_its_time", told_otherwise(decided_early)),
    ("every_outcome_counts_once", told_otherwise(lambda story: reported(story, counted=40, held=True))),
    ("every_outcome_counts_once", told_otherwise(lambda story: reported(story, counted=19, held=True))),
    ("every_guard_acts_in_time", told_otherwise(lambda story: reported(story, counted=20, held=False, seconds=9))),
    ("every_guard_acts_in_time", told_otherwise(lambda story: reported(story, counted=20, held=True, seconds=9))),
    ("nothing_is_lost_without_a_loss", unknown_life),
    ("nothing_is_lost_without_a_loss", other_fault),
    ("every_lost_change_is_named", told_otherwise(without_loss)),
    ("every_lost_change_is_named", told_otherwise(lost_too_little)),
    ("every_server_recovers", end(problem="its answers are stale")),
    ("every_server_recovers", lambda record: record.ends.append(End(1, "", 99.0, problem="Redis does not answer"))),
    ("every_server_ends_with_what_the_store_has", end(rollout=None)),
    ("every_server_ends_with_what_the_store_has", end(rollout=v1.Rollout(component="restyler", revision=3))),
]


@pytest.mark.parametrize(("rule", "spoil"), SPOILED, ids=[f"{rule}-{place}" for place, (rule, _) in enumerate(SPOILED)])
def test_a_rule_finds_what_it_is_for(rule: str, spoil: Spoil) -> None:
    record = whole_story()
    spoil(record)

    _, violations = judge(record)

    assert rule in {violation.rule for violation in violations}, violations


def test_each_planted_bug_is_in_its_file_exactly_once_and_its_rules_exist() -> None:
    for bug in planting.load():
        for change in bug.changes:
            assert (planting.ROOT / change.file).read_text("utf-8").count(change.old) == 1, change
        assert set(bug.rules) <= {rule.__name__ for rule in RULES}, bug
        assert bug.kinds <= set(KINDS), bug


def test_every_verb_is_called_while_things_break() -> None:
    assert {method.name for method in METHODS.values() if method.has_dry_run} == VERBS.keys() - {"GetRollout"}


def test_every_rule_is_tried() -> None:
    assert {rule.__name__ for rule in RULES} == {rule for rule, _ in SPOILED}


def test_a_server_may_have_taken_the_time_of_a_clock_that_is_set_for_a_moment_during_its_call() -> None:
    record = Record(calls=[], clocks=[Clock(0.0, 0.0), Clock(10.01, -30_000.0), Clock(10.1, 0.0)])
    times_ms = list(Histories(record).times_of_server(10.0, 10.005))
    assert any(time_ms < -19_000 for time_ms in times_ms)


def test_a_server_may_have_taken_any_time_of_its_call() -> None:
    """Given an answer that is right only after one thing has ended and before another one does, expect a time between them."""
    record = Record(calls=[], clocks=[Clock(0.0, 0.0)])
    times_ms = list(Histories(record).times_of_server(10.0, 10.5))
    assert any(10_240 < time_ms < 10_250 for time_ms in times_ms)
