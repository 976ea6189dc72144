"""Measures in turns, so that other work of the machine disturbs all measurements equally."""

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")


def in_turns(rounds: int, *measures: Callable[[], T]) -> list[list[T]]:
    """Runs `measures` in turns. Returns for each its results, one a round. The order changes from round to round; the result
    of a first round, which warms up, is dropped.
    """
    results: list[list[T]] = [[] for _ in measures]
    for number in range(rounds + 1):
        order = range(len(measures)) if number % 2 else range(len(measures) - 1, -1, -1)
        for place in order:
            result = measures[place]()
            if number:
                results[place].append(result)
    return results


def pooled(rates: Sequence[float], size: int) -> list[float]:
    """Returns one rate for each `size` measurements in a row, because disturbances come in bursts."""
    return [statistics.harmonic_mean(rates[first : first + size]) for first in range(0, len(rates), size)]


def ratios(values: Sequence[float], against: Sequence[float]) -> list[float]:
    """Returns the ratio of each round."""
    return [value / other for value, other in zip(values, against, strict=True)]
