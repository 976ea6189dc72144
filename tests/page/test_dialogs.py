"""The verbs in a browser: in a dialog over the page, by keyboard alone, and without JavaScript."""

import re
import signal
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from rampd import RampdError
from tests.page.conftest import Open, site_of
from tests.page.looking import Site, overflows, row, serious_findings, shows
from tests.stores import VALKEY, store_server
from tests.waiting import eventually


@pytest.fixture
def rolling(site: Site) -> None:
    """Given v1, and v2 as next at 20 %."""
    site.admin.release("restyler", "v1")
    site.admin.release("restyler", "v2")
    site.admin.ramp("restyler", 20)


def opened(page: Page, verb: str) -> Locator:
    """Opens the dialog of a verb."""
    page.get_by_role("link", name=verb).click()
    dialog = page.get_by_role("dialog", name=verb)
    expect(dialog).to_be_visible()
    return dialog


@pytest.mark.usefixtures("rolling")
def test_a_rollback_needs_two_taps_and_leaves_the_page_where_it_is(site: Site, open_page: Open) -> None:
    page = open_page(site.address)
    dialog = opened(page, "Roll back")
    shows(dialog, "Everybody gets v1")
    assert site.admin.get_rollout("restyler").next_percent == 20
    dialog.get_by_label("Note").fill("errors in EU")
    dialog.get_by_role("button", name="Roll back").click()
    shows(dialog.get_by_role("status"), "Everybody gets v1")
    dialog.get_by_role("link", name="Go on").click()
    expect(dialog).to_have_count(0)
    shows(row(page, "restyler"), "errors in EU")
    assert page.url == f"{site.address}/"


@pytest.mark.usefixtures("rolling")
def test_the_keyboard_alone_is_enough(site: Site, open_page: Open) -> None:
    page = open_page(site.address)
    link = page.get_by_role("link", name="Roll back")
    link.press("Enter")
    dialog = page.get_by_role("dialog", name="Roll back")
    expect(dialog.get_by_role("heading", name="Roll back")).to_be_focused()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(link).to_be_focused()
    assert site.admin.get_rollout("restyler").next_percent == 20
    link.press("Enter")
    button = dialog.get_by_role("button", name="Roll back")
    for _ in range(10):
        page.keyboard.press("Tab")
        if button.evaluate("each => each === document.activeElement"):
            break
    page.keyboard.press("Enter")
    shows(dialog.get_by_role("status"), "Everybody gets v1")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    # The link is gone, because it makes no sense any more.
    expect(row(page, "restyler").locator(":focus")).to_have_count(1)


@pytest.mark.usefixtures("rolling")
def test_what_would_happen_follows_what_is_filled_in(site: Site, open_page: Open) -> None:
    page = open_page(f"{site.address}/components/restyler/ramp")
    button = page.get_by_role("button", name="Ramp")
    expect(page.get_by_role("button", name="Show what would happen")).to_be_hidden()
    expect(button).to_have_count(0)
    page.get_by_label("Percent").fill("30")
    shows(page.locator(".would"), "v2 is at 30 %.")
    page.get_by_label("Percent").fill("300")
    shows(page.locator(".would"), "must be a number from 0 to 100")
    expect(button).to_have_count(0)
    page.get_by_label("Percent").fill("40")
    page.get_by_label("unless somebody confirms within").select_option("15 min")
    shows(page.locator(".would"), "v2 is at 40 %. Confirm it within 15 min")
    expect(button).to_be_enabled()
    button.click()
    shows(page.get_by_role("status"), "v2 is at 40 %.")
    assert site.admin.get_rollout("restyler").next_percent == 40


@pytest.mark.usefixtures("rolling")
def test_enter_in_a_field_shows_what_would_happen_and_does_nothing(site: Site, open_page: Open) -> None:
    page = open_page(f"{site.address}/components/restyler/ramp")
    page.get_by_label("Percent").fill("30")
    page.get_by_label("Percent").press("Enter")
    shows(page.locator(".would"), "v2 is at 30 %.")
    page.get_by_label("Note").press("Enter")
    shows(page.locator(".would"), "v2 is at 30 %.")
    assert site.admin.get_rollout("restyler").next_percent == 20


@pytest.mark.usefixtures("rolling")
def test_enter_in_the_note_of_a_form_without_other_fields_does_nothing(site: Site, open_page: Open) -> None:
    page = open_page(f"{site.address}/components/restyler/pause")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    page.get_by_label("Note").fill("lunch")
    with page.expect_response(lambda answer: "/pause" in answer.url) as answered:
        page.get_by_label("Note").press("Enter")
    assert answered.value.request.method == "GET"
    expect(page.get_by_label("Note")).to_have_value("lunch")
    expect(page.get_by_role("button", name="Pause")).to_be_enabled()
    assert not site.admin.get_rollout("restyler").paused


