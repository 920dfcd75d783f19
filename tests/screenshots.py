"""Pictures of the pages: `python -m tests.screenshots [FOLDER [PAGE…]]`.

Without arguments those of the documentation; with a folder every page, on desk and phone, light and dark.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from hub import broker, settings
from hub.casetables import caseloads
from hub.letters import Words
from hub.requests import Requests
from hub.store import upsert
from hub.tables import quarantine, receipts
from tests.browser import launched
from tests.counted import RACES, publish
from tests.officer_scene import busy, history
from tests.own_pictures import SCENES
from tests.webside import ATTORNEY, CLINIC, DEFENSE, HARBOR, JAIL, REACH, Side, deny, permit, served

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "images"
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
MINUTE = 60_000
DAY = 24 * 60 * MINUTE
LONG = {"learned", "unusual", "waiting"}  # whose lower half says most
COLOURS = 96  # enough for what is flat, and a third of the bytes
LATER = "a[data-later]"  # opens a dialog of the same page
PAGES = {
    "home": (None, "/"),
    "public": (None, "/public"),
    "whom": (None, "/public/measures/referrals"),
    "rules": (None, "/public/rules"),
    "equity": (None, "/public/equity"),
    "embed": (None, "/public/embed/referrals"),
    "tell": (None, "/public/letters"),
    "harm": (None, "/public/letters/harm"),
    "letters": ("case-manager", "/cases/letters"),
    "letter": ("case-manager", "/cases/letters > .card a.button"),
    "sign-in": (None, "/signin"),
    "cases": ("case-manager", "/cases"),
    "nobody": ("case-manager-2", "/cases"),
    "person": ("case-manager", "/cases > .card.urgent a[href^='/cases/people/']"),
    "people": ("case-manager", "/cases/people"),
    "wishes": ("case-manager", "/cases/wishes"),
    "consent": ("case-manager", "/cases/people/new/consent"),
    "my-sign-in": (None, "/me"),
    "later": ("case-manager", f"/cases > {LATER}"),
    "decisions": ("officer", "/officer"),
    "why-not": ("officer", "/officer/why?event=e-2&stakeholder=city-attorney"),
    "why": ("officer", "/officer/why?event=e-1&stakeholder=reach"),
    "learned": ("officer", "/officer/consents > td a.code"),
    "consents": ("officer", "/officer/consents"),
    "waiting": ("officer", "/officer/waiting"),
    "unusual": ("officer", "/officer/unusual"),
    "orders": ("officer-2", "/officer/orders"),
    "requests": ("officer", "/officer/requests"),
    "request": ("officer", "/officer/requests > .card a.button"),
    "accounting": ("officer", "/officer/consents > td a.code > a[href$='/disclosures']"),
    "flow": ("operator", "/operator"),
    "refused": ("operator", "/officer"),
}


OWN = {f"{name}{ending}": scene for name, scene in SCENES.items() for ending in ("", "-es")}
SPANISH = {f"{name}-es": PAGES[name] for name in ("public", "equity", "harm")}


PUBLISHED = 1_200  # people, so that there is something to compare


def populate(side: Side, races: Sequence[str] = RACES) -> None:
    """Invented people and what was decided about them."""
    rosa = side.hub.participants.create(REACH, "R-2210", "tests").participant
    side.alert("Rosa Maldonado", ago_ms=134 * MINUTE, participant=rosa)
    side.alert("James Whitcomb", ago_ms=12 * MINUTE)
    side.alert(None, ago_ms=31 * MINUTE, facility=None, urgency="soon")
    taken = side.alert("Alma Reyes", ago_ms=200 * MINUTE)
    with side.person("case-manager") as manager:
        manager.post(f"/cases/alerts/{taken}/acknowledgements", data={"version": "0"}).raise_for_status()
    assign(side, rosa)
    for number in range(140):
        ago = (number * number * 13 % 1_390) * MINUTE
        if number % 3:
            side.decision(
                [permit(REACH), deny(ATTORNEY, "proceedings", "proceedings"), deny(CLINIC, "no-consent")],
                ago_ms=ago,
                category=("service.housing", "contact.outreach", "court.hearing")[number % 3],
            )
        else:
            side.decision([deny(DEFENSE, "revoked"), permit(CLINIC, "treatment")], ago_ms=ago)
    side.decision([permit(REACH)], ago_ms=4 * MINUTE, event="e-1")
    side.decision(
        [deny(ATTORNEY, "proceedings", "proceedings")],
        ago_ms=6 * MINUTE,
        event="e-2",
        category="service.substance-use",
        discloser=CLINIC,
    )
    history(side)
    publish(side, races, PUBLISHED)
    for kind, what in (
        ("harm", "Needles by the swings, third time this month."),
        ("referral", "A man sleeps under the bridge."),
    ):
        side.hub.letters.send(kind, Words(what, where="The park at Alder Street"))
    _deliver(side, time.time_ns() // 1_000_000)
    _order(side)
    _refused(side)
    _asked(side, rosa)


def _asked(side: Side, participant: str) -> None:
    """Requests: one overdue, one due soon, one with time, one closed."""
    hub, now = side.hub, time.time_ns() // 1_000_000
    for kind, days, text in (
        ("accounting", 63, "I want to know who was told that I was in the shelter."),
        ("copy", 27, ""),
        ("correction", 2, "It was my cousin who was booked that day, not me."),
        ("part2-list", 20, ""),
    ):
        then = Requests(hub.store, hub.vault, hub.appender, hub.zone, lambda ago=days: now - ago * DAY)
        name = then.file(kind, participant, "participant", text)
        if kind == "part2-list":
            hub.requests.answer(name, "person:officer", "Handed over on paper.")


def assign(side: Side, participant: str) -> None:
    """The case manager works with that person."""
    row = {"stakeholder": REACH, "participant": participant, "account": "case-manager"}
    row |= {"since": 1, "until": None, "by": "person:lead", "offset": 1}
    with side.hub.store.write() as connection:
        upsert(connection, caseloads, [row])


def visit(page: Page, path: str) -> None:
    """Open a page: an address, or a link (a CSS selector) on the page of an address, and so on."""
    address, *links = path.split(" > ")
    page.goto(address)
    for link in links:
        # A click itself waits for no page, and half of one has no root element.
        with contextlib.nullcontext() if link == LATER else page.expect_navigation():
            page.locator(link).first.click()


def _open(page: Page, account: str | None, path: str) -> None:
    """Sign in where somebody has to, and visit."""
    if account:
        page.goto("/signin")
        page.locator(f"form:has(input[value='{account}']) button").click()
    visit(page, path)


def _deliver(side: Side, at: int) -> None:
    """Receipts of what the decisions led to."""
    row = {"stakeholder": REACH, "adapter": "webhook", "participant": "p-1", "attempt": 1, "next_at": None}
    rows = [
        row
        | {
            "partition": 0,
            "offset": number,
            "key": f"d-{number}",
            "event": f"e-{number}",
            "at": at - number * MINUTE,
            "outcome": "failed" if number in (17, 18) else "delivered",
            "code": "http-503" if number in (17, 18) else "http-204",
        }
        for number in range(140)
    ]
    with side.hub.store.write() as connection:
        upsert(connection, receipts, rows)


def _order(side: Side) -> None:
    with side.client(REACH) as reach, side.person("officer") as officer:
        person = reach.post("/v1/participants", json={"local_id": "R-1007"}).json()["participant"]
        order = {
            "id": "order-1",
            "participant": person,
            "type": "order-filed",
            "order": {
                "id": "26-1-00417-9",
                "recipient": ATTORNEY,
                "categories": ["court"],
                "starts_at": "2026-11-20T00:00:00-08:00",
                "expires_at": "2027-02-20T00:00:00-08:00",
                "subpoena": True,
            },
        }
        answer = officer.post("/v1/directives", json=order)
        assert answer.status_code == 202, answer.text


def _refused(side: Side) -> None:
    now = time.time_ns() // 1_000_000
    rows = [
        {
            "id": f"q-{number}",
            "stage": "gateway",
            "agency": agency,
            "reason": reason,
            "detail": "",
            "path": None,
            "at": now - number * 37 * MINUTE,
            "position": None,
            "partition": 0,
            "offset": number,
        }
        for number, (agency, reason) in enumerate(
            [(JAIL, "failure-has-no-place"), (HARBOR, "unknown-category"), (JAIL, "failure-has-no-place")]
        )
    ]
    columns = set(quarantine.c.keys())
    with side.hub.store.write() as connection:
        upsert(connection, quarantine, [{k: v for k, v in row.items() if k in columns} for row in rows])


def documented(name: str, size: str, scheme: str) -> bool:
    """Whether the documentation shows this one."""
    if name in OWN:
        return scheme == "light" and (size == "phone" or name.removesuffix("-es") not in {"sign", "signed"})
    if name in {"later", "people", "wishes", "my-sign-in"}:
        return (size, scheme) == ("phone", "light")
    if name in {"letter", "whom", "rules"}:
        return False
    if name in {"tell", "embed"} or name in SPANISH:
        return (size, scheme) == ("phone", "light")
    if name == "cases" and size == "phone":
        return True
    if name in {"public", "equity", "harm"}:
        return scheme == "light"
    return (size, scheme) == ("desktop", "light") or (name in {"cases", "why-not"} and scheme == "dark")


def take(side: Side, folder: Path, wanted: list[str]) -> None:
    """The pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright, launched(playwright) as browser:
        for size, (width, height) in SIZES.items():
            for scheme in ("light", "dark"):
                for name in (*(one for one in PAGES if one not in OWN), *SPANISH, *OWN):
                    if wanted and name not in wanted:
                        continue
                    if folder == FOLDER and not documented(name, size, scheme):
                        continue
                    context = browser.new_context(
                        base_url=side.address,
                        viewport={"width": width, "height": height},
                        color_scheme=scheme,
                        locale="es-US" if name.endswith("-es") else "en-US",
                        device_scale_factor=1,
                        reduced_motion="reduce",
                    )
                    page = context.new_page()
                    if name in OWN:
                        OWN[name](page, side)
                    else:
                        _open(page, *(PAGES | SPANISH)[name])
                    if page.locator("[data-link-state]").count():
                        page.locator("[data-state=live]").wait_for()
                    picture = folder / f"{name}-{size}-{scheme}.png"
                    page.screenshot(path=picture, full_page=folder != FOLDER or name in LONG)
                    if folder == FOLDER:
                        _smaller(picture)
                    context.close()


def _census(folder: Path) -> Path:
    """Who lives in an invented county."""
    path = folder / "census.csv"
    rows = ("white,41200", "black,5150", "latina,6400")
    path.write_text("race,people,source\n" + "".join(f"{row},An invented census\n" for row in rows))
    return path


def _smaller(picture: Path) -> None:
    """The same picture in few colours."""
    with Image.open(picture) as drawn:
        few = drawn.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(picture, optimize=True)


def main() -> None:
    """Start everything, take the pictures, stop everything."""
    folder = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER
    with (
        tempfile.TemporaryDirectory() as scratch,
        broker.start(settings.load(data=Path(scratch) / "kafka")) as kafka,
        served(kafka.bootstrap, Path(scratch) / "hub", census=_census(Path(scratch))) as side,
    ):
        populate(side, ("black", "white", "latina", ""))
        busy(side)
        take(side, folder, sys.argv[2:])


if __name__ == "__main__":
    main()
