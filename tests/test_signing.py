"""A participant's word at the case manager's side, and their own page afterwards, without script."""

import base64
import hashlib
import io
import json
import re
import secrets
import time
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import httpx
import pypdf
import pytest
import textstat

from consent import Policy, default_policy
from consent.record import Record
from hub import handles, helping, people, said, signed
from hub.access import FORM_BYTES_MAX
from hub.bootstrap import Hub
from hub.governance import canonical
from hub.lookup import Lookup
from hub.passes import Helper, Passes
from hub.standing import directive_aad
from schemas import codec
from tests.signing import PIN, Somebody, filled, hidden, projected
from tests.webside import CLINIC, NORTH, REACH, Side, records

pytestmark = pytest.mark.broker
OTHER = "517293"
PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 64


@pytest.fixture(scope="module")
def manager(side: Side) -> Iterator[httpx.Client]:
    with side.person("case-manager") as client:
        yield client


@pytest.fixture(scope="module")
def lookup(side: Side) -> Iterator[Lookup]:
    made = Lookup(side.hub.client)
    yield made
    made.close()


@pytest.fixture
def rosa(side: Side, manager: httpx.Client) -> Somebody:
    return Somebody(side, manager)


def written(hub: Hub, topic: str, participant: str) -> list[dict[str, Any]]:
    """What the log has about somebody in a topic."""
    found = [codec.decode(one.value())[1] for one in records(hub.client["bootstrap.servers"], topic)]
    return [one for one in found if one["participant"] == participant]


