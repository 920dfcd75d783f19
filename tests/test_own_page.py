"""Signing, and one's own page, in a real Chromium: by finger, by ear, without a network, gone at once."""

import re
import secrets
from collections.abc import Iterator

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from schemas import codec
from tests.browser import accessible, at, chromium, hold, launched
from tests.relay import Relay
from tests.signing import PIN, Somebody, acknowledge, projected
from tests.webside import REACH, Side, records

pytestmark = [
    pytest.mark.browser,
    pytest.mark.broker,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium: run `make setup`"),
]
WAIT_MS = 30_000
expect.set_options(timeout=WAIT_MS)
BLANK = "/cases/people/new/consent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def manager(side: Side) -> Iterator[httpx.Client]:
    with side.person("case-manager") as client:
        yield client


@pytest.fixture
def wire(side: Side) -> Iterator[Relay]:
    made = Relay(side.address)
    yield made
    made.close()


@pytest.fixture
def context(browser: Browser, wire: Relay) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=wire.address, locale="en-US", viewport={"width": 320, "height": 640})
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


def accessible_on_a_phone(page: Page) -> None:
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "it scrolls sideways"


def signed_by(side: Side, number: str) -> int:
    """How many consents the log has of whom the case manager knows by this number."""
    participant = side.hub.participants.of(REACH, number)
    values = [one.value() for one in records(side.hub.client["bootstrap.servers"], "consent")]
    return sum(codec.decode(value)[1]["participant"] == participant for value in values)


def fill(page: Page, number: str) -> None:
    """Everything but the drawing."""
    page.locator("input[name=share]").first.check()
    for name in ("until", "since", "adult"):
        page.locator(f"input[name={name}]").first.check()
    page.get_by_label("The name I go by").fill("Rosa")
    page.get_by_label("Our number for this person").fill(number)
    page.get_by_label("Case manager: I saw this person sign.").check()


def draw(page: Page) -> None:
    pad = page.locator("canvas")
    pad.scroll_into_view_if_needed()
    box = pad.bounding_box()
    assert box
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 60, steps=5)
    page.mouse.up()


def test_from_a_blank_form_to_a_card_by_finger(context: BrowserContext, side: Side) -> None:
    number = "R-" + secrets.token_hex(5)
    page = at(context, "case-manager", BLANK)
    accessible_on_a_phone(page)
    page.get_by_role("button", name="Yes, to what I ticked").click()
    expect(page.get_by_role("alert")).to_contain_text("Nothing is ticked.")
    accessible_on_a_phone(page)
    fill(page, number)
    draw(page)
    page.get_by_role("button", name="Yes, to what I ticked").click()
    expect(page.get_by_role("heading", name="What I agreed to")).to_be_visible()
    accessible_on_a_phone(page)
    participant = side.hub.participants.of(REACH, number)
    assert participant
    projected(side, participant)
    page.get_by_role("link", name="The form as it was signed").click()
    expect(page.get_by_role("img", name="The sign, as it was made")).to_be_visible()
    accessible_on_a_phone(page)
    page.get_by_role("link", name="Back").click()
    page.get_by_label("My PIN, 6 digits or more").fill(PIN)
    page.get_by_label("The same PIN again").fill(PIN)
    page.get_by_role("button", name="Make my card").click()
    code = page.locator(".code.lead").inner_text()
    accessible_on_a_phone(page)
    assert signed_by(side, number) == 1
    page.goto("/me")
    accessible_on_a_phone(page)
    page.get_by_label("The code on my card").fill(code)
    page.get_by_label("My PIN").fill(PIN)
    page.get_by_role("button", name="Open my page").click()
    expect(page.get_by_text("Nobody has been told anything about you.")).to_be_visible()
    accessible_on_a_phone(page)
    page.get_by_role("button", name="Take it all back").click()
    expect(page.get_by_text("The door is closing")).to_be_visible()  # it looks again by itself, every second
    held = context.new_page()
    held.route("**/me/fences/**", hold)
    held.goto(page.url)
    expect(held.get_by_text("The door is closing")).to_be_visible()
    accessible_on_a_phone(held)
    held.close()
    acknowledge(side, page.url)
    expect(page.get_by_text("From now on nothing of it goes out.")).to_be_visible()
    accessible_on_a_phone(page)


