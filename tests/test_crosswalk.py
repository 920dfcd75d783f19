"""The crosswalk: each agency's own id leads to one participant, and is told to nobody else."""

import itertools
import random
from typing import Any

import pytest

from hub.crosswalk import Crosswalk, Links, local_aad, local_hash
from hub.kek import LocalKek
from hub.projections import Read, project
from hub.store import Store
from hub.vault import Vault

A, B = "p-aaaa", "p-bbbb"
LOCAL = "ab" * 32


def link(participant: str, at: int, kind: str = "linked", local: str = LOCAL) -> dict[str, Any]:
    return {
        "kind": kind,
        "participant": participant,
        "agency": "reach",
        "local": local,
        "sealed": participant.encode(),
        "at": at,
        "by": "x",
    }


def folded(records: list[dict[str, Any]]) -> str | None:
    links = Links()
    for record in records:
        links.apply(record)
    return links.participant(LOCAL)


def test_nobody_is_found_before_a_link_and_after_its_end() -> None:
    assert folded([]) is None
    assert folded([link(A, 1)]) == A
    assert folded([link(A, 1), link(A, 2, "unlinked")]) is None


def test_a_repeated_link_changes_nothing() -> None:
    assert folded([link(A, 1), link(B, 2), link(A, 3)]) == A


def test_what_is_not_understood_ends_no_link() -> None:
    assert folded([link(A, 1), link(A, 2, "unknown")]) == A


def test_the_first_claim_counts_until_it_is_ended() -> None:
    assert folded([link(A, 1), link(B, 2)]) == A
    assert folded([link(A, 1), link(B, 2), link(A, 3, "unlinked")]) == B


def test_the_order_in_which_partitions_are_read_does_not_matter() -> None:
    first = [link(A, 1), link(A, 5, "unlinked"), link(A, 9)]
    second = [link(B, 3), link(B, 7, "unlinked"), link(B, 8)]
    places = itertools.combinations(range(6), 3)
    results = set()
    for taken in places:
        one, two = iter(first), iter(second)
        results.add(folded([next(one) if place in taken else next(two) for place in range(6)]))
    assert results == {B}


def test_ten_thousand_links_are_counted_once() -> None:
    links = Links()
    for number in range(10_000):
        links.apply(link(f"p-{number}", number, local=f"{number:064x}"))
    assert len(links) == 10_000
    assert links.participant(f"{77:064x}") == "p-77"


@pytest.mark.parametrize("seed", range(6))
def test_the_store_says_what_the_fold_says(store: Store, seed: int) -> None:
    """As far as one partition goes; a second claim is refused before it gets into the log."""
    chance = random.Random(seed)
    records = [link(A, at, chance.choice(["linked", "unlinked"])) for at in range(1, 9)]
    with store.write() as connection:
        project(
            connection,
            [Read("identity", 0, offset, "Identity", record) for offset, record in enumerate(records)],
        )
        found = connection.exec_driver_sql("SELECT participant FROM crosswalk").scalar()
    assert found == folded(records)


def test_in_the_store_too_the_earlier_claim_counts(store: Store) -> None:
    for records in ([link(A, 1), link(B, 2)], [link(B, 2), link(A, 1)]):
        with store.write() as connection:
            connection.exec_driver_sql("DELETE FROM crosswalk")
            project(connection, [Read("identity", 0, 0, "Identity", one) for one in records])
            assert connection.exec_driver_sql("SELECT participant FROM crosswalk").scalar() == A


def test_an_agency_gets_its_own_id_back_and_no_other(store: Store) -> None:
    vault = Vault(store, LocalKek(bytes(32)))
    crosswalk = Crosswalk(store, vault)
    records = []
    for at, (agency, name) in enumerate([("reach", "R-1"), ("jail", "J-7"), ("reach", "R-2")]):
        local = local_hash(vault, agency, name)
        sealed = vault.sealer(A).seal(local_aad(agency, local), name.encode())
        records.append(link(A, at) | {"agency": agency, "local": local, "sealed": sealed})
    with store.write() as connection:
        project(connection, [Read("identity", 0, n, "Identity", one) for n, one in enumerate(records)])
    assert crosswalk.local_id("reach", A) == "R-2"
    assert crosswalk.local_id("jail", A) == "J-7"
    assert crosswalk.local_id("court", A) is None
    assert crosswalk.local_id("reach", B) is None
    asked = [(agency, who) for agency in ("reach", "jail", "court") for who in (A, B)]
    assert crosswalk.local_ids(asked) == {("reach", A): "R-2", ("jail", A): "J-7"}
    vault.destroy(A)
    assert crosswalk.local_ids(asked) == {}
    assert crosswalk.local_id("reach", A) is None


def test_hashes_of_one_id_at_two_agencies_have_nothing_in_common(store: Store) -> None:
    vault = Vault(store, LocalKek(bytes(32)))
    assert local_hash(vault, "reach", "1") != local_hash(vault, "jail", "1")
    assert local_hash(vault, "re", "ach1") != local_hash(vault, "reach", "1")
