"""The table of what waits: order within a lane, and nothing left behind when a partition goes."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors.adapter import Read
from connectors.pending import ENDPOINT_OFFSET, WHOLE, Item, Lane, Left, Table
from schemas.errors import BrokenRecord


def item(
    offset: int, participant: str = "p1", who: str = "reach", partition: int = 0, next_at: int = 0
) -> Item:
    return Item(
        Lane(who, "webhook", participant, "contact"), partition, offset, f"k{offset}", next_at=next_at
    )


def taken(table: Table, now: int = 0) -> list[int]:
    table.wake(now)
    found = []
    for recipient in table.recipients():
        while (one := table.take(recipient)) is not None:
            table.send(one)
            found.append(one.offset)
    return found


def test_only_the_first_of_a_lane_is_due() -> None:
    table = Table()
    first, second, other = item(1), item(2), item(3, "p2")
    for one in (first, second, other):
        table.add(one)
    assert taken(table) == [1, 3]
    table.landed(first)
    table.finish(first)
    assert taken(table) == [2]


def test_a_failed_one_holds_up_its_lane_and_no_other() -> None:
    table = Table()
    bad, behind = item(1), item(2)
    table.add(bad)
    table.add(behind)
    assert taken(table) == [1]
    table.landed(bad)
    bad.next_at = 5_000
    table.wait(bad)
    table.add(item(3, "p2"))
    assert taken(table, 4_999) == [3]
    assert table.next_at() == 5_000
    assert taken(table, 5_000) == [1]


def test_what_is_dropped_is_never_due_again() -> None:
    table = Table()
    table.add(item(1, next_at=100))
    table.add(item(2, "p2"))
    table.add(item(9, "p9", partition=1))
    table.wake(0)
    table.drop("reach", 0)
    table.add(item(1, next_at=700))
    assert table.counts("reach", 0).total() == 1
    assert taken(table, 699) == [9]
    assert taken(table, 700) == [1]


def test_counts_by_outbox_partition() -> None:
    table = Table()
    for number in range(5):
        table.add(item(number, f"p{number}", partition=number % 2))
    assert (table.counts("reach", 0).total(), table.counts("reach", 1).total(), len(table)) == (3, 2, 5)
    table.add(item(9, "p9", "shelter"))
    assert (table.waiting(0), table.waiting(1), table.waiting(2)) == (4, 2, 0)
    table.drop("shelter", 0)
    assert table.in_flight(("reach", "webhook")) == 0
    assert len(taken(table)) == 5
    assert table.in_flight(("reach", "webhook")) == 5


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.sampled_from(["ok", "fail", "drop"]), st.booleans()), max_size=40
    )
)
def test_every_lane_ends_in_the_order_it_came(plan: list[tuple[int, str, bool]]) -> None:
    """Whatever fails and whenever, urgent or not: what is finished of a lane is in outbox order, and once."""
    table, ended, now = Table(), [], 0
    for offset, (who, _, urgent) in enumerate(plan):
        table.add(replace(item(offset, f"p{who}"), urgent=urgent))
    for _, how, _ in [*plan, *[(0, "ok", False)] * len(plan)] * 2:
        now += 10
        table.wake(now)
        for recipient in table.recipients():
            one = table.take(recipient)
            if one is None:
                continue
            table.send(one)
            table.landed(one)
            if how == "ok":
                table.finish(one)
                ended.append((one.lane.participant, one.offset))
            else:
                one.next_at = now + 15
                table.wait(one)
    for who in range(4):
        offsets = [offset for participant, offset in ended if participant == f"p{who}"]
        assert offsets == sorted(set(offsets))
        assert offsets == [at for at, (lane, _, _) in enumerate(plan) if lane == who][: len(offsets)]


def record(one: Item, offset: int, *, gone: bool = False) -> Read:
    return Read("pending", 0, offset, one.ref, None if gone else one.encode(), 0)


def test_the_next_owner_finds_the_table() -> None:
    left = Left()
    first, second, third = item(7), item(3), item(5, "p2")
    first.attempt, first.open, first.since, first.next_at = 2, True, 111, 222
    for number, one in enumerate((item(7), second, third, first)):
        left.apply(record(one, number))
    left.apply(record(third, 4, gone=True))
    found = left.items()
    assert [one.offset for one in found] == [3, 7]
    again = found[1]
    assert (again.key, again.attempt, again.open, again.since, again.next_at) == ("k7", 2, True, 111, 222)
    assert again.stored
    assert again.outbound is None, "positions only, never what is said"


def test_an_entry_about_a_recipient_itself() -> None:
    left = Left()
    left.apply(record(Item.endpoint("reach", "webhook", 0, 99), 0))
    [marker] = left.items()
    assert (marker.offset, marker.lane.stakeholder, marker.since) == (ENDPOINT_OFFSET, "reach", 99)


def test_what_stands_before_it_was_written_whole_is_void() -> None:
    """Who reads while a part is deleted may have seen an entry and not that it was removed."""
    left = Left()
    for number in range(3):
        left.apply(record(item(number), number))
    left.apply(Read("pending", 0, 90, WHOLE, None, 0))
    left.apply(record(item(2), 91))
    assert [one.offset for one in left.items()] == [2]


def test_an_entry_without_a_key_is_corruption() -> None:
    with pytest.raises(BrokenRecord):
        Left().apply(Read("pending", 0, 0, None, b"", 0))


def test_what_is_urgent_goes_first_and_takes_along_what_its_lane_has_before_it() -> None:
    table = Table()
    for number in range(1, 4):
        table.add(item(number, f"p{number}"))
    table.wake(0)
    table.add(replace(item(4, "p3"), urgent=True))
    table.add(replace(item(5, "p4"), urgent=True))
    table.wake(0)
    recipient = ("reach", "webhook")
    assert [table.take(recipient, urgent=True) for _ in range(3)][2] is None, "what is not urgent stays"
    assert table.recipients(urgent=True) == []
    assert taken(table) == [1, 2]


def test_a_lane_is_urgent_until_what_is_urgent_there_is_done() -> None:
    table = Table()
    table.add(first := replace(item(1), urgent=True))
    table.add(item(2))
    table.add(item(3, "p2"))
    assert taken(table) == [1, 3]
    table.landed(first)
    table.finish(first)
    table.wake(0)
    assert table.recipients(urgent=True) == []
    assert taken(table) == [2]
