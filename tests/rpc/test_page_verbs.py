"""What a person does on the page, over HTTP and without JavaScript: each verb by its form, refusals, and forms of other sites."""

import html
import re
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
from google.protobuf.duration_pb2 import Duration

from rampd import v1
from rampd_server import testing
from rampd_server.page.session import FORM_KEY
from rampd_server.page.verbs import VERBS
from tests.rpc.access_table import Tokens
from tests.servers import Stubs, short_directory
from tests.stores import StoreServer
from tests.verb_pages import Browser, Page

C = "restyler"
RAMP = f"/components/{C}/ramp"
ROLLBACK = f"/components/{C}/rollback"


Browse = Callable[..., Browser]


@pytest.fixture
def browse() -> Iterator[Browse]:
    """Makes browsers, each of a person, and closes them."""
    with ExitStack() as stack:
        yield lambda url, token="": stack.enter_context(Browser(url, token))


@pytest.fixture
def browser(browse: Browse, url: str) -> Browser:
    return browse(url)


@pytest.fixture
def rolling(call: Stubs) -> None:
    """Given A, then B as next at 10 %, and C in the queue."""
    for tag in ("A", "B", "C"):
        call("Release", component=C, tag=tag)
    call("Ramp", component=C, percent=10)


def now(call: Stubs) -> v1.Rollout:
    found: v1.Rollout = call("GetRollout", component=C).rollout
    return found


def last(call: Stubs) -> v1.Event:
    found: v1.Event = call("ListEvents", component=C, page_size=1).events[0]
    return found


# Looking and doing


@pytest.mark.usefixtures("rolling")
def test_a_form_shows_what_will_happen_and_its_button_does_it(call: Stubs, browser: Browser) -> None:
    before = now(call)
    empty = browser.get(RAMP, tag="B", revision=str(before.revision))
    assert (empty.status, empty.button) == (200, None)
    looked = browser.look(empty, percent="25", note="looks good")
    assert "What would happen Afterwards: B is at 25 %." in looked.text
    assert now(call) == before
    done = browser.send(looked)
    assert done.status == 200
    assert "B is at 25 %." in done.text
    assert now(call).next_percent == 25
    assert (last(call).action, last(call).note) == ("Ramp", "looks good")


@pytest.mark.usefixtures("rolling")
def test_a_rollback_is_two_taps_from_the_front_page(call: Stubs, browser: Browser) -> None:
    form = browser.get(browser.get("/").links["Roll back"])
    assert "Everybody gets A" in form.text
    done = browser.send(form)
    assert "Everybody gets A" in done.text
    assert now(call).state == v1.ROLLOUT_STATE_HELD
    assert "Roll back" not in browser.get("/").links


def test_a_confirm_is_two_taps_from_the_front_page(call: Stubs, browser: Browser) -> None:
    for tag in ("A", "B"):
        call("Release", component=C, tag=tag)
    call("Ramp", component=C, percent=10)
    assert "Confirm" not in browser.get("/").links
    call("Ramp", component=C, percent=20, confirm_within=Duration(seconds=600))

    browser.send(browser.get(browser.get("/").links["Confirm"]))

    assert not now(call).HasField("confirm_deadline")
    assert now(call).next_percent == 20


def test_a_revert_is_two_taps_from_the_front_page(call: Stubs, browser: Browser) -> None:
    for tag in ("A", "B"):
        call("Release", component=C, tag=tag, expedite=tag == "B")
    browser.send(browser.get(browser.get("/").links["Revert"]))
    assert now(call).current.tag == "A"
    assert [each.tag for each in call("ListQuarantine", component=C).tags] == ["B"]


def test_a_second_revert_goes_back_only_to_a_version_that_is_chosen(call: Stubs, browser: Browser) -> None:
    for tag in ("A", "B", "D"):
        call("Release", component=C, tag=tag, expedite=True)
    call("Revert", component=C)
    form = browser.get(f"/components/{C}/revert")
    assert form.button is None
    assert "Nothing would change" in form.text
    assert form.offers["tag"] == ["", "A"]
    browser.send(browser.look(form, tag="A", quarantine=""))
    assert now(call).current.tag == "A"
    assert [each.tag for each in call("ListQuarantine", component=C).tags] == ["D"]


class Case(NamedTuple):
    """A verb that is done by its form."""

    state: str
    """What was done before."""
    word: str
    filled: Mapping[str, str]
    action: str
    """That of the history."""
    after: Mapping[str, Any] = {}
    """Fields of the rollout after it."""


