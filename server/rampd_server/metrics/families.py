"""The families of metrics: name, type, labels, and how several workers are put together. Pure.

docs/observability/metrics.md has the same list.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

OTHERS: Final = "_others"
"""The label `component` of the components beyond the limit, together. No component can have this name."""


class Kind(StrEnum):
    """The type of a family."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class Merge(StrEnum):
    """What one scrape shows of several workers."""

    SUM = "sum"
    MAX = "max"
    """Of a counter: between two scrapes, the largest increase of any worker."""
    ONE = "one"
    """Of the first worker that has the series, and whose copy is confirmed if the family is of components."""


@dataclass(frozen=True, slots=True, eq=False)
class Family:
    """One metric. A family that is `of_copy` is about components, and is there only while the copy is confirmed."""

    name: str
    """As the samples have it, with `_total`."""
    kind: Kind
    labels: tuple[str, ...]
    help: str
    merge: Merge = Merge.SUM
    of_copy: bool = False

    @property
    def samples(self) -> tuple[str, ...]:
        """The names of its samples."""
        if self.kind is Kind.HISTOGRAM:
            return tuple(f"{self.name}_{part}" for part in ("bucket", "sum", "count"))
        return (self.name,)


def _service(name: str, kind: Kind, labels: tuple[str, ...], meaning: str, merge: Merge = Merge.SUM) -> Family:
    return Family(name, kind, labels, meaning, merge)


def _of_copy(name: str, kind: Kind, labels: tuple[str, ...], meaning: str, merge: Merge = Merge.ONE) -> Family:
    return Family(name, kind, labels, meaning, merge, of_copy=True)


_COUNTER, _GAUGE, _HISTOGRAM = Kind
_SUM, _MAX, _ONE = Merge

BUILD_INFO = _service("rampd_build_info", _GAUGE, ("version", "python"), "1. The labels name the versions.", _ONE)
RPC_CALLS = _service(
    "rampd_rpc_calls_total",
    _COUNTER,
    ("method", "status", "reason"),
    "Calls that have ended. `reason` is that of a refusal, otherwise empty. A stream counts when it ends.",
)
RPC_DURATION = _service(
    "rampd_rpc_duration_seconds",
    _HISTOGRAM,
    ("method",),
    "Time of a call from when the server takes it up until its answer is ready. Not of streams.",
)
RESOLVES = _service(
    "rampd_resolves_total",
    _COUNTER,
    ("component", "channel", "reason"),
    "Answers of Resolve and BatchResolve. What a launcher resolves from its own memory is not in it.",
)
WATCHERS = _service("rampd_watchers", _GAUGE, (), "Open streams of Watch.")
SLOWEST_WATCHER = _service(
    "rampd_slowest_watcher_age_seconds",
    _GAUGE,
    (),
    "Age of the oldest change that was not sent to some watcher yet. 0 if each watcher has all changes.",
    _MAX,
)
COPY_AGE = _service(
    "rampd_copy_age_seconds",
    _GAUGE,
    (),
    "Time since the store last confirmed this server's copy. Missing without a copy.",
    _MAX,
)
COPY_STALE = _service(
    "rampd_copy_stale",
    _GAUGE,
    (),
    "1 while the store does not confirm this server's copy. The metrics of components are missing then.",
    _MAX,
)
STORE_COMMANDS = _service(
    "rampd_store_commands_total", _COUNTER, ("command",), "Commands and scripts that the store was asked to run."
)
STORE_ERRORS = _service(
    "rampd_store_errors_total",
    _COUNTER,
    ("reason",),
    "Errors of the store, by the reason: commands that failed, and answers that are damaged or of another store.",
)
STORE_DURATION = _service(
    "rampd_store_command_duration_seconds",
    _HISTOGRAM,
    (),
    "Time of a command of the store, failed ones too. The wait for the next change of the feed is not in it.",
)
STORE_RECONNECTS = _service(
    "rampd_store_reconnects_total", _COUNTER, (), "Connections to the store that were lost and opened again."
)
STORE_PRIMARY_CHANGES = _service(
    "rampd_store_primary_changes_total",
    _COUNTER,
    (),
    "Changes of the node that takes writes: another primary by the Sentinels, or another node of a cluster for the namespace's slot. "
    "Each failover may have lost writes.",
    _MAX,
)
FEED_LAG = _service(
    "rampd_feed_lag_seconds",
    _HISTOGRAM,
    (),
    "Time from the commit of a change in the store until this server's copy has it.",
)
COMMIT_CONFLICTS = _service(
    "rampd_commit_conflicts_total", _COUNTER, (), "Commits that were tried again because another writer was first."
)
OUTCOMES_ACCEPTED = _service(
    "rampd_outcomes_accepted_total", _COUNTER, (), "Outcomes of jobs that were accepted. A repeat is not counted again."
)
OUTCOMES_IGNORED = _service(
    "rampd_outcomes_ignored_total",
    _COUNTER,
    ("reason",),
    "Outcomes of jobs that were ignored. A repeat is not counted again.",
)
LOOP_LAG = _service(
    "rampd_event_loop_lag_seconds",
    _HISTOGRAM,
    (),
    "By how much a timer of the event loop is late, five times a second.",
)
FILE_RELOADS = _service(
    "rampd_file_reloads_total",
    _COUNTER,
    ("file", "result"),
    "Files that were read again after a change. A refused file changes nothing.",
)
FILE_REFUSED = _service(
    "rampd_file_refused",
    _GAUGE,
    ("file",),
    "1 while the newest content of the file is refused and the earlier one stays in force, otherwise 0.",
    _MAX,
)
CERTIFICATE_EXPIRE = _service(
    "rampd_certificate_expire_timestamp_seconds",
    _GAUGE,
    (),
    "When the server's TLS certificate ends, in seconds since 1970. Missing without TLS.",
    _MAX,
)
COMPONENTS = _of_copy("rampd_components", _GAUGE, (), "Components.")
COMPONENTS_SUMMED = _of_copy(
    "rampd_components_summed",
    _GAUGE,
    (),
    "Components beyond --metrics-components, which have no series of their own. The others are the oldest ones.",
)
COMPONENTS_DAMAGED = _of_copy("rampd_components_damaged", _GAUGE, (), "Components that can't be read now.", _MAX)
NEXT_PERCENT = _of_copy(
    "rampd_next_percent", _GAUGE, ("component",), "Percent of the units that get next. 0 without a next."
)
STATE = _of_copy(
    "rampd_state", _GAUGE, ("component", "state"), "1 for the state that the rollout is in, 0 for the others."
)
RELEASE_INFO = _of_copy(
    "rampd_release_info",
    _GAUGE,
    ("component", "channel", "tag", "release"),
    "1. The labels name the tag and the number of the release that is current, and of the one that is next.",
)
QUEUE_LENGTH = _of_copy("rampd_queue_length", _GAUGE, ("component",), "Releases that wait.")
PAUSED = _of_copy("rampd_paused", _GAUGE, ("component",), "1 if the rollout is paused, or waits for approval.")
FROZEN = _of_copy(
    "rampd_frozen", _GAUGE, ("component",), "1 if a freeze of the component or of the namespace is in force."
)
HELD = _of_copy("rampd_held", _GAUGE, ("component",), "1 if the rollout is HELD: rolled back, and automation is off.")
JOBS = _of_copy(
    "rampd_jobs_total", _COUNTER, ("component", "channel"), "Jobs whose outcome this server has accepted.", _SUM
)
JOB_FAILURES = _of_copy(
    "rampd_job_failures_total", _COUNTER, ("component", "channel"), "Jobs of rampd_jobs_total that failed.", _SUM
)
EVIDENCE = _of_copy(
    "rampd_evidence",
    _GAUGE,
    ("component",),
    "E of the relative guard at this server's last look: how strongly failures say that next is worse than current.",
    _MAX,
)
EVIDENCE_LIMIT = _of_copy(
    "rampd_evidence_limit",
    _GAUGE,
    ("component",),
    "The limit of rampd_evidence, 1/alpha. At or over it, the guard acts.",
    _MAX,
)
CHECK_VALUE = _of_copy("rampd_check_value", _GAUGE, ("component", "check"), "The last value of a check of the policy.")
CHECK_STATE = _of_copy(
    "rampd_check_state",
    _GAUGE,
    ("component", "check", "state"),
    "1 for the state that the check is in, 0 for the others.",
)
CHECK_AGE = _of_copy(
    "rampd_check_age_seconds", _GAUGE, ("component", "check"), "Time since the check was last asked, by any server."
)
ROLLOUT_SECONDS = _of_copy(
    "rampd_rollout_seconds_total",
    _COUNTER,
    ("component", "doing"),
    "Time of rollouts by what they were doing, as long as this server has watched.",
    _MAX,
)
WRITES_LOST = _of_copy(
    "rampd_writes_lost_total",
    _COUNTER,
    ("component",),
    "Revisions that the store has lost, and whose loss this server has recorded.",
    _SUM,
)
DECISIONS = _of_copy(
    "rampd_decisions_total",
    _COUNTER,
    ("component", "decision", "cause", "applied"),
    'Decisions of automation that this server has committed. applied="false": the policy says NOTIFY, so it was only said.',
    _SUM,
)


