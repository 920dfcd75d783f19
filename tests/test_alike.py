"""Answers that are alike: what is said once for many is what would have been said about each."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consent import Event, Policy, Stakeholders, decide_all, fold
from consent.alike import Alike, standing, steady, unchanged
from schemas import instant
from tests.agree import Asks
from tests.cases import POLICY
from tests.small import (
    AT,
    POLICIES,
    REGISTERED,
    consent,
    emergency,
    event,
    grant,
    granted,
    order,
    restriction,
    revoked,
)
from tests.test_laws import DAYS, LAWS, PURPOSES, RECIPIENTS, events, logs

Json = dict[str, Any]
AT_MS = instant.parse(AT)
OCCURRED_MS = instant.parse("2026-05-01T00:00:00Z")
WANTED = tuple(Asks(recipient, purpose) for recipient in RECIPIENTS for purpose in PURPOSES)
UNTOLD = ("harbor-house", "care-coordination")


def asked(value: Json) -> Event:
    found = Event.of(value)
    assert found is not None
    return found


def renamed(log: list[Json], names: dict[str, str]) -> list[Json]:
    """The same directives with their consents under other names."""
    said = []
    for one in map(dict, log):
        if "consent" in one:
            one["consent"] = one["consent"] | {"id": names.get(one["consent"]["id"], one["consent"]["id"])}
        if "consent_id" in one:
            one["consent_id"] = names.get(one["consent_id"], one["consent_id"])
        said.append(one)
    return said


def common(*directives: Any, at: int = AT_MS, occurred_at: int = OCCURRED_MS) -> Any:
    return standing(fold(directives), at, occurred_at)


@LAWS
@given(log=logs(), other=logs(), same=st.booleans(), event=events, first=st.sampled_from(DAYS),
       then=st.sampled_from(DAYS), occurred_at=st.sampled_from(DAYS))  # fmt: skip
def test_whoever_stands_the_same_is_answered_the_same(
    log: list[Json], other: list[Json], same: bool, event: Json, first: str, then: str, occurred_at: str
) -> None:
    one = fold(log)
    two = fold(renamed(log if same else other, {"c1": "z", "c2": "c1/g1", "c3": "a"}))
    at, later = instant.parse(first), instant.parse(then)
    about = asked(event)
    about_two = about._replace(id="evt-2", participant="p-2", occurred_at=instant.parse(occurred_at))
    stands = standing(one, at, about.occurred_at)
    if stands is None:
        assert Alike.of(about, WANTED, at, one, POLICIES, REGISTERED) is None
        return
    alike = Alike.of(about, WANTED, at, one, POLICIES, REGISTERED)
    if alike is None:
        return
    assert alike.answers(one) == decide_all(about, WANTED, at, one, POLICIES, REGISTERED)
    if standing(two, later, about_two.occurred_at) == stands:
        since, before = unchanged(at, WANTED, about.discloser, REGISTERED)
        if since <= later < before:
            assert alike.answers(two) == decide_all(about_two, WANTED, later, two, POLICIES, REGISTERED)


def test_a_consent_under_another_name_stands_the_same_and_its_grants_are_named() -> None:
    wanted = (Asks("harbor-house", "care-coordination"), Asks("clinic", "treatment"))
    one = fold([granted(grant(id="g2"), grant(), grant(id="g3", recipients=["clinic"]))])
    two = fold([granted(grant(id="g2"), grant(), grant(id="g3", recipients=["clinic"]), id="c-other")])
    assert standing(one, AT_MS, OCCURRED_MS) == standing(two, AT_MS, OCCURRED_MS) is not None
    alike = Alike.of(asked(event()), wanted, AT_MS, one, POLICIES, REGISTERED)
    assert alike is not None
    permit, denial = alike.answers(two)
    assert (permit.effect, permit.grants) == ("permit", ("c-other/g1", "c-other/g2"))
    assert (denial.effect, denial.grants, alike.gaps) == ("deny", (), (0, -1))
    assert alike.names(two) == [("c-other/g1", "c-other/g2")]


def test_nobody_who_signed_anything_stands_like_somebody_who_did_not() -> None:
    assert common() == ()
    assert common(granted()) not in ((), None)
    alike = Alike.of(asked(event()), WANTED, AT_MS, fold([]), POLICIES, REGISTERED)
    assert alike is not None
    assert alike.names(fold([])) == []
    assert alike.answers(fold([])) == decide_all(
        asked(event()), WANTED, AT_MS, fold([]), POLICIES, REGISTERED
    )


def test_each_change_of_what_is_held_is_another_standing() -> None:
    two = granted(grant(), grant(id="g2"))
    ends = {"expires_at": "2026-06-01T12:00:00.000Z"}
    seen = [
        common(two),
        common(two, revoked()),
        common(two, revoked(grants=["g1"])),
        common(two, revoked(grants=["g2"])),
        common(two, at=instant.parse("2025-12-31T00:00:00Z")),
        common(two, at=instant.parse("2027-01-02T00:00:00Z")),
        common(granted(grant(), grant(id="g3"))),
        common(granted(grant(id="g2"), grant())),
    ]
    assert None not in seen
    assert len(set(seen)) == len(seen)
    assert common(granted(**ends)) == common(granted()) == common(granted(), at=AT_MS + 1)
    assert common(granted(**ends), at=AT_MS + 1) != common(granted(), at=AT_MS + 1)
    early = {"starts_at": "2026-07-01T00:00:00Z"}
    assert common(granted(**early)) not in (common(granted()), common(granted(), revoked()))


def test_a_data_period_is_part_of_a_standing_on_both_of_its_ends() -> None:
    first, last = "2026-05-01T00:00:00.000Z", "2026-05-31T00:00:00.000Z"
    since, until = instant.parse(first), instant.parse(last)

    def stands(occurred_at: int, *more: Json) -> Any:
        both = granted(grant(data_from=first, data_until=last), grant(id="g2"))
        return common(both, *more, occurred_at=occurred_at)

    for more in ([], [revoked(grants=["g2"])]):
        assert stands(since, *more) == stands(until, *more) == stands(since + 1, *more)
        assert len({stands(since - 1, *more), stands(since, *more), stands(until + 1, *more)}) == 3
    assert common(granted(), occurred_at=0) == common(granted(), occurred_at=until + 1)


def test_more_on_record_than_consents_is_answered_by_itself() -> None:
    for more in (restriction(), order(), emergency(), revoked(recipients=["clinic"])):
        assert common(granted(), more) is None
        assert Alike.of(asked(event()), WANTED, AT_MS, fold([granted(), more]), POLICIES, REGISTERED) is None
    many = [grant(id=f"g{n}") for n in range(61)]
    assert common(granted(*many[:60])) is not None
    assert common(granted(*many)) is None


def test_of_two_grants_of_one_name_none_is_taken_for_the_other() -> None:
    state = fold([granted(grant(), grant(recipients=["clinic"]))])
    assert standing(state, AT_MS, OCCURRED_MS) is not None
    assert Alike.of(asked(event()), WANTED, AT_MS, state, POLICIES, REGISTERED) is None


def test_what_could_not_be_decided_is_tried_anew() -> None:
    wanted = (Asks(*UNTOLD), Asks("nobody", "care-coordination"))
    assert Alike.of(asked(event()), wanted, AT_MS, fold([granted()]), POLICIES, REGISTERED) is None
    unsound = Policy.of(POLICY | {"roles": 3})
    assert Alike.of(asked(event()), wanted[:1], AT_MS, fold([granted()]), unsound, REGISTERED) is None
    assert Alike.of(asked(event()), wanted[:1], AT_MS, fold([granted()]), POLICIES, REGISTERED) is not None


def test_two_consents_are_named_in_order_whatever_they_are_called() -> None:
    def state(one: str, two: str) -> Any:
        both = [granted(id=one), {"type": "consent-granted", "consent": consent(grant(id="g2"), id=two)}]
        return fold(both)

    wanted = (Asks(*UNTOLD),)
    made = Alike.of(asked(event()), wanted, AT_MS, state("a", "b"), POLICIES, REGISTERED)
    assert made is not None
    assert made.answers(state("y", "x"))[0].grants == ("x/g2", "y/g1")
    assert made.answers(state("x", "y"))[0].grants == ("x/g1", "y/g2")


def party(name: str, since: str | None, until: str | None) -> Json:
    agreement = None if since is None else {"from": since, "until": until}
    return {"id": name, "role": "service-provider", "agreement": agreement}


def test_agreements_of_who_wants_and_who_discloses_bound_how_long_it_is_all_the_same() -> None:
    parties = Stakeholders.of(
        [
            party("one", "2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z"),
            party("two", "2026-03-01T00:00:00Z", None),
            party("three", "2026-05-01T00:00:00Z", "2026-05-02T00:00:00Z"),
            party("four", None, None),
            party("five", "2026-07-01T00:00:00Z", None),
        ]
    )

    def between(*names: str, discloser: str = "nobody") -> tuple[str, str]:
        some = unchanged(AT_MS, [Asks(name, "treatment") for name in names], discloser, parties)
        return tuple(instant.format(one) if abs(one) < 1 << 60 else "" for one in some)  # type: ignore[return-value]

    assert between() == between("four") == between("unheard-of") == ("", "")
    assert between("one") == ("2026-01-01T00:00:00.000Z", "2026-12-31T00:00:00.001Z")
    assert between("one", "two") == ("2026-03-01T00:00:00.000Z", "2026-12-31T00:00:00.001Z")
    assert between("one", discloser="three") == ("2026-05-02T00:00:00.001Z", "2026-12-31T00:00:00.001Z")
    assert between("one", "five") == ("2026-01-01T00:00:00.000Z", "2026-07-01T00:00:00.000Z")
    edge = instant.parse("2026-03-01T00:00:00Z")
    assert unchanged(edge, [Asks("two", "treatment")], "", parties)[0] == edge
    assert unchanged(edge - 1, [Asks("two", "treatment")], "", parties)[1] == edge


@LAWS
@given(log=logs(), first=st.sampled_from(DAYS), then=st.sampled_from(DAYS),
       occurred=st.sampled_from(DAYS), other=st.sampled_from(DAYS))  # fmt: skip
def test_a_standing_is_kept_as_long_as_it_is_said_to_be(
    log: list[Json], first: str, then: str, occurred: str, other: str
) -> None:
    state = fold(log)
    at, later, occurred_at, elsewhere = map(instant.parse, (first, then, occurred, other))
    stands = standing(state, at, occurred_at)
    if stands is None:
        return
    since, before, early, late = steady(state, at, occurred_at)
    assert since <= at < before
    assert early <= occurred_at < late
    for when, about in ((later, elsewhere), (since, early), (before - 1, late - 1)):
        if since <= when < before and early <= about < late:
            assert standing(state, when, about) == stands
