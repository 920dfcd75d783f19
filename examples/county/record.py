"""What a participant's directives come to, as the county reads the rule: the last word on each thing.

Written apart from the hub's folding, and slow: it walks the directives from the first for every question.
What is of the wrong type counts as missing, and so does a time that cannot be read; none of it gets past the
hub's entrance.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache
from typing import Any

Json = Mapping[str, Any]

STATEMENTS = ("right-to-revoke", "redisclosure", "refusal")
EMERGENCY_MS_MAX = 24 * 3_600_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INSTANT = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d+))?(?:([Zz])|([+-])(\d\d):(\d\d))"
)


@dataclass
class Held:
    """A consent on record, with what was taken back of it since."""

    consent: Json
    whole: bool = False
    exited_at: int | None = None
    parties: tuple[Any, ...] = ()
    grants: tuple[Any, ...] = ()


def instant(value: object) -> int | None:
    """RFC 3339 text with an offset to milliseconds since 1970, anything finer cut off; None if unreadable."""
    return _instant(value) if isinstance(value, str) and value.isascii() else None


@lru_cache(maxsize=4096)
def _instant(text: str) -> int | None:
    match = INSTANT.fullmatch(text)
    if match is None:
        return None
    year, month, day, hour, minute, second = (int(match[n]) for n in range(1, 7))
    try:
        offset = UTC
        if match[8] is None:
            ahead = timedelta(hours=int(match[10]), minutes=int(match[11]))
            if int(match[11]) > 59:
                return None
            offset = timezone(ahead if match[9] == "+" else -ahead)
        whole = datetime(year, month, day, hour, minute, second, tzinfo=offset)
        seconds = (whole - EPOCH) // timedelta(seconds=1)
    except (ValueError, OverflowError):
        return None
    return seconds * 1000 + int((match[7] or "").ljust(3, "0")[:3])


def texts(value: object) -> tuple[str, ...]:
    """The strings of a list; whatever is not a list holds none."""
    return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list | tuple) else ()


def within(at: int, start: object, end: object) -> bool:
    """Whether a period holds the instant: it must have a start, may have an end, and includes both."""
    since = instant(start)
    until = instant(end)
    return since is not None and since <= at and (end is None or (until is not None and at <= until))


def grants_of(consent: Json) -> list[Json]:
    """The grants of a consent that are grants at all."""
    grants = consent.get("grants")
    return [one for one in grants if isinstance(one, Mapping)] if isinstance(grants, list | tuple) else []


def valid(consent: object) -> bool:
    """Whether a consent has all that makes it one."""
    if not isinstance(consent, Mapping) or not isinstance(consent.get("id"), str) or not grants_of(consent):
        return False
    signature = consent.get("signature")
    if not isinstance(signature, Mapping):
        return False
    if not (isinstance(signature.get("method"), str) and isinstance(signature.get("reference"), str)):
        return False
    if instant(consent.get("signed_at")) is None or instant(consent.get("starts_at")) is None:
        return False
    if not set(STATEMENTS) <= set(texts(consent.get("statements"))):
        return False
    ends_at, ends_on = instant(consent.get("expires_at")), consent.get("expires_on")
    if not isinstance(ends_on, str):
        return ends_at is not None
    if ends_on == "none":
        treatment = all(set(texts(one.get("purposes"))) == {"treatment"} for one in grants_of(consent))
        return ends_at is not None or treatment
    return bool(ends_on == "program-exit")


def held(directives: Iterable[Json]) -> dict[str, Held]:
    """Every valid consent on record, by id, in the order of the log."""
    record: dict[str, Held] = {}
    for one in directives:
        if one.get("type") == "consent-granted" and valid(one.get("consent")):
            record.setdefault(one["consent"]["id"], Held(one["consent"]))
        elif one.get("type") == "consent-revoked" and isinstance(named := one.get("consent_id"), str):
            if (mine := record.get(named)) is not None:
                parties, grants = texts(one.get("recipients")), texts(one.get("grants"))
                mine.whole = mine.whole or not (parties or grants)
                mine.parties += parties
                mine.grants += grants
        elif one.get("type") == "program-exited" and (left := instant(one.get("at"))) is not None:
            for mine in record.values():
                if mine.consent.get("expires_on") == "program-exit":
                    mine.exited_at = left if mine.exited_at is None else min(left, mine.exited_at)
    return record


def standing(directives: Iterable[Json], put: str, key: str, lift: str) -> list[Json]:
    """What was put on record by id and not lifted since: restrictions and orders (a later one replaces)."""
    record: dict[str, Json] = {}
    for one in directives:
        body = one.get(key)
        if one.get("type") == put and isinstance(body, Mapping) and isinstance(body.get("id"), str):
            record[body["id"]] = body
        elif one.get("type") == lift and isinstance(one.get(f"{key}_id"), str):
            record.pop(one[f"{key}_id"], None)
    return list(record.values())


def emergencies(directives: Iterable[Json]) -> list[Json]:
    """The emergencies that were declared as they must be."""
    record: dict[str, Json] = {}
    for one in directives:
        body = one.get("emergency")
        if one.get("type") != "emergency-declared" or not isinstance(body, Mapping):
            continue
        said = all(isinstance(body.get(key), str) for key in ("id", "recipient", "declared_by", "nature"))
        since, until = instant(body.get("declared_at")), instant(body.get("expires_at"))
        if said and since is not None and until is not None and until - since <= EMERGENCY_MS_MAX:
            record[body["id"]] = body
    return list(record.values())
