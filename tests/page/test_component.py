"""The page of one component in a browser."""

import re

import pytest
from playwright.sync_api import Page, expect

from rampd import Admin
from tests.page.conftest import Open
from tests.page.looking import EXACT, Site, overflows, serious_findings, shows

C = "restyler"
LONG = "registry.example.com/restyler/" + "a" * 200


def rolling_out(admin: Admin, tag: str = "v2") -> None:
    admin.release(C, "v1")
    admin.release(C, tag)
    admin.release(C, "v3")
    admin.ramp(C, 10, note="carefully")


def component(site: Site) -> str:
    return f"{site.address}/components/{C}"


def focused(page: Page) -> str:
    return str(page.evaluate("document.activeElement.textContent.trim()"))


def test_a_rollback_shows_while_the_page_is_open(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    shows(page.locator("#head"), "10 %")

    site.admin.ramp(C, 55)
    shows(page.locator("#head"), "55 %")
    site.admin.rollback(C, note="errors in EU")
    shows(page.locator("#now"), "errors in EU")
    expect(page).to_have_title(f"HELD: {C} · rampd")
    assert "icon-held" in str(page.locator("#icon").get_attribute("href"))
    expect(page.locator("circle.mark.bad")).to_have_count(1)
    expect(page.locator("svg.chart rect.band.held")).to_have_count(1)

    site.admin.abandon(C)
    shows(page.locator("#head"), "v3")
    expect(page).to_have_title(f"{C} · rampd")


def test_what_a_person_has_opened_stays_open_and_the_focus_stays(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    page.get_by_text("The marks as a table").click()
    table = page.locator("#percent-table")
    expect(table.get_by_role("row")).to_have_count(4)
    page.get_by_role("link", name="Roll back").focus()

    site.admin.ramp(C, 55)

    expect(table.get_by_role("row")).to_have_count(5)
    expect(table.get_by_role("row").first).to_be_visible()
    shows(page.locator("#head"), "55 %")
    assert focused(page) == "Roll back"


def test_the_button_of_another_entry_does_not_get_the_focus(site: Site, open_page: Open) -> None:
    """Given two releases that wait, and the first one goes, expect that Enter does not cancel the other one."""
    rolling_out(site.admin)
    site.admin.release(C, "v4")
    page = open_page(component(site))
    page.get_by_role("link", name="Take out of the queue v3", exact=True).focus()

    site.admin.cancel_release(C, 3)

    expect(page.get_by_role("link", name="Take out of the queue v3")).to_have_count(0)
    expect(page.get_by_role("link", name="Take out of the queue v4")).to_be_visible()
    expect(page.locator("#queue")).to_be_focused()


def test_what_is_the_same_is_not_drawn_again(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    page.evaluate("document.querySelector('#policy > *').dataset.mine = 'yes'")

    site.admin.ramp(C, 55)

    shows(page.locator("#head"), "55 %")
    assert page.locator("#policy > [data-mine]").count() == 1


def test_what_a_person_types_is_left_alone(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    page.get_by_label("Repo", exact=True).fill("acme/ap")

    site.admin.ramp(C, 55)

    shows(page.locator("#head"), "55 %")
    expect(page.get_by_label("Repo", exact=True)).to_have_value("acme/ap")
    page.keyboard.type("p")
    page.keyboard.press("Enter")
    shows(page.locator("#answer"), "acme/app gets v")
    assert "repo=acme%2Fapp" in page.url


def test_a_link_to_an_event_leads_to_it(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    address = page.locator(".permalink").last.get_attribute("href")
    assert address is not None

    page.goto(f"{component(site)}{address}")

    entry = page.locator(".events > li:target")
    shows(entry, "Release")
    expect(entry).to_be_in_viewport()
    site.admin.ramp(C, 55)
    shows(page.locator("#head"), "55 %")
    shows(page.locator(".events > li.linked, .events > li:target"), "Release")


def test_times_are_relative_and_in_the_history_exact_too(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site), width=360)

    expect(page.locator("#head time")).to_have_text(re.compile(r"^\d+ (s|min) ago$"))
    assert page.locator("#head time").get_attribute("title")
    expect(page.locator(".permalink time").first).to_have_text(re.compile(rf"^\d+ (s|min) ago, {EXACT}$"))


def test_where_there_is_no_pointer_each_time_is_exact_too(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site), width=360, height=740, phone=True)

    expect(page.locator("#head time")).to_have_text(re.compile(rf"^\d+ (s|min) ago, {EXACT}$"))
    assert not overflows(page)
    page.goto(site.address)
    expect(page.locator(".row time")).to_have_text(re.compile(rf"^\d+ (s|min) ago, {EXACT}$"))
    assert not overflows(page)


def test_a_verb_is_two_taps_away(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))

    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()

    shows(page.locator("#head"), "HELD")


def test_a_component_that_is_gone_is_said_to_be_gone_until_it_is_there_again(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(component(site))
    shows(page.locator("#head"), "10 %")

    site.admin.delete_component(C, confirm=C)

    shows(page.get_by_role("alert"), f"There is no component {C} any more.")
    site.admin.release(C, "v7")
    shows(page.locator("#head"), "v7")
    expect(page.locator("#gone")).to_have_count(0)


def test_without_javascript_the_page_reads(site: Site, open_page: Open) -> None:
    rolling_out(site.admin)
    page = open_page(f"{component(site)}?repo=acme/app", scripts=False)

    shows(page.locator("#answer"), "acme/app gets v")
    page.get_by_text("The marks as a table").click()
    shows(page.locator("#percent-table"), "Ramp")
    expect(page.locator("svg.chart path.line.next")).to_have_attribute("d", re.compile("^M"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [360, 1440])
def test_everybody_can_use_the_page(site: Site, open_page: Open, width: int, dark: bool) -> None:
    rolling_out(site.admin, LONG)
    site.admin.set_override(C, "acme/*", tag=LONG, note="n" * 300)
    site.admin.quarantine(C, "b" * 255)
    page = open_page(f"{component(site)}?repo=acme/app", width=width, dark=dark)
    shows(page.locator("#head"), "10 %")

    for summary in page.locator("summary").all():
        summary.click()

    assert not overflows(page)
    assert serious_findings(page) == []
