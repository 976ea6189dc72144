"""The whole story in a browser, while the page stays open: a release fails and is rolled back by itself, and the queue moves up."""

import re
from pathlib import Path

from playwright.sync_api import expect

from rampd import Resolver
from tests.page.conftest import Open, site_of
from tests.page.looking import EXACT, Site, group, shows
from tests.ports import free_address
from tests.servers import rampd_server

C = "restyler"


def work(site: Site, failing: str, jobs: int = 120) -> None:
    """Runs jobs, each of a repo of its own. Every job of one tag fails."""
    with Resolver(f"unix:{site.server.socket}") as resolver:
        for number in range(jobs):
            with resolver.job(C, repo=f"acme/{number}") as job:
                if job.tag == failing:
                    job.failed()


def test_a_failing_release_is_rolled_back_before_the_eyes_of_a_person_and_the_queue_moves_up(
    site: Site, open_page: Open
) -> None:
    for tag in ("v1", "v2", "v3"):
        site.admin.release(C, tag)
    site.admin.ramp(C, 50)
    front, one = open_page(site.address), open_page(f"{site.address}/components/{C}")
    shows(group(front, "Rolling out"), "50 %")
    shows(one.locator("#queue"), "v3")

    work(site, failing="v2")

    shows(group(front, "HELD"), "v2 fails more often than v1")
    expect(front).to_have_title("1 HELD · rampd")
    shows(one.locator("#head"), "HELD")
    expect(one).to_have_title(f"HELD: {C} · rampd")
    shows(one.locator("#now"), "v2 fails more often than v1")
    shows(one.locator("#history"), "Rollback by rampd")
    shows(one.locator("#channels"), "100 %")
    shows(one.locator("#blast"), "Jobs that ran v2")
    expect(one.locator("svg.chart rect.band.held")).to_have_count(1)
    one.get_by_text("The jobs as a table").click()
    first = one.locator("#jobs-table").get_by_role("row").nth(1)
    expect(first.get_by_role("cell").first).to_have_text(re.compile(f"^{EXACT}$"))

    one.get_by_role("link", name="Abandon", exact=True).click()
    dialog = one.get_by_role("dialog", name="Abandon")
    shows(dialog, "v3")
    dialog.get_by_label("Note").fill("v3 has the fix")
    dialog.get_by_role("button", name="Abandon").click()
    shows(dialog.get_by_role("status"), "v3 is next, at 0 %")
    dialog.get_by_role("link", name="Go on").click()

    shows(one.locator("#head"), "v3")
    expect(one).to_have_title(f"{C} · rampd")
    expect(one.locator("#queue")).not_to_contain_text("v3")
    shows(one.locator("#history"), "v3 has the fix")
    shows(group(front, "Rolling out"), "v3")
    expect(front).to_have_title("rampd")


def test_a_page_that_stays_open_goes_on_after_the_server_has_started_again(directory: Path, open_page: Open) -> None:
    http = free_address()
    with site_of(directory, http=http) as site:
        site.admin.release(C, "v1")
        front, one = open_page(site.address), open_page(f"{site.address}/components/{C}")
        shows(group(front, "Steady"), "v1")
        shows(one.locator("#head"), "v1")
    for page in (front, one):
        shows(page.locator("#lost"), "Connection lost, as of")

    with site_of(directory, http=http) as site:
        site.admin.release(C, "v2")
        for page in (front, one):
            expect(page.locator("#lost")).to_be_hidden()
        shows(group(front, "Rolling out"), "v2")
        shows(one.locator("#head"), "v2")


def test_a_page_that_has_lost_its_server_says_what_has_changed_since(directory: Path, open_page: Open) -> None:
    """Given a server that comes back without its store, expect that the page says so."""
    http = free_address()
    with site_of(directory, http=http) as site:
        site.admin.release(C, "v1")
        page = open_page(site.address)
        shows(group(page, "Steady"), "v1")
    shows(page.locator("#lost"), "Connection lost, as of")
    before = page.locator("#lost").inner_text()

    with rampd_server(directory, "--http", http, "--redis-url", f"unix://{directory}/none.sock") as server:
        server.event("waiting_for_store")
        expect(page.locator("#lost")).not_to_have_text(before)
        shows(page.locator("#lost"), "Connection lost, as of")


def test_a_hidden_tab_has_no_stream_and_catches_up_when_it_is_looked_at(site: Site, open_page: Open) -> None:
    site.admin.release(C, "v1")
    page = open_page(site.address)
    shows(group(page, "Steady"), "v1")
    is_hidden = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true})"
    told = "document.dispatchEvent(new Event('visibilitychange'))"

    with page.expect_event("requestfailed", lambda request: "/live" in request.url):
        page.evaluate(f"{is_hidden % 'true'}; {told}")
    site.admin.release(C, "v2")
    with page.expect_request(lambda request: "/live" in request.url):
        page.evaluate(f"{is_hidden % 'false'}; {told}")

    shows(group(page, "Rolling out"), "v2")
