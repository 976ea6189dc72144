"""The benchmarks of the command, of a local answer and of many watchers run to their end. These tests do not check any speed."""

import importlib

import pytest

from tests.bench.peers.comparison import PACKAGES, is_there
from tests.bench.scale import Scale

LEAST = Scale(rounds=2, calls=1_000, overrides=2_000, components=5)


@pytest.mark.parametrize("name", ["cli", "client", "crowd", "fanout", "floor", "metrics", "traces"])
@pytest.mark.timeout(300)
def test_a_benchmark_runs_to_its_end_and_gives_figures(name: str):
    rows = importlib.import_module(f"tests.bench.{name}").run(LEAST)

    assert len(rows) >= 5
    assert all(row.value.median >= 0 for row in rows if row.unit in ("ms", "us", "ns", "s", "bytes"))


def test_the_libraries_are_compared_if_installed_and_otherwise_left_out_with_one_line(
    capsys: pytest.CaptureFixture[str],
):
    """The libraries are an extra, which `make bench` installs. `run` checks the answers of each library before it measures."""
    from tests.bench import peers

    rows = peers.run(LEAST)
    if all(map(is_there, PACKAGES)):
        assert len(rows) >= 10
    else:
        assert rows == []
        assert "make bench" in capsys.readouterr().out
