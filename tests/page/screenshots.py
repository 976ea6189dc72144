"""Takes the pictures of docs/page.md and README.md: a real server, real jobs, Debian's Chromium. `python -m tests.page.screenshots`

It takes three minutes, because a rollout needs time to have a course.
"""

import contextlib
import random
import shutil
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Final

from playwright.sync_api import Browser, Page, sync_playwright

from rampd import Admin, Resolver
from tests.page.conftest import FLAGS, site_of
from tests.page.looking import Site
from tests.servers import short_directory

IMAGES: Final = Path(__file__).parents[2] / "docs" / "images"
WIDE, TALL, PHONE = (1280, 800), (1280, 1500), (360, 740)
OTHERS: Final = ("billing", "indexer", "mailer", "scheduler", "thumbnails", "search", "webhooks", "export")


class Fleet:
    """Jobs of two components, all the time."""

    def __init__(self, target: str) -> None:
        self._resolver = Resolver(target)
        self._chance = random.Random(3)

    def __enter__(self) -> "Fleet":
        return self

    def __exit__(self, *_: object) -> None:
        self._resolver.close()

    def work(self, component: str, seconds: float, failing: dict[str, float]) -> None:
        """Runs about 40 jobs a second. `failing`: the share of jobs of a tag that fail."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            with self._resolver.job(component, repo=f"acme/app-{self._chance.randrange(900)}") as job:
                if self._chance.random() < failing.get(job.tag, 0.01):
                    job.failed()
            time.sleep(0.025)


def steady_and_others(admin: Admin) -> None:
    """Eight components in the states that they often have."""
    for number, name in enumerate(OTHERS):
        admin.release(name, f"2026111{number}", note="build 4711")
    admin.release("billing", "20261124")
    admin.ramp("billing", 5, confirm_within=timedelta(hours=1), note="finance looks at it")
    admin.release("indexer", "20261120")
    admin.ramp("indexer", 30)
    admin.pause("indexer", note="the provider of the index has an outage")
    admin.freeze("mailer", note="the newsletter goes out")
    admin.release("search", "20261123")
    for tag in ("20261124", "20261125"):
        admin.release("search", tag)
    admin.ramp("search", 60)


def good_rollout(admin: Admin, fleet: Fleet) -> None:
    """restyler 20260409 goes up step by step, and its jobs go well."""
    for tag in ("20260301", "20260409"):
        admin.release("restyler", tag, attributes={"commit": "1a2b3c4d", "link": "https://ci.example.com/builds/4711"})
    admin.release("restyler", "20260412")
    admin.set_override("restyler", "acme/app", channel="NEXT", note="staff first")
    admin.set_override("restyler", "bigcorp/*", tag="20260228", note="their plugin breaks with newer ones")
    for percent in (5, 10, 25, 50):
        admin.ramp("restyler", percent)
        fleet.work("restyler", 35, {"20260301": 0.02, "20260409": 0.02})


def bad_rollout(admin: Admin, fleet: Fleet) -> None:
    """converter 20260410 fails more and more often, and rampd rolls it back."""
    for tag in ("20260302", "20260410"):
        admin.release("converter", tag)
    for percent, failing in ((10, 0.02), (25, 0.02), (50, 0.4)):
        admin.ramp("converter", percent)
        fleet.work("converter", 40, {"20260410": failing})


@contextlib.contextmanager
def tab(browser: Browser, address: str, size: tuple[int, int] = WIDE, *, dark: bool = False) -> Iterator[Page]:
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]}, color_scheme="dark" if dark else "light", device_scale_factor=1
    )
    page = context.new_page()
    page.goto(address)
    page.wait_for_timeout(1_500)
    yield page
    context.close()


def take(page: Page, name: str) -> None:
    IMAGES.mkdir(exist_ok=True)
    page.screenshot(path=IMAGES / f"page-{name}.png")


def refusal(browser: Browser, site: Site) -> None:
    """Somebody was faster."""
    with tab(browser, f"{site.address}/components/restyler") as page:
        page.get_by_role("link", name="Ramp", exact=True).click()
        dialog = page.get_by_role("dialog")
        dialog.get_by_label("Percent").fill("80")
        dialog.get_by_role("button", name="Ramp").wait_for()
        site.admin.pause("restyler", note="let us look at the latency first")
        dialog.get_by_role("button", name="Ramp").click()
        dialog.get_by_role("alert").wait_for()
        take(page, "refusal")


def main() -> None:
    with short_directory() as directory, sync_playwright() as playwright, contextlib.ExitStack() as stack:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        stack.callback(browser.close)
        site = stack.enter_context(site_of(directory, "--insecure-admin"))
        with tab(browser, site.address) as page:
            take(page, "empty")
        target = f"unix:{site.server.socket}"
        steady_and_others(site.admin)
        with ThreadPoolExecutor() as threads, Fleet(target) as one, Fleet(target) as other:
            for each in (threads.submit(good_rollout, site.admin, one), threads.submit(bad_rollout, site.admin, other)):
                each.result()
        with tab(browser, site.address, (1280, 1100)) as page:
            take(page, "ten")
        with tab(browser, f"{site.address}/components/restyler", TALL) as page:
            take(page, "ramping")
        with tab(browser, f"{site.address}/components/converter", dark=True) as page:
            take(page, "rolled-back")
        with tab(browser, site.address, PHONE) as page:
            take(page, "phone")
        with tab(browser, site.address, dark=True) as page:
            take(page, "dark")
        refusal(browser, site)
    print(f"The pictures are in {IMAGES}", file=sys.stderr)


if __name__ == "__main__":
    main()
