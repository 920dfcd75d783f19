"""The laws of consent, each for any directives, event and request that hypothesis can think of."""

from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from consent import Decision, Policy, Stakeholders, decide, direction, fold
from consent.untyped import NEVER_MS
from tests.cases import LABELS, POLICY, STAKEHOLDERS
from tests.small import consent, grant

Json = dict[str, Any]

POLICIES = Policy.of(POLICY)
REGISTERED = Stakeholders.of(STAKEHOLDERS)
RECIPIENTS = ["harbor-house", "clinic", "reach", "attorney", "court"]
ROLES = {one["id"]: one.get("role") for one in STAKEHOLDERS}
PURPOSES = ["care-coordination", "treatment", "proceedings", "emergency", "legal-coordination"]
CATEGORIES = ["service.housing", "service.medical", "contact.crisis", "court.hearing"]
COMPARTMENTS = ["subject", "occurrence", "activity", "clinical", "legal"]
TREATING = "class:treating-provider"
DAYS = [f"2026-06-{day:02}T00:00:00Z" for day in (1, 2, 3, 4, 5)]
LAWS = settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)

days = st.sampled_from(DAYS)


def lists(values: list[str], least: int = 1) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(values), min_size=least, max_size=3, unique=True)


grants = st.builds(
    grant,
    id=st.sampled_from(["g1", "g2", "g3"]),
    disclosers=lists(["reach", "ems", "*"]),
    recipients=lists([*RECIPIENTS, TREATING]),
    purposes=lists(PURPOSES),
    categories=lists(["service", "contact", *CATEGORIES]),
    labels=lists(["hiv", "counselling-notes", "part2"], least=0),
    compartments=lists([*COMPARTMENTS, "*"]),
    data_from=st.sampled_from([None, None, "2026-05-10T00:00:00Z"]),
)


@st.composite
def consents(draw: st.DrawFn, name: str) -> Json:
    end = draw(st.sampled_from([{}, {}, {"expires_on": "program-exit"}]))
    dates = {key: draw(days) for key in draw(st.sampled_from([(), (), ("starts_at",), ("expires_at",)]))}
    given_ = draw(st.lists(grants, min_size=1, max_size=3))
    return {"type": "consent-granted", "consent": consent(*given_, id=name, **dates, **end)}


def revocations(names: list[str]) -> st.SearchStrategy[Json]:
    some = {
        "recipients": lists([*RECIPIENTS, TREATING], least=0),
        "grants": lists(["g1", "g2", "g9"], least=0),
    }
    return st.fixed_dictionaries(
        {"type": st.just("consent-revoked"), "consent_id": st.sampled_from(names)}, optional=some
    )


def restrictions(name: str) -> st.SearchStrategy[Json]:
    parts = {
        "id": st.just(name),
        "recipients": lists([*RECIPIENTS, TREATING, "*"]),
        "purposes": lists([*PURPOSES, "*"]),
        "categories": lists(["service", "contact", "*"]),
        "labels": lists([*LABELS, "*"]),
    }
    return st.fixed_dictionaries(
        {"type": st.just("restriction-placed"), "restriction": st.fixed_dictionaries(parts)}
    )


def orders(name: str) -> st.SearchStrategy[Json]:
    parts = {
        "id": st.just(name),
        "recipient": st.sampled_from(["attorney", "court"]),
        "categories": lists(["service", "contact", "court"]),
        "starts_at": st.just(DAYS[0]),
        "expires_at": days,
        "subpoena": st.sampled_from([True, True, False]),
    }
    return st.fixed_dictionaries({"type": st.just("order-filed"), "order": st.fixed_dictionaries(parts)})


def emergencies(name: str) -> st.SearchStrategy[Json]:
    parts = {
        "id": st.just(name),
        "recipient": st.sampled_from(["clinic", "ems"]),
        "declared_by": st.just("dr-1"),
        "nature": st.just("overdose"),
        "declared_at": st.sampled_from(DAYS[1:4]),
        "expires_at": st.sampled_from(["2026-06-03T00:00:00Z", "2026-06-04T00:00:00Z"]),
    }
    return st.fixed_dictionaries(
        {"type": st.just("emergency-declared"), "emergency": st.fixed_dictionaries(parts)}
    )


exits = st.fixed_dictionaries({"type": st.just("program-exited"), "at": days})
lifts = st.sampled_from(
    [{"type": "restriction-lifted", "restriction_id": name} for name in ("r1", "r2", "r9")]
)
vacations = st.sampled_from([{"type": "order-vacated", "order_id": name} for name in ("o1", "o9")])


@st.composite
def logs(draw: st.DrawFn, *, exiting: bool = True) -> list[Json]:
    """A log in which every consent, restriction, order and emergency is placed once."""
    names = [f"c{number}" for number in range(1, draw(st.integers(1, 4)) + 1)]
    placed: list[Json] = [draw(consents(name)) for name in names]
    more = [
        st.lists(revocations(names), max_size=2),
        st.sampled_from([0, 0, 1]).flatmap(
            lambda count: st.lists(restrictions("r1"), min_size=count, max_size=count)
        ),
        st.lists(orders("o1"), max_size=1),
        st.lists(emergencies("e1"), max_size=1),
    ]
    if exiting:
        more.append(st.lists(exits, max_size=2))
    for some in more:
        placed += draw(some)
    return list(draw(st.permutations(placed)))


