"""`make mutants`: makes one line at a time wrong, and checks that its test notices.

A test that passes without the mechanism proves nothing. Each row of mutations.toml names a line and a test. Several rows are
tried at the same time, each in a copy of the repository. Ends with 1 if a test did not notice.
"""

import argparse
import contextlib
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import TypeVar

from rampd._contract.wording import counted
from tests.markdown import table
from tests.mutants.mutations import LIST, ROOT, Mutation, load
from tests.mutants.trying import Scratch, Verdict, scratch

AT_ONCE = 4
"""More than cores: many tests wait for time to pass."""

Item = TypeVar("Item")
Found = TypeVar("Found")
Row = tuple[Mutation, Verdict, float]


def main() -> int:
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="rows that have this text in any of their fields")
    parser.add_argument(
        "--at-once", type=int, default=AT_ONCE, metavar="N", help="how many rows are tried at the same time"
    )
    parser.add_argument("--markdown", action="store_true", help="prints the table as it stands in a document")
    arguments = parser.parse_args()
    mutations = [each for each in load() if arguments.only in f"{each}"]
    if not mutations:
        print(f"No row has {arguments.only!r}: look into {LIST.relative_to(ROOT)}.")
        return 1
    began_s = time.monotonic()
    rows = list(tried(mutations, arguments.at_once))
    faults = [row for row in rows if row[1].is_fault]
    if arguments.markdown:
        print(markdown(rows))
    print(summary(rows, time.monotonic() - began_s))
    for mutation, verdict, _ in faults:
        print(f"{verdict}: {mutation.protects} ({mutation.file}, {mutation.test})")
    return 1 if faults else 0


def tried(mutations: Sequence[Mutation], at_once: int = AT_ONCE) -> Iterable[Row]:
    """Returns the result of each mutation, in order. Prints a line as soon as each one ends."""
    with contextlib.ExitStack() as stack:
        free: SimpleQueue[Scratch] = SimpleQueue()
        for _ in range(at_once):
            free.put(stack.enter_context(scratch()))
        tests = list(dict.fromkeys(mutation.test for mutation in mutations))
        copy = free.get()
        doubts = copy.without_mutation(tests, at_once=at_once)
        free.put(copy)
        print(
            f"Without a mutation pass {sum(1 for doubt in doubts.values() if doubt is None)} of {counted(len(tests), 'test')}"
        )

        def verdict_of(copy: Scratch, mutation: Mutation) -> Row:
            began_s = time.monotonic()
            verdict = doubts[mutation.test] or copy.with_mutation(mutation)
            return mutation, verdict, time.monotonic() - began_s

        for row in _at_once(at_once, free, verdict_of, mutations):
            mutation, verdict, seconds = row
            print(f"{verdict:9} {seconds:5.1f} s  {mutation.protects}", flush=True)
            yield row


def _at_once(
    number: int, free: "SimpleQueue[Scratch]", do: Callable[[Scratch, Item], Found], items: Sequence[Item]
) -> Iterable[Found]:
    """Does the work with each item, `number` at a time, each with a copy. Returns the results in order."""

    def with_a_copy(item: Item) -> Found:
        copy = free.get()
        try:
            return do(copy, item)
        finally:
            free.put(copy)

    with ThreadPoolExecutor(number) as threads:
        yield from threads.map(with_a_copy, items)


def markdown(rows: Iterable[Row]) -> str:
    """Returns the table for a document."""
    return table(
        ("what the line protects", "file", "test that must notice", "verdict"),
        (
            (mutation.protects, f"`{mutation.file}`", f"`{mutation.test.partition('::')[2]}`", verdict)
            for mutation, verdict, _ in rows
        ),
    )


def summary(rows: Sequence[Row], seconds: float) -> str:
    counts = {verdict: sum(1 for row in rows if row[1] is verdict) for verdict in Verdict}
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return f"{counted(len(rows), 'mutation')} in {seconds:.0f} s: {told or 'none'}"


if __name__ == "__main__":
    sys.exit(main())
