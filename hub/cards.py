"""What the cards on a case manager's page say: an organisation's alerts in the reader's words."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from connectors.alert_rules import Rules
from connectors.schedule import HOUR_MS, MINUTE_MS
from hub import alerting
from hub.language import Tongue
from hub.people import Entry
from hub.today import Alert, Picture
from schemas import instant
from schemas.errors import BadTime

TONES: Final = {"urgent": "urgent", "soon": "soon", "information": "info"}
LATER_HOURS: Final = (1, 3)
MORNING_HOUR: Final = 8
LATER_DAYS: Final = (1, 2, 7)

Section = tuple[str, list[dict[str, Any]]]  # its heading, and its cards


def mark(picture: Picture) -> str:
    """By what a page resumes: how far it has seen, and what it looks like."""
    said = [
        (alert.id, alert.version, alert.also, alert.escalated, alert.snoozed_until, alert.acknowledged_at)
        for alert in picture.all
    ]
    looks = hashlib.sha256(repr((said, picture.more)).encode()).hexdigest()[:16]
    return f"{picture.cursor}.{looks}"


def look(alert: Alert, aside: bool, words: Tongue, now_ms: int) -> bytes:
    """A hash of all that a card is drawn from, on one page: while it is the same, so is the card, but for the
    minute in "5 minutes ago", and the hour after the first. In: whether it stands apart from what waits."""
    ago = max(0, now_ms - _happened_at(alert.view, alert.at))
    told = ago // MINUTE_MS if ago < HOUR_MS else ago // HOUR_MS + 60
    today = datetime.fromtimestamp(now_ms / 1000, words.zone).date()  # "yesterday", "tomorrow"
    return hashlib.sha256(repr((alert, aside, told, today)).encode()).digest()


def waiting(cards: Iterable[tuple[Alert, dict[str, Any]]], words: Tongue) -> list[Section]:
    """Those that wait: one's own people first, each part with a heading where there are both."""
    own: list[dict[str, Any]] = []
    others: list[dict[str, Any]] = []
    for alert, card in cards:
        (own if alert.own else others).append(card)
    if own and others:
        return [(words.say("Your people"), own), (words.say("Your team's people"), others)]
    return [("", some) for some in (own, others) if some]


def more(picture: Picture, words: Tongue) -> str:
    """What is said of those that a page has no room for; empty where there are none."""
    if not picture.more:
        return ""
    counts = [
        words.say("%(urgency)s: %(count)s", urgency=words.term("urgency", urgency), count=words.number(count))
        for urgency, count in picture.counts.items()
        if count
    ]
    return words.say(
        "And %(count)s more. The most urgent and oldest come first. All that wait: %(counts)s.",
        count=words.number(picture.more),
        counts=words.listed(counts),
    )


def same(alert: Alert, since_ms: int) -> dict[str, Any]:
    """An alert whose card a page has, as it is now: named, so that it stays and has its place."""
    return {"id": alert.id, "same": True, "fresh": alert.at > since_ms}


def card(
    alert: Alert, words: Tongue, now_ms: int, since_ms: int, person: str | None, rules: Rules
) -> dict[str, Any]:
    """One alert. In: since when what came is new; by what the page of its person is found; the rules."""
    said = alerting.say(alert, words, now_ms, rules)
    return {
        "id": alert.id,
        "same": False,
        "version": alert.version,
        "urgency": TONES.get(alert.urgency, "info"),
        "urgency_words": words.term("urgency", alert.urgency),
        "sentence": said.what,
        "next": said.next,
        "fresh": alert.at > since_ms,
        "escalated": alert.escalated,
        "also": words.say_for(
            alert.also, "and %(count)s older one like it", "and %(count)s older ones like it"
        )
        if alert.also
        else "",
        "handed": words.say("handed to %(name)s", name=alert.handed_to) if alert.handed_to else "",
        "person": person,
        **_happened(alert.view, alert.at, words, now_ms),
        "taken": _taken(alert, words, now_ms),
    }