events = st.fixed_dictionaries(
    {
        "id": st.just("evt-1"),
        "participant": st.just("p-1"),
        "type": st.just("contact"),
        "category": st.sampled_from(CATEGORIES),
        "labels": st.sampled_from([[], [], [], ["hiv"], ["part2"], ["counselling-notes"]]),
        "discloser": st.sampled_from(["reach", "ems"]),
        "occurred_at": st.sampled_from(["2026-05-01T00:00:00Z", "2026-05-20T00:00:00Z"]),
        "compartments": lists(COMPARTMENTS),
    }
)
recipients = st.sampled_from(RECIPIENTS)
purposes = st.sampled_from(PURPOSES)
requests = st.tuples(recipients, purposes, st.sampled_from(DAYS[2:4]))


def answer(log: list[Json], event: Json, request: tuple[str, str, str]) -> Decision:
    return decide(event, *request, fold(log), POLICIES, REGISTERED)


def permits_no_more(one: Decision, other: Decision) -> bool:
    """Whether the first shares nothing that the second doesn't."""
    return not one.permitted or (other.permitted and set(one.compartments) <= set(other.compartments))


def everything(log: list[Json], event: Json) -> list[Decision]:
    return [
        answer(log, event, (recipient, purpose, DAYS[2])) for recipient in RECIPIENTS for purpose in PURPOSES
    ]


@LAWS
@given(log=logs(), event=events, more=revocations(["c1", "c2", "c3", "c4"]), place=st.integers(0, 12))
def test_revoking_never_permits_more(log: list[Json], event: Json, more: Json, place: int) -> None:
    revoking = [*log[:place], more, *log[place:]]
    for after, before in zip(everything(revoking, event), everything(log, event), strict=True):
        assert permits_no_more(after, before)


@LAWS
@given(log=logs(), event=events)
def test_a_consent_revoked_whole_is_never_used_again(log: list[Json], event: Json) -> None:
    gone = [*log, {"type": "consent-revoked", "consent_id": "c1"}, *[one for one in log if "consent" in one]]
    assert all(not name.startswith("c1/") for one in everything(gone, event) for name in one.grants)


@LAWS
@given(log=logs(), event=events)
def test_leaving_out_a_whole_consent_never_permits_more(log: list[Json], event: Json) -> None:
    before = everything(log, event)
    for name in ("c1", "c2"):
        without = [one for one in log if one.get("consent", {}).get("id") != name]
        for after, full in zip(everything(without, event), before, strict=True):
            assert permits_no_more(after, full)


@LAWS
@given(log=logs(), event=events, more=restrictions("r9"))
def test_a_restriction_beats_every_consent(log: list[Json], event: Json, more: Json) -> None:
    never = more["restriction"]
    never["recipients"], never["purposes"] = ["*"], ["*"]
    never["categories"], never["labels"] = ["*"], [*event["labels"], "*"]
    for one in everything([*log, more], event):
        assert one.basis != "consent"
    for after, before in zip(everything([more, *log], event), everything(log, event), strict=True):
        assert permits_no_more(after, before)
        assert before.basis in (None, "consent") or after == before  # orders and emergencies stand


@LAWS
@given(log=logs(), event=events, request=requests)
def test_permission_never_exceeds_the_role_matrix(
    log: list[Json], event: Json, request: tuple[str, str, str]
) -> None:
    one = answer(log, event, request)
    allowed: set[str] = set()
    for row in POLICY["matrix"]:
        under = event["category"] == row["category"] or event["category"].startswith(row["category"] + ".")
        if row["role"] == ROLES[request[0]] and request[1] in row["purposes"] and under:
            allowed |= set(row["compartments"])
    assert set(one.compartments) <= allowed & set(event["compartments"])


def named(log: list[Json], one: Decision) -> list[tuple[Json, Json]]:
    """The consents and grants that a permit by consent names."""
    found = []
    for directive in log:
        whole = directive.get("consent")
        for given_ in whole["grants"] if whole else ():
            if f"{whole['id']}/{given_['id']}" in one.grants:
                found.append((whole, given_))
    return found


@LAWS
@given(log=logs(), event=events)
def test_a_purpose_never_borrows_anothers_grant(log: list[Json], event: Json) -> None:
    for purpose in PURPOSES:
        mine = [
            one
            for one in log
            if "consent" not in one or any(purpose in some["purposes"] for some in one["consent"]["grants"])
        ]
        for recipient in RECIPIENTS:
            request = (recipient, purpose, DAYS[2])
            one = answer(log, event, request)
            assert answer(mine, event, request) == one
            ids = {name.split("/")[0] for name in one.grants}
            if one.basis == "consent":
                listing = {whole["id"] for whole, some in named(log, one) if purpose in some["purposes"]}
                assert ids <= listing


