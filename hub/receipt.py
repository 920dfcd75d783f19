"""What somebody agreed to, in their own words: a receipt, as a page and as a PDF in large type."""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from consent.record import Held
from consent.terms import Grant
from consent.untyped import NEVER_MS, TREATING
from hub import helping
from hub.agreeing import LABELS
from hub.language import Tongue

TYPE_PT: Final = 16  # large print, as the American Printing House for the Blind has it, begins at 14
HEAD_PT: Final = 24
LINE_MM: Final = 8


class Line(NamedTuple):
    """What one recipient may learn by one grant. `back`: it was taken back, and is not so any more."""

    recipient: str
    name: str
    what: str
    why: str
    sees: str
    back: bool


class Receipt(NamedTuple):
    """A consent as its participant reads it. `id` is the hub's; `standing` whether anything of it holds;
    `helps` whether it names a helper, on no form but their own page.
    """

    id: str
    signed: str
    until: str
    lines: tuple[Line, ...]
    standing: bool
    helps: bool


def receipt(held: Held, names: Mapping[str, str], words: Tongue, now: int) -> Receipt:
    """The receipt of a consent as it is at `now`, in epoch milliseconds."""
    lines = tuple(
        Line(
            recipient,
            called(recipient, names, words),
            *_helps(grant, words) if helping.is_one(recipient) else _shares(grant, words),
            held.revoked or recipient in held.parties or grant.id in held.grants,
        )
        for grant in held.consent.grants
        for recipient in grant.recipients
    )
    over = held.revoked or held.expires_at < now
    standing = not over and any(not one.back for one in lines)
    helps = helping.helper(held.consent) is not None
    signed = words.day(held.consent.signed_at)
    return Receipt(held.consent.id, signed, _until(held, words), lines, standing, helps)


def called(recipient: str, names: Mapping[str, str], words: Tongue) -> str:
    """A recipient as participants call them."""
    if recipient == TREATING:
        return words.say("every treatment provider")
    if helping.is_one(recipient):
        return helping.called(recipient, names, words)
    return names.get(recipient, recipient)


def _shares(grant: Grant, words: Tongue) -> tuple[str, str, str]:
    """What, what for, and which parts."""
    return (
        words.listed(news(one, words) for one in grant.categories),
        words.listed(aim(one, words) for one in grant.purposes),
        _sees(grant, words),
    )


def _helps(grant: Grant, words: Tongue) -> tuple[str, str, str]:
    """The same of a helper, who is let in to the participant's own page."""
    if grant.id == helping.ACTS:
        aims = words.say("to help you, and to act for you on your page, as you asked")
    else:
        aims = words.say("to help you, as you asked")
    return words.say("what is on your own page"), aims, words.say("all of it")


def _until(held: Held, words: Tongue) -> str:
    if held.expires_at < NEVER_MS:
        return words.day(held.expires_at)
    if held.consent.on_exit:
        return words.say("the day you leave the program")
    return words.say("you take it back")


def _sees(grant: Grant, words: Tongue) -> str:
    parts = [words.plainly("sees", "compartment", one) for one in grant.compartments if one != "*"]
    if "*" in grant.compartments:
        parts = [words.say("all of it")]
    also = [words.term("label", one) for one in LABELS if one in grant.labels]
    if also:
        parts.append(words.say("also %(what)s", what=words.listed(also)))
    return words.listed(parts)


def news(category: str, words: Tongue) -> str:
    """A kind of information as participants call it."""
    return words.plainly("news", "category", category)


def aim(purpose: str, words: Tongue) -> str:
    """What something is for, as participants call it."""
    return words.plainly("aim", "purpose", purpose)


def sees(compartments: Iterable[str], words: Tongue) -> str:
    """Parts of an event, as participants call them."""
    return words.listed(words.plainly("sees", "compartment", one) for one in compartments)


def told(of: Receipt, words: Tongue) -> list[str]:
    """A receipt as paragraphs, without its heading."""
    return [
        words.say("You signed this on %(day)s. It ends on: %(until)s.", day=of.signed, until=of.until),
        *(
            words.say(
                "%(name)s may learn about: %(what)s. What for: %(why)s. What they see: %(sees)s.",
                **one._asdict(),
            )
            for one in of.lines
            if not one.back
        ),
        *never(words),
        *back(words),
    ]


def never(words: Tongue) -> tuple[str, ...]:
    """What never happens, whatever is signed."""
    return (
        words.say(
            "Nothing you do here goes to a prosecutor as evidence. "
            "Only a judge's order, or a form that you sign for just that, could change this."
        ),
    )


def back(words: Tongue) -> tuple[str, ...]:
    """How to take it back."""
    return (
        words.say(
            "You can take it back at any time, for one of them or for all. Tell any of these groups, "
            "or use your card and PIN on your own page. What somebody has read can't be called back."
        ),
    )


def paper(of: Receipt, words: Tongue) -> bytes:
    """The same as a PDF (letter, portrait) in large type. Raises `NoLetter`."""
    from hub.handout import Paper, check_letters  # noqa: PLC0415  its library is slow to import

    title, texts = words.say("What I agreed to"), told(of, words)
    check_letters(texts)
    made = Paper(words, "portrait")
    made.set_title(title)
    made.add_page()
    made.head(title, HEAD_PT)
    made.paragraphs(texts, TYPE_PT, LINE_MM)
    return bytes(made.output())


def card_texts(words: Tongue) -> list[str]:
    """What stands on a card below the code."""
    return [
        words.say("With this code and your PIN you open your own page, on any computer."),
        words.say("Keep your PIN in your head, not on this card."),
        words.say("Is the card lost? Ask for a new one. The old one then opens nothing."),
    ]
