"""The page of one component, over HTTP: what a browser without JavaScript reads, and what one with JavaScript is sent."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from google.rpc import code_pb2

from rampd import v1
from rampd._contract.wording import MISLEADING, counted
from rampd_server import testing
from rampd_server.page import live
from rampd_server.page.component.sections import SECTIONS
from rampd_server.page.person import Person
from rampd_server.rpc.call_error import CallError
from tests.rpc.access_table import Tokens
from tests.servers import Stubs, short_directory, stubs
from tests.stores import StoreServer
from tests.waiting import eventually

C = "restyler"
PATH = f"/components/{C}"
EVIL = "'\"><script>alert(1)</script>\u202egnp {{ 7 * 7 }}"
_VOID = frozenset({"meta", "link", "input", "br", "hr"})
_STREAM_S = 30.0


class Page(HTMLParser):
    """A page, by the ids of its elements."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.title = ""
        self.texts: dict[str, list[str]] = {}
        """What is written inside of an element, by its id."""
        self.links: dict[str, str] = {}
        """The addresses of links, by their text."""
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.data: dict[str, dict[str, str | None]] = {}
        self._open: list[tuple[str, str | None]] = []
        self._href: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = dict(attrs)
        self.tags.add(tag)
        self.attributes |= has.keys()
        name = has.get("id")
        if name is not None:
            self.texts[name] = []
            self.data[name] = has
        if tag == "a":
            self._href = has.get("href")
        if tag not in _VOID:
            self._open.append((tag, name))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        for _, name in self._open:
            if name is not None:
                self.texts[name].append(data)
        if self._open[-2:] == [("head", None), ("title", None)]:
            self.title += data
        if any(tag == "a" for tag, _ in self._open) and self._href is not None:
            self.links[data.strip()] = self._href

    def text(self, name: str) -> str:
        return " ".join(" ".join(self.texts[name]).split())


def page(http: httpx.Client, path: str = PATH, **query: str) -> Page:
    answer = http.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return Page(answer.text)


@pytest.fixture
def http(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url, timeout=60, trust_env=False) as client:
        yield client


@pytest.fixture
def rollout(call: Stubs) -> v1.Rollout:
    """Makes a rollout: next is release 2, at 10 %, and release 3 waits."""
    call("Release", component=C, tag="20200301")
    call("Release", component=C, tag="20200409", attributes={"commit": "1a2b"}, note="the new one")
    call("Release", component=C, tag="20200410")
    return call("Ramp", component=C, percent=10, note="carefully").rollout


@dataclass
class Stream:
    """What is sent while somebody looks."""

    lines: Iterator[str]
    sections: dict[str, str] = field(default_factory=dict)
    """The newest inside of each section."""
    patches: list[str] = field(default_factory=list)
    """The ids of all that were sent."""
    cursors: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def read(self) -> str:
        """Reads one event, and returns its kind."""
        found: dict[str, str] = {}
        for line in self.lines:
            if line:
                name, _, value = line.partition(": ")
                found[name.rstrip(":")] = value
            elif "event" in found:
                break
            else:
                found = {}
        kind, data = found.get("event", ""), found.get("data", "")
        if kind == "patch":
            patch = json.loads(data)
            self.sections[patch["key"]] = patch["html"]
            self.patches.append(patch["key"])
        elif kind == "refused":
            self.refusals.append(json.loads(data))
        if "id" in found:
            self.cursors.append(found["id"])
        return kind

    def until(self, name: str, says: str) -> None:
        """Reads until a section says something."""
        end = time.monotonic() + _STREAM_S
        while says not in self.sections.get(name, ""):
            assert self.read(), "the stream has ended"
            assert time.monotonic() < end

    def drawn(self) -> None:
        """Reads until everything was drawn once more."""
        while self.read() != "seen":
            pass


@contextlib.contextmanager
def stream(http: httpx.Client, path: str = f"{PATH}/live", **query: str) -> Iterator[Stream]:
    with http.stream("GET", path, params=query or None) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer.iter_lines())


def outcome(call: Stubs, repo: str, *, is_failed: bool = False) -> v1.Outcome:
    answer = call("Resolve", component=C, repo=repo)
    return v1.Outcome(
        component=C,
        release=answer.release,
        revision=answer.revision,
        channel=answer.channel,
        reason=answer.reason,
        repo=repo,
        result=v1.OUTCOME_RESULT_FAILED if is_failed else v1.OUTCOME_RESULT_SUCCEEDED,
    )


# What a browser without JavaScript reads


