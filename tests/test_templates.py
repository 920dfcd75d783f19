"""What enforce writes is, byte for byte, what the codec writes of the same decisions."""

from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consent import Decision, Subscription
from schemas import codec, raw
from schemas.topics import outbox
from streams.templates import Pattern, Template, listed, written
from tests.test_raw import LONGS, NAMES, events

TEXTS = st.lists(st.sampled_from(["", "c-1/g%b", "%", "é", "x" * 63, "x" * 64, "é" * 40]), max_size=3)
STAKEHOLDERS = st.sampled_from(["harbor", "clinic", "attorney"])

subscriptions = st.builds(
    Subscription, NAMES, STAKEHOLDERS, NAMES, st.just(()), st.just("webhook"), st.just({})
)
denials = NAMES.map(lambda reason: Decision("deny", reason))
permits = st.builds(
    lambda basis, *lists: Decision("permit", basis, basis, *lists),
    NAMES,
    *[TEXTS.map(lambda some: tuple(sorted(set(some))))] * 3,
)


def plain(some: dict[str, Any]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in some.items()}


@given(
    events(),
    st.lists(st.tuples(subscriptions, st.one_of(denials, permits)), max_size=5),
    st.sampled_from(["first", "reconsider"]),
    st.integers(0, 2**31 - 1), LONGS, LONGS, LONGS, LONGS,
)  # fmt: skip
def test_a_decision_and_its_copies_are_the_codecs(
    event: dict[str, Any],
    asked: list[tuple[Subscription, Decision]],
    cause: str,
    partition: int,
    offset: int,
    at: int,
    consent: int,
    governance: int,
) -> None:
    cut = raw.cut(codec.encode("Event", event))
    place, stamp = raw.place("contact", partition) + raw.long(offset), raw.applied(at, consent, governance)
    rest = {
        "position": {"topic": "contact", "partition": partition, "offset": offset},
        **{"at": at, "consent_offset": consent, "governance_offset": governance},
    }
    decisions = [one for _, one in asked]
    names = [listed(one.grants) for one in decisions]
    templates = [Template(one) for one, _ in asked]
    whole, copied = written(templates, decisions)
    pattern = Pattern(templates, decisions, range(len(asked)))
    assert pattern.filled(names) == (whole, copied)
    outcomes = [
        {"stakeholder": one.stakeholder, "subscription": one.id, "purpose": one.purpose}
        | plain(decision._asdict())
        for one, decision in asked
    ]
    assert raw.decision("d-1", cause, cut.envelope, place, stamp, whole) == codec.encode(
        "Decision", {"id": "d-1", "cause": cause, "event": event["envelope"], **rest, "outcomes": outcomes}
    )
    shares: dict[str, list[dict[str, Any]]] = {}
    united: dict[str, set[str]] = {}
    for one, outcome in zip([one for one, _ in asked], outcomes, strict=True):
        if outcome["effect"] == "permit":
            named = ("subscription", "purpose", "basis", "grants", "compartments", "obligations")
            shares.setdefault(outbox(one.stakeholder), []).append({name: outcome[name] for name in named})
            united.setdefault(outbox(one.stakeholder), set()).update(outcome["compartments"])
    copies = {
        topic: (compartments, raw.outbound(cut.envelope, cut.sealed, place, stamp, said))
        for topic, compartments, said in copied
    }
    assert copies == {
        topic: (tuple(sorted(united[topic])), codec.encode("Outbound", {**event, **rest, "shares": some}))
        for topic, some in shares.items()
    }
    assert pattern.effects == Counter([(one.effect, one.reason) for one in decisions])


def test_a_pattern_serves_whoever_has_other_grants() -> None:
    harbor = Subscription("s-1", "harbor", "treatment", (), "webhook", {})
    clinic = Subscription("s-2", "clinic", "treatment", (), "webhook", {})
    permit = Decision("permit", "consent", "consent", ("c-1/g1",), ("subject",), ("record-disclosure",))
    denied = Decision("deny", "role")
    templates = [Template(one) for one in (harbor, clinic, harbor)]
    pattern = Pattern(templates, [permit, denied, permit], [1, -1, 0])
    others = [permit._replace(grants=("c-2/g7",)), denied, permit._replace(grants=("c-2/g1", "c-2/g2"))]
    names = [listed(("c-2/g1", "c-2/g2")), listed(("c-2/g7",))]
    assert pattern.filled(names) == written(templates, others)
