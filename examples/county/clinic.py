"""A clinic's FHIR server, as small as it can be and still be one: it takes R4 transactions, and nothing else.

It is no product: it stores, but cannot be searched. Every bundle is read by the models of `fhir.resources`,
held against what its entries ask for (conditional create, conditional update, update by id), and kept
before the answer says so. Source: FHIR R4 (4.0.1), RESTful API, transaction.
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from examples.county.charts import EVENT, read
from examples.county.shelf import Arrival, Shelf

MEDIA_TYPE = "application/fhir+json"
PARTICIPANT = "urn:diversion-hub:participant"


class Unfit(Exception):
    """What was posted is no transaction that this server takes."""


def token() -> str:
    """A new bearer token, for the hub to show."""
    return secrets.token_urlsafe(24)


def outcome(code: str, text: str) -> dict[str, Any]:
    """A refusal, as FHIR has it."""
    issue = {"severity": "error", "code": code, "diagnostics": text}
    return {"resourceType": "OperationOutcome", "issue": [issue]}


class Clinic:
    """What the server knows: whom it lets in, and which resources it has."""

    def __init__(self, shelf: Shelf) -> None:
        self.shelf = shelf
        self.tokens: dict[str, str] = {}

    def lets_in(self, stakeholder: str, authorization: str) -> bool:
        """Whether this is the token that was given to the hub."""
        expected = self.tokens.get(stakeholder)
        return expected is not None and hmac.compare_digest(authorization, f"Bearer {expected}")

    def read(self, stakeholder: str, posted: bytes, began_at: int) -> tuple[Arrival, dict[str, Any]]:
        """One transaction. Out: what is to be kept, and the answer once it is. Raises `Unfit`."""
        from fhir.resources.R4B.bundle import Bundle  # noqa: PLC0415  slow to import

        try:
            bundle = Bundle.model_validate_json(posted).model_dump(mode="json", exclude_none=True)
        except ValidationError as error:
            raise Unfit(f"{error.error_count()} elements are not what FHIR says they are") from None
        entries = bundle.get("entry", [])
        if bundle.get("type") != "transaction" or len(entries) != 3:
            raise Unfit("a transaction of three entries is expected")
        try:
            body = read(one["resource"] for one in entries)
            wanted = _wanted(body, entries[2]["resource"]["id"])
            asked = [_asked(one) for one in entries]
        except (KeyError, IndexError, StopIteration):
            raise Unfit("an element is missing that the record needs") from None
        if asked != wanted:
            raise Unfit("an entry asks for something else than its resource is")
        key = asked[2][1].partition("/")[2]
        known = {one.key for one in self.shelf if one.stakeholder == stakeholder}
        people = {one.body["participant"] for one in self.shelf if one.stakeholder == stakeholder}
        there = (body["participant"] in people, key in known, key in known)
        answers = [{"response": {"status": "200 OK" if old else "201 Created"}} for old in there]
        answer = {"resourceType": "Bundle", "type": "transaction-response", "entry": answers}
        return Arrival(stakeholder, key, began_at, body, "fhir"), answer


def _asked(entry: Mapping[str, Any]) -> tuple[str, str]:
    request = entry["request"]
    return request["method"], request["url"] + (
        "?" + request["ifNoneExist"] if "ifNoneExist" in request else ""
    )


def _wanted(body: Mapping[str, Any], provenance: str) -> list[tuple[str, str]]:
    return [
        ("POST", f"Patient?identifier={PARTICIPANT}|{body['participant']}"),
        ("PUT", f"{body['resource']}?identifier={EVENT}|{body['id']}"),
        ("PUT", f"Provenance/{provenance}"),
    ]
