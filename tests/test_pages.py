"""The pages, in a real Chromium: what people see, that everybody can use it, that it stays true by itself."""

import hashlib
import re
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from consent import default_policy
from hub.language import LANGUAGES, Tongue, choose, tongue
from hub.rendering import files
from schemas import codec
from tests.browser import accessible, at, chromium, complaints, launched
from tests.screenshots import PAGES, populate, visit
from tests.webside import REACH, Side, deny, records

pytestmark = [
    pytest.mark.browser,
    pytest.mark.broker,
    pytest.mark.skipif(chromium() is None, reason="there is no Chromium: run `make setup`"),
]
REASONS = [
    *(
        "indeterminate",
        "no-agreement",
        "role",
        "court-order",
        "proceedings",
        "counselling-notes",
        "emergency",
    ),
    *("no-emergency", "restriction", "consent", "revoked", "expired", "not-started", "no-consent"),
    "nothing-shareable",
]
ROOT = Path(__file__).parent.parent / "hub" / "pages"
STYLESHEET_BYTES_MAX = 15_000
WAIT_MS = 60_000
LIGHT = "rgb(255, 255, 255)"
CONTRAST = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
expect.set_options(timeout=WAIT_MS)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def peopled(side: Side) -> Side:
    populate(side)
    return side


@pytest.fixture
def context(browser: Browser, side: Side) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=side.address, locale="en-US")
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


# ---- everybody can use them -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def desks(browser: Browser, peopled: Side) -> Iterator[Callable[[str | None], Page]]:
    """A page of somebody who is signed in; each signs in once."""
    pages: dict[str | None, Page] = {}

    def desk(account: str | None) -> Page:
        if account not in pages:
            context = browser.new_context(base_url=peopled.address, locale="en-US")
            pages[account] = at(context, account, "/")
        return pages[account]

    yield desk
    for page in pages.values():
        page.context.close()


def accessible_in_both(page: Page) -> None:
    """In both colour schemes: the dark one changes colours, and nothing else."""
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(paper) == LIGHT
    accessible(page)
    page.emulate_media(color_scheme="dark")
    assert page.evaluate(paper) != LIGHT
    accessible(page, CONTRAST)
    page.emulate_media(color_scheme="light")


