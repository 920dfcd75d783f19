"""Directives and submissions on their way in: whole or not at all, once, and without a name in the clear."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from connectors.intake import Intake
from consent import State, fold
from hub.directives import Sent, directive_aad
from hub.entrance import Sender
from hub.submissions import Submissions
from schemas import codec
from schemas.errors import Invalid, Refused, Unavailable
from tests.desk import CLINIC, FIRST, POLICE, REACH, SECOND, Desk, consent, desk, granted, rules

PERSONAL = (b"Quintana", b"Dolores", b"Ferreira", b"cabinet", b"CR-2026-17", b"overdose at", b"Dr. Vega")
ORDER = {
    "id": "CR-2026-17",
    "recipient": "court",
    "categories": ["court"],
    "starts_at": "2026-03-01T00:00:00Z",
    "expires_at": "2026-09-01T00:00:00Z",
    "subpoena": True,
}
EMERGENCY = {
    "id": "e-1",
    "recipient": "clinic",
    "declared_by": "Dr. Vega",
    "nature": "overdose at the pier",
    "declared_at": "2026-03-01T10:00:00Z",
    "expires_at": "2026-03-02T10:00:00Z",
}
RESTRICTION = {"id": "never-1", "recipients": ["harbor-pd"], "purposes": ["*"], "categories": ["*"]}


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    made = desk(tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def person(at: Desk) -> str:
    return at.participants.create("reach", "R-1", "by").participant


def state(at: Desk) -> State:
    """What the log's directives fold to."""
    return fold(rules(at.log))


def refused(at: Desk, sender: Sender, body: dict[str, Any]) -> Refused:
    """The refusal of a directive, of which nothing is written."""
    before = len(at.log.values("consent"))
    with pytest.raises(Refused) as caught:
        at.directives.send(sender, body)
    assert len(at.log.values("consent")) == before
    return caught.value


def file_order(at: Desk, person: str, **more: Any) -> Sent:
    """An order that the first officer asks for."""
    body = {"id": "o-1", "participant": person, "type": "order-filed", "order": ORDER | more}
    return at.directives.send(FIRST, body)


BODIES: dict[str, dict[str, Any]] = {
    "consent-granted": {"consent": consent()},
    "consent-revoked": {"consent_id": "c1"},
    "restriction-placed": {"restriction": RESTRICTION},
    "restriction-lifted": {"restriction_id": "never-1"},
    "order-filed": {"order": ORDER},
    "order-vacated": {"order_id": "CR-2026-17"},
    "emergency-declared": {"emergency": EMERGENCY},
    "program-exited": {"at": "2026-04-01T00:00:00Z"},
}
ALLOWED = {
    "consent-granted": {"reach", "clinic", "self"},
    "consent-revoked": {"reach", "clinic", "harbor-pd", "self"},
    "restriction-placed": {"reach", "clinic", "harbor-pd", "self"},
    "restriction-lifted": {"reach", "clinic", "self"},
    "order-filed": {"officer"},
    "order-vacated": {"officer"},
    "emergency-declared": {"clinic"},
    "program-exited": {"reach"},
}


