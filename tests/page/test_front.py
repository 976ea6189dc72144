"""The front page in a browser."""

import re
import signal

from playwright.sync_api import expect

from tests.page.conftest import Open
from tests.page.looking import EXACT, Site, group, overflows, row, serious_findings, shows


def test_an_empty_page_says_what_to_type(site: Site, open_page: Open) -> None:
    page = open_page(site.address)
    shows(page.locator("#empty"), "rampd release COMPONENT TAG")
    expect(page.get_by_label("Filter")).to_be_hidden()
    site.admin.release("restyler", "v1")
    shows(row(page, "restyler"), "v1")
    expect(page.locator("#empty")).to_be_hidden()
    page.get_by_label("Filter").fill("nothing like it")
    expect(page.locator("#none")).to_be_visible()


def test_a_row_follows_its_component_from_group_to_group(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    page = open_page(site.address)
    shows(group(page, "Steady"), "restyler")
    site.admin.release("restyler", "v2")
    site.admin.ramp("restyler", 20)
    shows(group(page, "Rolling out"), "20 %")
    expect(group(page, "Steady")).to_be_hidden()
    site.admin.rollback("restyler", note="errors in EU")
    shows(group(page, "HELD"), "errors in EU")
    expect(page).to_have_title("1 HELD · rampd")
    assert "icon-held" in str(page.locator("#icon").get_attribute("href"))


def test_without_javascript_the_page_reads_and_filters(site: Site, open_page: Open) -> None:
    for name in ("restyler", "indexer"):
        site.admin.release(name, "v1")
    page = open_page(f"{site.address}/?filter=restyler", scripts=False)
    expect(row(page, "restyler")).to_be_visible()
    expect(row(page, "indexer")).to_be_hidden()


def test_the_filter_is_in_the_address(site: Site, open_page: Open) -> None:
    for name in ("restyler", "indexer"):
        site.admin.release(name, "v1")
    page = open_page(site.address)
    page.get_by_label("Filter").fill("index")
    expect(row(page, "restyler")).to_be_hidden()
    expect(page).to_have_url(re.compile(r"\?filter=index$"))
    page.reload()
    expect(row(page, "restyler")).to_be_hidden()
    page.get_by_label("Filter").fill("nothing like it")
    expect(page.locator("#none")).to_be_visible()


def test_a_freeze_of_everything_is_said(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    page = open_page(site.address)
    site.admin.freeze(all=True, note="the launch")
    shows(page.locator("#top"), "the launch")
    site.admin.unfreeze(all=True)
    expect(page.locator("#top .notice")).to_have_count(0)


def test_a_deleted_component_leaves(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    page = open_page(site.address)
    expect(row(page, "restyler")).to_be_visible()
    site.admin.delete_component("restyler", confirm="restyler")
    expect(row(page, "restyler")).to_have_count(0)


def test_a_lost_connection_is_said_with_its_time(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    page = open_page(site.address)
    expect(row(page, "restyler")).to_be_visible()
    assert site.server.stop(signal.SIGTERM) == 0
    expect(page.locator("#lost")).to_have_text(re.compile(rf"^Connection lost, as of {EXACT}\."))


def test_a_connection_that_breaks_without_a_word_is_said_to_be_lost(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    page = open_page(site.address)
    page.clock.install()
    with page.expect_request(lambda request: "/live" in request.url):
        page.reload()

    page.route("**/live?*", lambda _route: None)
    page.clock.fast_forward("02:00")
    shows(page.locator("#lost"), "Connection lost, as of")

    page.unroute("**/live?*")
    page.clock.fast_forward("02:00")
    expect(page.locator("#lost")).to_be_hidden()


def test_markup_and_tricks_in_a_tag_and_a_note_are_text(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    site.admin.release("restyler", "v2")
    site.admin.ramp("restyler", 1)
    site.admin.rollback("restyler", note="<img src=x onerror=alert(1)>\u202egpj.exe")
    page = open_page(site.address)
    shows(row(page, "restyler"), "<img src=x onerror=alert(1)>\\u202egpj.exe")


def test_a_phone_needs_no_sideways_movement(site: Site, open_page: Open) -> None:
    site.admin.release("c" * 63, "v" * 255)
    site.admin.release("restyler", "v1")
    site.admin.release("restyler", "registry.example.com/platform/restyler@sha256:" + "0123456789abcdef" * 4)
    site.admin.ramp("restyler", 33.33)
    page = open_page(site.address, width=360, height=740)
    expect(row(page, "restyler")).to_be_visible()
    assert not overflows(page)


def test_each_button_of_a_row_has_a_name_of_its_own(site: Site, open_page: Open) -> None:
    for name in ("restyler", "indexer"):
        site.admin.release(name, "v1")
        site.admin.release(name, "v2")
        site.admin.ramp(name, 20)
    page = open_page(site.address)
    page.get_by_role("link", name="Roll back indexer", exact=True).click()
    dialog = page.get_by_role("dialog", name="Roll back")
    dialog.get_by_role("button", name="Roll back").click()
    shows(dialog.get_by_role("status"), "Everybody gets v1")
    assert site.admin.get_rollout("restyler").next_percent == 20


def test_nobody_is_kept_out(site: Site, open_page: Open) -> None:
    site.admin.release("restyler", "v1")
    site.admin.release("restyler", "v2")
    site.admin.ramp("restyler", 20)
    for dark in (False, True):
        page = open_page(site.address, dark=dark)
        expect(row(page, "restyler")).to_be_visible()
        assert serious_findings(page) == []
