"""People and links: made once, whoever repeats the call, and never given to somebody else."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.crosswalk import Crosswalk, Links, local_hash
from schemas.errors import Invalid, Refused, Unavailable
from tests.desk import Desk, desk


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Desk]:
    made = desk(tmp_path)
    yield made
    made.store.close()


def test_a_person_is_made_once(at: Desk) -> None:
    first = at.participants.create("reach", "R-1", "by")
    again = at.participants.create("reach", "R-1", "by")
    other = at.participants.create("reach", "R-2", "by")
    assert (first.new, again.new, other.new) == (True, False, True)
    assert first.participant == again.participant != other.participant
    assert re.fullmatch(r"p-[a-z2-7]{26}", first.participant)
    assert len(at.log.values("identity")) == 2


def test_the_log_and_the_store_hold_no_local_id(at: Desk, tmp_path: Path) -> None:
    at.participants.create("reach", "Quintana-1984", "by")
    assert b"Quintana" not in at.log.text()
    at.store.close()
    for file in tmp_path.iterdir():
        assert b"Quintana" not in file.read_bytes()


def test_admit_finds_the_person_from_the_log_alone(at: Desk) -> None:
    person = at.participants.create("reach", "R-1", "by").participant
    at.participants.link(person, "clinic", "C-9", "reach", "by")
    links = Links()
    for record in at.log.values("identity"):
        links.apply(record)
    assert links.participant(local_hash(at.vault, "clinic", "C-9")) == person
    assert links.participant(local_hash(at.vault, "reach", "R-1")) == person
    assert links.participant(local_hash(at.vault, "clinic", "R-1")) is None


def test_a_link_is_made_once_and_is_told_back(at: Desk) -> None:
    person = at.participants.create("reach", "R-1", "by").participant
    assert at.participants.link(person, "clinic", "C-9", "reach", "by").new
    assert not at.participants.link(person, "clinic", "C-9", "reach", "by").new
    assert at.participants.of("clinic", "C-9") == person
    assert Crosswalk(at.store, at.vault).local_id("clinic", person) == "C-9"


def test_a_local_id_is_not_given_to_somebody_else(at: Desk) -> None:
    one = at.participants.create("reach", "R-1", "by").participant
    two = at.participants.create("reach", "R-2", "by").participant
    at.participants.link(one, "clinic", "C-9", "reach", "by")
    with pytest.raises(Refused) as caught:
        at.participants.link(two, "clinic", "C-9", "reach", "by")
    assert caught.value.code == "conflict"
    assert at.participants.of("clinic", "C-9") == one


def test_an_ended_link_can_be_made_for_somebody_else(at: Desk) -> None:
    one = at.participants.create("reach", "R-1", "by").participant
    two = at.participants.create("reach", "R-2", "by").participant
    at.participants.link(one, "clinic", "C-9", "reach", "by")
    assert at.participants.unlink(one, "clinic", "C-9", "by")
    assert not at.participants.unlink(one, "clinic", "C-9", "by")
    at.participants.link(two, "clinic", "C-9", "reach", "by")
    links = Links()
    for record in at.log.values("identity"):
        links.apply(record)
    assert links.participant(local_hash(at.vault, "clinic", "C-9")) == two


@pytest.mark.parametrize("agency", ["clinic", "harbor-pd", "nobody"])
def test_only_case_management_adds_and_links(at: Desk, agency: str) -> None:
    person = at.participants.create("reach", "R-1", "by").participant
    for call in (
        lambda: at.participants.create(agency, "X-1", "by"),
        lambda: at.participants.link(person, "clinic", "C-1", agency, "by"),
    ):
        with pytest.raises(Refused) as caught:
            call()
        assert caught.value.code == "role"
    assert len(at.log.values("identity")) == 1


def test_nobody_links_whom_or_where_there_is_nothing(at: Desk) -> None:
    person = at.participants.create("reach", "R-1", "by").participant
    for participant, agency in (("p-unknown", "clinic"), (person, "nobody")):
        with pytest.raises(Refused) as caught:
            at.participants.link(participant, agency, "C-1", "reach", "by")
        assert caught.value.code == "not-found"


@pytest.mark.parametrize("local_id", ["", " R-1", "R-1 ", "R\n1", "R\0", "x" * 129])
def test_an_id_that_cannot_be_one_is_refused_unseen(at: Desk, local_id: str) -> None:
    with pytest.raises(Invalid) as caught:
        at.participants.create("reach", local_id, "by")
    assert caught.value.path == "/local_id"
    assert not local_id.strip() or local_id not in caught.value.detail


def test_what_the_log_did_not_take_is_done_by_the_repeat(at: Desk) -> None:
    at.log.broken = True
    with pytest.raises(Unavailable):
        at.participants.create("reach", "R-1", "by")
    at.log.broken, at.log.lose_answers = False, True
    with pytest.raises(Unavailable):
        at.participants.create("reach", "R-1", "by")
    at.log.lose_answers = False
    person = at.participants.create("reach", "R-1", "by")
    assert person.new
    assert {record["participant"] for record in at.log.values("identity")} == {person.participant}
    links = Links()
    for record in at.log.values("identity"):
        links.apply(record)
    assert len(links) == 1


def test_the_auditor_confirms_what_was_reserved(at: Desk) -> None:
    at.log.lose_answers = True
    with pytest.raises(Unavailable):
        at.participants.create("reach", "R-1", "by")
    at.log.lose_answers = False
    at.project()
    again = at.participants.create("reach", "R-1", "by")
    assert not again.new
    assert len(at.log.values("identity")) == 1
