"""The table of `make bench-peers`, from recorded figures. The run itself needs programs of other projects."""

import re
from pathlib import Path

import pytest

from tests.bench.other_servers import programs
from tests.bench.other_servers.comparison import FAST, GRPCIO, report
from tests.bench.other_servers.echoes import GO
from tests.bench.other_servers.opponents import FLAGD, FLIPT, GO_FEATURE_FLAG
from tests.bench.report import table

RATES = {
    FAST: [28_000.0],
    GRPCIO: [5_600.0],
    FLAGD: [7_000.0],
    GO_FEATURE_FLAG: [20_000.0],
    FLIPT: [20_000.0],
    GO: [80_000.0],
}
P50S = {FAST: [120.0], FLIPT: [150.0], GO: [100.0]}


def test_the_fast_listener_is_compared_with_each_server_and_with_the_goals() -> None:
    lines = [re.split(" {2,}", line.strip()) for line in table({"peers": report(RATES, P50S)}).splitlines()[1:]]

    assert lines[0] == ["rampd, fast listener: 64 at once", "28,000 calls/s"]
    assert [words for words in lines if words[0].startswith("fast")] == [
        ["fast listener against rampd, grpcio", "5"],
        ["fast listener against flagd", "4", "at least 5", "MISSED"],
        ["fast listener against GO Feature Flag", "1.4"],
        ["fast listener against Flipt", "1.4", "at least 1.2", "met"],
        ["fast listener against echo of grpc-go", "0.35"],
        ["fast listener against echo of grpc-go", "1.2", "at most 1.5", "met"],
    ]
    assert len(lines) == len(RATES) + len(P50S) + 6


def test_a_server_that_is_not_there_has_no_goal() -> None:
    rows = report({name: RATES[name] for name in (FAST, GRPCIO)}, {FAST: [120.0]})

    assert [row.name for row in rows] == [
        f"{FAST}: 64 at once",
        f"{GRPCIO}: 64 at once",
        f"  fast listener against {GRPCIO}",
        f"{FAST}: one by one, p50",
    ]


def test_a_program_is_looked_for_in_build_peers_first_and_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "bin"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(elsewhere))
    assert programs.find("flagd") is None
    assert capsys.readouterr().out.strip() == "left out: flagd is neither in build/peers nor on the PATH"

    for folder in (elsewhere, tmp_path / programs.FOLDER):
        folder.mkdir(parents=True)
        (folder / "flagd").touch(mode=0o755)
        assert programs.find("flagd") == str(folder / "flagd")
