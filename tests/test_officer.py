"""The privacy officers' pages: what they find and tell, that looking is recorded, that all can use them."""

import contextlib
import csv
import io
import json
import re
import secrets
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import pytest
import typer
from click.testing import Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright
from typer.testing import CliRunner

from hub import bootstrap, explain, handles, outcomes, people, revealing
from hub.casetables import caseloads
from hub.lookup import Lookup
from hub.outcomes import Choice
from hub.store import Store, upsert
from hub.watchtables import acknowledged
from schemas import instant
from tests.browser import accessible, at, chromium, complaints, launched
from tests.officer_scene import Person, acts_of, history, permitted, person
from tests.webside import CLINIC, REACH, Side, records

pytestmark = [pytest.mark.broker]
WAIT_MS = 15_000


def in_browser(test: Callable[..., None]) -> Callable[..., None]:
    """A test that needs one."""
    missing = pytest.mark.skipif(chromium() is None, reason="there is no Chromium: run `make setup`")
    return pytest.mark.browser(missing(test))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def someone(side: Side) -> Person:
    return history(side)


def page_of(whom: Person) -> str:
    return f"/officer/participants/{handles.handle(whom.side.hub.vault, whom.participant)}"


# ---- whom an address means ------------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_a_handle_means_one_participant_and_anything_else_nobody(text: str) -> None:
    class Vault:
        def mac(self, purpose: str, data: bytes) -> str:
            return "ab" * 32

    name = handles.handle(Vault(), text)
    assert handles.participant(Vault(), name) == text
    assert handles.participant(Vault(), text) is None or text == name
    assert re.fullmatch(r"[A-Za-z0-9_-]+", name)
    for place in (0, len(name) // 2):
        other = name[:place] + ("A" if name[place] != "A" else "B") + name[place + 1 :]
        assert handles.participant(Vault(), other) is None


def test_no_address_or_file_name_names_anybody(side: Side, someone: Person) -> None:
    with side.person("officer") as officer:
        found = officer.post("/officer/participants", data={"agency": REACH, "id": someone.local_id})
        assert found.status_code == 200
        for text in (someone.participant, someone.local_id, "Maldonado"):
            assert text not in str(found.url)
            assert text not in found.text
        assert officer.post("/officer/participants", data={"id": someone.participant}).url == found.url
        missed = officer.post("/officer/participants", data={"agency": REACH, "id": "R-nobody"})
        assert (missed.status_code, "Nobody is known under this." in missed.text) == (404, True)
        assert officer.get("/officer/participants/guessed").status_code == 404
        file = officer.get(f"{found.url}/disclosures/pdf")
        assert file.headers["content-disposition"] == 'attachment; filename="disclosures.pdf"'
        assert file.content.startswith(b"%PDF")


# ---- a participant --------------------------------------------------------------------------------------


def test_a_page_tells_what_stood_what_changed_and_what_was_disclosed(side: Side, someone: Person) -> None:
    with side.person("officer") as officer:
        told = officer.get(page_of(someone)).text
    assert "They took a consent back, as far as it concerns Tideline Clinic." in told
    assert "From then on nothing goes by it to Tideline Clinic." in told
    assert "They said never: City Attorney may not learn about everything, for everything." in told
    assert "Reach Diversion: from" in told
    assert "2 disclosures, 0 in doubt" in told
    assert "0 disclosures, 1 in doubt" in told
    read = acts_of(side, "participant-read")
    assert (read[-1]["principal"], read[-1]["participant"]) == ("person:officer", someone.participant)


def test_a_name_is_shown_for_a_reason_that_is_recorded_first(side: Side, someone: Person) -> None:
    with side.person("officer") as officer:
        refused = officer.post(f"{page_of(someone)}/names", data={"reason": "curious"})
        assert "Maldonado" not in refused.text
        assert not [
            one for one in acts_of(side, "name-revealed") if one["participant"] == someone.participant
        ]
        remark = "Rosa Maldonado came to the desk"
        told = officer.post(
            f"{page_of(someone)}/names", data={"reason": "participant-asked", "remark": remark}
        )
    assert "Rosa Maldonado, as Harbor House says" in told.text
    assert f"{someone.local_id} at Reach Diversion" in told.text
    (act,) = [one for one in acts_of(side, "name-revealed") if one["participant"] == someone.participant]
    assert act["principal"] == "person:officer"
    assert act["body"]["reason"] == "participant-asked"
    assert "Maldonado" not in str(act)


def test_of_somebody_who_was_erased_nothing_can_be_shown(side: Side) -> None:
    gone, hub = history(side), side.hub
    with contextlib.closing(Lookup(hub.client)) as lookup:
        known = revealing.who(hub.store, hub.vault, lookup, gone.participant)
        assert [name for _, name in known.names] == ["Rosa M. Maldonado", "Rosa Maldonado"]
        hub.vault.destroy(gone.participant)
        assert revealing.who(hub.store, hub.vault, lookup, gone.participant) == ((), (), (), True)
    with side.person("officer") as officer:
        told = officer.get(page_of(gone)).text
    assert "This participant was erased." in told
    assert "Show who it is" not in told
    mine = {"stakeholder": REACH, "participant": gone.participant, "account": "case-manager", "since": 1}
    with hub.store.write() as connection:
        connection.execute(caseloads.insert().values(mine | {"by": "test", "offset": 1}))
    handle = people.handle(hub.vault, REACH, gone.participant)
    with side.person("case-manager") as manager:
        assert "This participant was erased." in manager.get(f"/cases/people/{handle}").text
    revealing.recorded(hub.appender, hub.vault, "person:officer", gone.participant, "other", "a remark")
    (act,) = [one for one in acts_of(side, "name-revealed") if one["participant"] == gone.participant]
    assert act["body"] == {"reason": "other"}


def test_the_accounting_is_the_same_in_each_form_and_each_is_recorded(side: Side, someone: Person) -> None:
    with side.person("officer") as officer:
        page = officer.get(f"{page_of(someone)}/disclosures").text
        rows = list(csv.DictReader(io.StringIO(officer.get(f"{page_of(someone)}/disclosures/csv").text)))
        whole = officer.get(f"{page_of(someone)}/disclosures/json").json()
        later = (datetime.now(UTC) + timedelta(days=3)).date().isoformat()
        none = officer.get(f"{page_of(someone)}/disclosures/json?from={later}&to={later}").json()
        odd = officer.get(f"{page_of(someone)}/disclosures?from=2026-13-45&to=%00").status_code
        assert officer.get(f"{page_of(someone)}/disclosures/exe").status_code == 404
    assert page.count("In doubt: it may have been disclosed") == 1
    assert len(rows) == len(whole["disclosures"]) == 3
    assert sorted(row["recipient_id"] for row in rows) == sorted([REACH, REACH, CLINIC])
    assert (none["disclosures"], odd) == ([], 200)
    asked = [
        one for one in acts_of(side, "disclosures-reported") if one["participant"] == someone.participant
    ]
    assert {one["body"]["format"] for one in asked} >= {"page", "csv", "json"}


# ---- the stream -----------------------------------------------------------------------------------------


def test_decisions_are_chosen_by_participant_and_by_consent(side: Side, someone: Person) -> None:
    whose = page_of(someone).rpartition("/")[2]
    other = history(side)
    with side.person("officer") as officer:

        def rows(**asked: str) -> int:
            return officer.get("/officer/decisions", params={"period": "day", **asked}).text.count("<tr id=")

        assert rows(participant=whose) == 3
        assert rows(consent=someone.consent) == 3
        assert rows(consent=f"{someone.consent}/care", stakeholder=CLINIC) == 1
        assert rows(consent=f"{someone.consent}/other") == 0
        assert rows(consent=someone.consent, participant=page_of(other).rpartition("/")[2]) == 0
        assert rows(participant="guessed") == rows(consent="c-none") == rows(consent="%") == 0


wild = st.one_of(
    st.text(max_size=200),
    st.sampled_from(
        [
            *("' OR 1=1 --", "%", "_", "c-%/g", '"', "\\", "\x00", "9" * 40 + "~x~1", "1~\x00~1", "²~a~1"),
            *("1~" + "x" * 90 + "~" + "9" * 30, "𝟗~a~1", "/", "c-1/", "null", "[]", "\ud800"),
        ]
    ),
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(st.lists(wild, min_size=6, max_size=6))
def test_a_filter_of_any_shape_is_a_value_and_never_a_query(store: Store, given_: list[str]) -> None:
    from hub.routes.officer import typed  # noqa: PLC0415

    effect, reason, stakeholder, participant, consent, before = (typed(one) for one in given_)
    choice = outcomes.owned(store, Choice(1, 2, effect, reason, stakeholder, participant, consent))
    assert outcomes.page(store, choice, given_[5]).rows == []
    assert outcomes.page(store, Choice(1, 2), before).rows == []
    assert outcomes.counts(store, choice).deny == 0
    assert sum(bar.denials for bar in outcomes.course(store, choice)) == 0


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    st.dictionaries(st.sampled_from(["period", "effect", "reason", "participant", "consent", "before"]), wild)
)
def test_no_address_breaks_the_stream_or_asks_for_more_than_a_page(side: Side, asked: dict[str, str]) -> None:
    given_ = {key: value.encode("utf-8", "replace").decode() for key, value in asked.items()}
    if "client" not in _kept:
        _kept["client"] = side.person("officer")
        _kept["open"] = _kept["client"].__enter__()  # type: ignore[attr-defined]
    answer = _kept["open"].get("/officer/decisions", params=given_)  # type: ignore[attr-defined]
    assert answer.status_code == 200
    assert answer.text.count("<tr id=") <= outcomes.PAGE_ROWS_MAX


_kept: dict[str, object] = {}


@pytest.fixture(scope="module", autouse=True)
def closed() -> Iterator[None]:
    yield
    if client := _kept.pop("client", None):
        client.__exit__(None, None, None)  # type: ignore[attr-defined]


# ---- what if --------------------------------------------------------------------------------------------


def test_what_if_is_answered_beside_what_was_decided_and_nothing_is_decided_by_it(
    side: Side, someone: Person
) -> None:
    event = someone.event("Rosa Maldonado")
    someone.decided(event, permitted(someone, REACH))
    asked = {"event": event["event"]["id"], "stakeholder": REACH, "purpose": "care-coordination"}
    before = len(records(side.hub.client["bootstrap.servers"], "decisions"))
    with side.person("officer") as officer:
        plain = officer.get("/officer/why", params=asked).text
        assert "What if?" in plain
        assert "make a difference" not in plain
        taken = officer.get("/officer/why", params=asked | {"if": "revoked", "consent": someone.consent}).text
        assert "It would make a difference." in taken
        never = officer.get("/officer/why", params=asked | {"if": "restricted", "as_of": "now"}).text
        assert "It would make a difference." in never
        unknown = officer.get("/officer/why", params=asked | {"if": "stood", "consent": "c-none"}).text
        assert "That consent was not on record then." in unknown
        other = officer.get(
            "/officer/why", params=asked | {"stakeholder": "city-attorney", "if": "granted"}
        ).text
        assert "It would make no difference." in other, "what a role forbids no consent allows"
        odd = officer.get("/officer/why", params=asked | {"if": "%00", "consent": "\x00", "as_of": "x" * 900})
        assert odd.status_code == 200
    assert len(records(side.hub.client["bootstrap.servers"], "decisions")) == before
    told = [one for one in acts_of(side, "supposition-asked") if one["participant"] == someone.participant]
    assert [one["body"]["supposed"]["kind"] for one in told] == ["revoked", "restricted", "stood", "granted"]
    assert told[0]["principal"] == "person:officer"


def test_the_command_answers_what_if_and_its_asking_is_recorded(
    side: Side, someone: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    event = someone.event("Rosa Maldonado")
    someone.decided(event, permitted(someone, REACH))
    monkeypatch.setattr(bootstrap, "bootstrap", lambda _settings: contextlib.nullcontext(side.hub))
    app = typer.Typer()
    app.command()(explain.explain)
    name = event["event"]["id"]

    def run(*options: str) -> Result:
        return CliRunner().invoke(app, [name, REACH, *options])

    told = json.loads(run("--if-revoked", f"{someone.consent}:{REACH}", "--json").stdout)
    assert (told["changes"], told["as_it_would_be"]["effect"]) == (True, "deny")
    assert told["supposed"] == {"kind": "revoked", "consent": someone.consent, "recipient": REACH}
    plain = run("--if-revoked", f"{someone.consent}:{CLINIC}")
    assert plain.exit_code == 0
    assert "It would make no difference." in plain.stdout
    assert run("--if-revoked", "c-none").exit_code == 1
    for wrong in (("--if-granted", "--if-restricted"), ("--if-granted", "--as-of", "tomorrow")):
        assert run(*wrong).exit_code == 2
    asked = [one for one in acts_of(side, "supposition-asked") if one["body"]["event"] == name]
    assert [one["principal"] for one in asked] == ["operator"] * 3


# ---- in a browser ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, launched(playwright) as running:
        yield running


@pytest.fixture(scope="module")
def desk(browser: Browser, side: Side) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=side.address, locale="en-US")
    made.set_default_timeout(WAIT_MS)
    at(made, "officer", "/officer").close()
    yield made
    made.close()


def accessible_and_fitting(page: Page) -> None:
    """On the smallest phone and on a desk, in both colour schemes."""
    for scheme, width in (("light", 320), ("dark", 1280)):
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.set_viewport_size({"width": width, "height": 800})
        accessible(page)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, "it scrolls sideways"
    assert page.locator("h1").count() == 1


@in_browser
def test_an_officer_finds_somebody_and_sees_who_learned_what(desk: BrowserContext, someone: Person) -> None:
    page = at(desk, None, "/officer/participants")
    accessible_and_fitting(page)
    page.get_by_label("Who calls them so").select_option(REACH)
    page.get_by_label("What they are called there").fill(someone.local_id)
    page.get_by_role("button", name="Find").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Who learned what?")
    assert someone.local_id not in page.url
    assert page.title() == "A participant · Diversion hub"
    accessible_and_fitting(page)
    reach = page.get_by_role("img", name=re.compile("^Reach Diversion: from"))
    assert reach.locator("rect").count() == 1
    assert reach.locator("line[stroke-width='3']").count() >= 1
    clinic = page.get_by_role("img", name=re.compile("^Tideline Clinic: from .* was ended"))
    assert clinic.locator("line[stroke-dasharray='3 3']").count() == 1
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("row", name=re.compile("Tideline Clinic.*was ended"))).to_be_visible()
    page.get_by_text("Show who it is").click()
    page.get_by_label("Why do you need to know?").select_option("complaint")
    page.get_by_role("button", name="Show, and write down that I looked").click()
    expect(page.get_by_text("Rosa Maldonado, as Harbor House says")).to_be_visible()
    accessible_and_fitting(page)
    page.get_by_role("link", name="Hide this").click()
    expect(page.get_by_text("Rosa Maldonado")).to_have_count(0)
    page.get_by_role("link", name="Every disclosure, to hand over").click()
    expect(page.locator("tbody tr")).to_have_count(3)
    accessible_and_fitting(page)
    with page.expect_download() as got:
        page.get_by_role("link", name="PDF").click()
    assert got.value.suggested_filename == "disclosures.pdf"
    assert complaints(page) == []
    page.close()


