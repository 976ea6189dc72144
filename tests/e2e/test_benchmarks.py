"""The benchmarks of a local answer and of many watchers run to their end. How fast anything is, is not looked at here."""

import importlib

import pytest

from tests.bench.peers.comparison import PACKAGES, is_there
from tests.bench.scale import Scale

LEAST = Scale(rounds=2, calls=1_000, overrides=2_000, components=5)


@pytest.mark.parametrize("name", ["client", "crowd", "fanout", "floor"])
def test_a_benchmark_finds_figures_for_all_that_it_measures(name: str):
    rows = importlib.import_module(f"tests.bench.{name}").run(LEAST)

    assert len(rows) >= 5
    assert all(row.value.median >= 0 for row in rows if row.unit in ("ms", "us", "ns", "s", "bytes"))


def test_the_libraries_are_compared_where_they_are_installed_and_left_out_in_one_line_else(
    capsys: pytest.CaptureFixture[str],
):
    """They are an extra, which `make bench` installs. `run` checks what each library answers before it measures."""
    from tests.bench import peers

    rows = peers.run(LEAST)
    if all(map(is_there, PACKAGES)):
        assert len(rows) >= 10
    else:
        assert rows == []
        assert "make bench" in capsys.readouterr().out
