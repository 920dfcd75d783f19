"""Scenes of participants' pictures: somebody signs, gets a card, looks, is helped, asks, takes back."""

import secrets
import time
from collections.abc import Callable
from typing import Final

import httpx
from playwright.sync_api import Page

from hub.store import upsert
from hub.tables import intents, receipts
from tests.browser import hold
from tests.signing import PIN, Somebody, acknowledge, projected
from tests.webside import HARBOR, REACH, Side, permit

MINUTE: Final = 60_000
TRIES_MAX: Final = 60
BLANK: Final = "/cases/people/new/consent"


def _desk(page: Page) -> None:
    page.goto("/signin")
    page.locator("form:has(input[value='case-manager']) button").click()


def _form(page: Page, _side: Side) -> None:
    _desk(page)
    page.goto(BLANK)


def _sign(page: Page, side: Side) -> None:
    """Somebody draws."""
    _form(page, side)
    pad = page.locator("canvas")
    pad.evaluate("pad => pad.scrollIntoView({block: 'center'})")
    box = pad.bounding_box()
    assert box
    page.mouse.move(box["x"] + 40, box["y"] + 90)
    page.mouse.down()
    for across, down in ((70, 40), (85, 100), (110, 55), (125, 95), (150, 60), (190, 85), (240, 70)):
        page.mouse.move(box["x"] + across, box["y"] + down, steps=4)
    page.mouse.up()


def _hold(page: Page, side: Side, then: str = "") -> None:
    """A receipt in the case manager's hands; `then` the form that was signed, or where the card is made."""
    with side.person("case-manager") as manager:
        _same_language(page, manager)
        rosa = Somebody(side, manager)
    projected(side, rosa.participant)
    _desk(page)
    page.goto(f"/cases/people/{rosa.handle}/receipts/{rosa.consent}{then}")


def _same_language(page: Page, manager: httpx.Client) -> None:
    """The case manager's tablet speaks as the page does."""
    language = page.evaluate("navigator.language").partition("-")[0]
    manager.cookies.set("hub_language", language, domain=manager.base_url.host)


def _card(page: Page, side: Side) -> None:
    _hold(page, side)
    page.locator("#pin").fill(PIN)
    page.locator("#again").fill(PIN)
    page.locator("form[action$='/card'] button").click()
    _top(page, ".code.lead")


def _top(page: Page, inside: str) -> None:
    """Scroll to the section that has this in it."""
    page.locator(f"section:has({inside})").last.evaluate("part => part.scrollIntoView()")


def enter(page: Page, side: Side) -> Somebody:
    """Somebody signs, gets a card, and opens their own page; something was told about them already."""
    with side.person("case-manager") as manager:
        _same_language(page, manager)
        rosa = Somebody(side, manager)
        code = rosa.card()
    _told(side, rosa)
    projected(side, rosa.participant)
    page.goto("/me")
    page.locator("#code").fill(code)
    page.locator("#pin").fill(PIN)
    page.locator("form[action='/me/signin'] button").click()
    page.locator("[data-mine]").wait_for()
    return rosa


def _told(side: Side, rosa: Somebody) -> None:
    """A disclosure of something about them, as the auditor projects it."""
    event = side.decision([permit(HARBOR)], ago_ms=90 * MINUTE, discloser=REACH)
    at = time.time_ns() // 1_000_000 - 88 * MINUTE
    share = {"purpose": "care-coordination", "basis": "consent", "grants": [f"{rosa.consent}/g"]}
    row = {
        **{"partition": 1, "offset": secrets.randbits(40), "key": f"d-{secrets.token_hex(13)}"},
        **{"stakeholder": HARBOR, "adapter": "webhook", "event": event, "participant": rosa.participant},
        **{"at": at, "attempt": 1},
    }
    asked = {"outbox_partition": 1, "outbox_offset": 1, "consent_offset": 1, "governance_offset": 1}
    shares = [{**share, "compartments": ["occurrence", "subject"]}]
    with side.hub.store.write() as connection:
        upsert(connection, intents, [{**row, **asked, "shares": shares}])
        upsert(connection, receipts, [{**row, "outcome": "delivered", "code": "http-204", "next_at": None}])


def _closing(page: Page, side: Side) -> None:
    """Everything is taken back, and not every owner has said that they know."""
    enter(page, side)
    page.route("**/me/fences/**", hold)
    page.locator("button[name=recipient][value='']").click()
    page.wait_for_url("**/me/fences/**")


def _closed(page: Page, side: Side) -> None:
    """The same, a moment later: what was read before can't be called back."""
    _closing(page, side)
    told = page.locator("h1").inner_text()
    acknowledge(side, page.url)
    for _ in range(TRIES_MAX):
        page.reload()
        if page.locator("h1").inner_text() != told:
            return
    raise AssertionError("the fence did not close")


def _asks(page: Page, side: Side) -> None:
    enter(page, side)
    page.locator("button[name=kind][value=copy]").click()
    _top(page, "#text")


def _helps(page: Page, side: Side) -> None:
    """A helper was named, came once, and asked for something."""
    rosa = enter(page, side)
    page.locator("details:has(#helper) summary").click()
    page.locator("#helper").fill("Ana Ruiz")
    page.locator("#may").select_option("act")
    for name in ("pin", "again"):
        page.locator(f"#{name}").fill(PIN)
    page.locator("form[action='/me/helpers'] button").click()
    code = page.locator(".code.lead").inner_text()
    with rosa.visit(code) as ana:
        ana.post("/me/requests", data={"kind": "copy", "once": "1"}).raise_for_status()
    projected(side, rosa.participant)
    page.goto("/me")
    _top(page, "form[action='/me/helpers']")


SCENES: Final[dict[str, Callable[[Page, Side], object]]] = {
    "consent": _form,
    "sign": _sign,
    "receipt": _hold,
    "signed": lambda page, side: _hold(page, side, "/form"),
    "card": _card,
    "mine": enter,
    "closing": _closing,
    "closed": _closed,
    "asks": _asks,
    "helps": _helps,
}
