"""Some benchmarks run to their end. These tests do not check any speed."""

import importlib

import pytest

from tests.bench.peers.comparison import PACKAGES, is_there
from tests.bench.scale import Scale
from tests.nights import by_day
from tests.servers import require

LEAST = Scale(rounds=2, calls=1_000, overrides=2_000, components=5)


@pytest.mark.parametrize(
    "name", by_day(["floor", "cli", "client", "components", "crowd", "fanout", "metrics", "page", "traces"], 2)
)
def test_a_benchmark_runs_to_its_end_and_gives_figures(name: str):
    rows = importlib.import_module(f"tests.bench.{name}").run(LEAST)

    assert len(rows) >= 5
    assert all(row.value.median >= 0 for row in rows if row.unit in ("ms", "us", "ns", "s", "bytes"))


def test_the_benchmark_of_tokens_runs_to_its_end():
    from tests.bench import access

    require("h2load")
    assert [row.unit for row in access.run(LEAST)] == ["calls/s", "calls/s", ""]


def test_the_benchmark_of_the_fast_listener_runs_to_its_end(monkeypatch: pytest.MonkeyPatch):
    from tests.bench import fast

    require("h2load")
    monkeypatch.setattr(fast, "WATCHERS", 20)
    # Building the clients of other languages takes minutes.
    monkeypatch.setattr(fast, "LANGUAGES", ())
    rows = fast.run(LEAST)
    last = "fast: 20 watchers, from Ramp's answer to the last one: p99"
    assert [row.name for row in rows if row.is_met is not None] == ["  ratio", "  ratio", last, "  ratio"]


def test_the_benchmark_of_other_servers_runs_to_its_end_without_their_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from tests.bench import other_servers
    from tests.bench.other_servers import programs

    require("h2load")
    monkeypatch.setattr(programs, "find", lambda program: print(f"no {program}"))
    rows = other_servers.run(LEAST)

    assert capsys.readouterr().out.split("\n")[:-1] == [
        f"no {each}" for each in ("flagd", "go-feature-flag", "flipt", "echo-go", "echo-tonic")
    ]
    assert [row.unit for row in rows] == [*["calls/s"] * 3, "", "", *["us"] * 3]


def test_the_benchmark_of_hostile_callers_runs_to_its_end(monkeypatch: pytest.MonkeyPatch):
    """With two kinds of callers. The other kinds differ only in what they send, and each takes some seconds."""
    from tests.bench import hostile

    require("h2load")
    kinds = ("flood of resolve", "slow handshakes")
    monkeypatch.setattr(hostile, "KINDS", {kind: hostile.KINDS[kind] for kind in kinds})
    rows = hostile.run(LEAST)

    assert [row.name.partition(":")[0].strip() for row in rows] == [
        each for kind in kinds for each in (kind, "p99 during", "ratio")
    ]


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


def test_servers_that_follow_changes_are_measured_and_other_numbers_of_them_computed():
    from tests.bench import many

    load = many.measured(servers=2, rate=10, components=20, window_s=8.0)
    # Ten commits a second, and a look of each server at each of them. A busy machine may make fewer.
    assert load.commands > load.scripts > 3
    assert load.kilobytes > 0
    model = many.Model.of(few=2, of_few=(10, 110), many=4, of_many=(20, 160), rate=10)
    row = model.row("commands", "a second", servers=20, rate=100)
    assert (row.value.median, row.name) == (
        20 * 5 + 100 * (6 + 20 * 2),
        "commands, 100 changes a second: 0 + 20 × 5 + 100 × (6 + 20 × 2)",
    )


def test_what_is_at_rest_sends_no_more_commands_than_the_servers_that_follow_it():
    """The goal is 10 commands a second for each server, whatever the number of rollouts under way."""
    from tests.bench import rest

    commands, processor = rest.measured(servers=2, rollouts=300, window_s=4.0)

    assert 0 < commands <= 2 * rest.PER_SERVER
    assert len(processor) == 2