@pytest.mark.parametrize("name", PAGES)
def test_pages_are_accessible_and_fit_the_smallest_phone(
    desks: Callable[[str | None], Page], name: str
) -> None:
    account, path = PAGES[name]
    page = desks(account)
    page.set_viewport_size({"width": 320, "height": 640})
    visit(page, path)
    accessible_in_both(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 320, "it scrolls sideways"
    assert page.locator("h1").count() == 1
    small = page.locator("button:visible, a.button:visible, select:visible").evaluate_all(
        "all => all.filter(one => one.getBoundingClientRect().height < 44).map(one => one.textContent)"
    )
    assert small == [], "smaller than a finger"
    page.set_viewport_size({"width": 1280, "height": 800})
    accessible_in_both(page)
    assert complaints(page) == []


def test_body_text_has_the_highest_contrast(browser: Browser, peopled: Side) -> None:
    for scheme in ("light", "dark"):
        context = browser.new_context(base_url=peopled.address, color_scheme=scheme)
        page = at(context, "case-manager", "/cases")
        enhanced = {"runOnly": {"type": "rule", "values": ["color-contrast-enhanced"]}}
        accessible(page, enhanced | {"rules": {"color-contrast-enhanced": {"enabled": True}}})
        context.close()


def test_the_keyboard_reaches_everything_in_reading_order(context: BrowserContext, side: Side) -> None:
    side.alert("Keyboard Kay")
    page = at(context, "case-manager", "/cases")
    page.locator("[data-state=live]").wait_for()
    order = []
    for _ in range(20):
        page.keyboard.press("Tab")
        order.append(page.evaluate("document.activeElement.textContent.trim()"))
    assert order[0] == "Skip to the content"
    positions = [order.index(one) for one in ("Diversion hub", "Today", "Sign out", "I have this")]
    assert positions == sorted(positions)


def test_nothing_personal_stands_in_a_title_or_an_address(context: BrowserContext, side: Side) -> None:
    side.alert("Tamsin Quill")
    page = at(context, "case-manager", "/cases")
    expect(page.get_by_text("Tamsin Quill")).to_be_visible()
    assert "Tamsin" not in page.title()
    assert page.title() == "Today · Diversion hub"


def test_the_description_of_the_interface_can_be_read(context: BrowserContext) -> None:
    page = at(context, None, "/docs")
    expect(page.get_by_text("Publish events")).to_be_visible()
    assert complaints(page) == []


# ---- they stay true by themselves -----------------------------------------------------------------------


def test_an_alert_appears_and_goes_on_every_screen_by_itself(
    browser: Browser,
    side: Side,
) -> None:
    screens = [browser.new_context(base_url=side.address) for _ in range(2)]
    pages = [at(context, "case-manager", "/cases") for context in screens]
    for page in pages:
        expect(page.locator("[data-state=live]")).to_be_visible()
    name = f"Vera {secrets.token_hex(3)}"
    alert = side.alert(name)
    for page in pages:
        expect(page.get_by_text(f"{name} was booked into County Jail.")).to_be_visible()
        expect(page.locator("[data-announce]")).to_contain_text("wait")
    side.withdraw(alert)
    for page in pages:
        expect(page.get_by_text(name)).to_have_count(0)
        assert complaints(page) == []
    for context in screens:
        context.close()


def test_i_have_this_moves_the_alert_and_says_who_has_it(context: BrowserContext, side: Side) -> None:
    name = f"Wim {secrets.token_hex(3)}"
    alert = side.alert(name)
    page = at(context, "case-manager", "/cases")
    page.locator(f"#acknowledgements-{alert}").click()
    expect(page.locator(f"#acknowledgements-{alert}")).to_have_count(0)
    expect(page.locator(f"#alert-{alert}")).to_contain_text("Dana Whitfield has this")
    assert page.evaluate("document.activeElement.id") == "question", "the focus fell off the page"
    assert page.url.endswith("/cases")


def test_the_focus_stays_where_it_was(context: BrowserContext, side: Side) -> None:
    mine = side.alert(f"Focus {secrets.token_hex(3)}", ago_ms=60_000)
    page = at(context, "case-manager", "/cases")
    expect(page.locator("[data-state=live]")).to_be_visible()
    page.locator(f"#acknowledgements-{mine}").focus()
    other = side.alert(f"Other {secrets.token_hex(3)}")
    expect(page.locator(f"#acknowledgements-{other}")).to_be_visible()
    assert page.evaluate("document.activeElement.id") == f"acknowledgements-{mine}"
    side.withdraw(mine)
    expect(page.locator(f"#acknowledgements-{mine}")).to_have_count(0)
    assert page.evaluate("document.activeElement.id") == "question"
    side.withdraw(other)


def test_decisions_come_by_themselves(context: BrowserContext, side: Side) -> None:
    page = at(context, "officer", "/officer?stakeholder=public-defense&reason=restriction&period=hour")
    expect(page.get_by_text("No such decision.")).to_be_visible()
    side.decision([deny("public-defense", "restriction")], category="court.warrant")
    expect(page.locator("tbody").get_by_text("the participant said never")).to_be_visible()
    side_by = page.get_by_role("link", name="Why?")
    side_by.click()
    expect(page.locator("h2.sentence")).to_contain_text("Public Defense Association")


# ---- without script -------------------------------------------------------------------------------------


@pytest.fixture
def plain(browser: Browser, side: Side) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=side.address, java_script_enabled=False)
    made.set_default_timeout(WAIT_MS)
    yield made
    made.close()


def test_every_page_works_without_script(plain: BrowserContext, side: Side) -> None:
    name = f"Plain {secrets.token_hex(3)}"
    alert = side.alert(name)
    page = at(plain, "case-manager", "/cases")
    expect(page.locator("[data-state=still]")).to_contain_text("As of")
    page.locator(f"#acknowledgements-{alert}").click()
    expect(page.locator(f"#alert-{alert}")).to_contain_text("Dana Whitfield has this")
    page.get_by_role("link", name="Check again").click()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_text("You are signed out.")).to_be_visible()


def test_decisions_are_chosen_and_paged_without_script(plain: BrowserContext, peopled: Side) -> None:
    page = at(plain, "officer", "/officer")
    page.get_by_label("Outcome").select_option("Shared")
    page.get_by_role("button", name="Show these").click()
    page.wait_for_url(re.compile("effect=permit"))
    outcomes = page.locator("tbody tr td:nth-child(5)")
    expect(outcomes.first).to_be_visible()
    assert set(outcomes.all_inner_texts()) == {"Shared"}
    first = page.locator("table.fold tbody tr").evaluate_all("all => all.map(one => one.id)")
    page.get_by_role("link", name="Older").click()
    page.wait_for_url(re.compile("before="))
    expect(page.locator("table.fold tbody tr").first).to_be_visible()
    second = page.locator("table.fold tbody tr").evaluate_all("all => all.map(one => one.id)")
    assert len(first) == 50
    assert second
    assert not set(first) & set(second)
    page.get_by_role("link", name="Back to the newest").click()
    assert page.locator("table.fold tbody tr").first.get_attribute("id") == first[0]