@pytest.mark.parametrize(
    "case",
    [
        Case("", "pause", {}, "Pause", {"paused": True}),
        Case("paused", "resume", {}, "Resume", {"paused": False}),
        Case("", "finalize", {}, "Finalize", {"current.tag": "B", "next.tag": "C"}),
        Case("", "abandon", {"quarantine": "on"}, "Abandon", {"next.tag": "C", "current.tag": "A"}),
        Case("held", "ramp", {"percent": "5"}, "Ramp", {"next_percent": 5, "state": v1.ROLLOUT_STATE_ROLLING_OUT}),
        Case("", "ramp", {"percent": "20", "confirm_within": "900"}, "Ramp", {"next_percent": 20}),
        Case("unconfirmed", "confirm", {}, "Confirm", {"confirm_deadline.seconds": 0, "next_percent": 20}),
        Case("", "freeze", {"expire_time": "3600"}, "Freeze", {"frozen": True}),
        Case("frozen", "unfreeze", {}, "Unfreeze", {"frozen": False}),
        Case("", "quarantine", {"tag": "B"}, "Quarantine", {"state": v1.ROLLOUT_STATE_HELD}),
        Case("quarantined", "unquarantine", {"tag": "X"}, "Unquarantine"),
        Case("", "cancel-release", {"release": "3"}, "CancelRelease", {"queue": []}),
        Case("", "set-override", {"repo": "acme/*", "tag": "A", "expire_time": "86400"}, "SetOverride"),
        Case("", "set-override", {"repo": "acme/x", "channel": "CHANNEL_NEXT"}, "SetOverride"),
        Case("pinned", "delete-override", {"repo": "acme/app"}, "DeleteOverride"),
    ],
    ids=lambda case: f"{case.word} {case.state}",
)
@pytest.mark.usefixtures("rolling")
def test_each_verb_is_done_by_its_form(call: Stubs, browser: Browser, case: Case) -> None:
    prepare(call, case.state)
    looked = browser.look(browser.get(f"/components/{C}/{case.word}"), **case.filled, note="by the page")
    before = now(call).revision
    done = browser.send(looked)
    assert done.status == 200, done.text
    rollout, event = now(call), last(call)
    assert (event.action, event.note, event.revision) == (case.action, "by the page", before + 1)
    assert {path: attrgetter(path)(rollout) for path in case.after} == case.after


def prepare(call: Stubs, state: str) -> None:
    match state:
        case "held":
            call("Rollback", component=C)
        case "paused":
            call("Pause", component=C)
        case "unconfirmed":
            call("Ramp", component=C, percent=20, confirm_within={"seconds": 3600})
        case "frozen":
            call("Freeze", component=C)
        case "quarantined":
            call("Quarantine", component=C, tag="X")
        case "pinned":
            call("SetOverride", component=C, repo="acme/app", tag="A")


@pytest.mark.usefixtures("rolling")
def test_everything_is_frozen_and_unfrozen_from_the_front_page(call: Stubs, browser: Browser) -> None:
    form = browser.get(browser.get("/").links["Freeze everything"])
    browser.send(browser.look(form, expire_time="3600"))
    assert now(call).freezes[0].all
    front = browser.get("/")
    assert "Freeze everything" not in front.links
    browser.send(browser.get(front.links["Unfreeze everything"]))
    assert not now(call).frozen


def test_everything_is_unfrozen_also_where_there_is_no_component(call: Stubs, browser: Browser) -> None:
    call("Freeze", all=True, note="the launch")
    front = browser.get("/")
    assert "the launch" in front.text
    browser.send(browser.get(front.links["Unfreeze everything"]))
    assert "Freeze everything" in browser.get("/").links


@pytest.mark.usefixtures("rolling")
def test_what_would_change_nothing_has_no_button(browser: Browser) -> None:
    form = browser.get(RAMP, percent="10")
    assert form.button is None
    assert "Nothing would change B was at 10 % already." in form.text


@pytest.mark.usefixtures("rolling")
def test_enter_in_a_field_shows_what_would_happen_and_does_nothing(browser: Browser) -> None:
    """A browser presses the first button of a form then."""
    for verb in VERBS:
        form = browser.get(verb.address(C)).html.partition('<form class="verb"')[2]
        assert re.findall("<button([^>]*)>", form)[0] == ' class="show"', verb.label


# Refusals