@pytest.mark.usefixtures("rolling")
def test_who_was_slower_sees_what_has_changed_and_decides_again(site: Site, open_page: Open) -> None:
    pages = [open_page(site.address), open_page(site.address)]
    dialogs = [opened(page, "Roll back") for page in pages]
    site.admin.ramp("restyler", 30, note="going on")
    for dialog in dialogs:
        dialog.get_by_role("button", name="Roll back").click()
        shows(dialog.get_by_role("alert"), "Nothing was done")
        shows(dialog, 'Ramp 20 % → 30 % "going on"')
    assert site.admin.get_rollout("restyler").next_percent == 30
    dialogs[0].get_by_role("button", name="Roll back").click()
    shows(dialogs[0].get_by_role("status"), "Everybody gets v1")
    dialogs[1].get_by_role("button", name="Roll back").click()
    shows(dialogs[1], "Nothing would change")


@pytest.mark.usefixtures("rolling")
def test_a_form_that_has_warned_still_warns_after_more_is_typed_and_does_nothing(site: Site, open_page: Open) -> None:
    page = open_page(f"{site.address}/components/restyler")
    page.get_by_role("link", name="Ramp", exact=True).click()
    dialog = page.get_by_role("dialog", name="Ramp")
    shows(dialog, "Percent")
    site.admin.rollback("restyler", note="loses comments")
    percent = dialog.get_by_label("Percent")
    for typed in ("5", "50"):
        with page.expect_response(lambda answer: "/ramp" in answer.url):
            percent.fill(typed)
        shows(dialog, "has changed since you looked")
    dialog.get_by_role("button", name="Ramp", exact=True).click()
    shows(dialog.get_by_role("alert"), "Nothing was done")
    assert site.admin.get_rollout("restyler").next_percent == 0


@pytest.mark.usefixtures("rolling")
def test_a_form_whose_answer_does_not_come_can_be_sent_again(site: Site, open_page: Open) -> None:
    page = open_page(site.address)
    dialog = opened(page, "Roll back")
    assert site.server.stop(signal.SIGTERM) == 0
    button = dialog.get_by_role("button", name="Roll back")
    button.click()
    shows(dialog, "The answer did not come. Send it again: the change is made once at most.")
    expect(button).to_be_enabled()


def test_what_the_server_says_when_it_can_not_is_shown_and_the_form_can_be_sent_again(
    directory: Path, open_page: Open
) -> None:
    """Given a store that does not answer for a while, expect the words of the server beside the form, which keeps its request id."""
    with store_server(VALKEY) as store, site_of(directory, "--insecure-admin", "--redis-url", store.url) as site:
        site.admin.release("restyler", "v1")
        site.admin.release("restyler", "v2")
        site.admin.ramp("restyler", 20)
        page = open_page(f"{site.address}/components/restyler")
        dialog = opened(page, "Roll back")
        button = dialog.get_by_role("button", name="Roll back")
        expect(button).to_be_enabled()
        store.signal(signal.SIGSTOP)
        button.click()
        # A change that waits for longer than 5 s says so in place of the store's own words.
        shows(
            dialog.locator(".notice.lost"), re.compile(r"Redis did not answer in time\.|Others kept changing restyler")
        )
        expect(button).to_be_enabled()
        store.signal(signal.SIGCONT)
        eventually(lambda: site.admin.get_rollout("restyler"), suppressed=RampdError)
        button.click()
        shows(dialog.get_by_role("status"), "v1")
        assert site.admin.get_rollout("restyler").next_percent == 0


@pytest.mark.usefixtures("rolling")
def test_without_javascript_each_verb_has_a_page(site: Site, open_page: Open) -> None:
    page = open_page(site.address, scripts=False)
    page.get_by_role("link", name="Roll back").click()
    shows(page.locator(".would"), "Everybody gets v1")
    page.get_by_role("button", name="Roll back").click()
    shows(page.get_by_role("status"), "Everybody gets v1")
    assert site.admin.get_rollout("restyler").next_percent == 0
    page.goto(f"{site.address}/components/restyler/ramp")
    page.get_by_label("Percent").fill("5")
    page.get_by_role("button", name="Show what would happen").click()
    shows(page.locator(".would"), "v2 is at 5 %.")
    page.get_by_role("button", name="Ramp").click()
    shows(page.get_by_role("status"), "v2 is at 5 %.")


@pytest.mark.usefixtures("rolling")
def test_a_dialog_keeps_nobody_out(site: Site, open_page: Open) -> None:
    for dark in (False, True):
        page = open_page(site.address, width=360, height=740, dark=dark)
        for verb in ("Roll back", "Freeze everything"):
            dialog = opened(page, verb)
            shows(dialog, "Afterwards: ")
            assert serious_findings(page) == []
            assert not overflows(page)
            page.keyboard.press("Escape")
            expect(dialog).to_have_count(0)
