"""As many overrides as a large team has: `rampd override import` and `rampd override export` as processes of their own."""

import math
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

from rampd.testing import RampdServer
from tests.cli.conftest import RAMPD, Ran, Run
from tests.nights import IS_NIGHT, by_day

ROWS = 100_000 if IS_NIGHT else 3_000
WRONG = (1, ROWS // 2, ROWS)
"""The rows that are wrong: the first, one in the middle, and the last."""
WITHIN_S = 60 + ROWS / 200
"""The time in which each command ends. On a busy machine it takes less than a tenth of it."""
HEADER = "repo,channel,tag,expire_time,delete\n"


def written(form: str, rows: Iterable[tuple[str, str]]) -> str:
    """A file with a row for each repo and its channel."""
    if form == "csv":
        return HEADER + "".join(f"{repo},{channel},,,\n" for repo, channel in rows)
    return "".join(f'{{"repo": "{repo}", "channel": "{channel}"}}\n' for repo, channel in rows)


def ends(*words: str) -> Ran:
    """Runs `rampd`, which ends in time."""
    ran = subprocess.run([*RAMPD, *words], capture_output=True, text=True, check=False, timeout=WITHIN_S)
    return Ran(ran.returncode, ran.stdout, ran.stderr)


@pytest.mark.parametrize("form", by_day(["csv", "jsonl"], 1))
def test_a_large_import_ends_in_time_with_what_it_did_and_which_rows_were_wrong(
    cli: Run, component: str, shared_server: RampdServer, tmp_path: Path, form: str
) -> None:
    shared_server.admin().release(component, "1.0")
    right = [f"acme/{number:06}" for number in range(1, ROWS + 1) if number not in WRONG]
    rows = ((f"acme/{number:06}", "both" if number in WRONG else "next") for number in range(1, ROWS + 1))
    name = f"o.{form}"
    (tmp_path / name).write_text(written(form, rows))

    first = ends("override", "import", component, name, "--skip-invalid")
    second = ends("override", "import", component, name, "--skip-invalid")
    exported = ends("override", "export", component)

    refused, told = first.err.splitlines()[: len(WRONG)], first.err.splitlines()[len(WRONG) :]
    revision = str(1 + math.ceil(len(right) / 1_000))
    assert (first.code, first.rows) == (0, [[component, str(len(right)), "0", "0", "0", str(len(WRONG)), revision]])
    assert [line.split()[0] for line in refused] == [f"{name}:{row + (form == 'csv')}:" for row in WRONG]
    assert (len(told) <= 10, told[-1]) == (True, f"Imported overrides: {len(right):,} of {len(right):,}")
    assert (second.code, second.rows) == (0, [[component, "0", "0", str(len(right)), "0", str(len(WRONG)), revision]])
    assert (exported.code, exported.out) == (0, written("csv", ((repo, "next") for repo in right)))
