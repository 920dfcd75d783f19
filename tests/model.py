"""The rule of disclosure read plainly: slow, obvious, and sharing no line with `consent/`.

It is the model that the compiled decision point is held against. Everything is a JSON value; the functions
follow the order in which the rule is stated: what goes in, the state, the rules, what comes out.
"""

import re
from datetime import date
from typing import Any

STATEMENTS = ("right-to-revoke", "redisclosure", "refusal")
BY_NAME_ONLY = ("police", "prosecutor", "public-defender", "court")
DAY_MS = 24 * 60 * 60 * 1000
TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt]([0-9]{2}):([0-9]{2}):([0-9]{2})(\.[0-9]+)?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})"
)

Json = dict[str, Any]


# What goes in


def time(value: Any) -> int | None:
    """Milliseconds since 1970 of RFC 3339 text, None where it can't be read."""
    match = TIME.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[place]) for place in range(1, 7))
    try:
        days = date(year, month, day).toordinal() - date(1970, 1, 1).toordinal()
    except ValueError:
        return None
    if hour > 23 or minute > 59 or second > 59:
        return None
    away = 0
    if match[8] not in "Zz":
        hours, minutes = int(match[8][1:3]), int(match[8][4:6])
        if hours > 23 or minutes > 59:
            return None
        away = (hours * 60 + minutes) * (-1 if match[8][0] == "-" else 1)
    thousandths = int(((match[7] or ".") + "000")[1:4])
    return (((days * 24 + hour) * 60 + minute - away) * 60 + second) * 1000 + thousandths


def covers(broad: str, narrow: str) -> bool:
    """`service` covers `service` and everything below `service.`."""
    return narrow == broad or narrow.startswith(broad + ".")


def any_covers(listed: list[str], category: str) -> bool:
    return any(covers(one, category) for one in listed)


def in_class(stakeholder: Json) -> bool:
    return stakeholder.get("treating") is True and stakeholder.get("role") not in BY_NAME_ONLY


def lists(recipients: list[str], stakeholder: Json) -> bool:
    """Whether a list of recipients names the stakeholder, by id or by class."""
    if stakeholder["id"] in recipients:
        return True
    return "class:treating-provider" in recipients and in_class(stakeholder)


def agreed(stakeholder: Json, at: int) -> bool:
    agreement = stakeholder.get("agreement")
    if agreement is None:
        return False
    start, end = time(agreement.get("from")), time(agreement.get("until"))
    return start is not None and start <= at and (end is None or at <= end)


# State: what of a directive is of the wrong type counts as missing


