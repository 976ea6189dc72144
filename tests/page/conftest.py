"""Fixtures of the tests in a browser: Debian's Chromium, without a window, driven by Playwright."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from rampd import Admin
from tests.page.looking import Site
from tests.servers import rampd_server, require
from tests.waiting import PATIENCE_S

# What a test of this folder waits for takes longer on a busy machine. By itself, Playwright gives up an `expect` after 5 s.
WAITS_MS = PATIENCE_S * 1000
expect.set_options(timeout=WAITS_MS)
# A container has no user namespaces for Chromium's own walls, and little of /dev/shm.
FLAGS = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """While it is there, Playwright's event loop runs in this thread: it ends before tests that have a loop of their own."""
    chromium = require("chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield started
        started.close()


@contextlib.contextmanager
def site_of(directory: Path, *flags: str, http: str = "127.0.0.1:0") -> Iterator[Site]:
    """Starts a server with a page. Its admin comes over the socket, which asks for no credential."""
    with rampd_server(directory, "--http", http, *flags) as server:
        server.event("serving")
        with Admin(f"unix:{server.socket}") as admin:
            yield Site(f"http://{server.event('listening_http')['address']}", admin, server)


@pytest.fixture
def site(directory: Path) -> Iterator[Site]:
    """A server whose page is open to everybody on this machine."""
    with site_of(directory, "--insecure-admin") as made:
        yield made


Open = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Open]:
    """Opens a tab of its own person. Nothing may be asked of another host, and no script may fail."""
    contexts, wrong = [], []

    def opened(
        address: str,
        *,
        width: int = 1440,
        height: int = 900,
        scripts: bool = True,
        dark: bool = False,
        phone: bool = False,
    ) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height},
            java_script_enabled=scripts,
            color_scheme="dark" if dark else "light",
            is_mobile=phone,
            # Far from UTC, and with another clock.
            locale="en-US",
            timezone_id="America/New_York",
            has_touch=phone,
        )
        context.set_default_timeout(WAITS_MS)
        contexts.append(context)
        page = context.new_page()
        host = address.partition("//")[2].partition("/")[0]
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: f"//{host}/" in request.url or wrong.append(request.url))
        page.on("console", lambda message: "Content Security Policy" in message.text and wrong.append(message.text))
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert wrong == []