@pytest.mark.usefixtures("rolling")
def test_what_has_changed_meanwhile_is_refused_and_shown(call: Stubs, browser: Browser) -> None:
    """Given a form, and another person who changes the component, expect a refusal with what has changed and with what would
    happen now. One more tap does it.
    """
    form = browser.get(ROLLBACK)
    seen = now(call).revision
    call("Ramp", component=C, percent=20, note="going on")
    refused = browser.send(form, note="errors in the log")
    assert refused.status == 409
    assert f"Nothing was done: {C} was changed after you had looked at it." in refused.text
    assert f"You saw revision {seen}, and B was next. It is at revision {seen + 1} now." in refused.text
    assert 'anonymous: Ramp 10 % → 20 % "going on"' in refused.text
    assert now(call).next_percent == 20
    done = browser.send(refused)
    assert "Everybody gets A" in done.text
    assert last(call).note == "errors in the log"


@pytest.mark.usefixtures("rolling")
def test_a_link_that_is_out_of_date_shows_what_has_changed(call: Stubs, browser: Browser) -> None:
    link = browser.get("/").links["Roll back"]
    call("Finalize", component=C)
    form = browser.get(link)
    assert (form.status, form.fields["tag"]) == (200, "C")
    assert "and B was next" in form.text
    assert "anonymous: Finalize B CURRENT, C NEXT, A RETIRED" in form.text


@pytest.mark.usefixtures("rolling")
def test_another_next_is_refused_even_at_the_same_revision(call: Stubs, browser: Browser) -> None:
    before = now(call)
    form = browser.get(ROLLBACK)
    refused = browser.send(form, tag="A")
    assert refused.status == 400
    assert "Nothing was done" in refused.text
    assert now(call) == before


@pytest.mark.usefixtures("rolling")
def test_a_refusal_keeps_what_was_filled_in(call: Stubs, browser: Browser) -> None:
    looked = browser.look(browser.get(RAMP), percent="20", note="why")
    for percent, said in (
        ("150", "percent: must be a number from 0 to 100"),
        ("ten", "'ten' is no value for “Percent”"),
    ):
        refused = browser.send(looked, percent=percent)
        assert (refused.status, refused.button) == (400, None)
        assert said in refused.text
        assert (refused.fields["percent"], refused.fields["note"]) == (percent, "why")
    assert now(call).next_percent == 10


@pytest.mark.usefixtures("rolling")
def test_a_note_comes_back_after_a_refusal_as_it_was_typed(call: Stubs, browser: Browser) -> None:
    """Given a note in Hebrew with a mark of direction, expect that it is not kept as an escape when it is sent again."""
    note = '\u200f\u05ea\u05e7\u05dc\u05d4 <b>"EU"</b>'
    looked = browser.look(browser.get(RAMP), percent="20")
    refused = browser.send(looked, percent="150", note=note)
    assert (refused.status, refused.fields["note"]) == (400, note)
    browser.send(browser.look(refused, percent="20"))
    assert last(call).note == note


@pytest.mark.usefixtures("rolling")
def test_a_refusal_of_the_state_is_shown_with_the_way_on(call: Stubs, browser: Browser) -> None:
    call("Freeze", component=C)
    form = browser.get(RAMP, percent="50")
    assert form.button is None
    assert f"The server would refuse it {C} is frozen by anonymous" in form.text


@pytest.mark.usefixtures("rolling")
def test_a_form_without_what_it_was_made_from_does_nothing(call: Stubs, browser: Browser) -> None:
    form = browser.get(ROLLBACK)
    for name in ("revision", "made"):
        refused = browser.send(form, **{name: ""})
        assert refused.status == 400
        assert "Look at what would happen first." in refused.text
    assert now(call).next_percent == 10


def test_a_component_that_is_not_there_is_said(browser: Browser) -> None:
    page = browser.get("/components/none/rollback")
    assert page.status == 404
    assert "There is no component none." in page.text


def test_there_are_no_other_verbs(browser: Browser) -> None:
    assert browser.get(f"/components/{C}/delete-component").status == 404


# A form that is sent again


@pytest.mark.usefixtures("rolling")
@pytest.mark.parametrize(
    ("word", "filled"), [("ramp", {"percent": "20"}), ("freeze", {"expire_time": "3600"}), ("finalize", {})]
)
def test_a_form_that_is_sent_twice_makes_one_change(
    call: Stubs, browser: Browser, word: str, filled: dict[str, str]
) -> None:
    form = browser.look(browser.get(f"/components/{C}/{word}"), **filled)
    before = now(call).revision
    browser.send(form)
    again = browser.send(form)
    assert again.status == 200
    assert "The change was made once" in again.text
    assert now(call).revision == before + 1