class Texts(HTMLParser):
    """What is read aloud of a page: the texts in what is marked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.inside, self.found = 0, [""]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        marked = any(name == "data-read" for name, _ in attrs)
        if tag in ("section", "fieldset") and (self.inside or marked):
            self.inside += 1
        if tag in ("h1", "h2", "p", "label", "li", "summary"):
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside -= tag in ("section", "fieldset") and bool(self.inside)

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1] += data


def sentences(page: str) -> str:
    """The words of a page as sentences."""
    reader = Texts()
    reader.feed(page)
    texts = [" ".join(one.split()) for one in reader.found if one.strip()]
    return " ".join(one if one.endswith((".", "?", "!")) else f"{one}." for one in texts)


def easy(text: str, language: str) -> bool:
    """Whether a sixth grader reads this: Flesch and Kincaid's grade for English; for Spanish the index of
    Fernández Huerta, of which 70 to 80 is the sixth grade.
    """
    textstat.set_lang(language)
    if language == "en":
        return float(textstat.flesch_kincaid_grade(text)) <= 6
    return float(textstat.fernandez_huerta(text)) >= 70


LAW = {
    "en": "Disclosure of personally identifiable information to unauthorized organizations notwithstanding "
    "the aforementioned authorization constitutes a violation of applicable confidentiality regulations and "
    "obligations, irrespective of any subsequent ratification by the individual concerned.",
    "es": "La divulgación de información personalmente identificable a organizaciones no autorizadas "
    "constituye, independientemente de la ratificación posterior por la persona interesada, una "
    "contravención de las disposiciones reglamentarias aplicables en materia de "
    "confidencialidad y responsabilidad institucional.",
}


# ---- signing ---------------------------------------------------------------------------------------------


def test_the_form_has_nothing_ticked_and_a_no_beside_the_yes(manager: httpx.Client) -> None:
    page = manager.get("/cases/people/new/consent").text
    assert " checked" not in page
    assert (
        page.count('<button name="act" value="sign">')
        == page.count('<button name="act" value="refuse">')
        == 1
    )
    assert "proceedings" not in page
    assert "Nothing you do here goes to a prosecutor as evidence." in page


@pytest.mark.parametrize("language", ["en", "es"])
def test_sixth_graders_can_read_it(side: Side, manager: httpx.Client, rosa: Somebody, language: str) -> None:
    with side.client(cookies={**dict(manager.cookies), "hub_language": language}) as reader:
        pages = [
            reader.get(rosa.form).text,
            reader.get(f"/cases/people/{rosa.handle}/receipts/{rosa.consent}").text,
        ]
    with rosa.visit(rosa.card()) as me:
        me.cookies.set("hub_language", language, domain=me.base_url.host)
        pages.append(me.get("/me").text)
    assert not easy(LAW[language], language), "what lawyers write is told apart"
    for page in pages:
        assert f'lang="{language}"' in page
        text = sentences(page)
        assert len(text.split()) > 60, text
        assert easy(text, language), text


def test_what_is_signed_is_in_the_log_whole_and_sealed(side: Side, rosa: Somebody, lookup: Lookup) -> None:
    (directive,) = written(side.hub, "consent", rosa.participant)
    (kept,) = [one for one in written(side.hub, "work", rosa.participant) if one["kind"] == "form-kept"]
    form = signed.opened(side.hub.vault, kept)
    personal = json.loads(
        side.hub.vault.sealer(rosa.participant).open(
            b"directive\0" + directive["id"].encode(), directive["sealed"]
        )
    )
    digest = hashlib.sha256(canonical(form.body)).hexdigest()
    assert personal["signature"]["reference"] == f"sha256:{digest}" == form.reference
    assert personal["witness"] == {"name": "Dana Whitfield", "organisation": REACH}
    assert form.body["chosen"] == rosa.fields["share"]
    assert form.body["typed"] == "Rosa"
    assert any("prosecutor" in one for one in form.body["never"])
    assert directive["sender"] == "person:case-manager"
    (consent,) = said.placed(side.hub.store, lookup, rosa.participant)
    grants = consent.body["consent"]["grants"]  # type: ignore[index]
    assert [one["recipients"] for one in grants] == [["harbor-house"], ["tideline-clinic"]]
    assert [one["labels"] for one in grants] == [[], ["part2"]]
    values = [one.value() for topic in ("consent", "work", "access") for one in records_of(side, topic)]
    assert not any(b"Rosa" in value or rosa.number.encode() in value for value in values)


def records_of(side: Side, topic: str) -> list[Any]:
    return records(side.hub.client["bootstrap.servers"], topic)


def test_sent_twice_it_is_one_signature(side: Side, manager: httpx.Client, rosa: Somebody) -> None:
    again = manager.post("/cases/people/new/consent", data=rosa.fields)
    assert again.url.path.endswith(rosa.consent)
    assert len(written(side.hub, "consent", rosa.participant)) == 1


@pytest.mark.parametrize(
    ("method", "field"), [("drawn", "drawing"), ("paper", "scanned"), ("paper", "scan"), ("paper", "pdf")]
)
def test_it_is_drawn_or_signed_on_paper(side: Side, manager: httpx.Client, method: str, field: str) -> None:
    content = b"%PDF-1.7" + b"\0" * 64 if field == "pdf" else PNG
    page, number = manager.get("/cases/people/new/consent").text, "R-" + secrets.token_hex(5)
    fields = filled(page, local_id=number, method=method, typed=None)
    files = None
    if field in ("drawing", "scanned"):
        fields[field] = "data:image/png;base64," + base64.b64encode(content).decode()
    else:
        files = {"scan": ("form", content, "application/octet-stream")}
    answer = manager.post("/cases/people/new/consent", data=fields, files=files)
    assert "/receipts/" in answer.url.path, answer.text[:2000]
    participant = side.hub.participants.of(REACH, number)
    assert participant is not None
    (kept,) = [one for one in written(side.hub, "work", participant) if one["kind"] == "form-kept"]
    form = signed.opened(side.hub.vault, kept)
    assert form.picture == content
    assert form.body["picture"] == hashlib.sha256(content).hexdigest()


@pytest.mark.parametrize(
    ("more", "said_so"),
    [
        ({"share": None}, "Nothing is ticked."),
        ({"until": None}, "Choose until when it holds."),
        ({"since": None}, "Choose from when on."),
        ({"adult": None}, "Say if you are 18 or older."),
        ({"name": " "}, "Write the name you go by."),
        ({"typed": " "}, "It is not signed yet."),
        ({"method": "drawn"}, "It is not signed yet."),
        ({"method": "drawn", "drawing": "data:image/png;base64,!!"}, "not a picture or a PDF"),
        ({"method": "paper", "scanned": "data:text/html;base64,PGI+"}, "not a picture or a PDF"),
        ({"witness": None}, "The person who sees you sign has to say so."),
        ({"offer": "0" * 16}, "The form has changed."),
        ({"form": "../../etc"}, "The form has changed."),
    ],
)
def test_a_signature_that_is_not_whole_is_none(
    side: Side, manager: httpx.Client, more: dict[str, Any], said_so: str
) -> None:
    number = "R-" + secrets.token_hex(5)
    page = manager.get("/cases/people/new/consent").text
    answer = manager.post("/cases/people/new/consent", data=filled(page, local_id=number, **more))
    assert answer.status_code == 422
    assert said_so in answer.text
    assert side.hub.participants.of(REACH, number) is None, "nobody was made known"
    kept = {**filled(page), **more}
    for choice in kept.get("share") or []:
        assert re.search(rf'value="{choice}" checked', answer.text), "what was ticked is gone"


def test_a_form_that_is_too_large_is_not_read(manager: httpx.Client) -> None:
    huge = {"scan": ("form", PNG + b"\0" * FORM_BYTES_MAX, "image/png")}
    answer = manager.post("/cases/people/new/consent", data={"act": "sign"}, files=huge)
    assert answer.status_code == 413
    page = manager.get("/cases/people/new/consent").text
    large = {"scan": ("form", PNG + b"\0" * signed.PICTURE_BYTES_MAX, "image/png")}
    fields = filled(page, local_id="R-" + secrets.token_hex(5), method="paper")
    answer = manager.post("/cases/people/new/consent", data=fields, files=large)
    assert answer.status_code == 422
    assert "That file is too big." in answer.text


def test_no_is_as_easy_and_nothing_says_that_it_was_no(
    side: Side, manager: httpx.Client, rosa: Somebody
) -> None:
    answer = manager.post(rosa.form, data={"act": "refuse", "form": secrets.token_hex(16)})
    assert answer.status_code == 200
    assert "That is fine." in answer.text
    assert len(written(side.hub, "consent", rosa.participant)) == 1
    told = [one for one in written(side.hub, "access", rosa.participant) if one["kind"] == "form-answered"]
    assert len(told) == 2
    assert {frozenset(json.loads(one["body"])) for one in told} == {frozenset({"form"})}, (
        "yes and no look alike"
    )


def test_who_is_younger_is_thanked_and_nothing_is_signed(side: Side, manager: httpx.Client) -> None:
    number = "R-" + secrets.token_hex(5)
    page = manager.get("/cases/people/new/consent").text
    answer = manager.post("/cases/people/new/consent", data=filled(page, local_id=number, adult="no"))
    assert "Nothing was signed, and nothing is shared." in answer.text
    assert side.hub.participants.of(REACH, number) is None


def test_two_tablets_at_once_the_second_is_told_before_anything_is_signed(
    side: Side, manager: httpx.Client, rosa: Somebody
) -> None:
    pages = [manager.get(rosa.form).text for _ in range(2)]
    first = manager.post(rosa.form, data=filled(pages[0]))
    assert "/receipts/" in first.url.path
    second = manager.post(rosa.form, data=filled(pages[1], share=["reach/court"]))
    assert second.status_code == 409
    assert "maybe on another tablet. Nothing was signed here." in second.text
    assert 'value="reach/court" checked' in second.text
    assert len(written(side.hub, "consent", rosa.participant)) == 2
    once_more = filled(second.text, share=["reach/court"])
    assert "/receipts/" in manager.post(rosa.form, data=once_more).url.path


def test_a_number_that_is_somebodys_signs_for_nobody(
    side: Side, manager: httpx.Client, rosa: Somebody
) -> None:
    page = manager.get("/cases/people/new/consent").text
    answer = manager.post("/cases/people/new/consent", data=filled(page, local_id=rosa.number, name="Other"))
    assert answer.status_code == 409
    assert "This number is somebody's already." in answer.text
    assert len(written(side.hub, "consent", rosa.participant)) == 1


def test_a_never_is_told_before_signing_and_wins_afterwards(
    side: Side, manager: httpx.Client, rosa: Somebody
) -> None:
    with rosa.visit(rosa.card()) as me:
        me.post("/me/restrictions", data={"recipient": "harbor-house"})
    page = manager.get(rosa.form).text
    assert "You once said: never share with them." in page
    answer = manager.post(rosa.form, data=filled(page))
    assert answer.status_code == 409
    assert "Your never wins. Nothing was signed yet." in answer.text
    answer = manager.post(rosa.form, data=filled(answer.text, knows="yes"))
    assert "/receipts/" in answer.url.path
    assert Policy.of(default_policy())


def test_the_referral_comes_after_the_signature_it_came_with(side: Side, manager: httpx.Client) -> None:
    rosa = Somebody(side, manager, door="referral.social-contact")
    (consent,) = [
        one
        for one in records(side.hub.client["bootstrap.servers"], "consent")
        if codec.decode(one.value())[1]["participant"] == rosa.participant
    ]
    inbox = [
        codec.decode(one.value())[1] for one in records(side.hub.client["bootstrap.servers"], "inbox.reach")
    ]
    (referral,) = [one for one in inbox if one.get("submission") == f"form-{rosa.fields['form']}"]
    assert referral["consent_at_least"] == consent.offset()


def test_a_receipt_on_paper_is_in_large_type(rosa: Somebody) -> None:
    answer = rosa.manager.get(f"/cases/people/{rosa.handle}/receipts/{rosa.consent}/paper")
    assert answer.headers["content-type"] == "application/pdf"
    (page, *_) = pypdf.PdfReader(io.BytesIO(answer.content)).pages
    text = " ".join(page.extract_text().split())
    for part in ("What I agreed to", "Harbor House may learn about", "You can take it back", "prosecutor"):
        assert part in text
    sizes: list[float] = []
    page.extract_text(
        visitor_text=lambda said, _cm, _tm, _font, size: sizes.append(size) if said.strip() else None
    )
    assert sorted(sizes)[1] >= 16, "but for the page's number"


@pytest.mark.parametrize("content", [None, PNG, b"%PDF-1.7" + b"\0" * 64], ids=["typed", "drawn", "paper"])
def test_the_form_is_shown_again_as_it_was_signed_and_that_is_recorded(
    side: Side, manager: httpx.Client, content: bytes | None
) -> None:
    drawn = None if content is None else "data:image/png;base64," + base64.b64encode(content).decode()
    signature = {} if content is None else {"method": "paper", "scanned": drawn, "typed": None}
    rosa = Somebody(side, manager, **signature)
    projected(side, rosa.participant)
    (kept,) = [one for one in written(side.hub, "work", rosa.participant) if one["kind"] == "form-kept"]
    whose = handles.handle(side.hub.vault, rosa.participant)
    with rosa.visit(rosa.card()) as me, side.person("officer") as officer:
        pages = [
            manager.get(f"/cases/people/{rosa.handle}/receipts/{rosa.consent}/form").text,
            me.get(f"/me/receipts/{rosa.consent}/form").text,
            officer.get(f"/officer/participants/{whose}/consents/{rosa.consent}/form").text,
        ]
        assert f"/consents/{rosa.consent}/form" in officer.get(f"/officer/participants/{whose}").text
        assert f"/me/receipts/{rosa.consent}/form" in me.get("/me").text
        other = me.get("/me/receipts/c-22222222222222222222222222/form")
        assert other.status_code == 404
        assert "There is no form here." in other.text
    for page in pages:
        assert "Rosa, " in page
        assert json.loads(kept["body"])["about"] in page
        assert "Dana Whitfield of Reach Diversion saw it." in page
        assert re.search(r"<strong>Harbor House</strong>: They may learn about: help you get", page)
        assert f"base64,{base64.b64encode(content or b'none').decode()}" in page or content is None
    told = [one for one in written(side.hub, "access", rosa.participant) if one["kind"] == "form-read"]
    assert [one["principal"] for one in sorted(told, key=lambda one: one["at"])] == [
        "person:case-manager",
        f"participant:{rosa.participant}",
        "person:officer",
    ]
    assert {one["body"] for one in told} == {canonical({"about": rosa.consent})}


def test_another_organisation_that_knows_them_does_not_see_the_form(side: Side, rosa: Somebody) -> None:
    projected(side, rosa.participant)
    side.alert("Rosa", stakeholder=NORTH, participant=rosa.participant)
    handle = people.handle(side.hub.vault, NORTH, rosa.participant)
    with side.person("case-manager-2") as elsewhere:
        assert elsewhere.get(f"/cases/people/{handle}/receipts/{rosa.consent}").status_code == 200
        answer = elsewhere.get(f"/cases/people/{handle}/receipts/{rosa.consent}/form")
    assert answer.status_code == 404
    assert "Rosa, " not in answer.text
    assert not [one for one in written(side.hub, "access", rosa.participant) if one["kind"] == "form-read"]


def test_nobody_gets_a_card_before_they_have_signed(manager: httpx.Client) -> None:
    fields = {"consent": "c-22222222222222222222222222", "pin": PIN, "again": PIN}
    assert manager.post("/cases/people/new/card", data=fields).status_code == 404


# ---- my page ---------------------------------------------------------------------------------------------


def test_a_card_opens_ones_own_page_and_a_new_one_ends_it(side: Side, rosa: Somebody) -> None:
    code = rosa.card()
    with rosa.visit(code) as me:
        page = me.get("/me").text
        assert "Nobody has been told anything about you." in page
        assert "Harbor House may learn about: help you get" in page
        fresh = rosa.card()
        assert me.get("/me").text.count("My PIN"), "the visit is over"
    with side.client(follow_redirects=True) as somebody:
        answer = somebody.post("/me/signin", data={"code": code, "pin": PIN})
        assert answer.status_code == 403
        assert "do not go together" in answer.text
    with rosa.visit(fresh):
        pass


@pytest.mark.parametrize(
    ("pin", "again", "code"), [("123456", "123456", "guessed first"), (PIN, "1", "not the same")]
)
def test_a_poor_pin_makes_no_card(rosa: Somebody, pin: str, again: str, code: str) -> None:
    fields = {"consent": rosa.consent, "pin": pin, "again": again}
    answer = rosa.manager.post(f"/cases/people/{rosa.handle}/card", data=fields)
    assert answer.status_code == 422
    assert code in answer.text


def test_taking_back_shows_the_fence_and_ends_what_was_agreed(side: Side, rosa: Somebody) -> None:
    with rosa.visit(rosa.card()) as me:
        data = {"consent": rosa.consent, "recipient": "harbor-house"}
        answer = me.post("/me/revocations", data=data)
        assert answer.url.path.startswith("/me/fences/")
        assert "The door is closing" in answer.text, "no owner is there to say that it is closed"
        assert answer.headers["refresh"] == "1"
        assert "They had read nothing before." in answer.text
        page = me.get("/me").text
        assert "Taken back</strong>: Harbor House" in page
        assert "Take it back from Harbor House" not in page
        assert "Take it back from Tideline Clinic" in page
        me.post("/me/revocations", data={"consent": rosa.consent, "recipient": ""})
        assert "You have agreed to nothing that holds now." in me.get("/me").text
    told = [one for one in written(side.hub, "consent", rosa.participant) if one["type"] == "consent-revoked"]
    assert {one["sender"] for one in told} == {f"participant:{rosa.participant}"}


def test_a_never_is_placed_and_taken_back(rosa: Somebody) -> None:
    with rosa.visit(rosa.card()) as me:
        me.post("/me/restrictions", data={"recipient": "city-attorney"})
        page = me.get("/me").text
        assert "Never with: City Attorney" in page
        name = re.search(r'name="restriction" value="(r-[a-z2-7]{26})"', page)
        assert name
        assert "Your never is taken back." in me.post("/me/liftings", data={"restriction": name[1]}).text
        assert "Never with:" not in me.get("/me").text


def test_what_is_asked_for_has_a_day_and_the_case_manager_sees_it(
    side: Side, manager: httpx.Client, rosa: Somebody
) -> None:
    with rosa.visit(rosa.card()) as me:
        once = hidden(me.get("/me").text, "once")
        for _ in range(2):
            page = me.post("/me/requests", data={"kind": "copy", "text": "please", "once": once}).text
        assert "We have it." in page
        assert len(re.findall(r"A copy of everything, [^<]*You get an answer by", page)) == 1
        assert me.post("/me/requests", data={"kind": "everything"}).status_code == 404
    assert "A copy of everything" in manager.get(f"/cases/people/{rosa.handle}").text


def helped(me: httpx.Client, name: str, may: str) -> str:
    """A helper, named on one's own page. Out: their code."""
    fields = {"name": name, "may": may, "days": "30", "pin": OTHER, "again": OTHER}
    page = me.post("/me/helpers", data=fields).text
    code = re.search(r'class="code lead">([A-Z0-9-]+)<', page)
    assert code, page[:3000]
    return code[1]