class TestDirectives:
    """One directive at a time."""

    def test_is_written_where_its_participant_is_and_takes_effect(self, at: Desk, person: str) -> None:
        sent = at.directives.send(REACH, granted(person))
        ((topic, partition), records) = next(
            (place, found) for place, found in at.log.records.items() if place[0] == "consent"
        )
        assert (topic, partition, len(records) - 1) == ("consent", sent.partition, sent.offset)
        assert records[0][0] == person
        assert sent.state == "written"
        assert not sent.narrows
        assert len(state(at).record().consents) == 1

    def test_holds_no_name_in_the_clear_and_all_of_it_sealed(self, at: Desk, person: str) -> None:
        at.directives.send(REACH, granted(person, id="Quintana"))
        at.directives.send(
            CLINIC,
            {"id": "d-2", "participant": person, "type": "emergency-declared", "emergency": EMERGENCY},
        )
        sent = file_order(at, person)
        at.directives.approve(sent.directive, SECOND)
        for word in PERSONAL:
            assert word not in at.log.text(), word
        first, second, third = (
            at.open(person, directive_aad(one["id"]), one["sealed"]) for one in at.log.values("consent")
        )
        assert first["signature"]["reference"] == "cabinet 4, Dolores Quintana"
        assert first["witness"]["name"] == "Imelda Ferreira"
        assert first["id"] == "Quintana"
        assert second["emergency"] == {"declared_by": "Dr. Vega", "nature": "overdose at the pier"}
        assert third["id"] == "CR-2026-17"
        folded = state(at).record()
        assert (len(folded.consents), len(folded.emergencies), len(folded.orders)) == (1, 1, 1)

    def test_leaves_no_name_in_the_store(self, at: Desk, person: str, tmp_path: Path) -> None:
        at.directives.send(REACH, granted(person))
        file_order(at, person)
        at.project()
        at.store.close()
        for file in tmp_path.iterdir():
            content = file.read_bytes()
            for word in PERSONAL:
                assert word not in content, (file.name, word)

    def test_a_repeat_gets_the_same_answer_and_writes_nothing(self, at: Desk, person: str) -> None:
        first = at.directives.send(REACH, granted(person))
        again = at.directives.send(REACH, granted(person))
        assert (first.new, again.new) == (True, False)
        assert first._replace(new=False) == again
        assert len(at.log.values("consent")) == 1

    def test_an_id_is_not_used_for_something_else(self, at: Desk, person: str) -> None:
        at.directives.send(REACH, granted(person))
        changed = granted(person, expires_at="2029-03-01T09:00:00Z")
        assert refused(at, REACH, changed).code == "conflict"

    def test_two_senders_may_use_the_same_id(self, at: Desk, person: str) -> None:
        body = {
            "id": "d-1",
            "participant": person,
            "type": "restriction-placed",
            "restriction": RESTRICTION,
        }
        one, two = at.directives.send(REACH, body), at.directives.send(CLINIC, body)
        assert one.directive != two.directive
        assert one.concerns != two.concerns
        assert len(state(at).record().restrictions) == 2

    def test_a_lost_answer_is_mended_by_the_repeat(self, at: Desk, person: str) -> None:
        at.log.lose_answers = True
        with pytest.raises(Unavailable):
            at.directives.send(REACH, granted(person))
        at.log.lose_answers = False
        sent = at.directives.send(REACH, granted(person))
        records = at.log.values("consent")
        assert len(records) == 2
        assert {record["id"] for record in records} == {sent.directive}
        bodies = [{"id": one["id"], **json.loads(one["body"])} for one in records]
        assert len(fold(bodies).record().consents) == 1

    def test_takes_a_consent_back_by_the_senders_name_or_the_hubs(self, at: Desk, person: str) -> None:
        by_name = at.directives.send(REACH, granted(person, "d-1", id="c1"))
        by_hub = at.directives.send(REACH, granted(person, "d-2"))
        for number, name in enumerate(("c1", by_hub.concerns)):
            revoked = {
                "id": f"r-{number}",
                "participant": person,
                "type": "consent-revoked",
                "consent_id": name,
            }
            sent = at.directives.send(REACH, revoked)
            assert sent.narrows
            assert sent.concerns == (by_name, by_hub)[number].concerns
        assert all(one.revoked for one in state(at).record().consents.values())

    def test_any_organisation_takes_back_by_the_hubs_id(self, at: Desk, person: str) -> None:
        sent = at.directives.send(REACH, granted(person))
        body = {
            "id": "x",
            "participant": person,
            "type": "consent-revoked",
            "consent_id": sent.concerns,
        }
        assert at.directives.send(POLICE, body).state == "written"

    @pytest.mark.parametrize(
        ("type_", "field"),
        [("consent-revoked", "consent_id"), ("restriction-lifted", "restriction_id")],
    )
    def test_nothing_is_taken_back_that_was_never_given(
        self, at: Desk, person: str, type_: str, field: str
    ) -> None:
        body = {"id": "x", "participant": person, "type": type_, field: "c9"}
        body |= {"witness": {"name": "I", "organisation": "reach"}}
        refusal = refused(at, REACH, body)
        assert (refusal.code, refusal.path) == ("not-found", f"/{field}")

    def test_what_only_the_log_knows_can_be_taken_back(self, at: Desk, person: str) -> None:
        sent = at.directives.send(REACH, granted(person))
        at.project()
        with at.store.write() as connection:
            connection.exec_driver_sql("DELETE FROM requests")
        body = {
            "id": "x",
            "participant": person,
            "type": "consent-revoked",
            "consent_id": sent.concerns,
        }
        assert at.directives.send(REACH, body).state == "written"

    def test_a_restriction_is_lifted_and_never_replaced(self, at: Desk, person: str) -> None:
        body = {
            "id": "r-1",
            "participant": person,
            "type": "restriction-placed",
            "restriction": RESTRICTION,
        }
        assert at.directives.send(POLICE, body).narrows
        weaker = body | {"id": "r-2", "restriction": RESTRICTION | {"recipients": []}}
        refusal = refused(at, POLICE, weaker)
        assert (refusal.code, refusal.path) == ("conflict", "/restriction/id")
        assert next(iter(state(at).record().restrictions.values())).recipients == ("harbor-pd",)

    def test_the_participant_replaces_their_own_restriction(self, at: Desk, person: str) -> None:
        own = Sender("participant", participant=person)
        body = {"id": "r-1", "participant": person, "type": "restriction-placed"}
        at.directives.send(own, body | {"restriction": RESTRICTION})
        at.directives.send(own, body | {"id": "r-2", "restriction": RESTRICTION | {"recipients": ["court"]}})
        (one,) = state(at).record().restrictions.values()
        assert one.recipients == ("court",)

    def test_a_directive_for_nobody_is_refused(self, at: Desk) -> None:
        assert refused(at, REACH, granted("p-nobody")).code == "not-found"

    def test_an_invalid_consent_is_refused_with_its_place(self, at: Desk, person: str) -> None:
        for change in ({"statements": ["refusal"]}, {"expires_at": None}):
            with pytest.raises(Invalid) as caught:
                at.directives.send(REACH, granted(person, **change))
            assert caught.value.path.startswith("/consent")
        assert at.log.values("consent") == []

    @pytest.mark.parametrize(
        ("field", "term"),
        [
            ("recipients", "Dolores Quintana"),
            ("recipients", "*"),
            ("disclosers", "class:treating-provider"),
            ("purposes", "care"),
            ("categories", "serv"),
            ("labels", "part-2"),
            ("compartments", "all"),
        ],
    )
    def test_a_term_that_would_cover_nothing_is_refused(
        self, at: Desk, person: str, field: str, term: str
    ) -> None:
        grant = consent()["grants"][0] | {field: [term]}
        with pytest.raises(Invalid) as caught:
            at.directives.send(REACH, granted(person, grants=[grant]))
        assert caught.value.path == f"/consent/grants/0/{field}/0"
        assert term not in caught.value.detail

    def test_a_refused_attempt_is_recorded_without_what_it_said(self, at: Desk, person: str) -> None:
        refused(at, POLICE, granted(person))
        (record,) = at.log.values("access")
        assert (record["kind"], record["principal"]) == ("directive-refused", POLICE.principal)
        assert record["participant"] == person
        assert json.loads(record["body"])["type"] == "consent-granted"