def string(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def strings(value: Any) -> list[str]:
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def thing(value: Any) -> Json:
    return value if isinstance(value, dict) else {}


def read_consent(value: Any) -> Json | None:
    """The consent in plain terms, None where it isn't valid."""
    source = thing(value)
    signature = thing(source.get("signature"))
    grants = source.get("grants") if isinstance(source.get("grants"), list) else []
    consent = {
        "id": string(source.get("id")),
        "signed_at": time(source.get("signed_at")),
        "starts_at": time(source.get("starts_at")),
        "expires_at": time(source.get("expires_at")),
        "expires_on": string(source.get("expires_on")),
        "grants": [read_grant(one) for one in grants if isinstance(one, dict)],
    }
    needed = (consent["id"], consent["signed_at"], consent["starts_at"])
    needed += (string(signature.get("method")), string(signature.get("reference")))
    if None in needed or not consent["grants"]:
        return None
    if not all(statement in strings(source.get("statements")) for statement in STATEMENTS):
        return None
    if consent["expires_on"] not in (None, "program-exit", "none"):
        return None
    if consent["expires_at"] is None:
        if consent["expires_on"] is None:
            return None
        treatment = all(set(grant["purposes"]) == {"treatment"} for grant in consent["grants"])
        if consent["expires_on"] == "none" and not treatment:
            return None
    return consent


def read_grant(source: Json) -> Json:
    lists_ = ("disclosers", "recipients", "purposes", "categories", "labels", "compartments")
    grant: Json = {name: strings(source.get(name)) for name in lists_}
    grant["id"] = string(source.get("id"))
    grant["data_from"], grant["data_until"] = time(source.get("data_from")), time(source.get("data_until"))
    return grant


def read_emergency(value: Any) -> Json | None:
    source = thing(value)
    emergency: Json = {
        name: string(source.get(name)) for name in ("id", "recipient", "declared_by", "nature")
    }
    emergency |= {name: time(source.get(name)) for name in ("declared_at", "expires_at")}
    if None in emergency.values() or emergency["expires_at"] - emergency["declared_at"] > DAY_MS:
        return None
    return emergency


def fold(directives: list[Any]) -> Json:
    """Consents, restrictions, orders and emergencies by id, after all directives in the order of the log."""
    state: Json = {"consents": {}, "restrictions": {}, "orders": {}, "emergencies": {}}
    seen = set()
    for directive in directives:
        own_id = string(thing(directive).get("id"))
        if own_id is None or own_id not in seen:
            apply(state, thing(directive))
        seen.add(own_id)
    return state


def apply(state: Json, directive: Json) -> None:
    kind = directive.get("type")
    if kind == "consent-granted":
        consent = read_consent(directive.get("consent"))
        if consent is not None and consent["id"] not in state["consents"]:
            taken = {"revoked": False, "revoked_recipients": [], "revoked_grants": []}
            state["consents"][consent["id"]] = consent | taken
    elif kind == "consent-revoked":
        held = state["consents"].get(string(directive.get("consent_id")))
        if held is not None:
            recipients, grants = strings(directive.get("recipients")), strings(directive.get("grants"))
            if not recipients and not grants:
                held["revoked"] = True
            held["revoked_recipients"] += recipients
            held["revoked_grants"] += grants
    elif kind == "restriction-placed":
        source = thing(directive.get("restriction"))
        if string(source.get("id")) is not None:
            names = ("recipients", "purposes", "categories", "labels")
            state["restrictions"][source["id"]] = {name: strings(source.get(name)) for name in names}
    elif kind == "restriction-lifted":
        state["restrictions"].pop(string(directive.get("restriction_id")), None)
    elif kind == "order-filed":
        source = thing(directive.get("order"))
        if string(source.get("id")) is not None:
            state["orders"][source["id"]] = {
                "recipient": string(source.get("recipient")),
                "categories": strings(source.get("categories")),
                "starts_at": time(source.get("starts_at")),
                "expires_at": time(source.get("expires_at")),
                "subpoena": source.get("subpoena") is True,
            }
    elif kind == "order-vacated":
        state["orders"].pop(string(directive.get("order_id")), None)
    elif kind == "emergency-declared":
        emergency = read_emergency(directive.get("emergency"))
        if emergency is not None:
            state["emergencies"][emergency["id"]] = emergency
    elif kind == "program-exited":
        left = time(directive.get("at"))
        for held in state["consents"].values():
            if left is not None and held["expires_on"] == "program-exit":
                held["exited_at"] = min(left, held.get("exited_at", left))


# The rules


def covering(grant: Json, event: Json, discloser: Json, recipient: Json, purpose: str, at: int) -> bool:
    occurred_at = time(event["occurred_at"])
    assert occurred_at is not None
    return (
        grant["id"] is not None
        and (discloser["id"] in grant["disclosers"] or ("*" in grant["disclosers"] and agreed(discloser, at)))
        and lists(grant["recipients"], recipient)
        and purpose in grant["purposes"]
        and any_covers(grant["categories"], event["category"])
        and all(label in grant["labels"] for label in event.get("labels") or [])
        and (grant["data_from"] is None or grant["data_from"] <= occurred_at)
        and (grant["data_until"] is None or occurred_at <= grant["data_until"])
    )


def obstacles(consent: Json, grant: Json, recipient: Json, at: int) -> set[str]:
    """Why a covering grant doesn't survive."""
    found = set()
    if consent["signed_at"] > at:
        found.add("not-signed")
    if consent["starts_at"] > at:
        found.add("not-started")
    ends = [end for end in (consent["expires_at"], consent.get("exited_at")) if end is not None]
    if ends and at > min(ends):
        found.add("expired")
    if (
        consent["revoked"]
        or grant["id"] in consent["revoked_grants"]
        or lists(consent["revoked_recipients"], recipient)
    ):
        found.add("revoked")
    return found


def restricts(restriction: Json, event: Json, recipient: Json, purpose: str) -> bool:
    recipients, purposes = restriction["recipients"], restriction["purposes"]
    categories, labels = restriction["categories"], restriction["labels"]
    return (
        ("*" in recipients or lists(recipients, recipient))
        and ("*" in purposes or purpose in purposes)
        and ("*" in categories or any_covers(categories, event["category"]))
        and ("*" in labels or any(label in labels for label in event.get("labels") or []))
    )


def sound_policy(policy: Any) -> bool:
    def listed(value: Any) -> bool:
        return value is None or (isinstance(value, list) and all(isinstance(one, str) for one in value))

    def row_is_sound(row: Any) -> bool:
        if not isinstance(row, dict):
            return False
        named = all(row.get(key) is None or isinstance(row.get(key), str) for key in ("role", "category"))
        return named and listed(row.get("purposes")) and listed(row.get("compartments"))

    matrix = policy.get("matrix")
    keys = ("purposes", "labels", "roles", "compartments", "categories")
    return all(listed(policy.get(key)) for key in keys) and (
        matrix is None or (isinstance(matrix, list) and all(row_is_sound(row) for row in matrix))
    )


def sound_stakeholder(one: Json) -> bool:
    agreement = one.get("agreement")
    if agreement is not None:
        if not isinstance(agreement, dict):
            return False
        if any(agreement.get(key) is not None and time(agreement[key]) is None for key in ("from", "until")):
            return False
    flags = all(one.get(key) is None or isinstance(one[key], bool) for key in ("treating", "medical"))
    return flags and (one.get("role") is None or isinstance(one["role"], str))


def determinate(event: Any, request: Json, policy: Any, known: dict[Any, Json]) -> bool:
    """What the first rule asks for."""
    if not isinstance(event, dict) or not sound_policy(policy):
        return False
    for key in ("participant", "discloser", "category", "occurred_at"):
        if not isinstance(event.get(key), str) or not event[key]:
            return False
    if any(event.get(key) is not None and not isinstance(event[key], str) for key in ("id", "type")):
        return False
    for key, listed in (("labels", policy.get("labels")), ("compartments", policy.get("compartments"))):
        carried = event.get(key)
        if carried is not None:
            if not isinstance(carried, list) or not all(isinstance(one, str) for one in carried):
                return False
            if not all(one in (listed or []) for one in carried):
                return False
    if event["category"] not in (policy.get("categories") or []):
        return False
    purpose, recipient = request.get("purpose"), request.get("recipient")
    if not isinstance(purpose, str) or purpose not in (policy.get("purposes") or []):
        return False
    if not isinstance(recipient, str) or recipient not in known or event["discloser"] not in known:
        return False
    if not sound_stakeholder(known[recipient]) or not sound_stakeholder(known[event["discloser"]]):
        return False
    return time(event["occurred_at"]) is not None and time(request.get("at")) is not None


def decide(event: Any, request: Json, state: Json, policy: Any, stakeholders: list[Json]) -> Json:
    """The rules in their order; the first that matches answers."""
    known = {one["id"]: one for one in stakeholders}
    if not determinate(event, request, policy, known):
        return deny("indeterminate")
    return rules(event, request, state, policy, known)


def rules(event: Json, request: Json, state: Json, policy: Json, known: dict[Any, Json]) -> Json:
    """The rules from the second on, where the first doesn't match."""
    recipient, discloser = known[request["recipient"]], known[event["discloser"]]
    purpose, at = request["purpose"], time(request["at"])
    category, labels = event["category"], event.get("labels") or []
    assert at is not None
    if not agreed(recipient, at):
        return deny("no-agreement")
    rows = [
        row
        for row in policy.get("matrix") or []
        if row.get("role") is not None
        and row["role"] == recipient.get("role")
        and row.get("category") is not None
        and covers(row["category"], category)
        and purpose in (row.get("purposes") or [])
    ]
    if not rows:
        return deny("role")
    allowed = {compartment for row in rows for compartment in row.get("compartments") or []}
    if purpose == "proceedings":
        orders = [
            order_id
            for order_id, order in state["orders"].items()
            if order["recipient"] == recipient["id"]
            and any_covers(order["categories"], category)
            and order["starts_at"] is not None
            and order["expires_at"] is not None
            and order["starts_at"] <= at <= order["expires_at"]
            and order["subpoena"]
        ]
        if orders:
            return permit(event, purpose, "court-order", orders, allowed)
    found = [
        (consent, grant, obstacles(consent, grant, recipient, at))
        for consent in state["consents"].values()
        for grant in consent["grants"]
        if covering(grant, event, discloser, recipient, purpose, at)
    ]
    counting = [(consent, grant) for consent, grant, why_not in found if not why_not]
    if purpose == "proceedings":
        counting = [
            (consent, grant)
            for consent, grant in counting
            if all(set(one["purposes"]) == {"proceedings"} for one in consent["grants"])
        ]
        if not counting:
            return deny("proceedings")
    if "counselling-notes" in labels:
        counting = [
            (consent, grant)
            for consent, grant in counting
            if all("counselling-notes" in one["labels"] for one in consent["grants"])
        ]
        if not counting:
            return deny("counselling-notes")
    if purpose == "emergency":
        emergencies = [
            emergency_id
            for emergency_id, emergency in state["emergencies"].items()
            if emergency["recipient"] == recipient["id"]
            and emergency["declared_at"] <= at <= emergency["expires_at"]
        ]
        if recipient.get("medical") is True and emergencies:
            few = allowed & {"subject", "occurrence", "clinical"}
            return permit(event, purpose, "emergency", emergencies, few)
        return deny("no-emergency")
    if any(restricts(one, event, recipient, purpose) for one in state["restrictions"].values()):
        return deny("restriction")
    if counting:
        names = [f"{consent['id']}/{grant['id']}" for consent, grant in counting]
        granted = {compartment for _, grant in counting for compartment in grant["compartments"]}
        return permit(event, purpose, "consent", names, allowed if "*" in granted else allowed & granted)
    for reason in ("revoked", "expired", "not-started"):
        if any(why_not == {reason} for _, _, why_not in found):
            return deny(reason)
    return deny("no-consent")


# What comes out


def permit(event: Json, purpose: str, basis: str, grants: list[str], allowed: set[str]) -> Json:
    compartments = set(event.get("compartments") or []) & allowed
    if not compartments:
        return deny("nothing-shareable")
    obligations = {"record-disclosure"}
    if basis == "consent":
        obligations |= {"attach-consent-scope", "no-redisclosure"}
    if "part2" in (event.get("labels") or []):
        obligations.add("attach-part2-notice")
        if purpose != "proceedings":
            obligations.add("not-for-proceedings")
    if basis == "emergency":
        obligations.add("review-emergency")
    return {
        "effect": "permit",
        "reason": basis,
        "basis": basis,
        "grants": sorted(set(grants)),
        "compartments": sorted(compartments),
        "obligations": sorted(obligations),
    }


def deny(reason: str) -> Json:
    nothing: Json = {"effect": "deny", "reason": reason, "basis": None}
    return nothing | {"grants": [], "compartments": [], "obligations": []}