def test_an_order_is_approved_by_another_officer_alone(plain: BrowserContext, peopled: Side) -> None:
    page = at(plain, "officer", "/officer/orders")
    expect(page.get_by_text("You filed this. Another officer decides.").first).to_be_visible()
    expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    page = at(plain, "officer-2", "/officer/orders")
    waiting = page.get_by_role("button", name="Approve").count()
    page.get_by_role("button", name="Approve").first.click()
    expect(page.get_by_role("button", name="Approve")).to_have_count(waiting - 1)


def test_a_request_is_written_down_put_off_and_answered(plain: BrowserContext, peopled: Side) -> None:
    who = peopled.hub.participants.create(REACH, "R-" + secrets.token_hex(4), "tests").participant
    page = at(plain, "officer", "/officer/requests")
    expect(page.locator(".card").first).to_contain_text("Overdue")
    expect(page.locator(".card").first.locator("svg")).to_be_visible()
    page.get_by_text("Write down a request").click()
    page.get_by_label("The participant's id in the hub").fill("p-nobody")
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_role("alert")).to_have_text(
        "Nothing was written down: nobody has this participant's id."
    )
    page.get_by_text("Write down a request").click()
    page.get_by_label("The participant's id in the hub").fill(who)
    page.get_by_label("Asked for").select_option("correction")
    page.get_by_label("In their own words").fill("It was my cousin Ambrose.")
    page.get_by_role("button", name="Write it down").click()
    expect(page.get_by_text("It was my cousin Ambrose.")).to_be_visible()
    assert "Ambrose" not in page.title() + page.url
    assert who not in page.content() + page.url
    page.get_by_text("Put it off, once, by 30 days").click()
    page.get_by_label("Why does it take longer?").fill("The jail answers slowly.")
    page.get_by_role("button", name="Put it off").click()
    expect(page.get_by_text("after it was put off")).to_be_visible()
    expect(page.get_by_text("Put it off, once")).to_have_count(0)
    page.get_by_label("It was done.").fill("Corrected.")
    page.get_by_role("button", name="Answer").click()
    expect(page.locator(".tag", has_text="Answered")).to_be_visible()
    expect(page.get_by_text("Corrected.")).to_be_visible()
    (request,) = peopled.hub.requests.of(who)
    assert (request.outcome, request.closed_by) == ("answered", "person:officer")
    acts = [
        codec.decode(one.value())[1] for one in records(peopled.hub.client["bootstrap.servers"], "access")
    ]
    read = [one for one in acts if one["kind"] == "request-read"]
    assert {one["principal"] for one in read if one["participant"] == who} == {"person:officer"}
    page.goto("/officer/requests?closed")
    expect(page.get_by_text("Something is wrong and is to be put right").first).to_be_visible()


def test_a_case_manager_sees_by_when_her_own_people_are_answered(
    context: BrowserContext, peopled: Side
) -> None:
    other = peopled.hub.participants.create(REACH, "R-" + secrets.token_hex(4), "tests").participant
    peopled.hub.requests.file("erasure", other, "participant")
    alert = peopled.alert("Nobodys Own", participant=other)
    page = at(context, "case-manager", "/cases")
    page.locator(".card", has_text="Rosa Maldonado").locator("a[href^='/cases/people/']").first.click()
    expect(page.get_by_text("What this person asked for")).to_be_visible()
    expect(page.get_by_text("A list of who learned what: was due")).to_be_visible()
    page.goto("/cases")
    page.locator(".card", has_text="Nobodys Own").locator("a[href^='/cases/people/']").first.click()
    expect(page.get_by_text("What is going on")).to_be_visible()
    expect(page.get_by_text("What this person asked for")).to_have_count(0)
    peopled.withdraw(alert)


# ---- words ----------------------------------------------------------------------------------------------


def test_the_reader_chooses_the_language(plain: BrowserContext, side: Side) -> None:
    alert = side.alert("Luz Ferreira")
    page = at(plain, "case-manager", "/cases")
    page.get_by_role("button", name="Español").click()
    expect(page.get_by_role("heading", name="¿Quién me necesita ahora?")).to_be_visible()
    expect(page.get_by_text("Luz Ferreira ingresó en County Jail.")).to_be_visible()
    assert page.locator("html").get_attribute("lang") == "es"
    side.withdraw(alert)