class TestSenders:
    """Who may send which directive."""

    @pytest.mark.parametrize("type_", BODIES)
    @pytest.mark.parametrize("who", ["reach", "clinic", "harbor-pd", "self", "officer", "somebody"])
    def test_each_sends_what_is_theirs_to_send(self, at: Desk, person: str, type_: str, who: str) -> None:
        sender = {
            "reach": REACH,
            "clinic": CLINIC,
            "harbor-pd": POLICE,
            "self": Sender("participant", participant=person),
            "officer": FIRST,
            "somebody": Sender("participant", participant="p-other"),
        }[who]
        body = {"id": "z-1", "participant": person, "type": type_} | BODIES[type_]
        body |= self._on_record(at, person, sender, type_)
        if type_ in ("consent-granted", "restriction-lifted") and sender.organisation:
            body["witness"] = {"name": "Imelda", "organisation": sender.organisation}
        if who in ALLOWED[type_]:
            assert at.directives.send(sender, body).new
        else:
            refused(at, sender, body)

    def _on_record(self, at: Desk, person: str, sender: Sender, type_: str) -> dict[str, Any]:
        """What there is to take back, by the hub's id of it."""
        if type_ == "consent-revoked":
            return {"consent_id": at.directives.send(REACH, granted(person, "p-1")).concerns}
        if type_ == "restriction-lifted":
            placed = {"id": "p-2", "participant": person, "type": "restriction-placed"}
            return {
                "restriction_id": at.directives.send(REACH, placed | {"restriction": RESTRICTION}).concerns
            }
        if type_ == "order-vacated":
            return {"order_id": file_order(at, person).concerns}
        return {}

    @pytest.mark.parametrize("witness", [None, {"name": "I", "organisation": "clinic"}])
    def test_an_organisation_names_its_own_witness(
        self, at: Desk, person: str, witness: dict[str, str] | None
    ) -> None:
        refused(at, REACH, granted(person) | {"witness": witness})

    def test_nobody_declares_an_emergency_for_another(self, at: Desk, person: str) -> None:
        body = {"id": "x", "participant": person, "type": "emergency-declared"}
        refused(at, CLINIC, body | {"emergency": EMERGENCY | {"recipient": "reach"}})

    def test_an_emergency_lasts_a_day(self, at: Desk, person: str) -> None:
        body = {"id": "x", "participant": person, "type": "emergency-declared"}
        with pytest.raises(Invalid):
            at.directives.send(
                CLINIC, body | {"emergency": EMERGENCY | {"expires_at": "2026-03-02T10:00:00.001Z"}}
            )


