"""`rampd explain`: which rule gives a repo its version, and what each server answers."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from rampd import Admin, Channel, v1
from rampd._decision.bucketing import bucket
from rampd._decision.resolution import Resolution
from rampd._standing.clock import Clock
from rampd._standing.explanation import Explanation, outcome, why, would
from rampd.errors import UnavailableError
from rampd.testing import RampdServer
from rampd.testing._server import running_server
from rampd_cli.explaining.comparison import Asked, difference
from rampd_cli.explaining.showing import shown
from tests.cli.conftest import Ran, Run
from tests.cli.golden import assert_golden
from tests.rpc.scripted_server import scripted_server

NOW = datetime(2026, 11, 27, 14, 5, 3, tzinfo=UTC)
CLOCK = Clock(NOW, is_utc=True)
HOSTILE = "a\x1b[2Jb\r\nc\u202ed[red]"
BUCKET = bucket("restyler", 2, "acme/app")


def rollout(state: str = "ROLLING_OUT", percent: float = 0, unit: v1.Unit = v1.UNIT_REPO) -> v1.Rollout:
    found = v1.Rollout(
        component="restyler",
        state=v1.RolloutState.Value(f"ROLLOUT_STATE_{state}"),
        current=v1.Release(number=1, tag="20200301"),
        revision=12,
        next_percent=percent,
        unit=unit,
    )
    if state != "STEADY":
        found.next.CopyFrom(v1.Release(number=2, tag="20200409"))
    if state == "HELD":
        found.held_reason = "rolled back by ada: errors."
    return found


def override(repo: str, tag: str = "", channel: v1.Channel = v1.CHANNEL_UNSPECIFIED) -> v1.Override:
    made = v1.Override(repo=repo, tag=tag, channel=channel, actor="ada", actor_claimed=True, note="she tries it")
    made.create_time.FromDatetime(NOW - timedelta(days=3))
    made.expire_time.FromDatetime(NOW + timedelta(hours=2))
    return made


def known(*args: object, by: v1.Override | None = None, job_id: str = "", **kwargs: object) -> Explanation:
    return Explanation(rollout(*args, **kwargs), by, "acme/app", job_id)  # type: ignore[arg-type]


FROM = (BUCKET + 1) / 100
BY_ADA = "Set by ada (claimed) 3 days ago (24 Nov 14:05 UTC): “she tries it”. It ends 16:05 UTC (in 2 h)."
TO_NEXT = v1.CHANNEL_NEXT
CASES = {
    "steady": (known("STEADY"), "20200301", "There is no rollout: everybody gets current, 20200301.", "new buckets"),
    "at 0 %": (
        known(percent=0),
        "20200301",
        f"Bucket {BUCKET:,} >= 0 (0 % of 10,000): current.",
        f"From {FROM:g} % on: 20200409.",
    ),
    "at the last percent": (known(percent=FROM - 0.01), "20200301", f"{BUCKET:,} >= {BUCKET:,}", f"From {FROM:g} %"),
    "from the first percent": (
        known(percent=FROM),
        "20200409",
        f"Bucket {BUCKET:,} < {BUCKET + 1:,} ({FROM:g} % of 10,000): next.",
        f"Below {FROM:g} %: 20200301.",
    ),
    "held": (
        known("HELD"),
        "20200301",
        "Next is HELD, so everybody gets current: rolled back by ada: errors.",
        f"After a Ramp: 20200409 from {FROM:g} % on.",
    ),
    "tag": (
        known(by=override("acme/app", tag="pb/secret")),
        "pb/secret",
        f"An override of the repo itself gives the tag pb/secret. {BY_ADA}",
        f"Without the override: 20200301 (from {FROM:g} % on: 20200409).",
    ),
    "prefix to next": (
        known(by=override("acme/*", channel=TO_NEXT), percent=100),
        "20200409",
        f"An override of the prefix acme/* gives next. {BY_ADA}",
        f"Without the override: 20200409 (below {FROM:g} %: 20200301).",
    ),
    "next, but held": (
        known("HELD", by=override("acme/*", channel=TO_NEXT)),
        "20200301",
        "An override of the prefix acme/* gives next, and next is HELD, so it gives current. Set",
        "Without the override: 20200301",
    ),
    "next, but steady": (
        known("STEADY", by=override("acme/app", channel=TO_NEXT)),
        "20200301",
        "gives next, and there is no next, so it gives current. Set",
        "Without the override: 20200301.",
    ),
    "of an old server": (
        known(by=v1.Override(repo="acme/app", channel=v1.CHANNEL_CURRENT)),
        "20200301",
        "An override of the repo itself gives current. It has no end.",
        "Without",
    ),
    "all jobs": (
        known(percent=25, unit=v1.UNIT_JOB),
        "20200301",
        "Each job draws a bucket of its own: 25 % of the jobs get next, 20200409. A job without an id has the bucket of",
        f"A job without an id gets 20200409 from {FROM:g} % on.",
    ),
    "one job": (
        known(percent=100, unit=v1.UNIT_JOB, job_id="42"),
        "20200409",
        f"Bucket {bucket('restyler', 2, '42'):,} of the job 42 < 10,000 (100 % of 10,000): next.",
        "Below",
    ),
    "a job that draws nothing": (known(job_id="42"), "20200301", "The id of the job has no effect", "From"),
}


@pytest.mark.parametrize("case", CASES)
def test_each_rule_is_named_with_what_would_change_it(case: str) -> None:
    explanation, tag, rule, change = CASES[case]
    assert explanation.answer.tag == tag
    assert rule in why(explanation, CLOCK)
    assert change in would(explanation)


def test_the_bucket_of_the_example_is_neither_first_nor_last() -> None:
    assert 100 < BUCKET < 9_900


def test_jobs_that_draw_for_themselves_have_shares() -> None:
    assert outcome(CASES["all jobs"][0]) == (
        "25 % of the jobs of acme/app get 20200409, next of restyler. The others get 20200301, current."
    )
    assert outcome(CASES["one job"][0]) == "The job 42 of acme/app gets 20200409, next of restyler."
    assert outcome(CASES["tag"][0]) == "acme/app gets pb/secret, a fixed tag of restyler."


def answered(tag: str = "20200301", **fields: object) -> Resolution:
    from rampd._calls.resolve_call import resolution_of

    response = v1.ResolveResponse(
        **{
            "tag": tag,
            "channel": v1.CHANNEL_CURRENT,
            "reason": v1.RESOLVE_REASON_WEIGHT,
            "release": 1,
            "bucket": BUCKET,
            "revision": 12,
            **fields,
        }
    )
    return resolution_of(response)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (answered(), ""),
        (answered("20200409"), "not 20200301"),
        (answered(revision=9), "behind revision 12"),
        (answered(revision=13), "ahead of revision 12"),
        (answered(bucket=3), f"not bucket {BUCKET}"),
        (answered(reason=v1.RESOLVE_REASON_STALE), "not WEIGHT, its state is too old to give next"),
        (UnavailableError("It is down."), "It is down. (UNAVAILABLE)"),
    ],
)
def test_an_answer_that_differs_says_how(answer: Resolution, told: str) -> None:
    assert difference(known(), Asked("s", answer)) == told


@pytest.mark.parametrize("width", [80, 120])
def test_a_terminal_shows_the_rule_and_the_answers(width: int) -> None:
    console = Console(file=io.StringIO(), width=width, color_system=None, markup=False, highlight=False, emoji=False)
    assert isinstance(console.file, io.StringIO)
    for case in ("from the first percent", "held", "tag", "all jobs"):
        explanation = CASES[case][0]
        asked = [
            Asked("10.0.0.1:50051", explanation.answer),
            Asked("10.0.0.2:50051", answered("20200228", revision=11, stale=True)),
            Asked(
                "10.0.0.3:50051", UnavailableError("Can't reach a rampd server at 10.0.0.3:50051: Connection refused")
            ),
        ]
        shown(explanation, asked, CLOCK, is_for_programs=False).draw(console)
        console.print()
    assert_golden(f"explain-{width}", console.file.getvalue())


def test_no_text_of_a_server_is_more_than_text() -> None:
    hostile = override("acme/app", tag=HOSTILE)
    hostile.actor = hostile.note = HOSTILE
    explanation = known("HELD", by=hostile)
    explanation.rollout.component = explanation.rollout.held_reason = explanation.rollout.current.tag = HOSTILE
    console = Console(file=io.StringIO(), width=1000, color_system=None, markup=False, highlight=False, emoji=False)
    assert isinstance(console.file, io.StringIO)

    asked = [Asked("s", answered(HOSTILE)), Asked("s", UnavailableError(HOSTILE, reason=HOSTILE))]
    shown(explanation, asked, CLOCK, is_for_programs=False).draw(console)
    shown(known("HELD"), [], CLOCK, is_for_programs=False).draw(console)

    assert console.file.getvalue().replace("\n", "").isprintable()


# Against real servers.


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[RampdServer, RampdServer]]:
    """Two servers that know nothing of each other."""
    with running_server() as first, running_server() as second:
        for server, percent in ((first, 10), (second, 90)):
            admin = server.admin(actor="ada")
            admin.release("restyler", "20200301")
            admin.release("restyler", "20200409")
            admin.ramp("restyler", percent)
        yield first, second


@pytest.fixture
def admin(servers: tuple[RampdServer, RampdServer]) -> Admin:
    return servers[0].admin(actor="ada")


@pytest.fixture
def explain(run: Run, servers: tuple[RampdServer, RampdServer]) -> Run:
    def explain(*words: str) -> Ran:
        return run("explain", "restyler", *words, "--server", servers[0].target)

    return explain


@pytest.mark.parametrize("number", range(8))
def test_the_computed_answer_is_that_of_the_server(explain: Run, number: int) -> None:
    ran = explain(f"acme/{number}")
    computed, server = ran.rows
    assert (ran.code, ran.err) == (0, "")
    assert computed[0] == "computed"
    assert computed[1:7] == server[1:7]
    assert server[7:] == ["no", ""]


@pytest.mark.parametrize(
    ("repo", "choice", "tag"),
    [
        ("own/app", {"tag": "pb/one"}, "pb/one"),
        ("group/sub/*", {"tag": "pb/two"}, "pb/two"),
        ("group/*", {"channel": Channel.NEXT}, "20200409"),
    ],
)
def test_an_override_says_who_set_it_when_and_why(
    explain: Run, admin: Admin, repo: str, choice: dict[str, object], tag: str
) -> None:
    asked = repo.replace("*", "app")
    admin.set_override("restyler", repo, note="a try", expire_time=datetime.now(UTC) + timedelta(hours=3), **choice)  # type: ignore[arg-type]

    ran = explain(asked, "-o", "json")

    found = ran.json
    assert (ran.code, found["answer"]["tag"], found["override"]["repo"]) == (0, tag, repo)
    assert "Set by ada (claimed) " in found["why"]
    assert "“a try”. It ends " in found["why"]
    assert found["override"]["actor"] == "ada"
    [server] = found["servers"]
    assert (server["answer"]["tag"], server["difference"]) == (tag, "")


def test_the_longest_prefix_decides(explain: Run, admin: Admin) -> None:
    admin.set_override("restyler", "long/*", tag="pb/short")
    admin.set_override("restyler", "long/er/*", tag="pb/long")
    admin.set_override("restyler", "long/er/app-2", tag="pb/other")
    computed, server = explain("long/er/app").rows
    assert (computed[1], server[1], server[-1]) == ("pb/long", "pb/long", "")
    assert "the prefix long/er/*" in computed[-1]


def test_servers_that_differ_are_marked(run: Run, servers: tuple[RampdServer, RampdServer]) -> None:
    moved = next(name for name in map("acme/{}".format, range(100)) if 1_000 <= bucket("restyler", 2, name) < 9_000)
    places = [word for server in servers for word in ("--server", server.target)]

    ran = run("explain", "restyler", moved, *places)

    computed, first, second = ran.rows
    assert ran.code == 0
    assert (computed[1], first[1], second[1]) == ("20200301", "20200301", "20200409")
    assert (first[-1], second[-1].split(",")[0]) == ("", "not 20200301")
    table = run("explain", "restyler", moved, *places, "-o", "table").out
    assert [line.split()[-1] for line in table.splitlines() if "WEIGHT" in line] == ["agrees", "differs"]


def test_a_server_that_does_not_answer_is_shown_and_has_the_code_3(run: Run, explain: Run) -> None:
    ran = explain("acme/app", "--server", "127.0.0.1:1", "-o", "json")
    dead, alive = ran.json["servers"]
    assert (ran.code, ran.err) == (3, "")
    assert (dead["error"]["reason"], alive["difference"]) == ("UNAVAILABLE", "")
    assert run("explain", "restyler", "acme/app", "--server", "127.0.0.1:1").code == 3


def test_what_is_no_component_and_no_repo_is_refused(run: Run, explain: Run, servers: tuple[RampdServer, ...]) -> None:
    assert run("explain", "nobody", "acme/app", "--server", servers[0].target).code == 1
    assert explain("no repo").code == 2


def test_a_state_that_makes_no_sense_is_an_error_without_a_traceback(
    explain: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admin, "get_rollout", lambda *_: v1.Rollout(component="restyler"))
    ran = explain("acme/app")
    assert ran.code == 1
    assert "makes no sense" in ran.err


NEWER = {
    "restyler has a state (9)": ({"state": 9}, None),
    "restyler has a unit of buckets (7)": ({"state": v1.ROLLOUT_STATE_STEADY, "unit": 7}, None),
    "The override of acme/app is of a kind": ({"state": v1.ROLLOUT_STATE_STEADY}, v1.Override(repo="acme/app")),
    "The override of acme/* is of a kind": ({"state": 1}, v1.Override(repo="acme/*", channel=7)),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", NEWER)
def test_what_only_a_newer_server_knows_is_named_with_how_to_update(run: Run, what: str) -> None:
    """Given a server that knows more, expect no guess, and no word of a defect."""
    fields, by = NEWER[what]
    with scripted_server() as server:
        server.answers["GetRollout"] = [v1.GetRolloutResponse(rollout=v1.Rollout(component="restyler", **fields))]
        server.answers["ListOverrides"] = [v1.ListOverridesResponse(overrides=[by] if by else [])]

        ran = run("explain", "restyler", "acme/app", "--server", server.target)

    assert (ran.code, ran.out, ran.err) == (
        1,
        "",
        f"rampd: {what} that this rampd does not know, because it is older than the server. Update rampd: pip install --upgrade "
        "'rampd[cli]' (NOT_IMPLEMENTED)\n",
    )


def test_a_change_in_between_is_asked_about_once_more(explain: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a change between the answers, as the first state is older, expect the state after it, and no difference."""
    read, asked = Admin.get_rollout, []

    def get_rollout(admin: Admin, component: str) -> v1.Rollout:
        found = read(admin, component)
        asked.append(component)
        if len(asked) == 1:
            found.revision -= 1
            found.next_percent = 100
        return found

    monkeypatch.setattr(Admin, "get_rollout", get_rollout)

    computed, server = explain("acme/app").rows

    assert len(asked) == 2
    assert (computed[1:7], server[-1]) == (server[1:7], "")
