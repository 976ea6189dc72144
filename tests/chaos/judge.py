"""All rules, by the promises that they check, in the order in which they say most about a violation."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import TypeAlias

from tests.chaos.judging import Case, Violation
from tests.chaos.record import Record
from tests.chaos.rules import answers, counting, ending, losing, once, reading, refusals, replay, timing, watching

Rule: TypeAlias = Callable[[Case], Iterator[Violation]]
PROMISES: Mapping[str, tuple[Rule, ...]] = {
    "Each change is what was asked for, once": (
        replay.every_entry_is_what_its_request_makes,
        once.no_request_is_carried_out_twice,
        once.no_dry_run_is_carried_out,
        once.every_replay_repeats_the_first_answer,
    ),
    "Each answer is true": (
        answers.every_change_is_answered_as_it_is,
        answers.every_unchanged_answer_fits_a_state,
        answers.every_read_is_of_a_state_in_between,
        refusals.no_call_ends_with_a_defect,
        refusals.every_refusal_is_right,
    ),
    "Resolve is as fresh as it says": (
        reading.every_answer_is_as_fresh_as_it_says,
        reading.no_server_goes_back,
    ),
    "Watchers see one history": (
        watching.no_watcher_goes_back,
        watching.every_watcher_knows_the_state_at_its_cursor,
        watching.no_watcher_takes_its_state_for_fresher_than_it_is,
    ),
    "Automation acts once and in time": (
        timing.every_dead_man_switch_fires_in_time,
        timing.every_freeze_ends_in_time,
        timing.every_step_follows_the_plan,
        timing.every_decision_is_of_its_time,
        counting.every_outcome_counts_once,
        counting.every_guard_acts_in_time,
    ),
    "What is lost is said": (
        losing.nothing_is_lost_without_a_loss,
        losing.every_lost_change_is_named,
    ),
    "Everything recovers": (
        ending.every_server_recovers,
        ending.every_server_ends_with_what_the_store_has,
    ),
}
"""Each promise with the rules that check it."""
RULES = tuple(rule for rules in PROMISES.values() for rule in rules)


def judge(record: Record) -> tuple[Case, list[Violation]]:
    """Returns what the record says that rampd has done wrong."""
    case = Case(record)
    return case, [replace(found, rule=rule.__name__) for rule in RULES for found in rule(case)]