class TestOrders:
    """Orders wait for a second officer."""

    def test_is_written_when_a_second_officer_approves(self, at: Desk, person: str) -> None:
        asked = file_order(at, person)
        assert (asked.state, asked.offset) == ("waiting", None)
        assert at.log.values("consent") == []
        (waiting,) = at.directives.waiting()
        assert waiting.given["id"] == "CR-2026-17"
        with pytest.raises(Refused, match="second officer"):
            at.directives.approve(asked.directive, FIRST)
        done = at.directives.approve(asked.directive, SECOND)
        assert done.state == "written"
        assert done.offset is not None
        assert at.directives.waiting() == []
        assert at.directives.find(asked.directive) == done._replace(new=False)
        assert len(state(at).record().orders) == 1
        kinds = [record["kind"] for record in at.log.values("access")]
        assert sorted(kinds) == ["order-approved", "order-asked"]

    def test_is_decided_once(self, at: Desk, person: str) -> None:
        asked = file_order(at, person)
        at.directives.approve(asked.directive, SECOND)
        for decide in (at.directives.approve, at.directives.reject):
            with pytest.raises(Refused) as caught:
                decide(asked.directive, SECOND)
            assert caught.value.code == "conflict"
        assert len(at.log.values("consent")) == 1

    def test_that_is_rejected_is_never_written_and_forgotten(self, at: Desk, person: str) -> None:
        asked = file_order(at, person)
        assert at.directives.reject(asked.directive, SECOND).state == "rejected"
        assert at.log.values("consent") == []
        with at.store.read() as connection:
            assert connection.exec_driver_sql("SELECT sealed FROM requests").scalar() is None
        assert at.directives.send(FIRST, self._body(person)).state == "rejected"

    def test_a_repeat_while_it_waits_asks_nobody_again(self, at: Desk, person: str) -> None:
        first, again = file_order(at, person), file_order(at, person)
        assert (first.new, again.new) == (True, False)
        assert len(at.directives.waiting()) == 1

    def test_nobody_of_the_recipients_files_or_approves_it(self, at: Desk, person: str) -> None:
        of_court = Sender("person:clerk", organisation="court", officer=True)
        refused(at, of_court, self._body(person))
        asked = file_order(at, person)
        with pytest.raises(Refused, match="recipient"):
            at.directives.approve(asked.directive, of_court)

    def test_only_officers_decide(self, at: Desk, person: str) -> None:
        asked = file_order(at, person)
        for decide in (at.directives.approve, at.directives.reject):
            with pytest.raises(Refused) as caught:
                decide(asked.directive, REACH)
            assert caught.value.code == "role"

    def test_an_approval_that_the_log_did_not_take_can_be_repeated(self, at: Desk, person: str) -> None:
        asked = file_order(at, person)
        at.log.broken = True
        with pytest.raises(Unavailable):
            at.directives.approve(asked.directive, SECOND)
        at.log.broken = False
        assert at.directives.approve(asked.directive, SECOND).state == "written"

    def _body(self, person: str) -> dict[str, Any]:
        return {"id": "o-1", "participant": person, "type": "order-filed", "order": ORDER}