def _process(name: str, kind: Kind, meaning: str, merge: Merge) -> Family:
    return Family(f"process_{name}", kind, (), meaning, merge)


PROCESS = (
    _process("virtual_memory_bytes", _GAUGE, "Virtual memory size in bytes.", _SUM),
    _process("resident_memory_bytes", _GAUGE, "Resident memory size in bytes.", _SUM),
    _process("start_time_seconds", _GAUGE, "Start time of the process since unix epoch in seconds.", _MAX),
    _process("cpu_seconds_total", _COUNTER, "Total user and system CPU time spent in seconds.", _SUM),
    _process("open_fds", _GAUGE, "Number of open file descriptors.", _SUM),
    _process("max_fds", _GAUGE, "Maximum number of open file descriptors.", _SUM),
)
"""Those of prometheus_client. Only Linux has them."""

SERVICE = (
    *(BUILD_INFO, RPC_CALLS, RPC_DURATION, RESOLVES, WATCHERS, SLOWEST_WATCHER, COPY_AGE, COPY_STALE),
    *(STORE_COMMANDS, STORE_ERRORS, STORE_DURATION, STORE_RECONNECTS, STORE_PRIMARY_CHANGES),
    *(FEED_LAG, COMMIT_CONFLICTS),
    *(OUTCOMES_ACCEPTED, OUTCOMES_IGNORED, LOOP_LAG, FILE_RELOADS, FILE_REFUSED, CERTIFICATE_EXPIRE),
)
OF_COPY = (
    *(COMPONENTS, COMPONENTS_SUMMED, COMPONENTS_DAMAGED, NEXT_PERCENT, STATE, RELEASE_INFO, QUEUE_LENGTH),
    *(PAUSED, FROZEN, HELD),
    *(JOBS, JOB_FAILURES, EVIDENCE, EVIDENCE_LIMIT, CHECK_VALUE, CHECK_STATE, CHECK_AGE, ROLLOUT_SECONDS, DECISIONS),
    WRITES_LOST,
)
FAMILIES = (*SERVICE, *OF_COPY, *PROCESS)
"""All, in the order in which a scrape has them."""
BY_SAMPLE: Final = {name: family for family in FAMILIES for name in family.samples}
