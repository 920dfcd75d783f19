"""What goes with a disclosure besides the data: statutory notices, and the consent's scope in plain words.

Notices stand word for word, in the English of the law, in `notices.toml` with their source.
"""

import tomllib
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files
from typing import Any, Final, NamedTuple

from consent.words import LANGUAGES, Words, words_in

DAY_MS: Final = 86_400_000
said_max: Final = 4_096  # sentences that are remembered
_ORDER: Final = ("subject", "occurrence", "engagement", "activity", "clinical", "legal", "narrative")


class Notice(NamedTuple):
    """One statutory text. `form` is `full` or `short`: by law either is enough."""

    obligation: str
    citation: str
    form: str
    text: str

    def as_json(self) -> dict[str, str]:
        """The shape in which deliveries carry it."""
        return {"citation": self.citation, "form": self.form, "text": self.text}


def _read() -> tuple[Notice, ...]:
    source = files("consent").joinpath("notices.toml").read_text(encoding="utf-8")
    return tuple(Notice(**one) for one in tomllib.loads(source)["notice"])


NOTICES: Final = _read()


def attached(obligations: Iterable[str]) -> tuple[Notice, ...]:
    """The notices that these obligations attach, each once, in the order of the file."""
    asked = frozenset(obligations)
    return tuple(one for one in NOTICES if one.obligation in asked)


def scope(
    words: Words, purpose: str, compartments: Iterable[str], until: int | None, *, on_exit: bool
) -> str:
    """What a participant agreed that its reader may have, as one sentence.

    In: `until`, the last instant of the consent in milliseconds, None where no date ends it; `on_exit`,
    whether leaving the program ends it.
    """
    values: dict[str, Any] = {
        "purpose": words.term("purpose", purpose),
        "parts": words.listed(words.term("compartment", one) for one in _told(compartments)),
    }
    case = "exit" if on_exit else "open"
    if until is not None:
        case = f"day.{case}"
        values["day"] = words.day(until)
    return words.scope(case, values)


def _told(compartments: Iterable[str]) -> list[str]:
    """Who, when, what was done, and then the rest."""
    given = set(compartments)
    return [one for one in _ORDER if one in given] + sorted(given.difference(_ORDER))


def scopes(purpose: str, compartments: Iterable[str], until: int | None, *, on_exit: bool) -> dict[str, str]:
    """The same in every language, by its code, the day of `until` by UTC."""
    day = None if until is None else until - until % DAY_MS
    return dict(_said(purpose, tuple(compartments), day, on_exit))


@lru_cache(maxsize=said_max)
def _said(
    purpose: str, parts: tuple[str, ...], day: int | None, on_exit: bool
) -> tuple[tuple[str, str], ...]:
    """Most consents of a program end on few days, and its words take a hundred times longer to find."""
    return tuple(
        (language, scope(words_in(language), purpose, parts, day, on_exit=on_exit)) for language in LANGUAGES
    )