@pytest.mark.usefixtures("rollout")
def test_a_page_shows_where_a_component_stands(http: httpx.Client) -> None:
    shown = page(http)

    assert shown.title.strip() == "restyler · rampd"
    assert "restyler rolling out" in shown.text("head")
    assert "10 %" in shown.text("head")
    assert "20200409 is at 10 %." in shown.text("now")
    assert shown.text("queue").startswith("20200410")
    assert "commit 1a2b" in shown.text("channels")
    assert "Ramp" in shown.text("charts")
    assert "people ramp by hand" in shown.text("plan")
    assert "queue_mode FIFO" in shown.text("policy")


@pytest.mark.usefixtures("rollout")
def test_a_history_has_every_changed_field_and_each_event_can_be_linked(call: Stubs, http: httpx.Client) -> None:
    newest = call("ListEvents", component=C).events[0]

    shown = page(http)

    entry = shown.text(f"event-{newest.id}")
    assert "Ramp by anonymous" in entry
    assert "carefully" in entry
    assert "next_percent : 0 → 10" in entry
    linked = page(http, event=newest.id)
    assert "carefully" in linked.text(f"event-{newest.id}")


def test_a_page_leads_to_older_events_and_a_link_shows_its_event(call: Stubs, http: httpx.Client) -> None:
    call("Release", component=C, tag="1.0", note="the first")
    for number in range(60):
        call("SetOverride", component=C, repo=f"acme/app-{number}", tag="1.0")
    first = call("ListEvents", component=C, page_size=1000).events[-1]
    shown = page(http)
    assert "the first" not in shown.text("history")

    older = Page(http.get(PATH + shown.links["Older events"]).text)
    assert "the first" in older.text("history")
    assert shown.data["live"]["data-stream"] == f"{PATH}/live?"
    assert "before=" in (older.data["live"]["data-stream"] or "")

    assert "the first" in page(http, event=first.id).text(f"event-{first.id}")


def test_what_is_wrong_with_a_link_is_said_where_it_matters(call: Stubs, http: httpx.Client) -> None:
    call("Release", component=C, tag="1.0")

    shown = page(http, event="nothing", prefix="a b", repo="a b", overrides="\x00")

    assert "page_token" in shown.text("history")
    assert "prefix" in shown.text("overrides")
    assert "repo" in shown.text("answer")
    assert "1.0" in shown.text("head")


@pytest.mark.usefixtures("rollout")
def test_what_is_held_is_said_with_a_time_of_day(call: Stubs, http: httpx.Client) -> None:
    """The time beside it says how long ago, and goes on."""
    call("Rollback", component=C, note="it burns")

    said = page(http, "/").text(f"component-{C}")

    assert re.search(r"Held at [0-9:]{5} UTC: rolled back by ", said), said
    assert " ago" not in said


@pytest.mark.parametrize("path", ["/components/nothing", "/components/nothing/live", "/components/Not%20A%20Name"])
def test_a_component_that_is_not_there_is_said_not_to_be_there(path: str, http: httpx.Client) -> None:
    answer = http.get(path) if not path.endswith("/live") else None

    if answer is None:
        with stream(http, path) as found:
            found.drawn()
        assert "There is no component nothing any more" in found.sections["component"]
    else:
        assert answer.status_code == (404 if path.endswith("nothing") else 400)
        assert answer.headers["content-type"].startswith("text/html")


def test_a_component_that_is_not_there_is_said_in_the_words_of_a_person(http: httpx.Client) -> None:
    answer = http.get("/components/nothing")

    assert (
        "There is no component nothing. Its first release creates it: <code>rampd release nothing TAG</code>"
        in answer.text
    )
    assert Page(answer.text).links["All components"] == "/"
    assert "ListRollouts" not in answer.text
    assert "COMPONENT_NOT_FOUND" not in answer.text


def test_overrides_are_found_by_their_beginning_and_in_pages(call: Stubs, http: httpx.Client) -> None:
    call("Release", component=C, tag="1.0")
    for number in range(60):
        call("SetOverride", component=C, repo=f"acme/app-{number:02}", tag="1.0", note="try it")
    call("SetOverride", component=C, repo="other/*", channel=v1.CHANNEL_NEXT)

    first = page(http)
    assert "acme/app-00 the tag 1.0 never anonymous" in first.text("overrides")
    assert "other/*" not in first.text("overrides")
    second = Page(http.get(PATH + first.links["More overrides"]).text)
    assert "other/* next" in second.text("overrides")
    assert "acme/app-59" in second.text("overrides")

    found = page(http, prefix="other/")
    assert "other/*" in found.text("overrides")
    assert "acme/app" not in found.text("overrides")
    assert "No override begins with this" in page(http, prefix="nobody/").text("overrides")


