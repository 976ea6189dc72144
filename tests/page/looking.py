"""What tests in a browser share."""

import re
from dataclasses import dataclass

from playwright.sync_api import Locator, Page, expect

from rampd import Admin
from tests.servers import ServerProcess

SERIOUS = {"serious", "critical"}


@dataclass(frozen=True)
class Site:
    """A server with a page."""

    address: str
    admin: Admin
    server: ServerProcess


def row(page: Page, component: str) -> Locator:
    """Returns the row of a component on the front page."""
    return page.locator(f"[id='component-{component}']")


def group(page: Page, heading: str) -> Locator:
    """Returns the rows under a heading."""
    return page.locator("section.group").filter(has=page.get_by_role("heading", name=heading, exact=True))


EXACT = r"(\d+ [A-Z][a-z]+ )?\d\d:\d\d:\d\d UTC"
"""A moment as the page writes it, wherever the browser is."""


def shows(locator: Locator, text: str | re.Pattern[str]) -> None:
    """Waits until an element shows a text."""
    expect(locator).to_contain_text(text)


def serious_findings(page: Page) -> list[str]:
    """Returns what axe finds that keeps people from using the page."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page).response["violations"]
    return [f"{each['id']}: {node['html']}" for each in found if each["impact"] in SERIOUS for node in each["nodes"]]


def overflows(page: Page) -> bool:
    """Whether the page is wider than its window, so that a person has to move it from side to side."""
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))