@in_browser
def test_who_has_nothing_on_record_has_a_page_that_says_so(desk: BrowserContext, side: Side) -> None:
    page = at(desk, None, page_of(person(side).caught_up()))
    expect(page.get_by_text("This participant has signed nothing yet.")).to_be_visible()
    expect(page.get_by_text("Nothing stood on record in this period")).to_be_visible()
    accessible_and_fitting(page)
    page.close()


@in_browser
def test_directives_come_by_themselves_and_say_only_in_part_for_whom(
    desk: BrowserContext, side: Side
) -> None:
    page = at(desk, None, "/officer/consents?period=hour")
    expect(page.locator("[data-state=live]")).to_be_visible()
    someone = person(side)
    someone.agree(REACH, days=40)
    someone.caught_up()
    row = page.locator("tbody tr", has_text=handles.masked(someone.participant)).first
    expect(row).to_contain_text("Agreed to something")
    expect(row).to_contain_text("Reach Diversion may learn about")
    accessible_and_fitting(page)
    assert someone.participant not in page.content()
    row.get_by_role("link").click()
    expect(page.get_by_text("They agreed, until")).to_be_visible()
    page.goto("/officer/consents?period=hour&type=program-exited&before=%00")
    expect(page.get_by_text("Nothing changed in this period.")).to_be_visible()
    assert complaints(page) == []
    page.close()


