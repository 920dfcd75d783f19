"""What is said to fit without asking the models, the models take; and the usual event needs no asking."""

from typing import Annotated, Any, get_type_hints

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import AfterValidator, Field, ValidationError

from schemas import events, fields, fitting
from schemas.cloudevents import CloudEvent
from schemas.errors import Invalid, Problem
from tests.test_events import CATEGORIES, FIRST, LABELS

TEXTS = st.one_of(
    st.sampled_from(
        [
            *("", " ", "outreach", "In Person", "in-person", "fta", "no show", "failed", "1980-02-29"),
            *("1980-02-30", "2026-03-01T09:00:00-08:00", "2026-03-01T09:00:00", "x" * 512, "x" * 513),
            *(
                "\ud800",
                "Ana Ríos",
                "active",
                "accepted",
                "scheduled",
                "L-1",
                "x" * 32_769,
                "law enforcement",
            ),
        ]
    ),
    st.text(max_size=20),
)
SCALARS = st.one_of(
    TEXTS,
    st.none(),
    st.booleans(),
    st.integers(-200, 2_000_000_000),
    st.floats(),
    st.sampled_from([90, 90.5, -180.0, 10**400]),
)
VALUES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=3),
    st.sampled_from([["x"] * 50, ["x"] * 51]),
    st.lists(st.dictionaries(st.sampled_from(["system", "code", "display", "other"]), SCALARS), max_size=2),
    st.dictionaries(
        st.sampled_from(
            [*("description", "latitude", "longitude", "district", "at", "status", "id", "kind", "number")]
        ),
        SCALARS,
        max_size=3,
    ),
)
NAMES = {kind: [*model.model_fields, "unknown"] for kind, model in fields.MODELS.items()}


@given(st.data())
@settings(max_examples=400)
def test_what_fits_the_model_takes(data: st.DataObject) -> None:
    kind = data.draw(st.sampled_from(sorted(NAMES)))
    values = data.draw(st.dictionaries(st.sampled_from(NAMES[kind]), VALUES, max_size=4))
    if fitting.fits(kind, values):
        fields.MODELS[kind].model_validate(values, context={"numeric": False})


@given(st.data())
@settings(max_examples=300)
@example(data=None)
def test_checking_finds_what_validating_finds(data: st.DataObject | None) -> None:
    event = CloudEvent("1", "urn:agency:reach", "contact", "L-1", "2026-03-01T09:00:00-08:00", {}, {})
    if data is not None:
        kind = data.draw(st.sampled_from(sorted(NAMES)))
        chosen = data.draw(st.lists(st.sampled_from([FIRST[kind], "contact.crisis", "x", ""]), max_size=1))
        labels = data.draw(st.sampled_from(["", "part2", "part2, hiv", "unheard-of"]))
        event = CloudEvent(
            "1",
            "urn:agency:reach",
            kind,
            data.draw(st.sampled_from([None, "", " ", "L-1", " L-1 "])),
            data.draw(st.sampled_from([None, "soon", "2026-03-01T09:00:00-08:00"])),
            {"category": (chosen or [FIRST[kind]])[0], "labels": labels},
            data.draw(
                st.dictionaries(
                    st.sampled_from(["local_id", "occurred_at", "ended_at", "name", "phase", "engaged"]),
                    SCALARS,
                    max_size=3,
                )
            ),
        )
    found: tuple[Problem, ...] = ()
    try:
        events.validate(event, CATEGORIES, LABELS)
    except Invalid as error:
        found = error.problems
    assert events.check(event, CATEGORIES, LABELS) == found


@pytest.mark.parametrize("kind", sorted(fields.MODELS))
def test_nothing_in_a_model_is_unknown_to_it(kind: str) -> None:
    hints = get_type_hints(fields.MODELS[kind], include_extras=True)
    assert [
        name for name in fields.MODELS[kind].model_fields if fitting.check(hints[name]) is fitting._never
    ] == []


USUAL: dict[str, dict[str, Any]] = {
    "contact": {
        "name": "Ana Ríos",
        "birth_date": "1980-02-29",
        "place": {"description": "Pier 4", "latitude": 47.6, "longitude": -122.0},
        "engaged": True,
        "phase": "outreach",
        "needs": ["food", "a phone"],
        "overdose_reversed": False,
        "booked_at": "2026-03-01T10:00:00.5-08:00",
        "staff": None,
    },
    "service-engagement": {
        "step": "accepted",
        "units": 1.5,
        "codes": [{"system": "urn:x", "code": "1", "display": "Housing"}],
        "ended_at": "2026-03-01T18:00:00Z",
    },
    "court-status": {"hearing": {"at": "2026-04-01T09:00:00-07:00", "kind": "arraignment"}, "charge": {}},
    "referral": {"door": "community", "harm": "x" * 20_000},
}


@pytest.mark.parametrize("kind", sorted(USUAL))
def test_the_usual_event_fits_without_asking(kind: str) -> None:
    assert fitting.fits(kind, USUAL[kind])
    fields.MODELS[kind].model_validate(USUAL[kind], context={"numeric": False})


@pytest.mark.parametrize(
    "values",
    [
        *({"unknown": "x"}, {"engaged": False}, {"engaged": 1}, {"phase": "no such"}, {"staff": "x" * 513}),
        *({"needs": ["no show"]}, {"needs": ["x"] * 51}, {"place": {"latitude": 91}}, {"place": "Pier 4"}),
        *({"birth_date": "1980-02-30"}, {"name": "\ud800"}, {"booked_at": "soon"}, {"name": 7}),
        {"place": {"latitude": float("nan")}},
    ],
)
def test_what_does_not_fit_is_left_to_the_model(values: dict[str, Any]) -> None:
    assert not fitting.fits("contact", values)
    with pytest.raises(ValidationError):
        fields.MODELS["contact"].model_validate(values, context={"numeric": False})


@pytest.mark.parametrize(
    "hint",
    [
        *(int, str | int, Annotated[str, Field(pattern="x")], Annotated[float, Field(ge=0)], dict[str, str]),
        Annotated[bool, AfterValidator(lambda value: value)],
    ],
)
def test_a_type_it_cannot_read_fits_nothing(hint: Any) -> None:
    found = fitting.check(hint)
    assert not any(found(value) for value in ("x", 1, 1.5, True, {}, None))
