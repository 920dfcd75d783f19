"""Consents by the same form: of each only what was filled in is read, all else is as it was in another.

In the log, the bodies of the consents by one form differ in an id and in three instants. Whoever reads a long
history reads one of them, and of the others no more than these.
"""

import json
import re
from collections.abc import Callable
from operator import itemgetter
from typing import Any, Final, NamedTuple

from consent.terms import Consent
from consent.untyped import moment

BLANKS_MAX: Final = 16
ASKED_A_BLANK: Final = 1 << 8  # how often it is asked for each form more that may be looked at
_FIELDS: Final = ("id", "signed_at", "starts_at", "expires_at")  # the first ones of a `Consent`, too
_FILLED: Final = rb"([ !#-\[\]-~]*+)"  # without what would end a string or mean another character in it

Match = re.Match[bytes]


class Blank(NamedTuple):
    """A form that somebody filled in: what its bytes match, which fields the groups are, and that consent."""

    match: Callable[[bytes], Match | None]
    places: tuple[int, ...]
    first: Consent

    def filled(self, found: Match) -> Consent | None:
        """The consent of whoever else filled it in. None where an instant is none."""
        fields: list[Any] = list(self.first)
        for place, value in zip(self.places, found.groups(), strict=True):
            said = value.decode()
            fields[place] = moment(said) if place else said
        return None if None in fields[: len(_FIELDS)] else Consent._make(fields)


class Blanks:
    """The forms that came last, of those few that most consents are made by."""

    __slots__ = ("_asked", "_known", "_made")

    def __init__(self) -> None:
        self._known: list[Blank] = []
        self._asked = self._made = 0

    def consent(self, body: bytes) -> Consent | None:
        """The consent that a directive gives. None where it has to be read to know what it is."""
        self._asked += 1
        for place, one in enumerate(self._known):
            found = one.match(body)
            if found is not None:
                if place:
                    self._known.insert(0, self._known.pop(place))
                return one.filled(found)
        if self._made < BLANKS_MAX + self._asked // ASKED_A_BLANK:
            self._made += 1
            made = _blank(body)
            if made is not None:
                self._known = [made, *self._known[: BLANKS_MAX - 1]]
        return None


def _blank(body: bytes) -> Blank | None:
    """The form that this consent was made by; None where it is none, or not written plainly.

    Without a backslash every quote begins or ends a string. That a field stands where it seems to is tried:
    other words in its place have to come out as that field.
    """
    if b"\\" in body or not body.startswith(b'{"'):
        return None
    try:
        said = json.loads(body)
        consent = Consent.of(said.get("consent"))
        if said.get("type") != "consent-granted" or consent is None:
            return None
        spans = sorted(_spans(body, said["consent"]), key=itemgetter(1))
        words = {name: f"the {name}" for name, _, _ in spans}
        ends = [0, *[stop for _, _, stop in spans]]
        starts = [*[start for _, start, _ in spans], len(body)]
        pieces = [body[end:start] for end, start in zip(ends, starts, strict=True)]
        filled = [*[word.encode() for word in words.values()], b""]
        other = b"".join([part for pair in zip(pieces, filled, strict=True) for part in pair])
        if json.loads(other) != said | {"consent": said["consent"] | words}:
            return None
    except (ValueError, RecursionError):
        return None
    pattern = re.compile(_FILLED.join([re.escape(one) for one in pieces]))
    return Blank(pattern.fullmatch, tuple([_FIELDS.index(name) for name in words]), consent)


def _spans(body: bytes, consent: dict[str, Any]) -> list[tuple[str, int, int]]:
    """Where each field is that was filled in, as far as that is plain: from which byte to before which."""
    found = []
    for name in _FIELDS:
        value = consent.get(name)
        if isinstance(value, str) and (name == "id" or moment(value) is not None):
            places = list(re.finditer(rb'"%b": ?"(%b)"' % (name.encode(), re.escape(value.encode())), body))
            if len(places) == 1 and re.fullmatch(_FILLED, places[0][1]):
                found.append((name, *places[0].span(1)))
    return found
