"""`rampd plan`: when each step comes, and how soon a bad release is found."""

from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest

from rampd import v1
from rampd.testing import RampdServer
from rampd_cli.commands import plan
from rampd_cli.planning.detection import Guards, Traffic, chances
from rampd_cli.planning.timeline import timeline
from rampd_server.domain.rollout.automation_policy import Automation
from tests.cli.conftest import Run
from tests.stats.tables import ABSOLUTE_TARGETS, TARGETS
from tests.stats.trial import Job, watch
from tests.waiting import eventually

WEEK = timedelta(days=7)
GUARDS = Guards(alpha=0.01, tolerance=1, max_failure_rate=0, maturation_s=0)


def policy(*steps: tuple[float, timedelta, int]) -> v1.Policy:
    return v1.Policy(steps=[v1.Step(percent=percent, hold=hold, min_jobs=jobs) for percent, hold, jobs in steps])


def test_a_step_lasts_until_its_hold_and_its_jobs() -> None:
    stages = timeline(policy((5, timedelta(minutes=10), 50), (25, timedelta(hours=1), 50)), 600)

    # 600 jobs an hour at 5 % are 30 jobs of next an hour.
    assert [(stage.begins_s, stage.ends_s) for stage in stages] == [(0, 6000), (6000, 9600)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_bad_release_is_found_after_as_many_jobs_as_the_document_says(target: Any) -> None:
    stages = timeline(policy((target.weight / 100, WEEK, 0)), 1_000)

    found = chances(stages, GUARDS, Traffic(1_000, 0, target.current), target.next)

    middle = found.by(0.5)
    assert middle is not None
    assert (found.runs, len(found.found)) == (200, 200)
    # 200 runs: the median is within a quarter.
    assert middle.jobs == pytest.approx(target.jobs, rel=0.25)
    assert middle.after_s == pytest.approx(middle.jobs * 3.6)
    assert middle.next_jobs == pytest.approx(middle.jobs * target.weight / 10_000)


@pytest.mark.parametrize(("rate", "jobs"), ABSOLUTE_TARGETS)
def test_the_absolute_guard_finds_as_the_document_says(rate: float, jobs: int) -> None:
    """If the relative guard is nearly off, expect the other one."""
    guards = Guards(alpha=1e-6, tolerance=10, max_failure_rate=0.1, maturation_s=0)
    found = chances(timeline(policy((10, WEEK, 0)), 1_000), guards, Traffic(1_000, 0, 0.1), rate).by(0.5)

    assert found is not None
    assert found.next_jobs == pytest.approx(jobs, rel=0.3)


def test_few_repos_are_found_as_the_rules_that_count_each_job_find_them() -> None:
    """Given 60 repos whose jobs come again and again, expect the same share of runs and the same median as a simulation of each
    job, with repos that fail once."""
    repos, rate, base, weight, jobs = 60, 0.3, 0.02, 5_000, 4_000

    def each_job(random: Random) -> int | None:
        buckets = [random.randrange(10_000) for _ in range(repos)]
        made = (random.randrange(repos) for _ in range(jobs))
        drawn = (
            Job(repo, weight, buckets[repo] < weight, random.random() < (rate if buckets[repo] < weight else base))
            for repo in made
        )
        return watch(drawn).relative

    each = sorted(found for run in range(200) if (found := each_job(Random(f"few {run}"))) is not None)
    stages = timeline(policy((weight / 100, timedelta(hours=4), 0)), jobs / 4)
    mine = chances(stages, GUARDS, Traffic(jobs / 4, repos, base), rate)

    assert len(mine.found) == pytest.approx(len(each), abs=30)
    assert mine.found[len(mine.found) // 2].jobs == pytest.approx(each[len(each) // 2], rel=0.3)


def test_ten_repos_are_too_few_to_find_anything() -> None:
    """Five repos of next fail always. Each counts once, so E stays at 12."""
    stages = timeline(policy((50, WEEK, 0)), 1_000)

    assert chances(stages, GUARDS, Traffic(1_000, 10, 0), 1.0).found == []
    assert len(chances(stages, GUARDS, Traffic(1_000, 0, 0), 1.0).found) == 200


def test_a_release_that_is_no_worse_is_nearly_never_found() -> None:
    stages = timeline(policy((10, WEEK, 0), (50, WEEK, 0)), 200)

    found = chances(stages, GUARDS, Traffic(200, 0, 0.02), 0.02)

    assert len(found.found) <= 7  # 1 % of 200, and three standard errors


def test_maturation_delays_and_the_same_question_has_the_same_answer() -> None:
    stages, traffic = timeline(policy((10, WEEK, 0)), 1_000), Traffic(1_000, 0, 0.01)
    late = Guards(alpha=0.01, tolerance=1, max_failure_rate=0, maturation_s=600)

    now, later = chances(stages, GUARDS, traffic, 0.5), chances(stages, late, traffic, 0.5)

    assert later.by(0.5).after_s == pytest.approx(now.by(0.5).after_s + 600)
    assert chances(stages, GUARDS, traffic, 0.5) == now


def test_the_defaults_of_a_file_are_those_of_the_server() -> None:
    automation = Automation()
    assert {name: getattr(automation, name) for name in plan._DEFAULTS} == plan._DEFAULTS
    assert automation.maturation_ms == 0


FILE = """\
policies:
  restyler:
    steps:
      - {percent: 10, hold: 10m, min_jobs: 100}
      - {percent: 50, hold: 1h, approval: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> str:
    (tmp_path / "p.yaml").write_text(FILE)
    return "p.yaml"


def test_what_the_policy_does_is_said_step_by_step(rampd: Run, rampd_server: RampdServer, file: str) -> None:
    rampd("release", "restyler", "1.0")
    rampd("policy", "apply", file)

    ran = rampd("plan", "restyler", "--jobs-per-hour", "500", "--current-failure-rate", "1")

    assert ran.code == 0
    assert ran.rows[:3] == [
        ["step", "10", "0", "0", "7200", "1000", "10 min and 100 jobs of next (2 h)"],
        ["step", "50", "7200", "1000", "10800", "1500", "1 h, then rampd resume restyler"],
        ["end", "100", "10800", "1500", "10800", "1500", "waits for rampd finalize restyler"],
    ]
    assert [row[:2] for row in ran.rows[3:]] == [["finds", rate] for rate in ("2", "5", "10", "50", "100")]
    assert ran.rows[-1][-1] == "not found in 0 of 200"
    assert ran.rows[3][2:4] == ["", ""]


def test_a_file_is_tried_without_a_change_and_the_rest_is_said(rampd: Run, file: str) -> None:
    tried = rampd("plan", "restyler", "--jobs-per-hour", "500", "--policy", file, "-o", "json")

    assert tried.code == 0
    assert tried.json["steps"][1]["approval"] is True
    assert any("supposed" in each for each in tried.json["assumptions"])
    assert tried.json["releases"][-1]["half"]["jobs"] < 100


def test_a_plan_that_lets_bad_releases_through_says_what_would_find_them(rampd: Run, tmp_path: Path) -> None:
    (tmp_path / "short.yaml").write_text(
        FILE.replace("10m", "1s").replace("1h", "1s").replace("min_jobs: 100", "min_jobs: 0")
    )

    words = ("--jobs-per-hour", "400", "--current-failure-rate", "1", "--policy", "short.yaml", "-o", "json")
    ran = rampd("plan", "restyler", *words)

    assert ran.json["advice"] == [
        "A release that fails 100 % of its jobs is not found in 200 of 200 simulated rollouts. To find it in 9 of 10, give the step "
        "at 50 % `hold: 4m` or `min_jobs: 13`."
    ]
    for line in ("hold: 4m", "hold: 1s, min_jobs: 13"):
        text = (tmp_path / "short.yaml").read_text()
        (tmp_path / "advised.yaml").write_text(text.replace("{percent: 50, hold: 1s", f"{{percent: 50, {line}"))
        advised = rampd("plan", "restyler", *(word.replace("short", "advised") for word in words))
        assert [each["nineOfTen"] for each in advised.json["releases"][-1:]] != [None]
        assert "100 %" not in " ".join(advised.json["advice"])


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--repos", "4"), "4 repos are too few, because each counts once."),
        (("--current-failure-rate", "45"), "there are too few jobs, or it is too little worse than current."),
    ],
    ids=["few repos", "little worse"],
)
def test_a_plan_that_a_longer_step_does_not_help_says_so(
    rampd: Run, file: str, words: tuple[str, ...], says: str
) -> None:
    ran = rampd("plan", "restyler", "--jobs-per-hour", "500", "--policy", file, *words, "-o", "json")

    [advice] = ran.json["advice"]
    assert advice.endswith(says)


def test_what_is_no_worse_than_current_is_not_looked_for(rampd: Run, file: str) -> None:
    ran = rampd("plan", "restyler", "--jobs-per-hour", "500", "--policy", file, "--current-failure-rate", "7")

    assert [row[-1] for row in ran.rows if row[0] == "finds"][:2] == ["no worse than current"] * 2


def test_a_component_without_a_plan_is_told_how_to_try_one(rampd: Run) -> None:
    rampd("release", "restyler", "1.0")

    ran = rampd("plan", "restyler", "--jobs-per-hour", "500")

    assert (ran.code, "--policy p.yaml" in ran.err) == (2, True)


def test_the_failure_rate_is_that_of_the_jobs_that_were_reported(
    rampd: Run, rampd_server: RampdServer, file: str
) -> None:
    rampd("release", "restyler", "1.0")
    rampd("policy", "apply", file)
    resolver, admin = rampd_server.resolver(), rampd_server.admin()
    for number in range(40):
        resolution = resolver.resolve("restyler", repo=f"acme/{number}")
        resolver.report(resolution, "restyler", repo=f"acme/{number}", succeeded=number > 1, duration=1)
    eventually(lambda: admin.get_rollout("restyler").current_outcomes.jobs == 40)

    ran = rampd("plan", "restyler", "--jobs-per-hour", "500", "-o", "json")

    assert "Current fails 5 % of its jobs: 2 of 40 reported jobs of 1.0." in ran.json["assumptions"]


DRAWN = """\
The plan of restyler
PERCENT  FROM          NEEDS
   10 %  rampd resume  10 min and 100 jobs of next (2 h)
   50 %  2 h           1 h, then rampd resume restyler
  100 %  3 h           waits for rampd finalize restyler

A release that is worse
       HALF FOUND AFTER       HALF AFTER  9 OF 10 AFTER   9 OF 10     NOT FOUND
FAILS  JOBS (OF NEXT)         TIME        JOBS (OF NEXT)  TIME        ROLLOUTS
  2 %  no worse than current
  5 %  -                      -           -               -           154 of 200
 10 %  806 (81)               1 h 37 min  1,266 (233)     2 h 32 min  6 of 200
 50 %  75 (8)                 9 min       153 (15)        18 min      0 of 200
100 %  29 (3)                 3 min 29 s  63 (6)          7 min 34 s  0 of 200
If next fails more often than current, rampd rolls back.
A release that fails 5 % of its jobs is not found in 154 of 200 simulated
rollouts. To find it in 9 of 10, give the step at 50 % `hold: 6h` or `min_jobs:
1500`.

What is assumed
500 jobs an hour, evenly spread, each of another repo.
Current fails 2 % of its jobs: as given.
Each outcome is reported at once, by fewer than five identities. Nobody pauses,
freezes or ramps.
A step that waits for approval is approved at once.
"""


@pytest.mark.parametrize("columns", [80, 120])
def test_a_person_sees_the_plan_in_80_columns(
    rampd: Run, file: str, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))

    words = ("--jobs-per-hour", "500", "--policy", file, "--current-failure-rate", "2", "-o", "table")
    lines = [line.rstrip() for line in rampd("plan", "restyler", *words).out.splitlines()]

    # Paragraphs are broken at another place.
    drawn = DRAWN.splitlines()
    assert " ".join(lines).split() == " ".join(drawn).split()
    assert lines[:15] == drawn[:15]
    assert max(map(len, lines)) <= columns
