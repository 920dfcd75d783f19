"""What stands on a participant's own page: who learned what, what they agreed to, who helps, who was here."""

from collections.abc import Mapping
from typing import Any, Final

from connectors.fence import Narrowing
from consent.record import Record
from hub import accounting, comings, passes, receipt, requested, spoken
from hub.accounting import Account, Disclosure
from hub.explaining import EXPLAINED_MAX
from hub.governance import Register
from hub.language import Tongue
from hub.parts import Parts
from hub.passes import Visitor
from hub.report import YEARS, told
from hub.report import row as told_of
from hub.said import placed

SHOWN_MAX: Final = 50
DAY_MS: Final = 24 * 3_600_000
CLASS: Final = "class:"


def record(of: Parts, participant: str) -> Record:
    """What somebody has said, as the log has it now. Raises `Unavailable`."""
    return Record(placed(of.store, of.lookup, participant))


def names(of: Parts, participant: str) -> dict[str, str]:
    """What recipients are called: organisations, and this participant's helpers."""
    return of.register().names() | passes.names(of.store, of.vault, participant)


def account(of: Parts, participant: str) -> Account:
    """Who learned what, as far back as there is a right to know."""
    now, helpers = of.clock_ms(), passes.names(of.store, of.vault, participant)
    return accounting.account(of.store, participant, now - YEARS * 366 * DAY_MS, now, helpers)


def had(of: Parts, narrowing: Narrowing) -> list[str]:
    """Who has read something that can't be called back, of those it was taken back from, by name."""
    assert narrowing.participant is not None, "a participant's directive"
    found = account(of, narrowing.participant)
    called = {**of.register().names(), **found.helpers}
    got = {one.stakeholder for one in found.disclosures}
    from_whom = narrowing.recipients
    held = record(of, narrowing.participant).consents.get(narrowing.consent or "")
    if from_whom is None and held is not None:
        listed = {one for grant in held.consent.grants for one in grant.recipients}
        from_whom = None if any(one.startswith(CLASS) for one in listed) else frozenset(listed)
    return sorted(called.get(one, one) for one in got if from_whom is None or one in from_whom)


def picture(of: Parts, who: Visitor, words: Tongue) -> dict[str, Any]:
    """Everything on the page, newest first."""
    now, register, said = of.clock_ms(), of.register(), record(of, who.participant)
    found = account(of, who.participant)
    called = {**register.names(), **found.helpers}
    shown = [_learned(one, found, register, words, now) for one in found.disclosures[:SHOWN_MAX]]
    receipts = [receipt.receipt(one, called, words, now) for one in said.consents.values()][::-1]
    kept_out = {one for rule in said.restrictions.values() for one in rule.recipients}
    others = sorted(register.names().items(), key=lambda one: one[1])
    return {
        "who": who,
        "disclosures": shown,
        "more": len(found.disclosures) - len(shown),
        "standing": [(one, _parties(one)) for one in receipts if one.standing],
        "over": [one for one in receipts if not one.standing],
        "never": [
            (rule.id, words.listed(_never(rule.recipients, called, words)))
            for rule in said.restrictions.values()
        ],
        "others": [one for one in others if one[0] not in kept_out],
        "helpers": [(one, words.day(one.until)) for one in of.passes.helpers(who.participant)],
        "requests": [_asked(one, words) for one in of.requests.of(who.participant)[:EXPLAINED_MAX]],
        "spoken": [
            (spoken.told(one, called, words), words.moment(one.at, now))
            for one in spoken.spoken(of.store, who.participant)
        ],
        "comings": [
            (comings.told(one, called, words), words.moment(one.at, now))
            for one in comings.comings(of.store, who.participant)
        ],
        "once": f"{who.session[:16]}-{now}",
        "promises": receipt.never(words),
    }


def _never(recipients: Any, called: Mapping[str, str], words: Tongue) -> list[str]:
    return [
        words.say("everybody") if one == "*" else receipt.called(one, called, words) for one in recipients
    ]


def _parties(one: receipt.Receipt) -> list[tuple[str, str]]:
    """From whom it can be taken back, each once."""
    return list(dict.fromkeys((line.recipient, line.name) for line in one.lines if not line.back))


def _learned(one: Disclosure, found: Account, register: Register, words: Tongue, now: int) -> dict[str, str]:
    """One disclosure in a sentence, to whom it is about."""
    said = told_of(one, found, register, words)
    *_, sure = told(one, said, words)
    if one.visited:
        sentence = words.say("%(name)s looked at this page, to help you.", name=said["recipient"])
    else:
        sentence = words.say(
            "%(name)s learned about %(what)s. What for: %(why)s. They saw: %(sees)s.",
            name=said["recipient"],
            what=said["what"],
            why=words.listed(receipt.aim(purpose, words) for purpose in one.purposes),
            sees=receipt.sees(one.compartments, words),
        )
    leave = words.listed(words.plainly("leave", "basis", basis) for basis in one.bases)
    return {
        "when": words.moment(one.last_at, now),
        "sentence": sentence,
        "leave": words.say("What allowed it: %(leave)s", leave=leave),
        "doubt": "" if one.certain and one.times == 1 else sure,
    }


def _asked(one: Any, words: Tongue) -> dict[str, str]:
    """One request, and how it stands."""
    if one.outcome is None:
        state = words.say("You get an answer by %(day)s.", day=words.day(one.due_at))
    elif one.outcome == "answered":
        state = words.say("Answered on %(day)s.", day=words.day(one.closed_at))
    else:
        state = words.say(
            "Refused on %(day)s. Ask your case manager why, and what you can do.",
            day=words.day(one.closed_at),
        )
    return {"what": requested.named(one.kind, words), "when": words.day(one.filed_at), "state": state}
