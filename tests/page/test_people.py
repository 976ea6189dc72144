"""Who may what, in a browser: people sign in with a token, and see what they may do."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.page.conftest import Open, site_of
from tests.page.looking import Site, overflows, row, serious_findings, shows
from tests.ports import free_address
from tests.rpc.access_table import Tokens
from tests.waiting import eventually

C = "restyler"


@pytest.fixture
def tokens(directory: Path) -> Tokens:
    made = Tokens(directory / "access.toml")
    for role in ("viewer", "operator", "admin"):
        made.grant(role, role)
    return made


@pytest.fixture
def site(directory: Path, tokens: Tokens) -> Iterator[Site]:
    """A server that asks who comes, and v2 as next at 20 %."""
    with site_of(directory, "--access-file", str(tokens.path)) as made:
        made.admin.release(C, "v1")
        made.admin.release(C, "v2")
        made.admin.ramp(C, 20)
        yield made


def sign_in(page: Page, token: str) -> None:
    """Signs in, and waits until the next page has run its scripts: a link that is clicked before leads to a page, and to no dialog."""
    page.get_by_label("Token").fill(token)
    with page.expect_navigation():
        page.get_by_role("button", name="Sign in", exact=True).click()


def test_a_viewer_reads_everything_and_sees_no_verb(site: Site, tokens: Tokens, open_page: Open) -> None:
    page = open_page(f"{site.address}/components/{C}")
    expect(page.get_by_text("20 %")).to_have_count(0)
    sign_in(page, tokens.of["viewer"])
    shows(page.locator("#head"), "20 %")
    assert page.url == f"{site.address}/components/{C}"
    expect(page.locator("a.act")).to_have_count(0)
    site.admin.ramp(C, 40)
    shows(page.locator("#head"), "40 %")
    page.goto(site.address)
    shows(row(page, C), "40 %")
    expect(page.locator("a.act")).to_have_count(0)


def test_an_operator_acts_in_their_own_name(site: Site, tokens: Tokens, open_page: Open) -> None:
    page = open_page(site.address)
    sign_in(page, tokens.of["operator"])
    shows(row(page, C), "20 %")
    expect(page.get_by_role("link", name="Freeze everything")).to_have_count(0)
    page.get_by_role("link", name="Roll back").click()
    page.get_by_role("dialog").get_by_role("button", name="Roll back").click()
    shows(page.get_by_role("status"), "Everybody gets v1")
    page.goto(f"{site.address}/components/{C}")
    shows(page.locator("#history"), "Rollback by operator")


def test_a_wrong_token_is_refused_in_words(site: Site, open_page: Open) -> None:
    page = open_page(site.address)
    sign_in(page, "rampd_" + "a" * 49)
    shows(page.get_by_role("alert"), "token")
    expect(row(page, C)).to_have_count(0)
    assert serious_findings(page) == []


def test_the_way_to_an_issuer_is_gone_once(site: Site, tokens: Tokens, open_page: Open) -> None:
    """Expect that nothing asks for the link before the browser goes there. It leads to another host, and no script may ask that."""
    tokens.also = f'[sign_in]\nissuer = "http://{free_address()}"\nclient_id = "rampd"'
    tokens.write()
    page = open_page(site.address)
    asked: list[str] = []
    link = page.get_by_role("link", name="Sign in with")
    eventually(lambda: page.reload() and link.count() == 1)
    page.on("request", lambda request: "/sign-in/oidc" in request.url and asked.append(request.url))

    link.click()

    shows(page.get_by_role("alert"), "can't be asked")
    assert len(asked) == 1


def test_who_signs_out_in_one_tab_does_nothing_more_in_another(site: Site, tokens: Tokens, open_page: Open) -> None:
    page = open_page(site.address)
    sign_in(page, tokens.of["operator"])
    page.get_by_role("link", name="Roll back").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_role("button", name="Roll back")).to_be_enabled()
    other = page.context.new_page()
    other.goto(site.address)
    other.get_by_role("button", name="Sign out").click()
    expect(other.get_by_label("Token")).to_be_visible()

    dialog.get_by_role("button", name="Roll back").click()

    expect(page.get_by_label("Token")).to_be_visible()
    assert site.admin.get_rollout(C).next_percent == 20


def test_who_signs_out_in_one_tab_is_signed_out_in_all(site: Site, tokens: Tokens, open_page: Open) -> None:
    """Given a tab that follows the server with a credential that goes on, expect that it follows no more."""
    page = open_page(site.address)
    sign_in(page, tokens.of["viewer"])
    shows(row(page, C), "20 %")
    other = page.context.new_page()
    other.goto(site.address)
    other.get_by_role("button", name="Sign out").click()
    shows(page.locator("#lost"), "You are signed out. Sign in again")


def test_who_signs_in_as_somebody_else_in_one_tab_is_that_person_in_all(
    site: Site, tokens: Tokens, open_page: Open
) -> None:
    """Given a tab with a form, expect that it does nothing in the name of the other person."""
    page = open_page(site.address)
    sign_in(page, tokens.of["operator"])
    page.goto(f"{site.address}/components/{C}/rollback?revision=1")
    shows(page.locator(".person"), "operator")
    other = page.context.new_page()
    other.goto(f"{site.address}/sign-in")
    shows(other.locator("main"), "You are signed in as operator")
    sign_in(other, tokens.of["viewer"])
    shows(row(other, C), "20 %")

    shows(page.locator("main"), "viewer")
    expect(page.get_by_role("button", name="Roll back")).to_have_count(0)


def test_who_signs_in_again_in_one_tab_goes_on_in_all(site: Site, tokens: Tokens, open_page: Open) -> None:
    page = open_page(site.address)
    sign_in(page, tokens.of["viewer"])
    other = page.context.new_page()
    other.goto(site.address)
    other.get_by_role("button", name="Sign out").click()
    shows(page.locator("#lost"), "Sign in again")

    sign_in(other, tokens.of["viewer"])

    expect(page.locator("#lost")).to_be_hidden()
    site.admin.ramp(C, 40)
    shows(row(page, C), "40 %")


def test_an_open_page_says_that_a_credential_has_ended(site: Site, tokens: Tokens, open_page: Open) -> None:
    page = open_page(site.address)
    sign_in(page, tokens.of["viewer"])
    shows(row(page, C), "20 %")
    tokens.revoke("viewer")
    # An open stream is checked again every 20 s.
    expect(page.get_by_role("link", name="Sign in again")).to_be_visible(timeout=100_000)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_everybody_can_sign_in(site: Site, open_page: Open, dark: bool) -> None:
    page = open_page(site.address, width=360, height=740, dark=dark)
    expect(page.get_by_label("Token")).to_be_visible()
    assert serious_findings(page) == []
    assert not overflows(page)
