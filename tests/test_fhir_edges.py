"""What an import of a FHIR Consent takes and refuses at the edges of what it is made for."""

import json
from typing import Any

import pytest

from consent import fhir
from consent import fhir_codes as codes
from schemas import instant
from schemas.errors import Invalid
from tests.test_fhir import POLICY, actor, coding, concept, permit, resource

START = instant.parse("2020-01-01T00:00:00Z")
DAY_MS = 86_400_000


def taken(value: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = fhir.parse(json.dumps(value).encode(), POLICY)[-1]["consent"]
    return found


def without(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    return {key: one for key, one in value.items() if key not in keys}


def test_a_resource_may_be_named_by_its_id_alone() -> None:
    assert taken(without(resource(permit()), "identifier") | {"id": "c-7"})["id"] == "c-7"
    second = [{"system": "urn:x"}, {"value": "c-8"}, {"value": "c-9"}]
    assert taken(resource(permit(), identifier=second, id="c-7"))["id"] == "c-8"


def test_whoever_reads_it_may_name_it() -> None:
    body = json.dumps(resource(permit())).encode()
    assert fhir.parse(body, POLICY, "mine")[-1]["consent"]["id"] == "mine"


def test_either_way_to_opt_out_is_a_base_and_so_are_both() -> None:
    codings = [coding(codes.ACT_CODE, "OPTOUT"), coding(codes.ACT_CODE, "OPTOUTE")]
    for some in (codings[:1], codings[1:], codings):
        assert taken(resource(permit(), policyRule={"coding": some}))["grants"]


@pytest.mark.parametrize(
    ("changed", "path"),
    [
        ({"scope": {"coding": None}}, "Consent.scope.coding"),
        ({"identifier": [None]}, "Consent.identifier[0]"),
    ],
)
def test_a_null_is_told_and_no_riddle(changed: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as caught:
        taken(resource(permit()) | changed)
    assert [(one.path, one.code) for one in caught.value.problems] == [(path, "null")]


MODIFIER = {"modifierExtension": [{"url": "http://example.org/x", "valueBoolean": True}]}


@pytest.mark.parametrize(
    "path",
    ["policy[0]", "policy[2]", "verification[0]", "provision", "provision.provision[0]",
     "provision.provision[1]", "provision.provision[1].actor[0]", "provision.provision[0].provision[0]"],
)  # fmt: skip
def test_a_modifier_is_refused_wherever_it_stands(path: str) -> None:
    inner = {"type": "deny", "code": [concept(codes.CATEGORY, "service.housing")]}
    value = resource(permit(provision=[inner]), permit(), verification=[{"verified": True}])
    element: Any = value
    for step in path.replace("[", ".").replace("]", "").split("."):
        element = element[int(step) if step.isdigit() else step]
    element |= MODIFIER
    with pytest.raises(Invalid) as caught:
        taken(value)
    assert [tuple(one) for one in caught.value.problems] == [
        (f"Consent.{path}.modifierExtension", "not-exact", "an unknown modifier changes the meaning")
    ]


@pytest.mark.parametrize("end", ["program-exit", "none"])
def test_a_consent_may_end_otherwise_than_on_a_day(end: str) -> None:
    value = resource(
        permit(), extension=[{"url": "urn:x", "valueCode": "x"}, {"url": codes.EXPIRES_ON, "valueCode": end}]
    )
    del value["provision"]["period"]["end"]
    found = taken(value)
    assert found["expires_on"] == end
    assert "expires_at" not in found


def test_a_signature_is_found_wherever_it_stands() -> None:
    parts = [{"url": "reference", "valueString": "scan-3"}, {"url": "method", "valueString": "tablet"}]
    signed = {"url": codes.SIGNATURE, "extension": parts}
    found = taken(resource(permit(), extension=[{"url": "urn:x", "valueString": "x"}, signed]))
    assert found["signature"] == {"method": "tablet", "reference": "scan-3"}
    other = taken(resource(permit(), extension=[{"url": "urn:x", "valueString": "x"}]))
    assert other["signature"] == {"method": "document", "reference": "DocumentReference/77"}


def test_what_says_nothing_is_passed_over() -> None:
    silent = permit(id="one", extension=[{"url": "urn:x", "valueString": "x"}])
    assert taken(resource(silent))["grants"] == taken(resource(permit()))["grants"]
    disclosed = permit(action=[concept(codes.ACTION, "disclose")])
    assert taken(resource(disclosed))["grants"] == taken(resource(permit()))["grants"]
    unread = permit() | {"_type": {"id": "x"}}
    assert taken(resource(unread))["grants"] == taken(resource(permit()))["grants"]


def test_what_surrounds_a_permission_narrows_it() -> None:
    value = resource(permit(actor=[actor("IRCP", "reach"), actor("IRCP", "clinic")]))
    value["provision"] |= {
        "actor": [actor("IRCP", "clinic"), actor("IRCP", "jail"), actor("CST", "reach")],
        "dataPeriod": {"start": "2026-02-01T00:00:00Z"},
    }
    (only,) = taken(value)["grants"]
    assert (only["recipients"], only["disclosers"]) == (["clinic"], ["reach"])
    assert only["data_from"] == "2026-02-01T00:00:00.000Z"
    assert "data_until" not in only
    value["provision"]["actor"] = [actor("IRCP", "jail")]
    with pytest.raises(Invalid) as caught:
        taken(value)
    assert (caught.value.path, caught.value.code) == ("Consent.provision", "nothing-permitted")


def slices(count: int) -> list[dict[str, Any]]:
    """Denials of that many days, with a day between each and the next."""
    days = [(START + 2 * place * DAY_MS, START + (2 * place + 1) * DAY_MS) for place in range(count)]
    return [
        {"type": "deny", "dataPeriod": {"start": instant.format(first), "end": instant.format(last)}}
        for first, last in days
    ]


def test_how_much_one_permission_may_come_to() -> None:
    grants = taken(resource(permit(provision=slices(99))))["grants"]
    assert len(grants) == 100
    assert grants[0]["data_until"] == instant.format(START - 1)
    assert grants[-1]["data_from"] == instant.format(START + 197 * DAY_MS + 1)
    with pytest.raises(Invalid) as caught:
        taken(resource(permit(provision=slices(100))))
    assert [tuple(one) for one in caught.value.problems] == [
        ("Consent.provision.provision[0].provision[99]", "too-many", "a consent comes to at most 100 grants")
    ]


def deep(body: bytes) -> bool:
    """Whether a body is refused for its depth before it is read at all."""
    with pytest.raises(Invalid) as caught:
        fhir.parse(body, POLICY)
    return tuple(caught.value.problems[0])[:2] == ("Consent.provision", "too-deep")


def test_what_stands_beside_does_not_hide_how_deep_it_is() -> None:
    for levels, expected in ((62, False), (63, True)):
        assert deep(b'{"a":' + b"[[]," * levels + b"[]" + b"]" * levels + b"}") is expected


def test_a_text_ends_where_it_ends() -> None:
    """A quote behind an escaped backslash ends it, and what follows is structure; an escaped one does not."""
    brackets = b"[" * 64 + b"]" * 64
    for text in (rb'"x\\"', rb'"x\\\""', rb'"\u005c\""', rb'""'):
        assert deep(b'{"a":' + text + b',"b":' + brackets + b"}"), text
        assert not deep(b'{"a":' + text[:-1] + rb"\"" + brackets + b'"}'), text


def test_what_strict_json_refuses_is_refused_with_its_path() -> None:
    for change, path, code in (
        ({"status": "a\0"}, "Consent.status", "nul-character"),
        ({"policy": [{"uri": "x"}, {"uri": "\ud800"}]}, "Consent.policy[1].uri", "lone-surrogate"),
        ({"Maria": {"uri": "\0"}}, "Consent", "nul-character"),
        ({"note": [{"Maria": {"uri": "\0"}}]}, "Consent.note[0]", "nul-character"),
    ):
        with pytest.raises(Invalid) as caught:
            taken(resource(permit()) | change)
        assert (caught.value.path, caught.value.code) == (path, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"", "not-json"), (b"\xff", "not-utf-8"), (b"{} {}", "not-json"), (b'{"a":1,"a":2}', "duplicate-key")],
)
def test_what_is_no_json_is_told_of_the_whole(body: bytes, code: str) -> None:
    with pytest.raises(Invalid) as caught:
        fhir.parse(body, POLICY)
    assert (caught.value.path, caught.value.code) == ("Consent", code)


def test_a_signature_that_is_a_text_is_none() -> None:
    value = resource(permit(), extension=[{"url": codes.SIGNATURE, "valueString": "x"}])
    with pytest.raises(Invalid) as caught:
        taken(value)
    assert tuple(caught.value.problems[0]) == (
        "Consent.extension", "required", "a signature has a `method` and a `reference`"
    )  # fmt: skip


def test_without_any_policy_every_statement_is_missed() -> None:
    with pytest.raises(Invalid) as caught:
        taken(without(resource(permit()), "policy"))
    assert [one.path for one in caught.value.problems] == ["Consent.policy"] * 3