def test_of_many_tags_in_quarantine_the_newest_are_shown_with_the_command_that_lists_all(
    call: Stubs, http: httpx.Client
) -> None:
    call("Release", component=C, tag="1.0")
    for number in range(53):
        call("Quarantine", component=C, tag=f"bad-{number:02}")

    shown = page(http).text("quarantine")

    assert "bad-52" in shown
    assert "bad-00" not in shown
    assert shown.count("bad-") == 50
    assert f"And 3 more. rampd quarantine list {C} lists all." in shown


@pytest.mark.usefixtures("rollout")
def test_a_version_is_explained_as_on_the_command_line(call: Stubs, http: httpx.Client) -> None:
    call("SetOverride", component=C, repo="acme/*", channel=v1.CHANNEL_NEXT, note="staff")

    said = page(http, repo="acme/app").text("answer")
    assert said.startswith("acme/app gets 20200409, next of restyler.")
    assert "An override of the prefix acme/* gives next. Set by anonymous" in said
    assert "staff" in said

    said = page(http, repo="other/app", job_id="17").text("answer")
    assert said.startswith("The job 17 of other/app gets 2020")
    assert "The id of the job has no effect, because a bucket belongs to a repo." in said


@pytest.mark.usefixtures("rollout")
def test_to_explain_a_repo_of_many_segments_is_one_call_more(
    call: Stubs, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, ask = list[str](), Person.ask

    async def asking(self: Person, message: Any, answer: Any) -> Any:
        if isinstance(message, v1.ListOverridesRequest):
            asked.append(message.prefix)
        return await ask(self, message, answer)

    monkeypatch.setattr(Person, "ask", asking)
    repo = "/".join("a" * 128)
    page(http, repo=repo)
    # The list of overrides, which is on every page.
    assert asked == [""]

    call("SetOverride", component=C, repo="a/*", tag="v9")
    asked.clear()
    assert "An override of the prefix a/* gives the tag v9" in page(http, repo=repo).text("answer")
    assert asked == ["", "a/*"]


@pytest.mark.usefixtures("rollout")
def test_an_override_that_has_ended_explains_nothing(call: Stubs, http: httpx.Client) -> None:
    ends = Timestamp()
    ends.FromNanoseconds(time.time_ns() + 500_000_000)
    call("SetOverride", component=C, repo="acme/app", tag="v8", expire_time=ends)
    call("SetOverride", component=C, repo="acme/*", tag="v9")
    eventually(lambda: call("Resolve", component=C, repo="acme/app").tag == "v9")

    assert "An override of the prefix acme/* gives the tag v9" in page(http, repo="acme/app").text("answer")


@pytest.mark.usefixtures("rollout")
def test_jobs_are_shown_over_time_and_as_the_reach_of_next(call: Stubs, http: httpx.Client) -> None:
    outcomes = [outcome(call, f"acme/app-{number}", is_failed=number % 2 == 0) for number in range(100)]
    call("ReportOutcomes", client_id="w1", sequence=1, outcomes=outcomes)
    of_next = [each for each in outcomes if each.channel == v1.CHANNEL_NEXT]
    failed = sum(each.result == v1.OUTCOME_RESULT_FAILED for each in of_next)
    assert of_next

    shown = page(http)

    assert f"{len(of_next)} of next." in shown.text("jobs-table")
    assert f"in all of its trials: {failed} of {len(of_next)} failed" in shown.text("blast")
    assert f"{len(of_next)} of the 100 repos that rampd saw" in shown.text("blast")
    assert re.search(rf"\b{counted(len(of_next), 'repo')} ha(s|ve) had a job that ran", shown.text("blast"))
    assert of_next[0].repo in shown.text("reached") or len(of_next) > 10


def test_a_rollback_is_marked_and_named_in_the_title(call: Stubs, http: httpx.Client, rollout: v1.Rollout) -> None:
    call("Rollback", component=C, note="it breaks")

    shown = page(http)

    assert shown.title.strip() == "HELD: restyler · rampd"
    assert 'class="mark bad"' in shown.html
    assert 'class="band held"' in shown.html
    assert "it breaks" in shown.text("now")


def test_a_freeze_of_everything_is_on_the_page_of_a_component(
    call: Stubs, http: httpx.Client, rollout: v1.Rollout
) -> None:
    call("Freeze", all=True, note="holidays")

    shown = page(http)

    assert "Everything is frozen by anonymous" in shown.text("now")
    assert 'class="band frozen"' in shown.html
    assert "Freeze anonymous" in shown.text("percent-table")


@pytest.mark.usefixtures("rollout")
def test_a_plan_says_what_comes_next(call: Stubs, http: httpx.Client) -> None:
    policy = v1.Policy(steps=[v1.Step(percent=5), v1.Step(percent=20), v1.Step(percent=50)])
    policy.steps[0].hold.seconds = policy.steps[1].hold.seconds = 3600
    call("SetPolicy", component=C, policy=policy, update_mask={"paths": ["steps"]})
    call("Resume", component=C)

    eventually(lambda: "at the earliest, in 5" in page(http).text("now"))
    shown = page(http)
    assert "50 % at" in shown.text("now")
    assert "20 % for 1 h now" in shown.text("plan")
    assert "to go" in shown.text("now")


def test_what_people_write_is_shown_as_text(call: Stubs, http: httpx.Client) -> None:
    call("Release", component=C, tag="1.0")
    call("Release", component=C, tag="2.0", attributes={"link": EVIL}, note=EVIL)
    call("Rollback", component=C, note=EVIL)
    call("SetOverride", component=C, repo="<b>/*", tag="1.0", note=EVIL)
    call("Quarantine", component=C, tag="0.1", note=EVIL)

    shown = page(http, repo="<b>/x", prefix="<b>")

    assert shown.html.count("<script") == 1  # the page's own
    assert not {name for name in shown.attributes if name == "style" or name.startswith("on")}
    assert {character for character in shown.html if character in MISLEADING} <= {"\n"}
    for name in ("now", "channels", "overrides", "quarantine", "history", "answer"):
        assert "<script>alert(1)</script>" in shown.text(name), name
    assert "\\u202egnp {{ 7 * 7 }}" in shown.text("history")


def test_a_page_lets_nothing_from_elsewhere_run(call: Stubs, http: httpx.Client) -> None:
    call("Release", component=C, tag="1.0")

    headers = http.get(PATH).headers

    assert "default-src 'none'" in headers["content-security-policy"]
    assert "unsafe" not in headers["content-security-policy"]
    assert headers["cache-control"] == "no-store"


def test_a_damaged_component_says_what_is_wrong(
    call: Stubs, http: httpx.Client, store_process: StoreServer, namespace: str
) -> None:
    import redis

    call("Release", component=C, tag="1.0")
    client = redis.Redis.from_url(store_process.url)
    key = next(each for each in client.scan_iter(f"*{namespace}*rollout*") if C.encode() in each)
    client.hset(key, "current", "x")

    shown = page(http)

    assert shown.title.strip() == "damaged: restyler · rampd"
    assert "Its data in the store is damaged" in shown.text("now")
    assert "Release by anonymous" in shown.text("history")


# What a browser with JavaScript is sent


@pytest.mark.usefixtures("rollout")
def test_a_change_is_sent_and_what_is_the_same_is_not(call: Stubs, http: httpx.Client) -> None:
    shown = page(http)
    with stream(http, cursor=shown.data["live"]["data-cursor"] or "") as found:
        found.drawn()
        assert set(found.patches) == set(SECTIONS)
        found.patches.clear()

        call("Ramp", component=C, percent=55)
        found.until("head", "55 %")
        found.until("history", "10 → 55")

    assert not {"plan", "answer", "policy"} & set(found.patches)


@pytest.mark.usefixtures("rollout")
def test_jobs_come_without_a_change_of_the_component(call: Stubs, http: httpx.Client) -> None:
    with stream(http) as found:
        found.drawn()
        call("ReportOutcomes", client_id="w1", sequence=1, outcomes=[outcome(call, "acme/app")])
        found.until("charts", "1 of current")


@pytest.mark.usefixtures("rollout")
def test_a_freeze_of_everything_comes_with_its_mark(
    call: Stubs, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given a page that is open, expect the freeze at its time, and not over the whole time that is shown."""
    monkeypatch.setattr(live, "LOOK_S", 0.1)
    with stream(http) as found:
        found.drawn()
        call("Freeze", all=True, note="holidays")
        found.until("charts", "Freeze by anonymous")
        call("Unfreeze", all=True)
        found.until("charts", "Unfreeze by anonymous")


@pytest.mark.usefixtures("rollout")
def test_what_could_not_be_read_is_read_again_without_a_change_of_the_component(
    call: Stubs, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Given overrides that can't be read for a while, expect that the page says so all the time, and shows them afterwards."""
    ask, is_well = Person.ask, False

    async def failing(self: Person, message: Any, answer: Any) -> Any:
        if isinstance(message, v1.ListOverridesRequest) and not is_well:
            raise CallError.plain(code_pb2.UNAVAILABLE, "Redis did not answer in time.")
        return await ask(self, message, answer)

    call("SetOverride", component=C, repo="acme/app", tag="v9")
    monkeypatch.setattr(Person, "ask", failing)
    monkeypatch.setattr(live, "LOOK_S", 0.1)
    with stream(http) as found:
        found.until("now", "could not be read: Redis did not answer in time.")
        for _ in range(3):
            found.drawn()
        assert "could not be read" in found.sections["now"]
        is_well = True
        found.until("overrides", "acme/app")
        assert "could not be read" not in found.sections["now"]


@pytest.mark.usefixtures("rollout")
def test_a_stream_goes_on_after_what_a_browser_has_seen(call: Stubs, http: httpx.Client) -> None:
    with stream(http) as found:
        found.drawn()
        found.drawn()
    call("Ramp", component=C, percent=55)

    with stream(http, cursor=found.cursors[-1]) as again:
        again.until("head", "55 %")
    assert "only" not in again.patches


@pytest.mark.usefixtures("rollout")
def test_a_stream_draws_what_the_page_was_asked_for(call: Stubs, http: httpx.Client) -> None:
    call("SetOverride", component=C, repo="acme/app", tag="1.0")
    shown = page(http, prefix="other/", repo="acme/app", span="day")

    with stream(http, shown.data["live"]["data-stream"] or "") as found:
        found.drawn()

    assert "No override begins with this" in found.sections["overrides"]
    assert "acme/app gets 1.0" in found.sections["answer"]
    assert 'aria-current="true">day' in found.sections["charts"]


@pytest.mark.usefixtures("rollout")
def test_a_component_that_is_deleted_goes_from_the_page(call: Stubs, http: httpx.Client) -> None:
    with stream(http) as found:
        found.drawn()
        call("DeleteComponent", component=C, confirm=C)
        found.until("component", "There is no component restyler any more")


@pytest.mark.usefixtures("rollout")
def test_a_row_of_all_components_has_its_percent_over_time(call: Stubs, http: httpx.Client) -> None:
    call("Release", component="steady", tag="1.0")

    shown = Page(http.get("/").text)
    assert shown.html.count('class="course"') == 1

    with stream(http, "/live", cursor=shown.data["live"]["data-cursor"] or "") as found:
        found.drawn()
        before = found.sections[f"component-{C}"]
        call("Ramp", component=C, percent=80)
        found.until(f"component-{C}", "80 %")
    assert 'class="course"' in before
    assert found.sections[f"component-{C}"].count("V") > before.count("V")


# Who may see it


def test_a_component_that_one_may_not_see_is_not_there(store_process: StoreServer, namespace: str) -> None:
    with short_directory() as directory:
        tokens = Tokens(directory / "access.toml")
        tokens.grant("all", "admin")
        tokens.grant("few", "viewer", 'components = ["other*"]')
        settings: dict[str, Any] = {"access_file": tokens.path, "insecure_admin": False, "namespace": namespace}
        with (
            testing.listening(directory, store_process.url, http="127.0.0.1:0", **settings) as at,
            httpx.Client(base_url=f"http://{at.http}", timeout=60, trust_env=False) as http,
            stubs(str(at.grpc)) as call,
        ):
            release = v1.ReleaseRequest(component=C, tag="1.0")
            method = call.channel.unary_unary(
                "/rampd.v1.ReleaseService/Release",
                request_serializer=v1.ReleaseRequest.SerializeToString,
                response_deserializer=v1.ReleaseResponse.FromString,
            )
            method(release, metadata=tokens.metadata("all"), timeout=60)
            as_few = {"authorization": f"Bearer {tokens.of['few']}"}

            hidden, absent = (http.get(f"/components/{name}", headers=as_few) for name in (C, "nothing"))
            assert hidden.status_code == absent.status_code == 404
            assert hidden.text.replace(C, "nothing") == absent.text

            as_all = {"authorization": f"Bearer {tokens.of['all']}"}
            assert http.get(PATH, headers=as_all).status_code == 200
            assert http.get(PATH).status_code == 303
            with http.stream("GET", f"{PATH}/live", headers=as_few) as answer:
                found = Stream(answer.iter_lines())
                found.drawn()
            assert "There is no component restyler any more" in found.sections["component"]
            assert "1.0" not in "".join(found.sections.values())
