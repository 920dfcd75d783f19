"""What the invented people agree to, refuse and take back, and when in the play they say so.

Every kind of person is a function that fills in what one of them says.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from examples.county.calendar import DAY_MS, HOUR_MS, rfc3339
from examples.county.people import Person
from examples.county.wishes import BROAD, CARE, HANDOFF, LEGAL, STARTS_DURING_PLAY_MS, Wish, grant


def broad(wish: Wish) -> None:
    """Shares all of it with those who help."""
    wish.agrees("weeks", "broad", BROAD)


def housing_only(wish: Wish) -> None:
    """Shares housing and outreach, with two organisations, without clinical words."""
    parts = ["subject", "occurrence", "engagement"]
    who, what = ["reach", "harbor-house"], ["service.housing", "contact.outreach"]
    wish.agrees("weeks", "housing", [grant("housing", who, ["care-coordination"], what, compartments=parts)])


def nothing_labelled(wish: Wish) -> None:
    """Shares, but nothing that is labelled."""
    wish.agrees("weeks", "plain", [{**CARE, "labels": []}, {**LEGAL, "labels": []}])


def silent(_wish: Wish) -> None:
    """Agreed to nothing."""


def expired(wish: Wish) -> None:
    """Agreed once; it ran out a week ago."""
    wish.agrees("weeks", "old", BROAD, expires_at=rfc3339(wish.anchor - 7 * DAY_MS))


def not_yet(wish: Wish) -> None:
    """Agreed from next month on."""
    wish.agrees("weeks", "later", BROAD, starts_at=rfc3339(wish.anchor + 30 * DAY_MS))


def starts_during_play(wish: Wish) -> None:
    """Agreed to something that begins while the play is on."""
    wish.agrees("weeks", "soon", BROAD, starts_at=rfc3339(wish.anchor + STARTS_DURING_PLAY_MS))


def never_the_prosecutor(wish: Wish) -> None:
    """Shares, and says never to the prosecutor and the police."""
    wish.agrees("weeks", "broad", BROAD)
    wish.never("weeks", "never", recipients=["city-attorney", "harbor-pd", "county-jail"])


def never_hiv(wish: Wish) -> None:
    """Shares, and says never to anything labelled hiv; later never to the class of treating providers."""
    wish.agrees("weeks", "broad", BROAD)
    wish.never("weeks", "hiv", labels=["hiv"])
    wish.never("taken-back", "crisis", recipients=["class:treating-provider"], categories=["contact"])


def takes_all_back(wish: Wish) -> None:
    """Shares, and takes all of it back midway."""
    wish.agrees("weeks", "broad", BROAD)
    wish.takes_back("taken-back", "broad")


def takes_back_a_party(wish: Wish) -> None:
    """Shares, and takes it back from two parties."""
    wish.agrees("weeks", "broad", BROAD)
    wish.takes_back("taken-back", "broad", recipients=["harbor-house", "city-attorney"])


def takes_back_a_grant(wish: Wish) -> None:
    """Shares, and takes one grant back."""
    wish.agrees("weeks", "broad", BROAD)
    wish.takes_back("taken-back", "broad", grants=["legal"])


def leaves(wish: Wish) -> None:
    """Shares for as long as the program lasts, and leaves it midway."""
    wish.agrees("weeks", "program", BROAD, expires_at=None, expires_on="program-exit")
    wish.says("taken-back", {"type": "program-exited", "at": rfc3339(wish.anchor - HOUR_MS)})


def leaves_and_returns(wish: Wish) -> None:
    """Leaves, and agrees anew to something narrower."""
    leaves(wish)
    wish.agrees("opened", "again", [CARE], expires_at=None, expires_on="program-exit")


def for_the_court(wish: Wish) -> None:
    """Gives a consent that is for proceedings and nothing else, beside the ordinary one."""
    wish.agrees("weeks", "broad", [CARE])
    open_court = grant("court", ["city-attorney", "municipal-court"], ["proceedings"], ["court", "service"])
    wish.agrees("weeks", "proceedings", [open_court])


def not_for_the_court(wish: Wish) -> None:
    """Lists proceedings among other purposes, which opens nothing."""
    purposes = ["proceedings", "legal-coordination"]
    both = grant("mixed", ["city-attorney", "municipal-court"], purposes, ["court.hearing"])
    wish.agrees("weeks", "mixed", [both])


def ordered(wish: Wish) -> None:
    """Agreed to nothing; a court orders some of it opened, with a subpoena."""
    order = {
        "id": f"o-{wish.person.key}",
        "recipient": "city-attorney",
        "categories": ["court", "contact.law-enforcement"],
        "starts_at": rfc3339(wish.anchor - DAY_MS),
        "expires_at": rfc3339(wish.anchor + 90 * DAY_MS),
        "subpoena": True,
    }
    wish.says("opened", {"type": "order-filed", "order": order}, sender="officer")


def in_danger(wish: Wish) -> None:
    """Agreed to nothing; the ambulance declares an emergency."""
    emergency = {
        "id": f"e-{wish.person.key}",
        "recipient": "county-ems",
        "declared_by": "medic-7",
        "nature": "overdose",
        "declared_at": rfc3339(wish.anchor - HOUR_MS),
        "expires_at": rfc3339(wish.anchor + 20 * HOUR_MS),
    }
    wish.says("opened", {"type": "emergency-declared", "emergency": emergency}, sender="county-ems")


def for_treatment(wish: Wish) -> None:
    """Lets treating providers treat, without an end, as only treatment may."""
    treat = grant("treat", ["class:treating-provider"], ["treatment"], ["service"])
    wish.agrees("weeks", "treatment", [treat], expires_at=None, expires_on="none")


def agrees_late(wish: Wish) -> None:
    """Says nothing at first, then agrees to what came before as well."""
    wish.agrees("opened", "late", BROAD, signed_at=rfc3339(wish.anchor - HOUR_MS))


def some_weeks_only(wish: Wish) -> None:
    """Agrees late, and only to what happened in two of the weeks."""
    since, until = rfc3339(wish.anchor - 28 * DAY_MS), rfc3339(wish.anchor - 14 * DAY_MS)
    period = {"data_from": since, "data_until": until}
    wish.agrees("opened", "weeks", [{**CARE, **period}, {**HANDOFF, **period}])


def signs_on_the_sidewalk(wish: Wish) -> None:
    """Signs together with the referral that it is for, at an outreach worker's side: one submission."""
    signed_at = rfc3339(wish.anchor - HOUR_MS)
    wish.agrees("opened", "sidewalk", [CARE, HANDOFF], sender="harbor-house", signed_at=signed_at)