# ---- what waits, what is unusual ------------------------------------------------------------------------


def test_an_emergency_waits_until_it_was_reviewed_and_the_remark_is_sealed(side: Side) -> None:
    someone = person(side)
    now = time.time_ns() // 1_000_000
    emergency = {
        "id": "em-" + secrets.token_hex(4),
        "recipient": CLINIC,
        "declared_by": "Dr. Itokawa",
        "nature": "overdose",
        "declared_at": instant.format(now),
        "expires_at": instant.format(now + 3_600_000),
    }
    name = someone.directive("emergency-declared", sender=CLINIC, emergency=emergency)["concerns"]
    someone.caught_up()
    with side.person("officer") as officer:
        waits = officer.get("/officer/waiting").text
        assert f"/officer/emergencies/{name}/reviews" in waits
        assert "Dr. Itokawa" not in waits
        wrong = officer.post(f"/officer/emergencies/{name}/reviews", data={"finding": "fine"})
        assert wrong.status_code == 404
        none = officer.post("/officer/emergencies/em-none/reviews", data={"finding": "in-order"})
        assert none.status_code == 404
        told = officer.post(
            f"/officer/emergencies/{name}/reviews",
            data={"finding": "in-order", "remark": "Spoke to Dr. Itokawa"},
        )
        assert "Your review is written down." in told.text
        someone.caught_up()
        after = officer.get("/officer/waiting").text
        assert f"/officer/emergencies/{name}/reviews" not in after
        assert "It was in order" in after
        assert "Itokawa" not in after
        shown = officer.post(f"{page_of(someone)}/names", data={"reason": "complaint"}).text
    assert "officer wrote, today" in shown
    assert "Spoke to Dr. Itokawa" in shown
    (act,) = [one for one in acts_of(side, "emergency-reviewed") if one["body"]["emergency"] == name]
    assert (act["principal"], act["participant"]) == ("person:officer", someone.participant)
    assert "Itokawa" not in str(act)


