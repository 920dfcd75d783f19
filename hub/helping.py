"""Helpers: people whom a participant lets see their own page, and perhaps act on it, for a time. Pure.

Naming one is a consent of its own in the log: its recipient is the helper, called by their card, with an end,
taken back like any other. No organisation has such a name, so by it no delivery is ever due; what it opens is
a door of My page (`hub/passes.py`), which asks the record each time.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from consent.decision import COUNSELLING_NOTES
from consent.record import Held, Record
from consent.terms import Consent
from consent.untyped import ALL, mapping, texts
from hub.agreeing import STATEMENTS
from hub.governance import Register
from hub.language import Tongue
from schemas import instant

PREFIX: Final = "helper:"
SEES, ACTS = "see", "act"  # the one grant's id says which
PURPOSES: Final = ("care-coordination", "legal-coordination")
WAY: Final = "own-page"


class Help(NamedTuple):
    """What one consent lets one helper do. `until` in epoch milliseconds, the last at which it stands."""

    consent: str
    acts: bool
    until: int


def principal(card: str) -> str:
    """How records and consents name a helper."""
    return PREFIX + card


def scope(known: Register) -> dict[str, list[str]]:
    """What a helper's grant covers, in the policy's terms: all that the page may ever show."""
    purposes = set(known.terms("purposes"))
    return {
        "purposes": [one for one in PURPOSES if one in purposes] or sorted(purposes),
        "categories": sorted({one.partition(".")[0] for one in known.terms("categories")}),
        "labels": sorted(set(known.terms("labels")) - {COUNSELLING_NOTES}),
    }


def directive(
    participant: str,
    card: str,
    name: str,
    own: str,
    days: tuple[int, int],
    may: str,
    covered: Mapping[str, list[str]],
) -> Any:
    """The consent that names a helper, as `Directives.send` takes it.

    In: the helper's card and name; the card with which the participant signs; from when until when, in epoch
    milliseconds; `see` or `act`; the grant's `scope`.
    """
    since, until = (instant.format(one) for one in days)
    return {
        "id": f"helper-{card}",
        "participant": participant,
        "type": "consent-granted",
        "names": {principal(card): name},
        "consent": {
            "signed_at": since,
            "signature": {"method": WAY, "reference": f"signed with card {own} and its PIN"},
            "starts_at": since,
            "expires_at": until,
            "statements": list(STATEMENTS),
            "grants": [
                {
                    "id": may,
                    "disclosers": [ALL],
                    "recipients": [principal(card)],
                    **covered,
                    "compartments": [ALL],
                }
            ],
        },
    }


def helper(consent: Consent) -> str | None:
    """Whom a consent names as a helper (their principal); None for any other consent."""
    told = [one for grant in consent.grants for one in grant.recipients]
    return told[0] if len(consent.grants) == 1 and len(told) == 1 and is_one(told[0]) else None


def stands(record: Record, who: str, at: int) -> Help | None:
    """What a helper may do at that time; None where nothing lets them in, or a never keeps them out."""
    if any(_shut(rule, who) for rule in record.restrictions.values()):
        return None
    return next(
        (
            Help(name, held.consent.grants[0].id == ACTS, held.expires_at)
            for name, held in record.consents.items()
            if helper(held.consent) == who and _holds(held, who, at)
        ),
        None,
    )


def _holds(held: Held, who: str, at: int) -> bool:
    consent = held.consent
    begun = max(consent.signed_at, consent.starts_at) <= at <= held.expires_at
    grant = consent.grants[0].id
    return begun and not held.revoked and who not in held.parties and grant not in held.grants


def _shut(rule: Any, who: str) -> bool:
    whole = all(ALL in some for some in (rule.purposes, rule.categories, rule.labels))
    return whole and (ALL in rule.recipients or who in rule.recipients)


def named(rule: Any) -> frozenset[str]:
    """The helper whom a directive's rule names as its one recipient of its one grant; else nobody."""
    listed = mapping(mapping(rule).get("consent")).get("grants")
    grants = listed if isinstance(listed, list | tuple) else ()
    told = [one for grant in grants for one in texts(mapping(grant).get("recipients"))]
    return frozenset(told) if len(grants) == 1 and len(told) == 1 and is_one(told[0]) else frozenset()


def called(who: str, names: Mapping[str, str], words: Tongue) -> str:
    """A helper by name where it is known here; else what they are."""
    return names.get(who) or words.say("somebody who helps")


def is_one(who: str) -> bool:
    """Whether a recipient or a sender is a helper."""
    return who.startswith(PREFIX)
