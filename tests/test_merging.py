"""Two participants who turn out to be one person: every no is carried, and no yes; links go and come back."""

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from consent import Decision, decide, fold
from consent.merging import carried
from consent.record import Placed, Record
from hub import identity
from hub.crosswalk import Crosswalk, Links, local_hash
from hub.merging import Merge, Merging, Moved
from hub.tables import merges
from schemas.errors import Refused, Unavailable
from tests.desk import REACH, desk, granted
from tests.small import consent, grant
from tests.test_laws import DAYS, LAWS, PURPOSES, RECIPIENTS, answer, events, logs, permits_no_more

Json = dict[str, Any]


def record(log: list[Json]) -> Record:
    return Record([Placed(place, None, body) for place, body in enumerate(log)])


def nevers(log: list[Json]) -> list[Json]:
    """The directives with which a record's "no" goes to another."""
    return [
        {"type": "restriction-placed", "restriction": {"id": f"m{place}", **one._asdict()}}
        for place, one in enumerate(carried(record(log)))
    ]


def asked(log: list[Json], event: Json) -> list[Decision]:
    return [
        answer(log, event, (recipient, purpose, day))
        for recipient in RECIPIENTS
        for purpose in PURPOSES
        for day in DAYS[1:]
    ]


@settings(LAWS, max_examples=40)
@given(mine=logs(), other=logs(), event=events)
def test_what_either_forbade_or_took_back_is_permitted_by_no_consent(
    mine: list[Json], other: list[Json], event: Json
) -> None:
    merged = [*mine, *nevers(other)]
    for after, before, theirs in zip(
        asked(merged, event), asked(mine, event), asked(other, event), strict=True
    ):
        assert permits_no_more(after, before), "nothing of the other's is granted"
        if theirs.reason in {"restriction", "revoked"}:
            assert after.basis != "consent"
        if before.reason in {"restriction", "revoked"}:
            assert after == before or not after.permitted


@settings(LAWS, max_examples=40)
@given(mine=logs(), other=logs(), event=events, times=st.integers(2, 3))
def test_carrying_again_changes_nothing(mine: list[Json], other: list[Json], event: Json, times: int) -> None:
    once = [*mine, *nevers(other)]
    assert asked([*mine, *nevers(other) * times], event) == asked(once, event)
    both = [*other, *nevers(once)]
    assert set(carried(record(both))) >= set(carried(record(other)))


def signed(name: str, recipient: str = "clinic", **dates: str) -> Json:
    given_ = grant(id="g1", recipients=[recipient], purposes=["treatment"], categories=["service"])
    return {"type": "consent-granted", "consent": consent(given_, id=name, **dates)}


def test_a_form_that_was_replaced_by_a_new_one_forbids_nothing() -> None:
    gone = {"type": "consent-revoked", "consent_id": "c1"}
    assert carried(record([signed("c1"), gone, signed("c2")])) == ()
    ((recipients, *_),) = carried(record([signed("c1"), gone]))
    assert recipients == ("clinic",)
    ((recipients, *_),) = carried(record([signed("c1"), gone, signed("c2", "harbor-house")]))
    assert recipients == ("clinic",), "the new one reaches somebody else"
    short = signed("c2", expires_at=DAYS[2])
    assert carried(record([signed("c1"), gone, short])), "what it took back stays taken back once that ends"


def test_who_agreed_to_everything_forbids_nothing() -> None:
    assert carried(record([signed("c1"), signed("c2", "harbor-house")])) == ()
    assert carried(record([])) == ()


class Office:
    """A desk at which two participants may be made one, with what the log says of them."""

    def __init__(self, folder: Path) -> None:
        self.at = at = desk(folder)
        self.merging = Merging(at.store, at.vault, at.log, at.participants, self.record)  # type: ignore[arg-type]
        self.one = at.participants.create("reach", "R-1", "test").participant
        self.two = at.participants.create("reach", "R-2", "test").participant
        at.participants.link(self.two, "clinic", "C-2", "reach", "test")

    def directives(self, participant: str) -> list[Placed]:
        return [
            Placed(place, one["id"], json.loads(one["body"]))
            for place, one in enumerate(self.at.log.values("consent"))
            if one["participant"] == participant
        ]

    def record(self, participant: str) -> Record:
        return Record(self.directives(participant))

    def found(self, agency: str, local_id: str) -> tuple[str | None, str | None, str | None]:
        """Whom a local id means: by the fold that admits events, by the store, and by the log once more."""
        links = Links()
        for one in self.at.log.values("identity"):
            links.apply(one)
        folded = links.participant(local_hash(self.at.vault, agency, local_id))
        standing = self.at.participants.of(agency, local_id)
        self.at.project()
        return folded, standing, self.at.participants.of(agency, local_id)


@pytest.fixture
def office(tmp_path: Path) -> Office:
    return Office(tmp_path)


def test_links_go_to_who_stays_and_come_back(office: Office) -> None:
    at = office.at
    assert office.merging.merge(office.one, office.two, "operator") == Moved(2, 0)
    assert office.found("clinic", "C-2") == (office.one,) * 3
    assert office.found("reach", "R-2") == (office.one,) * 3
    assert office.found("reach", "R-1") == (office.one,) * 3
    assert Crosswalk(at.store, at.vault).local_id("clinic", office.one) == "C-2", "told again under its key"
    assert [(one.absorbed, one.survivor) for one in office.merging.listed()] == [(office.two, office.one)]
    assert office.merging.unmerge(office.two, "operator") == Moved(2, 0)
    assert office.found("clinic", "C-2") == (office.two,) * 3
    assert office.found("reach", "R-1") == (office.one,) * 3
    assert Crosswalk(at.store, at.vault).local_id("clinic", office.two) == "C-2"
    assert office.merging.listed() == []
    assert office.merging.merge(office.one, office.two, "operator") == Moved(2, 0), "and once more"
    assert office.found("clinic", "C-2") == (office.one,) * 3