@pytest.mark.usefixtures("rolling")
def test_a_form_that_was_sent_shows_what_would_happen_now(browser: Browser) -> None:
    """Given a person who goes back to a form after it was sent, expect the present state, and not the answer of then."""
    form = browser.look(browser.get(RAMP), percent="20")
    browser.send(form)
    again = browser.look(form)
    assert again.button is None
    assert "anonymous: Ramp 10 % → 20 %" in again.text
    assert "Nothing would change B was at 20 % already." in again.text


@pytest.mark.usefixtures("rolling")
def test_a_double_click_makes_one_change(call: Stubs, browser: Browser) -> None:
    form = browser.look(browser.get(RAMP), percent="20")
    before = now(call).revision
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: browser.send(form), range(4)))
    assert [each.status for each in answers] == [200] * 4
    assert now(call).revision == before + 1


# Who may


@pytest.fixture
def people(store_process: StoreServer, namespace: str, browse: Browse) -> Iterator[tuple[str, Tokens]]:
    """A server with an access file, and B next at 10 %."""
    with short_directory() as directory:
        tokens = tokens_of(directory)
        settings = {"namespace": namespace, "access_file": tokens.path, "insecure_admin": False, "http": "127.0.0.1:0"}
        with testing.listening(directory, store_process.url, **settings) as found:
            admin = browse(f"http://{found.http}", tokens.of["admin"])
            for verb, content in (
                ("ReleaseService/Release", {"tag": "A"}),
                ("ReleaseService/Release", {"tag": "B"}),
                ("RolloutService/Ramp", {"percent": 10}),
            ):
                admin.http.post(f"/rampd.v1.{verb}", json={"component": C, **content}).raise_for_status()
            yield f"http://{found.http}", tokens


def tokens_of(directory: Path) -> Tokens:
    tokens = Tokens(directory / "access.toml")
    for role in ("viewer", "operator", "admin"):
        tokens.grant(role, role)
    tokens.grant("other", "admin", 'components = ["other*"]')
    return tokens


def test_a_viewer_sees_no_button_and_may_do_nothing(people: tuple[str, Tokens], browse: Browse) -> None:
    url, tokens = people
    viewer = browse(url, tokens.of["viewer"])
    assert viewer.get("/").links == {}
    refused = viewer.get(ROLLBACK)
    assert refused.status == 403
    assert "viewer has the role viewer and may not call Rollback: that needs the role operator." in refused.text
    form = browse(url, tokens.of["operator"]).get(ROLLBACK)
    key = viewer.http.cookies["rampd-form"]
    assert viewer.post(ROLLBACK, {**form.fields, FORM_KEY: key}).status == 403
    assert "B at 10 %" in browse(url, tokens.of["operator"]).get(ROLLBACK).text


def test_an_operator_does_all_but_what_is_about_everything(people: tuple[str, Tokens], browse: Browse) -> None:
    url, tokens = people
    operator = browse(url, tokens.of["operator"])
    assert operator.get("/").links.keys() == {"Roll back"}
    assert operator.get("/freeze").status == 403
    assert "Everybody gets A" in operator.send(operator.get(ROLLBACK)).text
    assert browse(url, tokens.of["admin"]).get("/").links.keys() == {"Freeze everything"}


def test_a_component_of_others_is_not_there(people: tuple[str, Tokens], browse: Browse) -> None:
    url, tokens = people
    other = browse(url, tokens.of["other"])
    assert other.get(ROLLBACK).status == 404
    assert "Freeze everything" not in other.get("/").links


def test_who_has_not_signed_in_is_led_there(people: tuple[str, Tokens], browse: Browse) -> None:
    url, _ = people
    answer = browse(url).get(ROLLBACK, tag="B").answer
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/sign-in?to=%2Fcomponents%2F{C}%2Frollback%3Ftag%3DB",
    )


# Forms of other sites


