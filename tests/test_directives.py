"""The shapes of directives; the rule and what is personal part ways."""

import json
from pathlib import Path
from typing import Any

import pytest

from schemas import directives
from schemas.errors import Invalid

VECTORS = json.loads((Path(__file__).parent / "data" / "decisions.json").read_text())
CONSENT: dict[str, Any] = {
    "id": "d-1", "participant": "p-1", "type": "consent-granted",
    "names": {"participant": "Ana Ríos"},
    "witness": {"name": "Lee Cho", "organisation": "reach"},
    "consent": {
        "signed_at": "2026-03-01T09:00:00-08:00", "starts_at": "2026-03-01T09:00:00-08:00",
        "expires_on": "program-exit", "statements": ["right-to-revoke", "redisclosure", "refusal"],
        "signature": {"method": "paper", "reference": "scan-1", "name": "Ana Ríos"},
        "grants": [{"id": "g1", "disclosers": ["*"], "recipients": ["reach"]}],
    },
}  # fmt: skip


def problems(body: Any) -> set[tuple[str, str]]:
    with pytest.raises(Invalid) as caught:
        directives.parse(body)
    assert "Ana" not in str(caught.value.problems)
    return {(problem.path, problem.code) for problem in caught.value.problems}


def test_the_rule_names_nobody_and_the_personal_half_is_whole() -> None:
    found = directives.parse(CONSENT)
    assert "Ana" not in json.dumps(found.rule(), ensure_ascii=False)
    assert "Lee" not in json.dumps(found.rule())
    assert found.rule()["consent"]["signature"] == {"method": "paper", "reference": "scan-1"}
    assert found.personal() == {
        "names": {"participant": "Ana Ríos"},
        "witness": {"name": "Lee Cho", "organisation": "reach"},
        "signature": {"method": "paper", "reference": "scan-1", "name": "Ana Ríos"},
    }


def test_a_directive_without_persons_has_no_personal_half() -> None:
    found = directives.parse({"id": "d", "participant": "p", "type": "consent-revoked", "consent_id": "c1"})
    assert found.personal() == {}
    assert found.rule() == {"type": "consent-revoked", "consent_id": "c1"}


def test_the_rules_of_the_worked_cases_pass_through_unchanged() -> None:
    """What `hub decide` reads in a file is what goes in by this door; null and missing are the same."""

    def dense(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: dense(v) for k, v in value.items() if v is not None}
        return [dense(v) for v in value] if isinstance(value, list) else value

    seen = set()
    for case in VECTORS["cases"]:
        for body in case["directives"]:
            try:
                found = directives.parse({"id": "d", "participant": "p", **body})
            except Invalid:
                continue  # what decisions must bear with, this door may refuse
            kept = dense(found.rule())
            for part in ("consent", "restriction", "order"):
                for name in list(kept.get(part, {})):
                    if name not in body[part]:
                        del kept[part][name]
            for grant, given in zip(
                kept.get("consent", {}).get("grants", []),
                body.get("consent", {}).get("grants", []),
                strict=True,
            ):
                for name in list(grant):
                    if name not in given:
                        del grant[name]
            assert kept == dense(body)
            seen.add(body["type"])
    assert seen == set(directives.TYPES)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({}, {("/type", "missing")}),
        ({"type": "consent-forced"}, {("/type", "unknown-type")}),
        ([], {("", "wrong-type")}),
        ({**CONSENT, "consent": {**CONSENT["consent"], "grants": []}}, {("/consent/grants", "missing")}),
        ({**CONSENT, "id": "Ana Ríos"}, {("/id", "bad-id")}),
        ({**CONSENT, "id": "d-1\n"}, {("/id", "bad-id")}),
        ({**CONSENT, "nickname": "Ana"}, {("/nickname", "unknown-field")}),
        (
            {**CONSENT, "consent": {**CONSENT["consent"], "signed_at": "2026-03-01"}},
            {("/consent/signed_at", "bad-time")},
        ),
        (
            {**CONSENT, "consent": {**CONSENT["consent"], "grants": [{"id": "g", "recipients": "reach"}]}},
            {("/consent/grants/0/recipients", "wrong-type")},
        ),
        (
            {"id": "d", "participant": "p", "type": "order-filed", "order": {"id": "o"}},
            {
                (f"/order/{name}", "missing")
                for name in ("recipient", "categories", "starts_at", "expires_at")
            },
        ),
        (
            {"id": "d", "participant": "p", "type": "program-exited", "at": 5},
            {("/at", "wrong-type")},
        ),
        ({**CONSENT, "names": {"participant": "\ud800"}}, {("/names/participant", "lone-surrogate")}),
    ],
)
def test_what_is_wrong_is_named_with_its_place(body: Any, expected: set[tuple[str, str]]) -> None:
    assert problems(body) == expected


def test_bounds_hold() -> None:
    grant = CONSENT["consent"]["grants"][0]
    many = {**CONSENT, "consent": {**CONSENT["consent"], "grants": [grant] * (directives.grants_max + 1)}}
    assert problems(many) == {("/consent/grants", "too-many")}
    long = {**grant, "recipients": ["x"] * (directives.list_items_max + 1)}
    many = {**CONSENT, "consent": {**CONSENT["consent"], "grants": [long]}}
    assert problems(many) == {("/consent/grants/0/recipients", "too-many")}
