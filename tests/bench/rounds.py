"""Measuring in turns, so that what else the machine does falls on all alike."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turns(rounds: int, *measures: Callable[[], T]) -> list[list[T]]:
    """For each of `measures` what it gave, round by round. Who begins changes; a first round, to get warm, is not told."""
    results: list[list[T]] = [[] for _ in measures]
    for number in range(rounds + 1):
        order = range(len(measures)) if number % 2 else range(len(measures) - 1, -1, -1)
        for place in order:
            result = measures[place]()
            if number:
                results[place].append(result)
    return results


def pooled(rates: Sequence[float], size: int) -> list[float]:
    """The rate of each `size` measurements in a row, taken as one: what disturbs comes in bursts."""
    return [statistics.harmonic_mean(rates[first : first + size]) for first in range(0, len(rates), size)]


def ratios(values: Sequence[float], against: Sequence[float]) -> list[float]:
    """Round by round."""
    return [value / other for value, other in zip(values, against, strict=True)]