@in_browser
def test_what_waits_and_what_is_unusual_can_be_read_by_everybody(desk: BrowserContext, side: Side) -> None:
    someone = history(side)
    someone.agree(REACH, days=3)
    someone.caught_up()
    page = at(desk, None, "/officer/waiting")
    expect(page.get_by_role("heading", level=1)).to_have_text("What waits, and what is not as it should be?")
    soon = page.locator("section", has_text="Consents that end soon")
    expect(soon.get_by_text(someone.consent)).to_be_visible()
    accessible_and_fitting(page)
    page.goto("/officer/unusual")
    chart = page.get_by_role("img", name="How long fences took to close")
    expect(page.get_by_text("There is no chart yet: none of these fences has closed.")).to_be_visible()
    expect(chart).to_have_count(0)
    slow = page.get_by_role("row", name=re.compile(re.escape(handles.masked(someone.participant))))
    expect(slow.first).to_contain_text("not closed yet")
    everywhere = {"partition": 0, "consent_offset": 1 << 40, "at": int(time.time() * 1000)}
    with side.hub.store.write() as connection:
        told = [everywhere | {"stakeholder": one, "partition": n} for one in side.tokens for n in range(12)]
        upsert(connection, acknowledged, told)
    page.reload()
    expect(chart).to_be_visible()
    page.get_by_text("The same as a table").click()
    expect(page.get_by_role("row", name="under 100 ms")).to_be_visible()
    accessible_and_fitting(page)
    assert complaints(page) == []
    page.close()
