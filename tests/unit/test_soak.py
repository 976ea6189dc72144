"""The verdict of the soak: what counts as a leak."""

import math
import random
import subprocess
import sys
from dataclasses import replace

import pytest

from tests.soak.samples import Course, Sample, least, slope, take

CALM = Sample(0.0, 60.0, 30.0, 20, 8, 4)


def storm(growth: float, *, minutes: float = 10, noise: float = 0.0) -> list[Sample]:
    """Returns samples every 5 s of a memory that grows by that many MiB in 10 minutes, after caches have filled."""
    chance = random.Random(1)
    found = []
    for number in range(int(minutes * 12)):
        at_s = number * 5.0
        filling = min(at_s, 150) / 10
        found.append(replace(CALM, at_s=at_s, rss_mib=60 + filling + growth * at_s / 600 + chance.gauss(0, noise)))
    return found


@pytest.mark.parametrize("growth", [-3.0, 0.0, 0.5, 1.0, 40.0])
def test_the_slope_counts_from_the_third_minute_on(growth: float) -> None:
    found = slope(storm(growth))
    assert found is not None
    assert math.isclose(found, growth, abs_tol=1e-9)


def test_noise_does_not_count_as_a_slope() -> None:
    found = slope(storm(0.0, noise=0.3))
    assert found is not None
    assert abs(found) < 0.5


def test_a_run_that_is_too_short_has_no_slope() -> None:
    assert slope(storm(100.0, minutes=4)) is None


@pytest.mark.parametrize(
    ("growth", "ended", "faults"),
    [
        (0.9, CALM, []),
        (0.0, replace(CALM, descriptors=19, threads=7, rss_mib=90), []),
        (1.1, CALM, ["the memory of client grows by 1.10 MiB in 10 minutes"]),
        (0.0, replace(CALM, descriptors=21), ["client began with 20 file descriptors and ended with 21"]),
        (0.0, replace(CALM, threads=9), ["client began with 8 threads and ended with 9"]),
        (0.0, replace(CALM, pool=16), []),
        (0.0, replace(CALM, pool=17), ["client ended with 17 threads in gRPC's pool"]),
    ],
)
def test_a_leak_is_a_fault_and_nothing_else_is(growth: float, ended: Sample, faults: list[str]) -> None:
    assert Course("client", CALM, storm(growth), ended).faults() == faults


def test_a_calm_sample_has_the_lowest_values_of_its_calm() -> None:
    looks = [replace(CALM, descriptors=22, threads=8), replace(CALM, at_s=1.0, descriptors=20, threads=9)]
    assert least(looks) == replace(CALM, at_s=1.0)


def test_a_sample_describes_a_running_process() -> None:
    # A separate process: in this one, files that other tests left open may be closed at any moment.
    code = "import os; print(flush=True); input(); os.pipe(); print(flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        before = take(process.pid, 3.0)
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        after = take(process.pid, 4.0)
        process.communicate(b"\n", timeout=20)
    assert (after.at_s, after.descriptors - before.descriptors) == (4.0, 2)
    assert after.rss_mib > after.anonymous_mib > 1
    assert after.threads == 1
