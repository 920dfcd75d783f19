"""A real Chromium, the one of the system, for the tests of pages."""

import contextlib
import re
import shutil
from collections.abc import Iterator, Mapping
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route

FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def chromium() -> str | None:
    """Where it is, or None."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@contextlib.contextmanager
def launched(playwright: Playwright) -> Iterator[Browser]:
    """A running one, until the block ends."""
    browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
    try:
        yield browser
    finally:
        browser.close()


def at(context: BrowserContext, account: str | None, path: str) -> Page:
    """A page, signed in; whatever it complains about is in `page.complaints`."""
    page = context.new_page()
    said: list[str] = []
    page.complaints = said  # type: ignore[attr-defined]
    page.on("console", lambda told: said.append(told.text) if told.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    if account:
        page.goto("/signin")
        page.locator(f"form:has(input[value='{account}']) button").click()
        page.wait_for_url(re.compile("/(cases|officer|operator)$"))
    page.goto(path)
    return page


def accessible(page: Page, options: Mapping[str, Any] | None = None) -> None:
    """Whether axe finds nothing. In: its options, where it is not to look at everything."""
    found = Axe().run(page, options=dict(options) if options is not None else None)
    assert found.violations_count == 0, found.generate_report()


def complaints(page: Page) -> list[str]:
    """What a page complained about, but for what the tests brought about themselves."""
    return [one for one in page.complaints if "403 (Forbidden)" not in one]  # type: ignore[attr-defined]


def hold(route: Route) -> None:
    """The page as it is, but it does not load itself again while it is looked at."""
    answer = route.fetch()
    kept = {name: value for name, value in answer.headers.items() if name != "refresh"}
    route.fulfill(response=answer, headers=kept)
