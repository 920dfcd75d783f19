"""Words, dates and durations in the reader's language.

The words of the pages are in `hub/pages/locale`, those of decisions in `consent/locale`. Catalogues are read
from their `.po` source when the process starts, so there is nothing compiled to keep.
"""

import gettext
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

from babel import dates, negotiate_locale, numbers

from consent import words
from consent.words import Words

LANGUAGES: Final = {"en": "English", "es": "Español"}
COOKIE: Final = "hub_language"
DEFAULT: Final = "en"
HEADER_CHARS_MAX: Final = 200
_FOLDER: Final = Path(__file__).parent / "pages" / "locale"
_NEAR: Final = timedelta(days=7)


@cache
def catalogue(language: str) -> gettext.NullTranslations:
    """The catalogue of a language. Raises `KeyError` for one that there is none of."""
    if language not in LANGUAGES:
        raise KeyError(language)
    folder = _FOLDER / language / "LC_MESSAGES"
    pages, alerts = (
        words.compiled((folder / name).read_bytes(), language) for name in ("hub.po", "alerts.po")
    )
    pages.add_fallback(alerts)
    pages.add_fallback(words.catalogue(language))
    return pages


def choose(cookie: str | None, accepts: str) -> str:
    """The language to answer in: the one that was chosen, else the first that the browser asks for."""
    if cookie in LANGUAGES:
        return str(cookie)
    wanted = [part.split(";")[0].strip() for part in accepts[:HEADER_CHARS_MAX].split(",")]
    found = negotiate_locale([one.replace("-", "_").split("_")[0] for one in wanted], LANGUAGES)
    return found or DEFAULT


class Tongue(Words):
    """One language at one place: texts and times as people there read them. Times in: epoch milliseconds."""

    def __init__(self, language: str, zone: tzinfo = UTC) -> None:
        """In: one of `LANGUAGES`. Raises `KeyError` for another."""
        super().__init__(language, zone, catalogue(language))

    def say_for(self, count: int, one: str, many: str, **values: object) -> str:
        """The text of a message about `count` things; `%(count)s` is in it."""
        return self._texts.ngettext(one, many, count) % {"count": self.number(count), **values}

    def filled(self, context: str, case: str, values: Mapping[str, object]) -> str:
        """The sentence for a case of ours, with `%(name)s` in it filled in."""
        return self._texts.pgettext(context, case) % values

    def plainly(self, context: str, otherwise: str, code: str) -> str:
        """A code in the words of one context; where that has none, in those of another."""
        text = self._texts.pgettext(context, code)
        return text if text != code else self.term(otherwise, code)

    def number(self, value: int) -> str:
        """A whole number with the separators of the place."""
        return numbers.format_decimal(value, locale=self.locale)

    def decimal(self, value: float) -> str:
        """A number with one or two digits after the point, as the place writes it."""
        return numbers.format_decimal(value, "#,##0.##" if value < 10 else "#,##0.#", locale=self.locale)

    def month(self, month: str) -> str:
        """A month, in as 2026-01."""
        first = datetime.fromisoformat(f"{month}-01")
        return dates.format_skeleton("yMMMM", first, locale=self.locale)

    def period(self, period: str) -> str:
        """A month, or a quarter, in as 2026-Q1."""
        year, _, quarter = period.partition("-Q")
        if not quarter:
            return self.month(period)
        first = datetime(int(year), 3 * int(quarter) - 2, 1, tzinfo=UTC)
        return dates.format_skeleton("yQQQQ", first, locale=self.locale)

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


@cache
def tongue(language: str, zone: str) -> Tongue:
    """A language at a place (an IANA time zone's name)."""
    return Tongue(language, ZoneInfo(zone))