@pytest.mark.usefixtures("rolling")
def test_a_form_of_another_site_does_nothing(call: Stubs, browser: Browser, browse: Browse, url: str) -> None:
    before = now(call)
    form = browser.get(ROLLBACK)
    assert form.button is not None
    whole = {**form.fields, FORM_KEY: form.button[1]}
    without_key = {key: value for key, value in whole.items() if key != FORM_KEY}
    other = browse(url)
    for sender, fields, headers in (
        (browser, without_key, browser.origin),
        (browser, {**whole, FORM_KEY: ""}, browser.origin),
        (browser, {**whole, FORM_KEY: form.button[1][:-1]}, browser.origin),
        # Without the cookie, and then with one of its own.
        (other, whole, browser.origin),
        (other, whole, browser.origin),
        # From a page at another port, which can set cookies of this one.
        (browser, whole, {}),
        (browser, whole, {"origin": "http://127.0.0.1:1"}),
        (browser, whole, {"origin": "null"}),
    ):
        refused = sender.post(ROLLBACK, fields, headers)
        assert refused.status == 403
    assert now(call) == before
    assert browser.post(ROLLBACK, whole).status == 200


@pytest.mark.usefixtures("rolling")
def test_a_form_that_is_out_of_date_can_be_sent_again(call: Stubs, browser: Browser) -> None:
    """Given a browser that has dropped the cookie of its forms, expect the form again, as it was filled in, and with a key."""
    form = browser.look(browser.get(RAMP), percent="20")
    browser.http.cookies.clear()
    refused = browser.send(form)
    assert refused.status == 403
    assert "Nothing was done: this form is out of date" in refused.text
    browser.send(refused)
    assert now(call).next_percent == 20


@pytest.mark.usefixtures("rolling")
def test_a_get_never_changes_anything(call: Stubs, browser: Browser) -> None:
    before = now(call)
    form = browser.get(ROLLBACK)
    assert form.button is not None
    assert browser.get(ROLLBACK, **{**form.fields, FORM_KEY: form.button[1]}).status == 200
    assert browser.http.head(ROLLBACK, params=form.fields).status_code == 200
    assert now(call) == before


@pytest.mark.usefixtures("rolling")
def test_the_key_is_in_no_address(browser: Browser) -> None:
    """Given the button that shows what would happen, which sends the form as an address, expect no key in it."""
    form = browser.look(browser.get(RAMP), percent="20")
    assert form.button is not None
    assert FORM_KEY not in form.fields
    assert form.button[1] not in str(form.answer.url)


# What others have written is data


MARKUP = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


@pytest.mark.usefixtures("rolling")
def test_what_others_have_written_is_shown_as_text(call: Stubs, browser: Browser) -> None:
    link = browser.get("/").links["Roll back"]
    call("Pause", component=C, note=f"{MARKUP} \u202etxt")
    page = browser.get(link)
    assert safe(page)
    assert f"{MARKUP} \\u202etxt" in html.unescape(page.html)


@pytest.mark.usefixtures("rolling")
def test_what_an_address_has_is_shown_as_text(browser: Browser) -> None:
    fields = {"tag": MARKUP, "revision": "1", "percent": MARKUP, "note": MARKUP, "confirm_within": MARKUP}
    for page in (browser.get(RAMP, **fields), browser.get(f"/components/{C}/set-override", repo=MARKUP, tag=MARKUP)):
        assert page.status == 200
        assert safe(page)
    assert safe(browser.get("/components/%3Cimg%20src=x%3E/ramp"))


def safe(page: Page) -> bool:
    return not re.search(r"<script>|<img|\son\w+=\"", page.html)


# The part in a dialog


@pytest.mark.usefixtures("rolling")
def test_javascript_gets_the_inside_alone(browser: Browser) -> None:
    asked = {"x-rampd-part": "dialog"}
    answer = browser.http.get(ROLLBACK, headers=asked)
    assert answer.headers["x-rampd-part"] == "dialog"
    assert answer.headers["cache-control"] == "no-store"
    assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    form = Page(answer)
    assert "<html" not in form.html
    done = browser.http.post(ROLLBACK, data=sent(form), headers={**browser.origin, **asked})
    assert (done.status_code, done.headers["x-rampd-part"]) == (200, "dialog")
    assert "Everybody gets A" in done.text
    assert "<html" not in done.text


def sent(form: Page) -> dict[str, str]:
    assert form.button is not None
    return {**form.fields, form.button[0]: form.button[1]}


def test_a_refusal_that_is_no_form_is_the_inside_too(browser: Browser) -> None:
    answer: httpx.Response = browser.http.get("/components/none/ramp", headers={"x-rampd-part": "dialog"})
    assert (answer.status_code, answer.headers["x-rampd-part"]) == (404, "dialog")
    assert "There is no component none." in answer.text
    assert "<html" not in answer.text
