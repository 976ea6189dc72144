"""Writes outcomes for the scripts, and reads the stored counters: one field of a hash for each integer.

    <weight> <channel> <count>         randomised jobs; the counts are those of `domain.counters.Tally`
    <weight> reporter <identity>       first failures on next that one identity reported
    other <channel> jobs|failures      jobs that were not randomised
    reporters, reporter <identity>     how many identities have reported, and which
    mismatches                         outcomes with a wrong assignment

The same hash has `epoch`, `release`, `trial`, `revision`, `batches` and `longest_wait`. These count nothing of the trial.

The counters that outlive the trial are in another hash, together with the epoch:

    <release> jobs|failures            of each known release
    current jobs|failures              of current, since `current_revision`, the revision at which it became current
    recent <place> jobs|failures       of current in one interval of the last hour, with the interval's `start_ms` and
                                       `current_revision`
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

from mmh3 import mmh3_32_uintdigest

from rampd._evidence.counters import Split, Tally, TrialCounters
from rampd._evidence.release_counters import Interval, JobCount, ReleaseCounters
from rampd_server.ports import OutcomeBatch
from rampd_server.storage.codec import texts
from rampd_server.storage.codec.malformed import MalformedError
from rampd_server.storage.limits import UNIT_BITS

_CHANNELS = ("current", "next")
_TALLIES = ("jobs", "failures", "first_outcomes", "failed_first_outcomes", "first_failures")
_FIELD = re.compile(rf"(0|[1-9][0-9]{{0,4}}|other) (current|next) ({'|'.join(_TALLIES)})", re.ASCII)
_REPORTED = re.compile(r"(0|[1-9][0-9]{0,4}) reporter (.*)", re.ASCII)
_RELEASE = re.compile(r"([1-9][0-9]{0,17}) (?:jobs|failures)", re.ASCII)
_RECENT = re.compile(r"(recent [0-9]{1,3}) start_ms", re.ASCII)
_WAITING_OUTCOME = re.compile(r"[0-9]{1,7} ([0-9]{1,5}) (current|next) ([01])", re.ASCII)
_WAITING_FAILURE = re.compile(r"[0-9]{1,7} ([0-9]{1,5}) (current|next) (.*)", re.ASCII)


def write_counts(batch: OutcomeBatch) -> str:
    """Returns a batch for `count_outcomes.lua`: numbers to add in any case, and outcomes that may be the first of a unit."""
    add: Counter[str] = Counter()
    outcomes: dict[int, list[object]] = {}
    failures: dict[int, list[object]] = {}
    for weight, is_next, is_failed, unit, duration_ms in batch.outcomes:
        channel = _CHANNELS[is_next]
        prefix = f"{'other' if weight is None else weight} {channel} "
        add[prefix + "jobs"] += 1
        if is_failed:
            add[prefix + "failures"] += 1
        if weight is None:
            continue
        index = bit_of(unit)
        wait_ms = max(0, batch.maturation_ms - duration_ms)
        if index not in outcomes:
            outcomes[index] = [index, weight, channel, int(is_failed), wait_ms]
        if is_failed and index not in failures:
            failures[index] = [index, weight, channel, wait_ms]
    if batch.mismatches:
        add["mismatches"] = batch.mismatches
    return texts.write_json(
        {
            "add": add,
            "outcomes": list(outcomes.values()),
            "failures": list(failures.values()),
            "releases": _release_fields(batch),
            "next_repos": list(batch.next_repos),
            "current_revision": str(batch.current_revision),
            "longest_wait": str(batch.maturation_ms),
        }
    )


def _release_fields(batch: OutcomeBatch) -> dict[str, int]:
    if not batch.by_release:
        return {}
    counts = {str(number): count for number, count in batch.by_release.items()} | {"current": batch.current}
    return {f"{name} {kind}": getattr(count, kind) for name, count in counts.items() for kind in ("jobs", "failures")}


def read_release_counters(fields: Mapping[str, str]) -> ReleaseCounters:
    """Reads the hash that outlives the trial. Raises MalformedError with the section `release_outcomes`."""
    counts = {name: _count(name, fields, "release_outcomes") for name in fields.keys() - {"epoch"}}

    def count_of(name: str) -> JobCount:
        return JobCount(counts.get(f"{name} jobs", 0), counts.get(f"{name} failures", 0))

    numbers = {match[1] for name in counts if (match := _RELEASE.fullmatch(name))}
    by_release = {int(number): count_of(number) for number in numbers}
    places = {match[1]: start_ms for name, start_ms in counts.items() if (match := _RECENT.fullmatch(name))}
    intervals = tuple(
        Interval(start_ms, counts.get(f"{place} current_revision", 0), count_of(place))
        for place, start_ms in places.items()
    )
    return ReleaseCounters(by_release, counts.get("current_revision", 0), count_of("current"), intervals)


def bit_of(unit: str) -> int:
    """Returns the index of a unit's bit in the arrays."""
    return mmh3_32_uintdigest(unit.encode()) % UNIT_BITS


def read_counters(
    fields: Mapping[str, str], matured_outcomes: Sequence[str], matured_failures: Sequence[str]
) -> TrialCounters:
    """Returns a trial's counters. The outcomes whose wait is over are included.

    Raises MalformedError with the section `outcomes`, `waiting_outcomes` or `waiting_failures`.
    """
    counts = Counter({field: _count(field, fields) for field in fields.keys() - {"epoch"}})
    for member in matured_outcomes:
        weight, channel, failed = _matched(_WAITING_OUTCOME, "waiting_outcomes", member)
        counts[f"{weight} {channel} first_outcomes"] += 1
        counts[f"{weight} {channel} failed_first_outcomes"] += failed == "1"
    for member in matured_failures:
        weight, channel, reporter = _matched(_WAITING_FAILURE, "waiting_failures", member)
        counts[f"{weight} {channel} first_failures"] += 1
        if channel == "next":
            counts[f"{weight} reporter {reporter}"] += 1
    return _counters(counts)


def _counters(counts: Mapping[str, int]) -> TrialCounters:
    tallies: dict[str, Tally] = defaultdict(Tally)
    by_reporter: dict[str, dict[int, int]] = defaultdict(dict)
    for field, count in counts.items():
        if match := _FIELD.fullmatch(field):
            weight, channel, name = match.groups()
            tallies[weight] += Tally(**{name: Split(**{channel: count})})
        elif match := _REPORTED.fullmatch(field):
            by_reporter[match[2]][int(match[1])] = count
    others = tallies.pop("other", Tally())
    return TrialCounters(
        by_weight={int(weight): tally for weight, tally in tallies.items()},
        reporters=counts.get("reporters", 0),
        next_failures_by_reporter=dict(by_reporter),
        others=others,
        mismatches=counts.get("mismatches", 0),
    )


def _count(field: str, fields: Mapping[str, str], section: str = "outcomes") -> int:
    try:
        return texts.read_integer(fields[field])
    except ValueError as exc:
        raise MalformedError(section, field, str(exc)) from exc


def _matched(form: "re.Pattern[str]", section: str, member: str) -> tuple[str, ...]:
    match = form.fullmatch(member)
    if match is None:
        raise MalformedError(section, member, "does not have the form of an outcome that waits")
    return tuple(match.groups())
