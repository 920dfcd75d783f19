"""Policy watch: what changed in the rules, the agreements and who takes part, for everybody to read.

Made from `governance` alone, which speaks of organisations and never of people.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from hub.language import Tongue
from schemas import instant
from schemas.errors import BadTime

CHANGES_MAX: Final = 200
CELLS_MAX: Final = 50  # lines about one change of the policy; the rest is counted

Body = Mapping[str, Any]


class Change(NamedTuple):
    """One thing that changed: when (epoch ms), a case of ours, and what it is about, in codes."""

    at: int
    case: str
    about: dict[str, str]


def changes(at: int, kind: str, name: str, before: Body | None, after: Body | None, who: str) -> list[Change]:
    """What one record of governance changed.

    In: its kind and id, what stood there before and stands now (None for nothing), and the name of the
    organisation that it is about.
    """
    if kind == "policy":
        return [Change(at, case, about) for case, about in _policy(before or {}, after or {})]
    if kind == "stakeholder":
        return [Change(at, case, {"who": who, **about}) for case, about in _stakeholder(before, after)]
    return [Change(at, case, {"who": who, **about}) for case, about in _subscription(before, after)]


def _policy(before: Body, after: Body) -> Iterator[tuple[str, dict[str, str]]]:
    if not before:
        yield "policy-first", {"version": str(after.get("version", ""))}
        return
    if before.get("version") != after.get("version"):
        yield "policy-version", {"version": str(after.get("version", ""))}
    was, now = _matrix(before), _matrix(after)
    told = [("may", one) for one in sorted(now - was)] + [("may-not", one) for one in sorted(was - now)]
    for case, (role, category, purpose, compartment) in told[:CELLS_MAX]:
        about = {"role": role, "category": category, "purpose": purpose, "compartment": compartment}
        yield case, about
    if len(told) > CELLS_MAX:
        yield "more", {"count": str(len(told) - CELLS_MAX)}
    was_days, now_days = before.get("lookback_days_max"), after.get("lookback_days_max")
    if was_days != now_days:
        yield "lookback", {"days": str(now_days)}


def _matrix(policy: Body) -> set[tuple[str, str, str, str]]:
    return {
        (row["role"], row["category"], purpose, compartment)
        for row in policy.get("matrix", ())
        for purpose in row["purposes"]
        for compartment in row["compartments"]
    }


def _stakeholder(before: Body | None, after: Body | None) -> Iterator[tuple[str, dict[str, str]]]:
    if after is None:
        yield "left", {}
        return
    agreement = after.get("agreement") or {}
    since, until = str(agreement.get("from") or ""), str(agreement.get("until") or "")
    if before is None:
        yield "joined", {"role": str(after.get("role", "")), "since": since, "until": until}
        return
    if before.get("role") != after.get("role"):
        yield "role", {"role": str(after.get("role", ""))}
    if (before.get("agreement") or {}) != agreement:
        yield "agreement", {"since": since, "until": until}


def _subscription(before: Body | None, after: Body | None) -> Iterator[tuple[str, dict[str, str]]]:
    def wanted(body: Body | None) -> set[tuple[str, str]]:
        return {(one, str(body["purpose"])) for one in body["categories"]} if body else set()

    was, now = wanted(before), wanted(after)
    for case, some in (("asks", now - was), ("asks-no-more", was - now)):
        for category, purpose in sorted(some):
            yield case, {"category": category, "purpose": purpose}


def sentence(change: Change, words: Tongue) -> str:
    """A change in plain words."""
    about = dict(change.about)
    for name in ("role", "category", "purpose", "compartment"):
        if name in about:
            about[name] = words.term("party" if name == "role" else name, about[name])
    for name in ("since", "until"):
        if about.get(name):
            about[name] = _day(about[name], words)
    said = _sentences(words, bool(about.get("until")))
    return said[change.case] % about


def _day(text: str, words: Tongue) -> str:
    try:
        return words.day(instant.parse(text))
    except BadTime:
        return text


def _sentences(words: Tongue, ends: bool) -> dict[str, str]:
    joined = words.say("%(who)s takes part as %(role)s, under an agreement from %(since)s on.")
    agreement = words.say("The agreement with %(who)s holds from %(since)s on.")
    if ends:
        joined = words.say("%(who)s takes part as %(role)s, under an agreement from %(since)s to %(until)s.")
        agreement = words.say("The agreement with %(who)s holds from %(since)s to %(until)s.")
    return {
        "policy-first": words.say("The rules, version %(version)s, are in force."),
        "policy-version": words.say("The rules have a new version, %(version)s."),
        "may": words.say(
            "With consent, %(role)s may now learn %(compartment)s: %(category)s, for %(purpose)s."
        ),
        "may-not": words.say(
            "From now on %(role)s may not learn %(compartment)s: %(category)s, for %(purpose)s."
        ),
        "more": words.say("%(count)s more rows of the rules changed."),
        "lookback": words.say("What becomes allowed later reaches back %(days)s days at most."),
        "joined": joined,
        "left": words.say("%(who)s takes part no longer."),
        "role": words.say("%(who)s takes part as %(role)s now."),
        "agreement": agreement,
        "asks": words.say(
            "%(who)s asks to be told of this, where it is allowed: %(category)s, for %(purpose)s."
        ),
        "asks-no-more": words.say(
            "%(who)s no longer asks to be told of this: %(category)s, for %(purpose)s."
        ),
    }