def test_a_helper_sees_and_acts_as_themselves_and_no_further(side: Side, rosa: Somebody) -> None:
    with rosa.visit(rosa.card()) as me:
        code, only = helped(me, "Ana Ruiz", "act"), helped(me, "Ben", "see")
        page = me.get("/me").text
        assert "Ana Ruiz may see this page and act for you, until" in page
        me.post("/me/restrictions", data={"recipient": "city-attorney"})
    with rosa.visit(code, OTHER) as ana:
        assert "You are here as a helper." in ana.get("/me").text
        ana.post("/me/revocations", data={"consent": rosa.consent, "recipient": ""})
        restriction = next(
            one["body"]
            for one in written(side.hub, "consent", rosa.participant)
            if one["type"] == "restriction-placed"
        )
        name = json.loads(restriction)["restriction"]["id"]
        assert ana.post("/me/liftings", data={"restriction": name}).status_code == 403
        fields = {"name": "Cal", "may": "see", "days": "30", "pin": OTHER, "again": OTHER}
        assert ana.post("/me/helpers", data=fields).status_code == 403
        bens = next(one.consent for one in passes_of(side, rosa) if one.name == "Ben")
        assert ana.post("/me/revocations", data={"consent": bens, "recipient": ""}).status_code == 403
    with rosa.visit(only, OTHER) as ben:
        assert "Take it all back" not in ben.get("/me").text
        assert ben.post("/me/restrictions", data={"recipient": REACH}).status_code == 403
    (back,) = [
        one for one in written(side.hub, "consent", rosa.participant) if one["type"] == "consent-revoked"
    ]
    assert re.fullmatch(r"helper:m-[0-9a-f]{26}", back["sender"])