@LAWS
@given(log=logs(), event=events, request=requests)
def test_proceedings_never_pass_on_an_ordinary_consent(
    log: list[Json], event: Json, request: tuple[str, str, str]
) -> None:
    one = answer(log, event, (request[0], "proceedings", request[2]))
    if one.basis == "consent":
        assert all(
            some["purposes"] == ["proceedings"] for whole, _ in named(log, one) for some in whole["grants"]
        )
    ordinary = [
        directive
        for directive in log
        if "order" not in directive
        and any(
            some["purposes"] != ["proceedings"]
            for some in directive.get("consent", {}).get("grants", [{"purposes": 0}])
        )
    ]
    assert not answer(ordinary, event, (request[0], "proceedings", request[2])).permitted


def names(directive: Json) -> set[str]:
    """The ids of what a directive places or speaks of."""
    parts = [
        directive[key]["id"] for key in ("consent", "restriction", "order", "emergency") if key in directive
    ]
    return {
        *parts,
        *(directive[key] for key in ("consent_id", "restriction_id", "order_id") if key in directive),
    }


@LAWS
@given(
    log=logs(exiting=False),
    lifted=st.lists(st.one_of(lifts, vacations), max_size=2),
    event=events,
    data=st.data(),
)
def test_the_order_of_directives_that_do_not_name_each_other_does_not_matter(
    log: list[Json], lifted: list[Json], event: Json, data: st.DataObject
) -> None:
    log = log + lifted
    other = list(range(len(log)))
    for _ in range(2 * len(log)):  # swap neighbours that have nothing to do with each other
        place = data.draw(st.integers(0, max(len(log) - 2, 0)))
        here, there = log[other[place]], log[other[min(place + 1, len(log) - 1)]]
        if place + 1 < len(log) and not names(here) & names(there):
            other[place], other[place + 1] = other[place + 1], other[place]
    assert everything([log[place] for place in other], event) == everything(log, event)


@LAWS
@given(log=logs(), event=events, data=st.data())
def test_the_same_directive_twice_is_the_same_as_once(
    log: list[Json], event: Json, data: st.DataObject
) -> None:
    once = [one | {"id": f"d{place}"} for place, one in enumerate(log)]
    first = data.draw(st.integers(0, len(once) - 1))
    again = data.draw(st.integers(first + 1, len(once)))
    assert everything([*once[:again], once[first], *once[again:]], event) == everything(log, event)
    retried = [*log[: first + 1], log[first], *log[first + 1 :]]  # even without an id, at once
    assert everything(retried, event) == everything(log, event)


@LAWS
@given(log=logs(), event=events, others=st.lists(st.tuples(events, requests), max_size=3), request=requests)
def test_deciding_twice_decides_the_same(
    log: list[Json],
    event: Json,
    others: list[tuple[Json, tuple[str, str, str]]],
    request: tuple[str, str, str],
) -> None:
    state = fold(log)
    first = decide(event, *request, state, POLICIES, REGISTERED)
    for another, asked in others:
        decide(another, *asked, state, POLICIES, REGISTERED)
    assert decide(event, *request, state, POLICIES, REGISTERED) == first
    fresh = decide(event, *request, fold(log), Policy.of(POLICY), Stakeholders.of(STAKEHOLDERS))
    assert fresh == first


more_of_anything = st.one_of(
    consents("c9"), revocations(["c1", "c2"]), restrictions("r1"), restrictions("r9"), orders("o1"),
    orders("o9"), emergencies("e1"), emergencies("e9"), exits, lifts, vacations,
)  # fmt: skip


@LAWS
@given(log=logs(), event=events, more=more_of_anything)
def test_a_directive_does_only_what_its_direction_says(log: list[Json], event: Json, more: Json) -> None:
    towards = direction(more["type"])
    for after, before in zip(everything([*log, more], event), everything(log, event), strict=True):
        assert "widens" in towards or permits_no_more(after, before)
        assert "narrows" in towards or permits_no_more(before, after)


@LAWS
@given(log=logs(), event=events, request=requests)
def test_a_denial_shares_nothing_and_a_permit_something(
    log: list[Json], event: Json, request: tuple[str, str, str]
) -> None:
    one = answer(log, event, request)
    shared = (one.basis is not None, bool(one.grants), bool(one.compartments), bool(one.obligations))
    assert shared == (one.permitted,) * 4
    for sorted_ in (one.grants, one.compartments, one.obligations):
        assert list(sorted_) == sorted(set(sorted_))


@LAWS
@given(log=logs(), event=events, request=requests)
def test_without_any_directive_nothing_is_permitted(
    log: list[Json], event: Json, request: tuple[str, str, str]
) -> None:
    assume(log)
    assert not answer([], event, request).permitted


@LAWS
@given(log=logs())
def test_how_long_a_grant_lasts_is_what_the_record_says(log: list[Json]) -> None:
    state = fold(log)
    said = {
        f"{name}/{one.id}": (held.expires_at, held.consent.on_exit and held.exited_at == NEVER_MS)
        for name, held in state.record().consents.items()
        for one in held.consent.grants
    }
    told = {name: (expires_at, on_exit) for name, expires_at, on_exit in state.lasting(said)}
    assert told == said
    assert not list(state.lasting({"c9/g1"}))