@pytest.mark.parametrize(
    ("cookie", "accepts", "language"),
    [
        (None, "", "en"),
        (None, "es-MX,es;q=0.9,en;q=0.5", "es"),
        (None, "fr, de;q=0.5", "en"),
        ("es", "en", "es"),
        ("xx", "es", "es"),
        (None, ";" * 5000, "en"),
    ],
)
def test_the_language_is_what_the_reader_asked_for(cookie: str | None, accepts: str, language: str) -> None:
    assert choose(cookie, accepts) == language


def messages() -> set[Any]:
    keywords = {"say": None, "say_for": (2, 3), "_": None, "gettext": None, "ngettext": (1, 2)}
    found = {
        message
        for folder, method in ((ROOT.parent, "python"), (ROOT / "templates", "jinja2.ext:babel_extract"))
        for _, _, message, _, _ in extract_from_dir(
            folder,
            method_map=[("**.py" if method == "python" else "**", method)],
            options_map={"**": {"trimmed": "true"}},
            keywords=keywords,
        )
    }
    assert len(found) > 100
    return found


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_is_in_every_catalogue_and_none_is_left_over(language: str) -> None:
    with (ROOT / "locale" / language / "LC_MESSAGES" / "hub.po").open("rb") as source:
        kept = read_po(source, locale=language, abort_invalid=True)
    assert [error for _, error in kept.check()] == []
    plain = {one.id for one in kept if one.id and one.context is None}
    assert plain == messages()
    assert all(all(one.string) if isinstance(one.string, tuple) else one.string for one in kept if one.id)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_code_has_words(language: str) -> None:
    policy = default_policy()
    codes = {
        "category": policy["categories"],
        "purpose": policy["purposes"],
        "compartment": policy["compartments"],
        "reason": REASONS,
        "urgency": ["urgent", "soon", "information"],
        "receipt": ["delivered", "failed", "refused", "abandoned"],
        "obligation": [
            "record-disclosure",
            "attach-consent-scope",
            "no-redisclosure",
            "attach-part2-notice",
            "not-for-proceedings",
            "review-emergency",
        ],
    }
    texts = Tongue(language)._texts
    missing = [
        (context, code)
        for context, listed in codes.items()
        for code in listed
        if texts.pgettext(context, code) == code and (language != "en" or not code.isalpha())
    ]
    assert missing == []


def test_times_are_told_as_people_tell_them() -> None:
    noon = 1_795_377_600_000  # Sunday 22 November 2026, 12:00 in Los Angeles
    hour = 3_600_000
    words = tongue("en", "America/Los_Angeles")
    spaced = {
        moment: words.moment(noon + moment * hour, noon).replace("\u202f", " ")
        for moment in (-2, -24, -72, -900)
    }
    assert spaced[-2] == "today 10:00 AM"
    assert spaced[-24] == "yesterday 12:00 PM"
    assert spaced[-72] == "Thursday 12:00 PM"
    assert spaced[-900].startswith("Oct 16, 2026")
    assert words.ago(noon - 2 * hour, noon) == "2 hours ago"
    assert words.ago(noon + 2 * hour, noon) == "in 2 hours"
    assert tongue("es", "America/Los_Angeles").ago(noon - 2 * hour, noon) == "hace 2 horas"
    assert Tongue("es").listed(["a", "b", "c"]) == "a, b y c"


# ---- files ----------------------------------------------------------------------------------------------


def test_the_stylesheet_is_small() -> None:
    assert len(files()["hub.css"][0]) < STYLESHEET_BYTES_MAX


def test_vendored_files_are_what_was_released() -> None:
    released = (ROOT / "vendor" / "README.md").read_text()
    listed = {name: digest for digest, name in re.findall(r"^([0-9a-f]{64})  (\S+)$", released, re.MULTILINE)}
    assert set(listed) == {path.name for path in (ROOT / "vendor").glob("*.js")}
    for name, digest in listed.items():
        assert hashlib.sha256((ROOT / "vendor" / name).read_bytes()).hexdigest() == digest


def test_no_page_has_a_script_or_a_style_in_it() -> None:
    for path in (ROOT / "templates").iterdir():
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|https?://(?!www\.w3\.org)", text), (
            path.name
        )
        assert all("src=" in script for script in re.findall(r"<script[^>]*>", text)), path.name


def test_colours_stand_for_urgency_alone() -> None:
    style = files()["hub.css"][0].decode()
    colours = set(re.findall(r"#[0-9a-f]{6}", style))
    in_rules = re.sub(r":root \{.*?\n  ?\}", "", style, flags=re.S)
    assert not re.findall(r"#[0-9a-f]{3,6}\b", in_rules), "a colour without a name"
    assert len(colours) > 10