def passes_of(side: Side, rosa: Somebody) -> list[Helper]:
    """Their helpers, as another process than the web sees them in the log."""
    lookup = Lookup(side.hub.client)
    try:
        record = Record(said.placed(side.hub.store, lookup, rosa.participant))
        return Passes(
            side.hub.store,
            side.hub.vault,
            side.hub.appender,
            lambda: time.time_ns() // 1_000_000,
            lambda _: record,
        ).helpers(rosa.participant)
    finally:
        lookup.close()


def test_what_others_said_in_somebodys_name_is_shown_to_them(side: Side, rosa: Somebody) -> None:
    with rosa.visit(rosa.card()) as me, side.client(CLINIC) as clinic:
        assert "What others said for you" not in me.get("/me").text
        body = {"participant": rosa.participant, "recipients": [REACH]}
        answer = clinic.post(
            f"/v1/consents/{rosa.consent}/revocations", json=body, headers={"prefer": "wait=0"}
        )
        assert answer.status_code == 202, "taking back is made easy: any organization passes it on"
        me.post("/me/restrictions", data={"recipient": "city-attorney"})
        projected(side, rosa.participant)
        page = me.get("/me").text
    told = re.findall(r"<li>([^<]*?), (?:today|yesterday)", page[page.index("What others said for you") :])
    assert told[0] == "Tideline Clinic told us that you take back what you signed"
    assert not any("never want to share" in one for one in told), "their own word is not another's"


