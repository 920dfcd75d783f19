"""Words of people: days that every instant has, lists that stay short, codes that nobody gave words to."""

from zoneinfo import ZoneInfo

import pytest
from babel.messages.pofile import PoFileError

from consent.untyped import ALWAYS_MS, NEVER_MS
from consent.words import Words, catalogue, compiled, listed_max, words_in

ENGLISH, SPANISH = words_in("en"), words_in("es")
DAY_MS = 86_400_000
SOURCE = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"

msgid "none of %(all)s"
msgstr "ninguna de las %(all)s"

msgid "100 %"
msgstr "el 100 %, señora"

msgctxt "why"
msgid "consent"
msgstr "aceptado: %(agreed)s"

#, fuzzy
msgid "a guess"
msgstr "una conjetura"
"""


@pytest.mark.parametrize(
    ("ms", "english", "spanish"),
    [
        (0, "Jan 1, 1970", "1 ene 1970"),
        (-1, "Dec 31, 1969", "31 dic 1969"),
        (DAY_MS - 1, "Jan 1, 1970", "1 ene 1970"),
        (DAY_MS, "Jan 2, 1970", "2 ene 1970"),
        (1_780_000_000_000, "May 28, 2026", "28 may 2026"),
        (-62_135_596_800_000, "Jan 3, 1", "3 ene 1"),
        (-62_135_596_800_000 + 3 * DAY_MS, "Jan 4, 1", "4 ene 1"),
        (253_402_300_799_999, "Dec 29, 9999", "29 dic 9999"),
        (253_402_300_800_000 - 4 * DAY_MS, "Dec 28, 9999", "28 dic 9999"),
        (NEVER_MS, "Dec 29, 9999", "29 dic 9999"),
        (ALWAYS_MS, "Jan 3, 1", "3 ene 1"),
    ],
)
def test_every_instant_has_a_day(ms: int, english: str, spanish: str) -> None:
    assert (ENGLISH.day(ms), SPANISH.day(ms)) == (english, spanish)


@pytest.mark.parametrize(
    ("zone", "day"),
    [("America/Los_Angeles", "Dec 31, 1969"), ("Pacific/Auckland", "Jan 1, 1970"), ("UTC", "Jan 1, 1970")],
)
def test_a_day_is_that_of_the_reader(zone: str, day: str) -> None:
    there = Words("en", ZoneInfo(zone))
    assert there.day(0) == day
    assert there.term("purpose", "treatment") == "treatment"
    assert Words("es", ZoneInfo(zone)).term("purpose", "treatment") == "tratamiento"
    for edge in (ALWAYS_MS, NEVER_MS):
        assert there.day(edge), "the clock of no zone leaves the calendar"


def test_lists_read_as_parts_of_a_sentence() -> None:
    for given, english, spanish in (
        ([], "", ""),
        (["a"], "a", "a"),
        (["a", "b"], "a and b", "a y b"),
        (["a", "b", "c"], "a, b, and c", "a, b y c"),
    ):
        assert (ENGLISH.listed(iter(given)), SPANISH.listed(iter(given))) == (english, spanish)
        assert (ENGLISH.some(iter(given)), SPANISH.some(iter(given))) == (english, spanish)


def test_a_list_past_its_bound_says_how_many_more_there_are() -> None:
    letters = list("abcdefgh")
    assert listed_max == 5
    assert ENGLISH.some(letters[:5]) == "a, b, c, d, and e"
    assert ENGLISH.some(letters[:6]) == "a, b, c, d, and 2 others"
    assert ENGLISH.some(letters) == "a, b, c, d, and 4 others"
    assert SPANISH.some(letters) == "a, b, c, d y 4 más"
    assert ENGLISH.listed(letters) == "a, b, c, d, e, f, g, and h"


def test_a_code_without_words_is_shown_readable() -> None:
    assert ENGLISH.term("category", "service.housing") == "housing services"
    assert SPANISH.term("category", "service.housing") == "servicios de vivienda"
    assert ENGLISH.term("purpose", "service.housing") == "service, housing", "words are those of their kind"
    assert ENGLISH.term("category", "pet-care.dog-walking") == "pet care, dog walking"
    assert ENGLISH.term("category", "weather") == "weather"


def test_a_case_has_a_sentence_or_none() -> None:
    assert ENGLISH.has("no-consent.signed")
    assert not ENGLISH.has("no-consent.nonsense")
    assert not ENGLISH.has("treatment"), "a word of another kind is no sentence"


def test_the_participant_is_spoken_to_and_everybody_else_told() -> None:
    values = {"recipient": "Reach", "day": "today"}
    case = "no-consent.signed"
    assert (
        ENGLISH.told(case, "participant", values) == "Not shared with Reach: you signed for it only on today."
    )
    about = "Not shared with Reach: the participant signed for it only on today."
    assert ENGLISH.told(case, "officer", values) == about
    order = "Not shared with Reach: a court order is on record, but no subpoena came with it."
    for reader in ("participant", "officer"):
        assert ENGLISH.told("proceedings.subpoena", reader, values) == order


def test_a_catalogue_is_read_from_its_source() -> None:
    texts = compiled(SOURCE.encode(), "es")
    own = Words("es", texts=texts)
    assert own.say("none of %(all)s", all=3) == "ninguna de las 3"
    assert own.say("100 %") == "el 100 %, señora", "nothing to fill in, so a percent sign is one"
    assert own.say("a guess") == "a guess", "what was only guessed is not said"
    assert own.has("consent")
    assert own.told("consent", "officer", {"agreed": "todo"}) == "aceptado: todo"
    assert own.language == "es"
    assert own.day(0) == "1 ene 1970", "in UTC where no zone is named"


def test_a_catalogue_that_is_none_is_not_half_read() -> None:
    with pytest.raises(PoFileError):
        compiled(b'msgid "one"\nmsgstr "1"\nnonsense\n', "en")


@pytest.mark.parametrize("language", ["tlh", "", "EN", "../es"])
def test_a_language_without_a_catalogue_is_told(language: str) -> None:
    with pytest.raises(KeyError):
        words_in(language)
    with pytest.raises(KeyError):
        Words(language)
    with pytest.raises(KeyError, match=f"^'{language}'$"):
        catalogue(language)