def entry(one: Entry, words: Tongue, now_ms: int, since_ms: int, rules: Rules) -> dict[str, Any]:
    """One line of a person's timeline."""
    return {
        "id": one.id,
        "urgency": TONES.get(one.urgency, "info") if one.rule else "",
        "urgency_words": words.term("urgency", one.urgency) if one.rule else "",
        "sentence": alerting.tell(one, words, now_ms, rules),
        "fresh": one.at > since_ms,
        **_happened(one.view, one.occurred_at, words, now_ms),
        "taken": words.say(
            "%(name)s has this, since %(time)s",
            name=one.acknowledged_by or "",
            time=words.moment(one.acknowledged_at, now_ms),
        )
        if one.acknowledged_at is not None
        else "",
    }


def told(outcome: str, words: Tongue, by: str = "", kind: str = "") -> str:
    """What came of an act, in words. In: who has it, where that was somebody quicker; the kind of act."""
    if outcome == "lost":
        if by:
            return words.say("%(name)s was quicker and has this already.", name=by)
        return words.say("Somebody was quicker and has this already.")
    if outcome == "gone":
        return words.say("This is not here any more. It was taken back, or belongs to somebody else now.")
    if outcome == "refused":
        return words.say("It is too late for that, or it cannot be done. Nothing was changed.")
    said = {
        "acknowledge": words.say("You have this."),
        "snooze": words.say("Left for later."),
        "hand-over": words.say("Handed over."),
        "undo": words.say("Undone."),
    }
    return said.get(kind, words.say("Done."))


def laters(words: Tongue, now_ms: int) -> list[tuple[int, str]]:
    """Until when an alert can be left: epoch milliseconds, and in words. Mornings are those of the place."""
    found = [now_ms + hours * HOUR_MS for hours in LATER_HOURS]
    local = datetime.fromtimestamp(now_ms / 1000, words.zone)
    morning = local.replace(hour=MORNING_HOUR, minute=0, second=0, microsecond=0)
    limit = now_ms + 7 * 86_400_000
    found += [min(int((morning + timedelta(days=days)).timestamp() * 1000), limit) for days in LATER_DAYS]
    return [(ms, words.moment(ms, now_ms)) for ms in found]


def new_since(cards: Sequence[Mapping[str, Any]], since_ms: int, words: Tongue, now_ms: int) -> str:
    """What happened since somebody last looked, in a sentence; empty where nothing did or they never did."""
    count = sum(card["fresh"] for card in cards)
    if not since_ms or not count:
        return ""
    when = words.moment(since_ms, now_ms)
    return words.say("New since you last looked, %(time)s: %(count)s.", time=when, count=words.number(count))


def _taken(alert: Alert, words: Tongue, now_ms: int) -> str:
    if alert.acknowledged_at is not None:
        return words.say(
            "%(name)s has this, since %(time)s",
            name=alert.acknowledged_by or "",
            time=words.moment(alert.acknowledged_at, now_ms),
        )
    if alert.snoozed_until is not None:
        return words.say("left until %(time)s", time=words.moment(alert.snoozed_until, now_ms))
    return ""


def _happened(view: Mapping[str, Any], otherwise: int, words: Tongue, now_ms: int) -> dict[str, Any]:
    """When and where something happened, and what one may know it for."""
    at = _happened_at(view, otherwise)
    place = view.get("data", {}).get("occurrence", {}).get("place") or {}
    purposes = view.get("purposes", ())
    return {
        "iso": instant.format(at),
        "when": words.say("%(ago)s, %(time)s", ago=words.ago(at, now_ms), time=words.moment(at, now_ms)),
        "place": place.get("description"),
        "may": words.say(
            "you may know this for %(purposes)s",
            purposes=words.listed(words.term("purpose", one) for one in purposes),
        )
        if purposes
        else "",
        "notices": [one["text"] for one in view.get("notices", ()) if one["form"] == "short"],
    }


def _happened_at(view: Mapping[str, Any], otherwise: int) -> int:
    occurrence = view.get("data", {}).get("occurrence", {})
    return _instant(occurrence.get("booked_at") or view.get("time"), otherwise)


def _instant(text: str | None, otherwise: int) -> int:
    try:
        return instant.parse(text) if text else otherwise
    except BadTime:
        return otherwise