def test_who_is_absorbed_is_closed_and_who_stays_is_held_to_both(office: Office) -> None:
    at = office.at
    for participant in (office.one, office.two):
        at.directives.send(REACH, granted(participant, f"grant-{participant}"))
    consent_id = next(iter(office.record(office.two).consents))
    taken = {"id": "t-1", "participant": office.two, "type": "consent-revoked", "consent_id": consent_id}
    at.directives.send(REACH, taken)
    event = {
        "id": "e-1",
        "participant": "p",
        "type": "service-engagement",
        "category": "service.housing",
        "discloser": "reach",
        "occurred_at": "2026-04-01T00:00:00Z",
        "compartments": ["subject"],
    }

    def answer_for(participant: str) -> Decision:
        state = fold([one.body for one in office.directives(participant)])
        governance = at.register().at(1_000)
        return decide(
            event, "clinic", "care-coordination", DAYS[0], state, governance.policy, governance.stakeholders
        )

    assert answer_for(office.one).permitted
    assert answer_for(office.two).reason == "revoked"
    assert office.merging.merge(office.one, office.two, "operator").restrictions == 1
    assert (answer_for(office.one).reason, answer_for(office.two).reason) == ("restriction", "restriction")
    office.merging.unmerge(office.two, "operator")
    assert answer_for(office.two).reason == "revoked", "its own word stands again"
    assert not answer_for(office.one).permitted, "only the participant lifts what was carried"


def test_what_is_said_about_who_was_absorbed_is_told_where_to_go(office: Office) -> None:
    office.merging.merge(office.one, office.two, "operator")
    with pytest.raises(Refused, match=office.one) as refused:
        office.at.directives.send(REACH, granted(office.two))
    assert refused.value.code == "merged"
    with pytest.raises(Refused):
        office.at.participants.link(office.two, "clinic", "C-9", "reach", "test")
    assert office.at.participants.create("reach", "R-2", "test").participant == office.one
    office.merging.unmerge(office.two, "operator")
    assert office.at.directives.send(REACH, granted(office.two)).state == "written"


def test_what_cannot_be_merged_is_told(office: Office) -> None:
    merge, three = office.merging.merge, office.at.participants.create("reach", "R-3", "test").participant
    for one, other in ((office.one, office.one), (office.one, "p-nobody"), ("p-nobody", office.one)):
        with pytest.raises(Refused):
            merge(one, other, "operator")
    merge(office.one, office.two, "operator")
    for one, other in ((three, office.two), (three, office.one), (office.two, three)):
        with pytest.raises(Refused):
            merge(one, other, "operator")
    with pytest.raises(Refused):
        office.merging.unmerge(three, "operator")


def test_what_was_cut_short_is_done_by_the_repeat_and_a_repeat_changes_nothing(office: Office) -> None:
    at = office.at
    at.directives.send(
        REACH,
        {
            "id": "n-1",
            "participant": office.two,
            "type": "restriction-placed",
            "restriction": {
                "id": "r",
                "recipients": ["court"],
                "purposes": ["*"],
                "categories": ["*"],
                "labels": ["*"],
            },
        },
    )
    left, append = 0, at.log.append

    def breaking(topic: str, key: str | None, value: bytes) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise Unavailable("the log takes nothing now")
        return append(topic, key, value)

    at.log.append = breaking  # type: ignore[method-assign]
    for attempt in range(20):
        left = attempt
        try:
            office.merging.merge(office.one, office.two, "operator")
            break
        except Unavailable:
            continue
    at.log.append = append  # type: ignore[method-assign]
    assert office.merging.merge(office.one, office.two, "operator") == Moved(0, 1)
    assert len(office.record(office.one).restrictions) == 1
    assert office.found("clinic", "C-2") == (office.one,) * 3


def test_the_store_knows_it_again_from_the_log(office: Office) -> None:
    office.merging.merge(office.one, office.two, "operator")
    before = office.merging.listed()
    with office.at.store.write() as connection:
        connection.execute(merges.delete())
    office.at.project()
    office.at.project()
    assert office.merging.listed() == before == [Merge(office.two, office.one, before[0].at)]
    office.merging.unmerge(office.two, "operator")
    with office.at.store.write() as connection:
        connection.execute(merges.delete())
    office.at.project()
    assert office.merging.listed() == []


def test_by_the_command(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hub:
        merging = office.merging

    monkeypatch.setattr(identity.bootstrap, "bootstrap", lambda _: contextlib.nullcontext(Hub()))
    run = CliRunner().invoke
    other = run(identity.app, ["merge", office.one, office.two], input="p-another\n")
    assert isinstance(other.exception, identity.NotConfirmed)
    assert office.merging.listed() == []
    done = run(identity.app, ["merge", office.one, office.two], input=office.two + "\n")
    assert "links moved: 2; restrictions carried: 0" in done.output
    listed = json.loads(run(identity.app, ["list", "--json"]).output)
    assert [(one["absorbed"], one["survivor"]) for one in listed] == [(office.two, office.one)]
    assert office.two in run(identity.app, ["list"]).output
    assert json.loads(run(identity.app, ["unmerge", office.two, "--json"]).output)["links"] == 2
    again = run(identity.app, ["unmerge", office.two])
    assert isinstance(again.exception, identity.NotMerged)
