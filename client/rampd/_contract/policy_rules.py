"""Which settings of a policy contradict each other. Pure.

The client asks about the settings of a request. The server also asks about the policy that a request would make, because settings
that contradict each other may come with different requests.
"""

from collections.abc import Iterator, Sequence

from rampd._contract.grammar import Violation
from rampd._contract.wording import whole_span


def contradictions(
    steps: Sequence[tuple[float, int]], max_percent: float | None, stuck_after_ms: int | None
) -> Iterator[Violation]:
    """Yields the settings that another one contradicts: (field of `rampd.v1.Policy`, what is wrong with it).

    `steps`: the percent of each step, and its hold in milliseconds. None: not set, so it contradicts nothing.
    """
    if max_percent is not None:
        for index, (percent, _) in enumerate(steps):
            if percent > max_percent:
                yield (
                    f"steps[{index}].percent",
                    f"is over max_percent, {max_percent:g} %: raise max_percent, or leave the step out. Set auto_finalize to make "
                    "next current after the last step, without a step of 100.",
                )
    longest_ms = max((hold_ms for _, hold_ms in steps), default=0)
    if stuck_after_ms is not None and stuck_after_ms <= longest_ms:
        yield (
            "stuck_after",
            f"must be longer than the longest hold, {whole_span(longest_ms)}: otherwise that step would always be stuck",
        )
