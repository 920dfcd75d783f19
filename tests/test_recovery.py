"""What a new owner finds: receipts are told from other records before anything is decoded."""

import pytest

from connectors import deliveries, recovery
from connectors.adapter import Outcome, Read, Share
from connectors.deliveries import Applied, Parcel
from connectors.engine import EngineSettings
from connectors.pending import Item, Lane, Left
from schemas import codec
from schemas.errors import BrokenRecord, UnknownSchema

PARCEL = Parcel("k", "reach", "webhook", "e-1", "p1")
SHARE = Share("s", "care-coordination", "consent", ("c1/g1",), ("subject",), ())
RECEIPT = deliveries.receipt(PARCEL, 3, Outcome("failed", "http-500"), 7, 9)
OTHERS = {
    "intent": deliveries.intent(PARCEL, (0, 1), 3, 7, Applied(1, 2), [SHARE]),
    "withheld": deliveries.withheld(PARCEL, 7, Applied(1, 2), [("s", "revoked")]),
    "acknowledgement": deliveries.acknowledgement(["reach"], 0, Applied(1, 2), 7, "w"),
}
BOUNDS = EngineSettings("w", 1)


def test_a_receipt_is_told_by_its_first_bytes() -> None:
    assert deliveries.ended(RECEIPT) == deliveries.decode(RECEIPT)["receipt"]


@pytest.mark.parametrize("kind", OTHERS)
def test_so_is_what_is_none(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert deliveries.decode(OTHERS[kind])[kind] is not None
    monkeypatch.setattr(codec, "decode", lambda data: pytest.fail("decoded"))
    assert deliveries.ended(OTHERS[kind]) is None


def test_a_record_of_another_kind_or_schema_is_not_passed_over() -> None:
    with pytest.raises(BrokenRecord):
        deliveries.ended(codec.encode("Seen", {"event": "e", "fingerprint": b"f", "at": 1, "offset": 1}))
    with pytest.raises(UnknownSchema):
        deliveries.ended(b"\0\x7f\xff\xff\xff" + RECEIPT[5:])
    with pytest.raises(BrokenRecord):
        deliveries.ended(RECEIPT[:-1])


class Past:
    """A log that holds one receipt, and notes what it is asked."""

    def __init__(self, *values: bytes) -> None:
        self.values = values
        self.asked: list[int | None] = []

    def read(self, topic: str, partition: int, since_ms: int | None = None) -> list[Read]:
        self.asked.append(since_ms)
        return [Read(topic, partition, at, b"p1", value, 7) for at, value in enumerate(self.values)]


def found(past: Past, since: int, now: int) -> recovery.Recovered:
    item = Item(Lane("reach", "webhook", "p1", "contact"), 0, 1, "k", 3, open=True, since=since)
    left = Left()
    left.apply(Read("pending", 0, 0, item.ref, item.encode(), since))
    [one] = recovery.recover(left, past, 0, {"reach"}, set(), BOUNDS, now)  # type: ignore[arg-type]
    return one


def test_the_receipt_of_an_attempt_says_when_it_is_tried_again() -> None:
    past = Past(*OTHERS.values(), RECEIPT)
    one = found(past, 100_000, 100_001)
    assert (one.kind, one.item.open, one.item.next_at) == ("waiting", False, 9)
    assert past.asked == [100_000 - recovery.clock_skew_ms_max]


def test_without_one_it_is_in_doubt_and_waits_for_its_deadline() -> None:
    due = 100_000 + BOUNDS.send_ms_max + BOUNDS.doubt_margin_ms
    for now in (100_001, due + recovery.clock_skew_ms_max - 1):
        one = found(Past(*OTHERS.values()), 100_000, now)
        assert (one.kind, one.item.open, one.item.next_at) == ("waiting", True, due)


def test_long_after_its_deadline_no_later_owner_need_look_for_its_receipt() -> None:
    due = 100_000 + BOUNDS.send_ms_max + BOUNDS.doubt_margin_ms
    one = found(Past(*OTHERS.values()), 100_000, due + recovery.clock_skew_ms_max)
    assert (one.kind, one.item.open, one.item.attempt) == ("doubted", False, 3)
