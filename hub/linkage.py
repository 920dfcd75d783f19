"""Who may be the same person: participants of one organisation, compared field by field. Pure.

The model is Fellegi and Sunter's (A Theory for Record Linkage, JASA 64, 1969), reckoned by Splink: for each
field, how often it agrees so well among records of one person (m) and among those of two (u); the base-2
logarithms of m/u add up, to the prior odds. Both stand here and are not learned, so that what a field weighs
is the same in a program of fifty people as of five thousand, and today as tomorrow.

Needs the extra `linkage`. What is compared is in memory alone: nothing spills to a disk.
"""

import logging
import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

LEAST: Final = 0.9  # the probability from which on two are suggested
SUGGESTED_MAX: Final = 200
TWICE: Final = 0.01  # of the people, those who are expected to have been entered twice
PEOPLE_MIN: Final = 500  # fewer are taken for so many: or siblings born on one day are suggested
MEMORY: Final = "1GB"
_BIRTH: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ABSENT: Final = -1

Level = tuple[str, str, float, float]  # what it is called, when it is so (SQL), m, u
FIELDS: Final[dict[str, tuple[str, tuple[Level, ...]]]] = {
    "given": (
        "given_l IS NULL OR given_r IS NULL",
        (
            ("same", "given_l = given_r", 0.72, 0.01),
            ("swapped", "given_l = family_r AND family_l = given_r", 0.04, 0.0002),
            ("alike", "jaro_winkler_similarity(given_l, given_r) >= 0.88", 0.14, 0.01),
            ("differs", "ELSE", 0.10, 0.9798),
        ),
    ),
    "family": (
        "family_l IS NULL OR family_r IS NULL",
        (
            ("same", "family_l = family_r", 0.75, 0.005),
            ("swapped", "given_l = family_r AND family_l = given_r", 0.04, 0.0002),
            ("alike", "jaro_winkler_similarity(family_l, family_r) >= 0.88", 0.11, 0.01),
            (
                "one of two",
                "list_contains(names_l, family_r) OR list_contains(names_r, family_l)",
                0.06,
                0.01,
            ),
            ("differs", "ELSE", 0.04, 0.9748),
        ),
    ),
    "birth date": (
        "born_l IS NULL OR born_r IS NULL",
        (
            ("same", "born_l = born_r", 0.84, 0.00005),
            ("day and month swapped", "born_l = turned_r", 0.03, 0.0001),
            ("one digit off", "damerau_levenshtein(born_l, born_r) <= 1", 0.09, 0.002),
            ("differs", "ELSE", 0.04, 0.99785),
        ),
    ),
}
_BLOCKS: Final = (("born",), ("turned",), ("whole",), ("family", "year"), ("given", "year"))


class Known(NamedTuple):
    """What an organisation itself said of somebody: participant's id, name, birth date (as 1990-02-01)."""

    participant: str
    name: str
    birth_date: str = ""


class Why(NamedTuple):
    """How one field agrees, and what that weighs in bits: more than 0 for the same person, less against."""

    field: str
    agrees: str
    bits: float


class Suggestion(NamedTuple):
    """Two participants who may be one, how probable that is, and why. It links nobody."""

    one: str
    other: str
    probability: float
    why: tuple[Why, ...]


def suggest(
    known: Iterable[Known], apart: Iterable[tuple[str, str]] = (), least: float = LEAST
) -> list[Suggestion]:
    """The most probable first, `SUGGESTED_MAX` at most.

    In: people, each once; pairs of whom somebody said that they are two; the least probability. Raises
    `ImportError` without the extra.
    """
    from duckdb import connect  # noqa: PLC0415  an extra, and slow to import
    from splink import DuckDBAPI, Linker  # noqa: PLC0415

    rows = [row for row in map(_row, known) if row["whole"] is not None]
    if len(rows) < 2:
        return []
    logging.getLogger("splink").setLevel(logging.CRITICAL)
    config: dict[str, Any] = {"temp_directory": "", "memory_limit": MEMORY, "threads": "1"}
    with connect(":memory:", config=config) as database:
        api = DuckDBAPI(connection=database)
        linker = Linker(api.register(_table(rows)), _settings(len(rows)), log_level=None)
        found = linker.inference.predict(threshold_match_probability=least, warning_mode="never")
        scored = found.as_record_list()
    two = {frozenset(pair) for pair in apart}
    made = [_suggestion(one) for one in scored]
    some = [one for one in made if frozenset((one.one, one.other)) not in two]
    return sorted(some, key=lambda one: (-one.probability, one.one, one.other))[:SUGGESTED_MAX]


def _row(one: Known) -> dict[str, Any]:
    """What is compared of somebody; None for what there is not."""
    said = unicodedata.normalize("NFKD", one.name).casefold()
    last, _, first = said.partition(",")
    plain = "".join(c for c in f"{first} {last}" if not unicodedata.combining(c))
    names = re.findall(r"[^\W\d_]+", plain)
    born = one.birth_date if _BIRTH.fullmatch(one.birth_date) else None
    return {
        "unique_id": one.participant,
        "given": names[0] if names else None,
        "family": names[-1] if len(names) > 1 else None,
        "names": names,
        "whole": " ".join(sorted(names)) or None,
        "born": born,
        "turned": f"{born[:5]}{born[8:]}-{born[5:7]}" if born else None,
        "year": born[:4] if born else None,
    }


def _table(rows: Sequence[dict[str, Any]]) -> Any:
    import pyarrow as pa  # noqa: PLC0415  of the extra

    words = [(name, pa.string()) for name in rows[0] if name != "names"]
    return pa.Table.from_pylist(list(rows), schema=pa.schema([*words, ("names", pa.list_(pa.string()))]))


def _settings(people: int) -> dict[str, Any]:
    return {
        "link_type": "dedupe_only",
        "unique_id_column_name": "unique_id",
        "probability_two_random_records_match": 2 * TWICE / max(people, PEOPLE_MIN),
        "retain_intermediate_calculation_columns": True,
        "retain_matching_columns": True,  # else it does not say how they agree
        "blocking_rules_to_generate_predictions": [
            {"blocking_rule": " AND ".join(f"l.{one} = r.{one}" for one in block)} for block in _BLOCKS
        ]
        + [{"blocking_rule": "l.born = r.turned"}],
        "comparisons": [_comparison(name) for name in FIELDS],
    }


def _comparison(name: str) -> dict[str, Any]:
    absent, levels = FIELDS[name]
    column = name.partition(" ")[0]
    made: list[dict[str, Any]] = [{"sql_condition": absent, "is_null_level": True}]
    made += [
        {"sql_condition": condition, "m_probability": m, "u_probability": u} for _, condition, m, u in levels
    ]
    return {"output_column_name": column, "comparison_levels": made}


def _suggestion(scored: dict[str, Any]) -> Suggestion:
    one, other = sorted((scored["unique_id_l"], scored["unique_id_r"]))
    why = []
    for name, (_, levels) in FIELDS.items():
        column = name.partition(" ")[0]
        gamma = scored[f"gamma_{column}"]
        agrees = "not known" if gamma == _ABSENT else levels[len(levels) - 1 - gamma][0]
        why.append(Why(name, agrees, round(float(scored[f"mw_{column}"]), 1)))
    return Suggestion(one, other, round(float(scored["match_probability"]), 4), tuple(why))
