"""The case manager's page in a real Chromium: live, held still, without a network, and after it."""

import re
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from hub.preferences import Preferences
from hub.sessions import Sessions
from hub.tables import sessions
from tests.browser import accessible, at, chromium, complaints, launched
from tests.relay import Relay
from tests.screenshots import assign
from tests.webside import NORTH, Side, records

pytestmark = [
    pytest.mark.browser,
    pytest.mark.broker,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium: run `make setup`"),
]
WAIT_MS = 60_000  # a busy machine takes its time; nothing here is about speed
FIRST_LOAD_BYTES_MAX = 60 * 1024
BURST = 5_000
CARDS = "all => all.map(one => one.id.replace('alert-', ''))"
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as running:
        yield running


@pytest.fixture
def context(browser: Browser, side: Side) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=side.address, locale="en-US")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def wire(side: Side) -> Iterator[Relay]:
    """What is between the browser and the hub, and can be cut."""
    made = Relay(side.address)
    yield made
    made.close()


@pytest.fixture
def field(browser: Browser, wire: Relay) -> Iterator[BrowserContext]:
    """A browser at the end of that wire."""
    made = browser.new_context(base_url=wire.address, locale="en-US")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


@pytest.fixture
def shown(side: Side) -> Iterator[Callable[..., str]]:
    """Shows an alert about somebody of that name; afterwards none of them stands any more."""
    made: list[str] = []

    def show(name: str, **more: Any) -> str:
        made.append(side.alert(name, **more))
        return made[-1]

    yield show
    for one in made:
        side.withdraw(one)


def named(name: str) -> str:
    return f"{name} {secrets.token_hex(3)}"


def live(page: Page) -> Page:
    expect(page.locator("[data-state=live]")).to_be_visible()
    return page


def installed(page: Page) -> Page:
    """The page, once it would open without a network."""
    live(page)
    page.evaluate("navigator.serviceWorker.ready.then(() => true)")  # the next navigation is the worker's
    until(page, "kept.read(location.pathname).then(found => found !== null)")
    return page


def until(page: Page, true: str) -> None:
    """Wait until an expression is true; the page's own policy lets it evaluate none by itself."""
    deadline = time.monotonic() + WAIT_MS / 1000
    while not page.evaluate(true):
        assert time.monotonic() < deadline, f"it did not come true: {true}"
        page.wait_for_timeout(20)


def offline(page: Page, wire: Relay) -> Page:
    """The page as it opens without a network."""
    wire.cut()
    page.reload()
    expect(page.locator("[data-state=offline]")).to_be_visible()
    return page


def online(page: Page, wire: Relay) -> None:
    """There is a network again, and the device says so."""
    wire.mend()
    page.evaluate("window.dispatchEvent(new Event('online'))")


def acts(side: Side, alert: str) -> int:
    """How often something done about an alert stands in the log, seeing it left out."""
    return sum(alert.encode() in one.value() for one in records(side.hub.settings.kafka_bootstrap, "work"))


# ---- what one does --------------------------------------------------------------------------------------


