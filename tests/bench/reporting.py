"""What a report costs the thread that runs the job: nanoseconds per outcome, over many runs of 10,000."""

import timeit
from collections.abc import Callable

from rampd._calls.endpoint import Endpoint
from rampd._decision.resolution import Channel, Decision, Resolution, ResolveReason
from rampd._reporting.outcome_buffer import CAPACITY, Outcome, OutcomeBuffer
from rampd._reporting.report_thread import Reporter
from rampd.testing import FixedResolver
from tests.bench.report import Row, at_most, plain
from tests.bench.scale import Scale

RUNS = 15
CALLS = CAPACITY
LIMIT_NS = 5_000

FOUND = Resolution(Decision("20200409", Channel.NEXT, ResolveReason.WEIGHT, 2), revision=7, bucket=12)
OUTCOME = Outcome("restyler", "acme/app", "42", FOUND, True, 1.5)


class Answering(FixedResolver):
    """Resolves without any cost, so that only what `job` adds is measured."""

    def resolve(self, component: str, **_asked: object) -> Resolution:  # type: ignore[override]
        return FOUND


def nanoseconds(call: Callable[[], object], setup: Callable[[], object] = lambda: None) -> list[float]:
    return [each / CALLS * 1e9 for each in timeit.repeat(call, setup, number=CALLS, repeat=RUNS)]


def enqueue() -> list[float]:
    reporting = OutcomeBuffer()
    return nanoseconds(lambda: reporting.add(OUTCOME), reporting.renew)


def enqueue_to_a_full_buffer() -> list[float]:
    reporting = OutcomeBuffer()
    for _ in range(CAPACITY):
        reporting.add(OUTCOME)
    return nanoseconds(lambda: reporting.add(OUTCOME))


def job() -> list[float]:
    reporting = OutcomeBuffer()
    resolver = Answering({"restyler": "20200301"})
    resolver._recorder.add = reporting.add  # type: ignore[method-assign,assignment]

    def block() -> None:
        with resolver.job("restyler", repo="acme/app", job_id="42"):
            pass

    return nanoseconds(block, reporting.renew)


def enqueue_beside_the_thread() -> list[float]:
    """Measures as in a launcher: the sending thread is woken, makes batches, and finds no server."""
    reporter = Reporter(Endpoint("127.0.0.1:1"))
    try:
        return nanoseconds(lambda: reporter.add(OUTCOME))
    finally:
        reporter.end()


def make_batch() -> list[float]:
    reporting = OutcomeBuffer()

    def fill() -> None:
        reporting.renew()
        for _ in range(1000):
            reporting.add(OUTCOME)

    return [each / 1000 * 1e9 for each in timeit.repeat(reporting.batch, fill, number=1, repeat=RUNS)]


def run(_scale: Scale) -> list[Row]:
    return [
        at_most("taking in one outcome", enqueue(), "ns", LIMIT_NS),
        at_most("the same, the buffer is full", enqueue_to_a_full_buffer(), "ns", LIMIT_NS),
        at_most("the same, the sending thread at work", enqueue_beside_the_thread(), "ns", LIMIT_NS),
        at_most("what job() adds to resolve, with the outcome", job(), "ns", LIMIT_NS),
        plain("in the sending thread: one outcome of a batch", make_batch(), "ns"),
    ]