def test_a_signature_that_was_cut_off_is_none_and_leaves_nothing(context: BrowserContext, side: Side) -> None:
    number = "R-" + secrets.token_hex(5)
    page = at(context, "case-manager", BLANK)
    fill(page, number)
    draw(page)
    page.close()
    page = at(context, None, BLANK)
    assert page.locator("input[name=drawing]").input_value() == ""
    assert page.evaluate("kept.waiting(document.querySelector('form[data-signing]').dataset.account)") == []
    assert side.hub.participants.of(REACH, number) is None


def test_without_a_network_it_is_kept_sealed_and_sent_once(
    context: BrowserContext, wire: Relay, side: Side
) -> None:
    number = "R-" + secrets.token_hex(5)
    page = at(context, "case-manager", "/cases")
    expect(page.locator("[data-state=live]")).to_be_visible()
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")
    there = "caches.match('/cases/people/new/consent', { ignoreVary: true }).then(found => Boolean(found))"
    until(page, there)
    wire.cut()
    page.goto(BLANK)
    assert page.locator("input[name=csrf]").count() == 0, "the blank form is nobody's"
    fill(page, number)
    draw(page)
    page.get_by_role("button", name="Yes, to what I ticked").click()
    expect(page.get_by_role("alert")).to_contain_text("kept on this device under a lock")
    accessible_on_a_phone(page)
    stored = page.evaluate(
        """async () => { const open = indexedDB.open('hub'); await new Promise(done => open.onsuccess = done);
        const all = open.result.transaction('acts').objectStore('acts').getAll();
        await new Promise(done => all.onsuccess = done);
        return all.result.map(one => new TextDecoder('latin1').decode(one.sealed)); }"""
    )
    assert len(stored) == 1
    assert number not in stored[0]
    assert "Rosa" not in stored[0]
    assert side.hub.participants.of(REACH, number) is None, "something went out without a network"
    wire.mend()
    page.goto("/cases")
    expect(page.locator("[data-toast]")).to_contain_text("Sent what you did without a network: 1")
    assert signed_by(side, number) == 1
    page.reload()
    expect(page.locator("[data-state=live]")).to_be_visible()
    assert signed_by(side, number) == 1


def until(page: Page, true: str) -> None:
    """Wait until an expression comes true."""
    for _ in range(WAIT_MS // 50):
        if page.evaluate(true):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"it did not come true: {true}")


def test_it_is_read_aloud_in_the_readers_language(context: BrowserContext) -> None:
    context.add_init_script(
        """window.said = []; speechSynthesis.speak = one => window.said.push([one.lang, one.text]);"""
    )
    page = at(context, "case-manager", BLANK)
    page.get_by_role("button", name="Español").click()
    page.get_by_role("button", name="Léamelo").click()
    spoken = page.evaluate("window.said")
    assert {lang for lang, _ in spoken} == {"es"}
    assert any("Nada de lo que haga aquí va a un fiscal como prueba." in text for _, text in spoken)
    expect(page.get_by_role("button", name="Deje de leer")).to_be_visible()


@pytest.mark.parametrize("how", ["button", "escape", "plain"])
def test_the_quick_exit_leaves_at_once_and_there_is_no_way_back(
    browser: Browser, side: Side, manager: httpx.Client, how: str
) -> None:
    rosa = Somebody(side, manager)
    context = browser.new_context(base_url=side.address, java_script_enabled=how != "plain")
    context.set_default_timeout(WAIT_MS)
    away = side.hub.settings.quick_exit

    def weather(route: Route) -> None:
        route.fulfill(body="<title>Weather</title>", content_type="text/html")

    context.route(re.compile(re.escape(away)), weather)
    page = context.new_page()
    if how == "button":  # what the page says of it never arrives: it has been left all the same
        context.route("**/me/exit", lambda route: route.abort())
    page.goto("/me")
    page.get_by_label("The code on my card").fill(rosa.card())
    page.get_by_label("My PIN").fill(PIN)
    page.get_by_role("button", name="Open my page").click()
    expect(page.get_by_role("heading", name="Who has seen what about me?")).to_be_visible()
    page.wait_for_load_state()  # before, the button is a plain form's
    if how == "escape":
        for _ in range(20):  # a busy machine may press too slowly; somebody in a hurry presses often
            page.keyboard.press("Escape")
            page.wait_for_timeout(200)
            if page.url == away:
                break
    else:
        page.get_by_role("button", name="Leave this page now").click()
    page.wait_for_url(away)
    assert page.title() == "Weather"
    page.goto("/me")
    expect(page.get_by_label("The code on my card")).to_be_visible()
    assert how == "button" or not any(one["name"] == "hub_visit" for one in context.cookies())
    page.go_back()
    expect(page.get_by_text("Harbor House may learn about")).to_have_count(0)
    context.close()