def test_naming_a_helper_is_a_consent_of_its_own_and_its_end_closes_their_door(
    side: Side, rosa: Somebody
) -> None:
    with rosa.visit(rosa.card()) as me:
        code = helped(me, "Ana Ruiz", "act")
        (granted,) = [
            one
            for one in written(side.hub, "consent", rosa.participant)
            if one["type"] == "consent-granted" and one["sender"].startswith("participant:")
        ]
        consent = json.loads(granted["body"])["consent"]
        (helper,) = consent["grants"][0]["recipients"]
        assert re.fullmatch(r"helper:m-[0-9a-f]{26}", helper)
        assert b"Ana" not in granted["body"]
        opened = side.hub.vault.sealer(rosa.participant).open(directive_aad(granted["id"]), granted["sealed"])
        assert json.loads(opened)["names"] == {helper: "Ana Ruiz"}
        page = me.get("/me").text
        assert "Ana Ruiz may learn about: what is on your own page." in page
        receipt = me.get(f"/me/receipts/{consent['id']}")
        paper = pypdf.PdfReader(io.BytesIO(receipt.content)).pages[0].extract_text()
        assert "Ana Ruiz may learn about: what is on your own page." in " ".join(paper.split())
        with rosa.visit(code, OTHER) as ana:
            ana.post("/me/requests", data={"kind": "copy", "once": "1"})
            projected(side, rosa.participant)
            page = me.get("/me").text
            assert "Ana Ruiz looked at this page, to help you." in page
            assert "Ana Ruiz asked for something for you" in page
            with side.person("officer") as officer:
                address = f"/officer/participants/{handles.handle(side.hub.vault, rosa.participant)}"
                seen = officer.get(address).text
                assert "somebody who helps may see their own page, and act on it for them" in seen
                (row,) = officer.get(f"{address}/disclosures/json").json()["disclosures"]
                assert (row["recipient"], row["times"], row["basis"]) == (
                    "Ana Ruiz",
                    1,
                    ["The participant agreed"],
                )
                assert row["rests_on"] == [f"{consent['id']}/act"]
                assert "Ana Ruiz" in officer.get(f"{address}/disclosures").text
            back = me.post("/me/revocations", data={"consent": consent["id"], "recipient": ""})
            assert "can't be called back: Ana Ruiz." in back.text
            assert "The code on my card" in ana.get("/me").text, "their visit is over, too"
    with side.client(follow_redirects=True) as client:
        assert client.post("/me/signin", data={"code": code, "pin": OTHER}).status_code == 403


