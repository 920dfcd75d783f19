"""Words of people for codes of ours, in English and Spanish: what explanations and notices are said in.

The catalogues are gettext's (`consent/locale`), read from their `.po` source when this module is imported.
"""

import gettext
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from importlib.resources import files
from io import BytesIO
from typing import Final

from babel import Locale, dates, lists
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES: Final = ("en", "es")
TERRITORIES: Final = {"en": "en_US", "es": "es_US"}
listed_max: Final = 5  # of a list in a sentence; how many more there are is said
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST: Final = datetime(1, 1, 3, tzinfo=UTC)  # what has a date in every time zone
_LAST: Final = datetime(9999, 12, 29, tzinfo=UTC)


def compiled(source: bytes, language: str) -> gettext.GNUTranslations:
    """The catalogue in a `.po` file's bytes."""
    machine = BytesIO()
    write_mo(machine, read_po(BytesIO(source), locale=language, abort_invalid=True))
    machine.seek(0)
    return gettext.GNUTranslations(machine)


@cache
def catalogue(language: str) -> gettext.GNUTranslations:
    """The words of the decision point in a language. Raises `KeyError` for one that there is none of."""
    if language not in LANGUAGES:
        raise KeyError(language)
    file = files("consent").joinpath("locale", language, "LC_MESSAGES", "consent.po")
    return compiled(file.read_bytes(), language)


class Words:
    """One language at one place. Times go in as milliseconds since 1970."""

    def __init__(
        self, language: str, zone: tzinfo = UTC, texts: gettext.NullTranslations | None = None
    ) -> None:
        """In: one of `LANGUAGES`; `texts` replaces the catalogue by one that has more in it."""
        self.language = language
        self.zone = zone
        self.locale = Locale.parse(TERRITORIES[language])
        self._texts = catalogue(language) if texts is None else texts

    def say(self, message: str, **values: object) -> str:
        """The text of a message, with `%(name)s` in it filled in."""
        text = self._texts.gettext(message)
        return text % values if values else text

    def term(self, context: str, code: str) -> str:
        """A code of ours in people's words; the code itself, readable, where nobody gave it any."""
        text = self._texts.pgettext(context, code)
        return text if text != code else code.replace("-", " ").replace(".", ", ")

    def has(self, case: str) -> bool:
        """Whether there is a sentence for a case."""
        return self._texts.pgettext("why", case) != case

    def told(self, case: str, to: str, values: Mapping[str, str]) -> str:
        """The sentence for a case, to the `participant` where it speaks to them otherwise than of them."""
        text = self._texts.pgettext(f"why, to the {to}", case)
        if text == case:
            text = self._texts.pgettext("why", case)
        return text % values

    def scope(self, case: str, values: Mapping[str, str]) -> str:
        """The sentence for how far a consent goes."""
        return self._texts.pgettext("scope", case) % values

    def day(self, ms: int) -> str:
        """The date alone; the first or the last that there is where the instant has none."""
        return dates.format_date(self._local(ms), "medium", locale=self.locale)

    def listed(self, items: Iterable[str]) -> str:
        """A list as part of a sentence: `a, b and c`."""
        return lists.format_list(list(items), locale=self.locale)

    def some(self, items: Iterable[str]) -> str:
        """A list as part of a sentence, cut short where it is long."""
        every = list(items)
        if len(every) <= listed_max:
            return self.listed(every)
        rest = len(every) - listed_max + 1
        return self.listed([*every[: listed_max - 1], self.say("%(count)s others", count=rest)])

    def _local(self, ms: int) -> datetime:
        try:
            at = _EPOCH + timedelta(milliseconds=ms)
        except OverflowError:
            at = _LAST if ms > 0 else _FIRST
        return min(max(at, _FIRST), _LAST).astimezone(self.zone)


_WORDS: Final = {language: Words(language) for language in LANGUAGES}


def words_in(language: str) -> Words:
    """The words of a language, times in UTC. Raises `KeyError` for one that there is none of."""
    return _WORDS[language]