def test_what_was_done_can_be_undone_and_the_focus_is_left_alone(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Ulla")
    alert = shown(name)
    page = live(at(context, "case-manager", "/cases"))
    page.locator(f"#acknowledgements-{alert}").click()
    expect(page.locator("[data-toast]")).to_contain_text("You have this.")
    expect(page.get_by_role("log")).to_contain_text("You have this.")
    page.locator("[data-toast]").hover()  # it stays while somebody is at it
    assert page.evaluate("document.activeElement.id") == "question", "the focus fell off the page"
    accessible(page)
    page.locator("[data-toast]").get_by_role("button", name="Undo").click()
    expect(page.locator("[data-toast]")).to_contain_text("Undone.")
    expect(page.locator(f"#acknowledgements-{alert}")).to_be_visible()
    assert complaints(page) == []


def test_leaving_for_later_and_handing_over(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    later = shown(named("Lena"))
    page = live(at(context, "case-manager", "/cases"))
    page.locator(f"#later-{later}").click()
    expect(page.get_by_label("Leave it until")).to_be_visible()
    accessible(page)
    name = named("Meanwhile")
    shown(name)
    expect(page.locator("[data-held]")).to_contain_text("1 new")
    page.get_by_role("button", name="Remind me").click()
    expect(page.locator(f"#alert-{later}")).to_contain_text("left until")
    expect(page.get_by_text(name), "what came while somebody chose is shown afterwards").to_be_visible()
    page.locator(f"#undos-{later}").click()
    page.locator(f"#later-{later}").click()
    page.get_by_label("Give it to").select_option("Mateo Silva")
    page.get_by_role("button", name="Hand over").click()
    expect(page.locator("[data-toast]")).to_contain_text("Handed over.")


def test_what_is_taken_back_goes_from_an_open_dialog_too(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Dialog")
    alert = shown(name)
    page = live(at(context, "case-manager", "/cases"))
    page.locator(f"#later-{alert}").click()
    expect(page.locator("dialog").get_by_text(name)).to_be_visible()
    side.withdraw(alert)
    expect(page.get_by_text(name)).to_have_count(0)


def test_of_two_who_are_as_quick_one_is_told_who_has_it(
    browser: Browser, side: Side, shown: Callable[..., str]
) -> None:
    alert = shown(named("Twice"))
    one, other = browser.new_context(base_url=side.address), browser.new_context(base_url=side.address)
    first = live(at(one, "case-manager", "/cases"))
    second = live(at(other, "colleague", "/cases"))
    held = second.locator("[data-pause]")
    held.click()  # so that the second still sees what the first one takes
    first.locator(f"#acknowledgements-{alert}").click()
    expect(first.locator(f"#alert-{alert}")).to_contain_text("has this")
    second.locator(f"#acknowledgements-{alert}").click()
    expect(second.locator("[data-toast]")).to_contain_text("Dana Whitfield was quicker and has this already.")
    one.close()
    other.close()


# ---- what one sees --------------------------------------------------------------------------------------


def test_a_page_that_is_held_still_shows_nothing_new_and_nothing_that_was_taken_back(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    stays, goes, comes = named("Stays"), named("Goes"), named("Comes")
    shown(stays)
    gone = shown(goes)
    page = live(at(context, "case-manager", "/cases"))
    page.get_by_role("button", name="Hold still").click()
    shown(comes)
    expect(page.locator("[data-held]")).to_contain_text("1 new")
    expect(page.get_by_role("log")).to_contain_text("1 new")
    side.withdraw(gone)
    expect(page.get_by_text(goes)).to_have_count(0)
    expect(page.get_by_text(stays)).to_be_visible()
    expect(page.get_by_text(comes)).to_have_count(0)
    accessible(page)
    page.get_by_role("button", name="Hold still").click()
    expect(page.get_by_text(comes)).to_be_visible()


def test_each_card_comes_once_and_stays_whole(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    names = [named("Once") for _ in range(4)]
    page, came = at(context, "case-manager", "/"), list[str]()
    wires = context.new_cdp_session(page)
    wires.send("Network.enable")
    wires.on("Network.eventSourceMessageReceived", lambda message: came.append(message["data"]))
    page.goto("/cases")
    live(page)
    for count, name in enumerate(names, 1):
        shown(name)
        for one in names[:count]:
            expect(page.locator(".card .says", has_text=one)).to_have_count(1)
            expect(page.locator(".card", has_text=one).locator("button")).to_be_visible()
    assert sum(names[0] in data for data in came) == 1
    assert any("data-same" in data for data in came)
    until(
        page,
        f"kept.read(location.pathname).then(found => {names}.every(name => found.html.includes(name)))",
    )


def test_a_page_that_is_told_of_a_card_it_never_had_begins_again(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    name, asked = named("Never"), list[str]()
    alert = shown(name)

    def lost(route: Route) -> None:
        asked.append(route.request.url)
        part = f'<div data-mark="9.9"><ol class="cards"><li id="alert-{alert}" data-same></li></ol></div>'
        frame = f"retry: 100000\n\nevent: changed\nid: 9.9\ndata: {part}\n\n"
        if len(asked) == 1:
            route.fulfill(status=200, body=frame, content_type="text/event-stream")
        else:
            route.continue_()

    page = at(context, "case-manager", "/public")  # no stream is open there
    context.route("**/v1/alerts/stream**", lost)
    page.goto("/cases")
    live(page)
    expect(page.get_by_text(name)).to_be_visible()
    expect(page.locator("[data-same]")).to_have_count(0)
    assert [one.endswith("after=") for one in asked[:2]] == [False, True]


def test_a_persons_page_is_live_and_goes_with_the_consent(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Petra")
    alert = shown(name)
    page = live(at(context, "case-manager", "/cases"))
    page.locator(f"#alert-{alert} a[href^='/cases/people/']").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(name)
    expect(page.get_by_role("heading", name="What this person agreed to")).to_be_visible()
    assert name not in page.title()
    assert name.split()[0] not in page.url
    live(page)
    accessible(page)
    side.withdraw(alert)
    page.wait_for_url("**/cases")
    expect(page.get_by_text(name)).to_have_count(0)


def test_ones_own_people_are_found_without_telling_the_hub(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    names = [named("Ana"), named("Bruno")]
    for name in names:
        who = "p-" + secrets.token_hex(13)
        assign(side, who)
        shown(name, participant=who)
    page = live(at(context, "case-manager", "/cases/people"))
    asked: list[str] = []
    page.on("request", lambda one: asked.append(one.url))
    page.get_by_role("searchbox").fill(names[0].upper())
    expect(page.get_by_role("link", name=names[0])).to_be_visible()
    expect(page.get_by_role("link", name=names[1])).to_be_hidden()
    page.get_by_role("searchbox").fill("nobody at all")
    expect(page.get_by_text("None of your people is called that.")).to_be_visible()
    accessible(page)
    assert not [url for url in asked if "people" in url or "caseload" in url]
    page.goto("/cases")
    page.get_by_role("searchbox").fill(names[1])
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("link", name=names[1])).to_be_visible()
    assert page.url.endswith("/cases/people"), "whom somebody looked for stands in an address"


def test_a_burst_is_bounded_counted_and_grouped(context: BrowserContext, side: Side) -> None:
    page = live(at(context, "case-manager-2", "/cases"))
    alike, apart = side.burst(BURST - 600, 1, NORTH), side.burst(600, 300, NORTH)
    expect(page.locator("#more")).to_contain_text("And 501 more.")
    assert page.locator(".card").count() == 100
    expect(page.get_by_text("and 4,399 older ones like it")).to_be_visible()
    expect(page.locator("[data-announce]")).to_contain_text("5,000 alerts wait")
    assert len(page.content()) < 1_000_000
    side.withdraw(*alike, *apart)
    expect(page.get_by_text("Nobody needs you now.").first).to_be_attached()


def test_what_happened_since_somebody_last_looked_is_new_once(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    wishes = Preferences(side.hub.store, side.hub.vault)

    def looked(since: int) -> None:
        deadline = time.monotonic() + WAIT_MS / 1000
        while (wishes.of("case-manager").looked_at or 0) < since:
            assert time.monotonic() < deadline, "it is not known when the page was looked at"
            page.wait_for_timeout(20)

    def now() -> int:
        return time.time_ns() // 1_000_000

    old, began = shown(named("Old")), now()
    page = live(at(context, "case-manager", "/cases"))
    looked(began)  # and not only when the next one is there
    page.goto("/cases/wishes")
    new, began = shown(named("Newer")), now()
    page.goto("/cases")
    expect(page.locator(f"#alert-{new} .new")).to_be_visible()
    expect(page.locator(f"#alert-{old} .new")).to_have_count(0)
    looked(began)
    with context.expect_event("response", lambda one: one.url.endswith("/cases/looks")):  # it is in view
        came = shown(named("Came"))
        expect(page.locator(f"#alert-{came} .new")).to_be_visible()
    page.goto("/cases")
    for one in (new, came):
        expect(page.locator(f"#alert-{one}")).to_be_visible()
        expect(page.locator(f"#alert-{one} .new")).to_have_count(0)


def test_sound_is_for_what_is_urgent_and_for_whoever_asked(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    page = live(at(context, "case-manager", "/cases"))
    shown(named("Silent"))
    expect(page.get_by_text("Silent").first).to_be_visible()
    assert page.locator("[data-live]").get_attribute("data-rang") is None
    page.goto("/cases/wishes")
    page.get_by_label("Sound and vibration").check()
    page.get_by_role("button", name="Keep this").click()
    expect(page.get_by_text("Kept.")).to_be_visible()
    page.goto("/cases")
    live(page)
    shown(named("Loud"))
    expect(page.locator("[data-live]")).to_have_attribute("data-rang", "1")
    page.goto("/cases/wishes")
    page.get_by_label("Sound and vibration").uncheck()
    page.get_by_role("button", name="Keep this").click()


def test_wishes_that_make_no_sense_are_told_and_change_nothing(side: Side) -> None:
    with side.person("case-manager-2") as manager:
        for wrong in (
            {"quiet_from": "22:00"},
            {"quiet_from": "25:00", "quiet_until": "07:00"},
            {"digest_at": "x"},
        ):
            answer = manager.post("/cases/wishes", data=wrong)
            assert answer.status_code == 422
            assert "Nothing was changed" in answer.text
        answer = manager.post("/cases/wishes", data={"quiet_from": "22:00", "quiet_until": "06:30"})
        assert 'value="06:30"' in answer.text
        assert manager.post("/cases/devices", json={"endpoint": "http://x"}).status_code in (400, 422)
        assert manager.post("/cases/devices", content=b"{" * 20_000).status_code in (400, 413, 422)


# ---- the connection -------------------------------------------------------------------------------------


def test_a_lost_connection_is_seen_and_comes_back(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    page = live(at(context, "case-manager", "/cases"))
    context.set_offline(True)
    expect(page.locator("[data-state=offline]")).to_contain_text(re.compile(r"Offline since \d+:\d\d"))
    expect(page.locator("[data-state=live]")).to_be_hidden()
    accessible(page)
    name = named("Meanwhile")
    shown(name)
    context.set_offline(False)
    expect(page.get_by_text(name)).to_be_visible()
    live(page)


def test_without_its_stream_a_page_asks_by_itself(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    def refused(route: Route) -> None:
        route.fulfill(status=503)

    context.route("**/v1/alerts/stream**", refused)
    page = at(context, "case-manager", "/cases")
    expect(page.locator("[data-state=joining]")).to_be_visible()
    name = named("Polled")
    shown(name)
    expect(page.get_by_text(name), "it asks again after each failure, and every 15 s").to_be_visible()


def test_while_the_hub_cannot_check_a_page_says_so(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    def behind(route: Route) -> None:
        body = "retry: 100000\n\nevent: behind\ndata: \n\n"
        route.fulfill(status=200, body=body, content_type="text/event-stream")

    name = named("Still")
    shown(name)
    context.route("**/v1/alerts/stream**", behind)
    context.route("**/cases/alerts?**", lambda route: route.fulfill(status=503))
    page = at(context, "case-manager", "/cases")
    expect(page.locator("[data-state=behind]")).to_contain_text("The hub can't check right now.")
    expect(page.get_by_text(name), "what may stay readable stays").to_be_visible()


def test_a_session_that_is_ended_elsewhere_leaves_nothing_on_the_screen_or_the_device(
    context: BrowserContext, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Left Behind")
    shown(name)
    page = installed(at(context, "case-manager", "/cases"))
    cookie = {one["name"]: one["value"] for one in context.cookies()}["hub_session"]
    found = Sessions(side.hub.store).find(cookie, used=False, agent=page.evaluate("navigator.userAgent"))
    assert found is not None
    Sessions(side.hub.store).close(found.session)
    page.wait_for_url("**/signin?ended=1")
    expect(page.get_by_text("You are signed out. Nothing you did was lost.")).to_be_visible()
    expect(page.get_by_text(name)).to_have_count(0)
    page.goto("/")
    left = page.evaluate(STORED)
    assert left["pages"] == []
    assert "pages" not in left["keys"]


# ---- without a network ----------------------------------------------------------------------------------

STORED = """async () => {
  const open = indexedDB.open("hub");
  const base = await new Promise(done => { open.onsuccess = () => done(open.result); });
  const found = {};
  for (const name of base.objectStoreNames) {
    const store = base.transaction(name).objectStore(name);
    const ask = name === "keys" ? store.getAllKeys() : store.getAll();
    found[name] = await new Promise(done => { ask.onsuccess = () => done(ask.result); });
  }
  const key = base.objectStoreNames.contains("keys")
    ? await new Promise(done => {
        const ask = base.transaction("keys").objectStore("keys").get("pages");
        ask.onsuccess = () => done(ask.result); })
    : undefined;
  base.close();
  return {
    keys: found.keys || [], acts: (found.acts || []).length, extractable: key ? key.key.extractable : null,
    pages: (found.pages || []).map(row => String.fromCharCode(...new Uint8Array(row.sealed))),
  };
}"""


def test_without_a_network_the_last_state_stays_readable_and_sealed(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Carried")
    shown(name)
    page = installed(at(field, "case-manager", "/cases"))
    until(page, f"kept.read('/cases').then(found => found.html.includes('{name}'))")
    stored = page.evaluate(STORED)
    assert stored["extractable"] is False
    assert len(stored["pages"]) == 1
    assert name not in stored["pages"][0]
    assert "card" not in stored["pages"][0], "it is not sealed"
    offline(page, wire)
    expect(page.get_by_text(name)).to_be_visible()
    expect(page.get_by_text("This is how it was on")).to_be_visible()
    assert "Dana Whitfield" not in page.locator("header").inner_text(), "the kept page is nobody's"
    accessible(page)
    nine_hours = "Date.now = (now => () => now() + 9 * 3600000)(Date.now)"
    page.evaluate(nine_hours)
    assert page.evaluate("kept.read('/cases')") is None, "too old to be shown"
    assert page.evaluate(STORED)["pages"] == []


def test_what_is_done_without_a_network_is_done_once_there_is_one(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    alert = shown(named("Queued"))
    page = offline(installed(at(field, "case-manager", "/cases")), wire)
    before = acts(side, alert)
    page.locator(f"#acknowledgements-{alert}").click()
    expect(page.locator("[data-toast]")).to_contain_text("Kept. It is sent when there is a network.")
    page.reload()  # it outlives the page
    expect(page.locator(f"#acknowledgements-{alert}")).to_be_visible()
    online(page, wire)
    expect(page.locator("[data-toast]")).to_contain_text("Sent what you did without a network: 1")
    expect(page.locator(f"#alert-{alert}")).to_contain_text("Dana Whitfield has this")
    assert page.evaluate(STORED)["acts"] == 0
    page.reload()
    live(page)
    assert acts(side, alert) - before == 1


def test_a_page_that_slept_for_a_day_shows_nothing_and_loses_nothing(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    evening = named("Evening")
    gone, mine = shown(evening), shown(named("Mine"))
    page = installed(at(field, "case-manager", "/cases"))
    before = acts(side, mine)
    wire.cut()
    page.locator(f"#acknowledgements-{mine}").click()
    expect(page.locator("[data-toast]")).to_contain_text("Kept.")
    day_ms = 24 * 3_600_000
    with side.hub.store.write() as connection:  # a day later: nobody touched it, and things went on
        mine_alone = sessions.c.account == "case-manager"
        slept = {"seen_at": sessions.c.seen_at - day_ms, "expires_at": sessions.c.expires_at - day_ms}
        connection.execute(sessions.update().where(mine_alone).values(slept))
    side.withdraw(gone)
    new = shown(named("Morning"))
    online(page, wire)
    page.wait_for_url("**/signin?ended=1")
    expect(page.get_by_text(evening)).to_have_count(0)
    left = page.evaluate(STORED)
    assert (left["pages"], left["acts"]) == ([], 1), "what was seen goes, and what was done waits"
    page.locator("form:has(input[value='case-manager']) button").click()
    expect(page.locator(f"#alert-{new} .new")).to_be_visible()
    expect(page.locator(f"#alert-{mine}")).to_contain_text("Dana Whitfield has this")
    expect(page.get_by_text(evening)).to_have_count(0)
    assert page.evaluate(STORED)["acts"] == 0
    assert acts(side, mine) - before == 1


def test_who_was_slower_without_a_network_is_told(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Raced")
    alert = shown(name)
    page = offline(installed(at(field, "case-manager", "/cases")), wire)
    page.locator(f"#acknowledgements-{alert}").click()
    expect(page.locator("[data-toast]")).to_contain_text("Kept.")
    with side.person("colleague") as other:
        form = version(other, alert)
        assert (
            other.post(f"/cases/alerts/{alert}/acknowledgements", data={"version": form}).status_code == 200
        )
    online(page, wire)
    expect(page.locator("[data-lost]")).to_contain_text("was quicker and has this already.")
    expect(page.get_by_role("log")).to_contain_text("was quicker and has this already.")
    accessible(page)


def version(client: httpx.Client, alert: str) -> str:
    button = client.get("/cases").text.split(f"/cases/alerts/{alert}/acknowledgements", 1)[1]
    return button.split('name="version" value="', 1)[1].split('"', 1)[0]


def test_what_was_taken_back_meanwhile_goes_from_the_device_on_coming_back(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Revoked")
    alert = shown(name)
    page = live(at(field, "case-manager", "/cases"))
    page.locator(f"#alert-{alert} a[href^='/cases/people/']").click()
    installed(page)
    offline(page, wire)
    expect(page.get_by_text(name).first).to_be_visible()
    side.withdraw(alert)
    online(page, wire)
    expect(page.get_by_text("There is no such page")).to_be_visible()
    assert page.evaluate(STORED)["pages"] == [], "what was kept of somebody stayed"
    page = installed(at(field, None, "/cases"))
    offline(page, wire)
    expect(page.get_by_text("This is how it was on")).to_be_visible()
    expect(page.get_by_text(name)).to_have_count(0)


def test_today_stays_readable_beside_the_person_that_was_read_last(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Beside")
    alert = shown(name)
    page = live(at(field, "case-manager", "/cases"))
    page.locator(f"#alert-{alert} a[href^='/cases/people/']").click()
    installed(page)
    until(page, "kept.read('/cases').then(found => found !== null)")
    offline(page, wire)
    expect(page.get_by_role("heading", level=1, name=name)).to_be_visible()
    page.goto("/cases")
    expect(page.locator(f"#alert-{alert}")).to_contain_text(name)


def test_signing_out_destroys_what_was_kept(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("Signed Out")
    shown(name)
    page = installed(at(field, "case-manager", "/cases"))
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()
    until(page, "indexedDB.databases().then(all => all.length === 0)")
    wire.cut()
    with pytest.raises(Exception, match=r"net::ERR_"):
        page.goto("/cases")


def test_another_person_on_the_same_device_finds_nothing_of_the_first(
    field: BrowserContext, wire: Relay, side: Side, shown: Callable[..., str]
) -> None:
    name = named("First")
    shown(name)
    page = installed(at(field, "case-manager", "/cases"))
    field.clear_cookies()  # the session is over, and nobody signed out
    page = installed(at(field, "case-manager-2", "/cases"))
    offline(page, wire)
    expect(page.get_by_text(name)).to_have_count(0)


# ---- installing, size, and people of all kinds ----------------------------------------------------------


def test_the_worker_acts_on_the_case_managers_pages_alone(context: BrowserContext, side: Side) -> None:
    page = installed(at(context, "case-manager", "/cases"))
    scopes = page.evaluate(
        "navigator.serviceWorker.getRegistrations().then(all => all.map(one => one.scope))"
    )
    assert scopes == [f"{side.address}/cases"]
    names = page.evaluate(
        """async () => { const all = [];
        for (const name of await caches.keys())
          for (const one of await (await caches.open(name)).keys()) all.push(new URL(one.url).pathname);
        return all; }"""
    )
    assert "/cases/offline" in names
    nobodys = ("/cases/offline", "/cases/people/new/consent")  # with nothing of anybody on them
    assert all(one in nobodys or one.startswith("/static/") for one in names), "a page was cached"
    manifest = page.evaluate(
        "fetch(document.querySelector('link[rel=manifest]').href).then(one => one.json())"
    )
    assert (manifest["scope"], manifest["start_url"], manifest["display"]) == (
        "/cases",
        "/cases",
        "standalone",
    )
    for icon in manifest["icons"]:
        assert httpx.get(side.address + icon["src"]).status_code == 200


TOLD = """async data => {
  const told = [], push = new PushEvent("push", { data: data });
  registration.showNotification = async (title, options) => { told.push([title, options]); };
  let work = null;
  push.waitUntil = some => { work = some; };  // of an event that is not the browser's own it takes nothing
  self.dispatchEvent(push);
  await work;
  delete registration.showNotification;
  return told;
}"""


def test_a_push_says_that_there_is_something_and_nothing_else(context: BrowserContext, side: Side) -> None:
    """Asked of the worker itself: what a desktop makes of it is not the hub's, nor the same everywhere."""
    page = installed(at(context, "case-manager", "/cases"))
    deadline = time.monotonic() + WAIT_MS / 1000
    while not context.service_workers:
        assert time.monotonic() < deadline, "there is no worker"
        page.wait_for_timeout(20)
    for pushed, kind, says in (
        ('{"kind": "urgent", "title": "Somebody Secret"}', "urgent", "You have an urgent alert"),
        ('{"kind": "digest", "body": "Somebody Secret"}', "digest", "Your overview is ready"),
        ("Somebody Secret", "urgent", "You have an urgent alert"),
    ):
        told = context.service_workers[-1].evaluate(TOLD, pushed)
        how = {"tag": kind, "lang": "en", "renotify": kind == "urgent", "requireInteraction": False}
        assert told == [[says, how]]


def test_the_first_load_is_small(context: BrowserContext, side: Side, shown: Callable[..., str]) -> None:
    mine = [shown(named("Weighed")) for _ in range(25)]
    page = at(context, "case-manager", "/signin")
    session = context.new_cdp_session(page)
    session.send("Network.enable")
    session.send("Network.setCacheDisabled", {"cacheDisabled": True})
    session.send("Network.setBypassServiceWorker", {"bypass": True})
    sizes: list[float] = []
    session.on("Network.loadingFinished", lambda told: sizes.append(told["encodedDataLength"]))
    page.goto("/cases", wait_until="load")
    live(page)
    for left in set(page.locator("li.card").evaluate_all(CARDS)) - set(mine):  # by other tests
        side.withdraw(left)
    sizes.clear()
    page.goto("/cases", wait_until="load")
    live(page)
    assert page.locator("li.card").count() == 25
    assert len(sizes) >= 6, "page, stylesheet, and scripts"
    assert sum(sizes) <= FIRST_LOAD_BYTES_MAX, sizes


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_can_be_used_at_320_pixels_and_with_letters_twice_as_large(
    browser: Browser, side: Side, shown: Callable[..., str], scheme: Any
) -> None:
    name = named("Large")
    alert = shown(name)
    context = browser.new_context(
        base_url=side.address, color_scheme=scheme, viewport={"width": 320, "height": 640}, has_touch=True
    )
    page = live(at(context, "case-manager", "/cases"))
    expect(page.locator(f"#later-{alert}")).to_be_visible()
    page.locator(f"#acknowledgements-{shown(named('Toasted'))}").click()
    expect(page.locator("[data-toast]")).to_be_visible()
    accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
    small = page.locator(
        "button:visible, a.door:visible, select:visible, input:visible, summary:visible"
    ).evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().height < 44).map(one => one.outerHTML)"
    )
    assert small == [], "smaller than a finger"
    page.set_viewport_size({"width": 640, "height": 800})
    page.evaluate("document.documentElement.style.fontSize = '200%'")
    assert page.evaluate("document.documentElement.scrollWidth") <= 640
    context.close()


def test_nothing_moves_for_who_asked_for_that(
    browser: Browser, side: Side, shown: Callable[..., str]
) -> None:
    context = browser.new_context(base_url=side.address, reduced_motion="reduce")
    page = live(at(context, "case-manager", "/cases"))
    alert = shown(named("Quiet"))
    expect(page.locator(f"#alert-{alert}.fresh")).to_be_visible()
    assert page.evaluate("document.getAnimations().length") == 0
    context.close()
