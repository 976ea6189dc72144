"""The table of docs/reliability.md: each fault alone, which promises were kept meanwhile, and how long Resolve took."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rampd._contract.wording import counted
from tests.chaos.faults import KINDS
from tests.chaos.judge import PROMISES, judge
from tests.chaos.record import Call, Record
from tests.chaos.running import Plan, running
from tests.markdown import table
from tests.stores import REDIS, VALKEY

DOCUMENT = Path(__file__).parents[2] / "docs" / "reliability.md"
BEGIN, END = "<!-- begin: make chaos ARGS=--table -->", "<!-- end -->"
HEADS = ("fault", *PROMISES, "faults", "answers of Resolve", "p99 during it", "p99 between")
SHOWN = {
    "kill": "the store is killed and starts again",
    "disk": "the store's disk is full",
    "stop": "the store is stopped for a while",
    "memory": "the store's memory is full",
    "scripts": "the store forgets all scripts",
    "clock": "the store's clock is set, by up to an hour",
    "restore": "an older copy of the data is put back",
    "restart": "the store starts with an older file",
    "failover": "a replica takes over without the last writes",
    "cut": "a server's connections to the store are cut",
    "dead": "a server's connections to the store are half-open",
    "slow": "a server's connections to the store are slow",
    "lost replies": "replies of the store are lost",
    "stopped server": "a server is stopped for a while",
    "killed server": "a server is killed and starts again",
    "restarted server": "a server is restarted",
    "lonely server": "a server starts while it can't reach the store",
}
"""Each kind of fault in words."""
_AFTER_S = 0.5
"""How long after a fault a call still belongs to it."""


@dataclass(frozen=True, slots=True)
class Row:
    """What one kind of fault did."""

    kind: str
    faults: int
    broken: Sequence[int]
    """For each promise, how often it was broken."""
    answered: int
    asked: int
    during_s: float
    between_s: float


def row_of(kind: str, record: Record) -> Row:
    """Judges the run with one kind of fault."""
    _, violations = judge(record)
    names = [violation.rule for violation in violations]
    broken = [sum(names.count(rule.__name__) for rule in rules) for rules in PROMISES.values()]
    calls = [call for call in record.calls if call.method == "Resolve" and call.who.startswith("launcher")]
    times = [(fault.began_s, fault.ended_s + _AFTER_S) for fault in record.faults]
    during = [call for call in calls if any(call.ended_s >= began and call.began_s <= end for began, end in times)]
    between = [call for call in calls if call not in during]
    answered = [call for call in during if call.code in {"", "NOT_FOUND"}]
    return Row(kind, len(record.faults), broken, len(answered), len(during), _p99_s(answered), _p99_s(between))


def _p99_s(calls: Iterable[Call]) -> float:
    times = sorted(call.ended_s - call.began_s for call in calls if call.code in {"", "NOT_FOUND"})
    return times[min(len(times) - 1, int(len(times) * 0.99))] if times else 0.0


def markdown(rows: Iterable[Row]) -> str:
    """Returns the table."""
    return table(
        HEADS,
        (
            (
                SHOWN[row.kind],
                *("kept" if not broken else f"**broken {counted(broken, 'time')}**" for broken in row.broken),
                f"{row.faults}",
                f"{row.answered:,} of {row.asked:,}",
                f"{row.during_s * 1000:.1f} ms",
                f"{row.between_s * 1000:.1f} ms",
            )
            for row in rows
        ),
    )


def measure(seconds: float, seed: int, folder: Path) -> list[Row]:
    """Lets each kind of fault happen alone, again and again for `seconds`. The records are kept in the folder."""
    rows = []
    for kind in KINDS:
        store = VALKEY if kind == "clock" else REDIS
        with running(Plan(seed, seconds, kinds=frozenset({kind}), kind=store)) as run:
            run.record.save(folder / f"only {kind}.jsonl".replace(" ", "-"))
        rows.append(row_of(kind, run.record))
        print(rows[-1], flush=True)
    return rows


def write(rows: Iterable[Row]) -> None:
    """Puts the table into the document, between the two marks."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{markdown(rows)}\n{END}{after}", "utf-8")