class TestSubmissions:
    """Directives and the events that came with them."""

    @pytest.fixture
    def take(self, at: Desk) -> Submissions:
        intake = Intake(None, at.vault, at.register(), 4)  # type: ignore[arg-type]  it only makes records here
        return Submissions(
            at.store,
            at.vault,
            at.log,  # type: ignore[arg-type]
            at.participants,
            at.directives,
            intake.take,
        )

    @staticmethod
    def event(name: str = "ev-1", **more: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": name,
            "source": "urn:agency:reach",
            "type": "referral",
            "category": "referral.social-contact",
            "time": "2026-03-01T09:05:00Z",
            "subject": "R-1",
            "data": {"door": "social contact"},
        } | more

    def inbox(self, at: Desk) -> list[dict[str, Any]]:
        return at.log.values("inbox.reach")

    def test_events_wait_for_the_directives_that_came_with_them(
        self, at: Desk, person: str, take: Submissions
    ) -> None:
        at.directives.send(REACH, granted(person, "before"))
        body = {"id": "s-1", "directives": [granted(person, "d-2")], "events": [self.event()]}
        done = take.submit(REACH, body)
        (inbound,) = self.inbox(at)
        assert inbound["consent_at_least"] == done.directives[0].offset == 1
        assert inbound["submission"] == "s-1"
        assert done.events[0]["status"] == "accepted"
        topics_in_order = [topic for topic, _ in at.log.records]
        assert topics_in_order.index("consent") < topics_in_order.index("inbox.reach")

    def test_a_repeat_writes_nothing_and_answers_the_same(
        self, at: Desk, person: str, take: Submissions
    ) -> None:
        body = {"id": "s-1", "directives": [granted(person)], "events": [self.event()]}
        first, again = take.submit(REACH, body), take.submit(REACH, body)
        assert (first.new, again.new) == (True, False)
        assert again.events == first.events
        assert [one.directive for one in again.directives] == [one.directive for one in first.directives]
        assert len(self.inbox(at)) == len(at.log.values("consent")) == 1

    def test_an_id_is_not_used_for_another_submission(self, at: Desk, person: str, take: Submissions) -> None:
        take.submit(REACH, {"id": "s-1", "events": [self.event()]})
        with pytest.raises(Refused) as caught:
            take.submit(REACH, {"id": "s-1", "events": [self.event("ev-2")]})
        assert caught.value.code == "conflict"

    def test_one_bad_part_and_nothing_is_written(self, at: Desk, person: str, take: Submissions) -> None:
        good = granted(person)
        bad_parts: list[tuple[dict[str, Any], str]] = [
            ({"directives": [good, {"id": "x"}]}, "/directives/1/type"),
            ({"directives": [good], "events": [self.event(category="no.such")]}, "/events/0/category"),
            ({"directives": [good], "events": [self.event(), {"id": "x"}]}, "/events/1"),
            ({"directives": [good], "events": [self.event(subject="R-unknown")]}, "/events/0/subject"),
            ({"directives": [granted("p-nobody")]}, "/directives/0/participant"),
            ({"directives": [good], "events": "none"}, "/events"),
            ({"directives": [good], "extra": 1}, "/extra"),
            ({"directives": [good] * 21}, "/directives"),
        ]
        for number, (parts, path) in enumerate(bad_parts):
            with pytest.raises((Invalid, Refused)) as caught:
                take.submit(REACH, {"id": f"s-{number}", **parts})
            assert caught.value.path.startswith(path), caught.value.path
        assert self.inbox(at) == at.log.values("consent") == []

    def test_is_about_one_participant(self, at: Desk, person: str, take: Submissions) -> None:
        other = at.participants.create("reach", "R-2", "by").participant
        for body in (
            {"directives": [granted(person), granted(other, "d-2")]},
            {"directives": [granted(other)], "events": [self.event()]},
        ):
            with pytest.raises(Refused) as caught:
                take.submit(REACH, {"id": "s", **body})
            assert caught.value.code == "another-participant"  # and the id is free for what is right
        assert self.inbox(at) == at.log.values("consent") == []

    def test_what_was_half_written_is_finished_by_the_repeat(
        self, at: Desk, person: str, take: Submissions, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        body = {"id": "s-1", "directives": [granted(person)], "events": [self.event()]}
        append = at.log.append

        def stop_at_inbox(topic: str, key: str | None, value: bytes) -> Any:
            if topic.startswith("inbox."):
                raise Unavailable("gone")
            return append(topic, key, value)

        monkeypatch.setattr(at.log, "append", stop_at_inbox)
        with pytest.raises(Unavailable):
            take.submit(REACH, body)
        monkeypatch.setattr(at.log, "append", append)
        done = take.submit(REACH, body)
        assert done.new
        assert len(at.log.values("consent")) == 1
        assert [one["consent_at_least"] for one in self.inbox(at)] == [done.directives[0].offset]

    def test_only_a_stakeholder_submits(self, at: Desk, take: Submissions) -> None:
        with pytest.raises(Refused):
            take.submit(FIRST, {"id": "s-1", "events": [self.event()]})

    def test_the_original_opens_in_its_inbox_alone(self, at: Desk, person: str, take: Submissions) -> None:
        take.submit(REACH, {"id": "s-1", "events": [self.event()]})
        (inbound,) = self.inbox(at)
        original = at.vault.hub("originals").open(b"inbox.reach", inbound["sealed"])
        assert json.loads(original)["subject"] == "R-1"
        assert b"R-1" not in codec.encode("Inbound", inbound)
