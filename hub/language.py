"""Words, dates and durations in the reader's language. One gettext catalogue for each, in `hub/pages/locale`.

Catalogues are read from their `.po` source when the process starts, so there is nothing compiled to keep.
"""

import gettext
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import Locale, dates, lists, negotiate_locale, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LANGUAGES: Final = {"en": "English", "es": "Español"}
COOKIE: Final = "hub_language"
DEFAULT: Final = "en"
HEADER_CHARS_MAX: Final = 200
TERRITORIES: Final = {"en": "en_US", "es": "es_US"}
_FOLDER: Final = Path(__file__).parent / "pages" / "locale"
_NEAR: Final = timedelta(days=7)


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The catalogue of a language. Raises `KeyError` for one that there is none of."""
    if language not in LANGUAGES:
        raise KeyError(language)
    file = _FOLDER / language / "LC_MESSAGES" / "hub.po"
    compiled = BytesIO()
    with file.open("rb") as source:
        write_mo(compiled, read_po(source, locale=language, abort_invalid=True))
    compiled.seek(0)
    return gettext.GNUTranslations(compiled)


def choose(cookie: str | None, accepts: str) -> str:
    """The language to answer in: the one that was chosen, else the first that the browser asks for."""
    if cookie in LANGUAGES:
        return str(cookie)
    wanted = [part.split(";")[0].strip() for part in accepts[:HEADER_CHARS_MAX].split(",")]
    found = negotiate_locale([one.replace("-", "_").split("_")[0] for one in wanted], LANGUAGES)
    return found or DEFAULT


class Tongue:
    """One language at one place: texts and times as people there read them. Times in: epoch milliseconds."""

    def __init__(self, language: str, zone: tzinfo = UTC) -> None:
        self.language = language
        self.zone = zone
        self.locale = Locale.parse(TERRITORIES[language])
        self._texts = catalogue(language)

    def say(self, message: str, **values: object) -> str:
        """The text of a message, with `%(name)s` in it filled in."""
        text = self._texts.gettext(message)
        return text % values if values else text

    def say_for(self, count: int, one: str, many: str, **values: object) -> str:
        """The text of a message about `count` things; `%(count)s` is in it."""
        return self._texts.ngettext(one, many, count) % {"count": self.number(count), **values}

    def term(self, context: str, code: str) -> str:
        """A code of ours in people's words; the code itself, readable, where nobody gave it any."""
        text = self._texts.pgettext(context, code)
        return text if text != code else code.replace("-", " ").replace(".", ", ")

    def number(self, value: int) -> str:
        """A whole number with the separators of the place."""
        return numbers.format_decimal(value, locale=self.locale)

    def clock(self, ms: int) -> str:
        """The time of day."""
        return dates.format_time(self._local(ms), "short", tzinfo=self.zone, locale=self.locale)

    def moment(self, ms: int, now_ms: int) -> str:
        """Day and time of day: today's time alone, within a week by its weekday, else by date."""
        at, now = self._local(ms), self._local(now_ms)
        time = self.clock(ms)
        if at.date() == now.date():
            return self.say("today %(time)s", time=time)
        if at.date() == now.date() - timedelta(days=1):
            return self.say("yesterday %(time)s", time=time)
        if abs(at - now) < _NEAR:
            day = dates.format_date(at, "EEEE", locale=self.locale)
        else:
            day = dates.format_date(at, "medium", locale=self.locale)
        return self.say("%(day)s %(time)s", day=day, time=time)

    def ago(self, ms: int, now_ms: int) -> str:
        """How long ago, or in how long."""
        difference = timedelta(milliseconds=ms - now_ms)
        return dates.format_timedelta(difference, add_direction=True, locale=self.locale)

    def exact(self, ms: int) -> str:
        """Date, time to the second, and time zone."""
        return dates.format_datetime(
            self._local(ms), "d MMM y, HH:mm:ss z", tzinfo=self.zone, locale=self.locale
        )

    def day(self, ms: int) -> str:
        """The date alone."""
        return dates.format_date(self._local(ms), "medium", locale=self.locale)

    def listed(self, items: Iterable[str]) -> str:
        """A list as part of a sentence: `a, b and c`."""
        return lists.format_list(list(items), locale=self.locale)

    def _local(self, ms: int) -> datetime:
        return datetime.fromtimestamp(ms / 1000, tz=self.zone)


@cache
def tongue(language: str, zone: str) -> Tongue:
    """A language at a place (an IANA time zone's name)."""
    return Tongue(language, ZoneInfo(zone))
