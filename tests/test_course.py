"""The course of consent says for every instant what the record said then, and each step what it changed."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from consent import Event, Policy, Stakeholder, Stakeholders, State, decide, default_policy
from consent.course import Line, Recorded, course, steps_max, stood, within
from consent.record import Placed
from consent.untyped import TREATING
from schemas import instant

START = 1_790_000_000_000
HOUR = 3_600_000
POLICY = Policy.of(default_policy())
PEOPLE = ("clinic", "reach", "provider")
EVERYBODY = Stakeholders(
    Stakeholder.of(
        {
            "id": name,
            "role": "service-provider" if name != "reach" else "case-management",
            "agreement": {"from": "2020-01-01T00:00:00Z"},
            "treating": name == "clinic",
        }
    )
    for name in PEOPLE
)
EVENT = Event(
    id="e",
    participant="p",
    type="service-engagement",
    category="service.housing",
    labels=(),
    discloser="provider",
    occurred_at=START,
    compartments=("subject",),
)


def grant(name: str, recipients: list[str]) -> dict[str, Any]:
    return {
        "id": name,
        "disclosers": ["provider"],
        "recipients": recipients,
        "purposes": ["care-coordination"],
        "categories": ["service"],
        "labels": [],
        "compartments": ["subject"],
    }


def granted(
    number: int, recipients: list[list[str]], hours: int, lasts: int, *, leaves: bool
) -> dict[str, Any]:
    return {
        "type": "consent-granted",
        "consent": {
            "id": f"c-{number}",
            "signed_at": instant.format(START),
            "signature": {"method": "paper", "reference": "x"},
            "starts_at": instant.format(START + hours * HOUR),
            "expires_at": instant.format(START + (hours + lasts) * HOUR),
            **({"expires_on": "program-exit"} if leaves else {}),
            "statements": ["right-to-revoke", "redisclosure", "refusal"],
            "grants": [grant(f"g-{place}", one) for place, one in enumerate(recipients)],
        },
    }


names = st.lists(st.sampled_from(["clinic", "reach", TREATING]), min_size=1, max_size=2)
bodies = st.one_of(
    st.builds(
        granted,
        st.integers(0, 2),
        st.lists(names, min_size=1, max_size=2),
        st.integers(0, 20),
        st.integers(1, 20),
        leaves=st.booleans(),
    ),
    st.builds(
        lambda number, parties, grants: {
            "type": "consent-revoked",
            "consent_id": f"c-{number}",
            "recipients": parties,
            "grants": grants,
        },
        st.integers(0, 2),
        st.lists(st.sampled_from(["clinic", "reach", TREATING]), max_size=1),
        st.lists(st.sampled_from(["g-0", "g-1"]), max_size=1),
    ),
    st.builds(
        lambda hours: {"type": "program-exited", "at": instant.format(START + hours * HOUR)},
        st.integers(0, 30),
    ),
)


@given(st.lists(st.tuples(st.integers(0, 5), bodies), max_size=8), st.integers(0, 60))
def test_a_line_stands_exactly_when_deciding_then_would_have_permitted(
    told: list[tuple[int, dict[str, Any]]], hours: int
) -> None:
    at, recorded = START, []
    for place, (pause, body) in enumerate(told):
        at += pause * HOUR
        recorded.append(Recorded(at, Placed(place, f"d-{place}", body)))
    found = course(recorded, frozenset({"clinic"}))
    when = START + hours * HOUR + 1  # nothing happens at once with a directive
    state = State([one.placed for one in recorded if one.at <= when])
    for name in ("clinic", "reach"):
        decision = decide(EVENT, name, "care-coordination", when, state, POLICY, EVERYBODY)
        as_whom = {name, TREATING} if name == "clinic" else {name}
        stands = {
            line.id
            for line, spans in found.lines.items()
            if line.kind == "consent" and line.recipient in as_whom and stood(spans, when)
        }
        # a consent that lists the class and was taken back from one party still stands for the class
        resting = {one.partition("/")[0] for one in decision.grants}
        assert resting <= stands
        for extra in stands - resting:
            assert stood(found.lines.get(Line("consent", extra, TREATING), ()), when)


def test_a_step_says_what_came_and_what_went() -> None:
    told = [
        granted(1, [["clinic", "reach"]], 0, 100, leaves=False),
        {"type": "consent-revoked", "consent_id": "c-1", "recipients": ["clinic"]},
        {"type": "consent-revoked", "consent_id": "c-unknown"},
        {"type": "consent-revoked", "consent_id": "c-1"},
    ]
    found = course([Recorded(START + n * HOUR, Placed(n, f"d-{n}", one)) for n, one in enumerate(told)])
    clinic, reach = Line("consent", "c-1", "clinic"), Line("consent", "c-1", "reach")
    assert [set(one.gained) for one in found.steps] == [{clinic, reach}, set(), set(), set()]
    assert [set(one.lost) for one in found.steps] == [set(), {clinic}, set(), {reach}]
    assert [one.idle for one in found.steps] == [False, False, True, False]
    ((span,), (longer,)) = found.lines[clinic], found.lines[reach]
    assert (span.since, span.until, span.taken) == (START, START + HOUR, True)
    assert (longer.until, longer.taken) == (START + 3 * HOUR, True)
    assert list(within(found, START + 2 * HOUR, START + 9 * HOUR)) == [(reach, (longer,))]


def test_a_restriction_that_is_replaced_goes_on_and_one_that_is_lifted_ends() -> None:
    never = {"id": "r", "recipients": ["*"], "purposes": ["*"], "categories": ["*"], "labels": ["*"]}
    told = [
        {"type": "restriction-placed", "restriction": never},
        {"type": "restriction-placed", "restriction": never | {"purposes": ["treatment"]}},
        {"type": "restriction-lifted", "restriction_id": "r"},
    ]
    found = course([Recorded(START + n, Placed(n, f"d-{n}", one)) for n, one in enumerate(told)])
    assert found.lines[Line("restriction", "r", "*")] == ((START, START + 2, True),)


def test_of_many_directives_the_newest_have_a_step_and_all_of_them_count() -> None:
    told = [granted(1, [["clinic"]], 0, 100, leaves=False)]
    told += [{"type": "restriction-lifted", "restriction_id": "none"} for _ in range(steps_max)]
    found = course([Recorded(START + n, Placed(n, f"d-{n}", one)) for n, one in enumerate(told)])
    assert (len(found.steps), found.untold) == (steps_max, 1)
    assert stood(found.lines[Line("consent", "c-1", "clinic")], START + HOUR)