def unknown_at_first(wish: Wish) -> None:
    """Shares; two agencies' numbers for this person are linked only later."""
    wish.agrees("weeks", "broad", BROAD)


def notes_by_name(wish: Wish) -> None:
    """Gives a consent that names counselling notes throughout, beside one that does not."""
    wish.agrees("weeks", "broad", BROAD)
    notes = grant("notes", ["reach"], ["treatment"], ["service.mental-health"])
    wish.agrees("weeks", "notes", [{**notes, "labels": ["counselling-notes", "mental-health", "part2"]}])


def named_disclosers(wish: Wish) -> None:
    """Shares only what two organisations say, and lifts nothing else."""
    wish.agrees("weeks", "from-two", [{**CARE, "disclosers": ["tideline-clinic", "harbor-pd"]}])


def races(wish: Wish) -> None:
    """Shares, and takes it back at the very moment that more is published."""
    wish.agrees("weeks", "broad", BROAD)
    wish.takes_back("race", "broad")


def races_a_party(wish: Wish) -> None:
    """Shares, and takes it back from one party while more is published."""
    wish.agrees("weeks", "broad", BROAD)
    wish.takes_back("race", "broad", recipients=["harbor-house"])


PROFILES: dict[str, Callable[[Wish], None]] = {
    function.__name__.replace("_", "-"): function
    for function in (
        broad, takes_all_back, signs_on_the_sidewalk, races, agrees_late, unknown_at_first, ordered,
        in_danger, never_the_prosecutor, takes_back_a_party, leaves, for_the_court, starts_during_play,
        silent, expired, housing_only, takes_back_a_grant, leaves_and_returns, some_weeks_only,
        not_for_the_court, never_hiv, notes_by_name, not_yet, nothing_labelled, for_treatment,
        named_disclosers, races_a_party,
    )
}  # fmt: skip


def wishes(persons: Iterable[Person], anchor: int) -> list[Wish]:
    """What everybody says in which scene, in the order of the people; times count from `anchor` (ms)."""
    spoken = [Wish(person, anchor) for person in persons]
    for wish in spoken:
        PROFILES[wish.person.profile](wish)
    return spoken