def test_nobody_but_the_participant_names_a_helper(side: Side, rosa: Somebody) -> None:
    covered = helping.scope(side.hub.register())
    helper = helping.directive(rosa.participant, "m-1", "Ana", "m-own", (0, 4 * 10**12), "see", covered)
    with side.client(REACH) as reach:
        witness = {"name": "Dana", "organisation": REACH}
        answer = reach.post("/v1/directives", json={**helper, "witness": witness})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["path"] == "/consent/grants/0/recipients/0"


def test_nobody_comes_in_a_participants_place_unseen(side: Side, rosa: Somebody) -> None:
    with rosa.visit(rosa.card()) as me:
        with rosa.visit(helped(me, "Ana Ruiz", "see"), OTHER):
            pass
        projected(side, rosa.participant)
        rosa.manager.get(f"/cases/people/{rosa.handle}/receipts/{rosa.consent}/form")
        projected(side, rosa.participant)
        page = me.get("/me").text
    told = re.findall(r"<li>([^<]*?), (?:today|yesterday)", page[page.index("Who was here") :])
    assert told == [
        "A form that you signed was read by Dana Whitfield",
        "Opened by Ana Ruiz, with a card of their own",
        "Opened with your own card",
        "A card was made with Dana Whitfield",
    ]


def test_a_page_leaves_nothing_behind(side: Side, rosa: Somebody) -> None:
    code = rosa.card()
    with side.client() as kiosk:
        answer = kiosk.post("/me/signin", data={"code": code, "pin": PIN})
        set_ones = answer.headers.get_list("set-cookie")
        (cookie,) = [one.lower() for one in set_ones if one.startswith("hub_visit=")]
        for part in ("hub_visit=", "httponly", "samesite=strict", "path=/me"):
            assert part in cookie
        assert "max-age" not in cookie
        assert "expires" not in cookie
        page = kiosk.get("/me")
        assert page.headers["cache-control"] == "no-store"
        assert "<title>My page" in page.text
        visit = kiosk.cookies["hub_visit"]
        out = kiosk.post("/me/exit")
        assert out.headers["clear-site-data"] == '"cache", "cookies", "storage"'
        assert out.headers["refresh"] == f"0; url={side.hub.settings.quick_exit}"
        assert out.text == ""
    with side.client(cookies={"hub_visit": visit}) as thief:
        assert "My PIN" in thief.get("/me").text
        assert thief.post("/me/signout").headers["location"] == "/me?ended=1"
    with side.client(follow_redirects=True) as stranger:
        stranger.post("/me/exit").raise_for_status()


def test_anothers_receipt_and_fence_are_nobodys(side: Side, manager: httpx.Client, rosa: Somebody) -> None:
    other = Somebody(side, manager)
    with rosa.visit(rosa.card()) as me:
        back = me.post("/me/revocations", data={"consent": rosa.consent})
        assert me.get(f"/me/receipts/{other.consent}").status_code == 404
        assert me.get(f"/me/receipts/{rosa.consent}").headers["content-type"] == "application/pdf"
        assert me.post("/me/revocations", data={"consent": other.consent}).status_code == 404
        assert me.get("/me/disclosures").headers["content-type"] == "application/pdf"
    with other.visit(other.card()) as somebody:
        assert somebody.get(back.url.path).status_code == 404
