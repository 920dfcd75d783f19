"""The published numbers on paper: a PDF for whoever is sent it, which says what it counts and what it hides.

The same numbers make the same bytes, so that a report that is sent again is the report that was sent.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from fpdf.fonts import FontFace

from hub import fairness, figures
from hub.equity import Census
from hub.figures import Figure, Series, Table
from hub.handout import FAMILY, Paper, legible
from hub.language import Tongue

BAR_MM: Final = 4.5
NAME_MM: Final = 70
WIDE_MM: Final = 130
TOGETHER_MM: Final = 34  # a heading with the head and first line of its table
HEAD: Final = (235, 238, 242)
INK: Final = (45, 94, 140)


def bulletin(
    series: Sequence[Series], residents: Census | None, whom: str, period: str, until: int, words: Tongue
) -> bytes:
    """A PDF (letter, landscape). In: what was published `until` then (epoch ms), for whom, for when."""
    paper = Paper(words)
    title = words.say("Does it work, and for whom?")
    paper.set_title(title)
    paper.set_creation_date(datetime.fromtimestamp(until / 1000, UTC))
    paper.add_page()
    paper.head(title)
    paper.paragraphs(map(legible, _introduction(series, whom, period, until, words)))
    for one in series:
        _measure(paper, one, words)
    _fairness(paper, series, residents, words)
    return bytes(paper.output())


def hidden(series: Sequence[Series]) -> tuple[int, int]:
    """How many numbers of these are hidden, and how many there are."""
    cells = [n for one in series for _, release in one.months for n in release.cells.values()]
    return sum(n is None for n in cells), len(cells)


def _introduction(
    series: Sequence[Series], whom: str, period: str, until: int, words: Tongue
) -> Iterable[str]:
    number, every = hidden(series)
    yield words.say(
        "Report for %(whom)s, %(period)s. It has everything that was published by %(day)s.",
        whom=whom,
        period=words.period(period),
        day=words.day(until),
    )
    yield words.say(
        "Here are numbers about the program, for everybody. They are about how many people, never about who."
    )
    yield words.say(
        "%(hidden)s of the %(all)s numbers in it are hidden.",
        hidden=words.number(number),
        all=words.number(every),
    )
    yield words.say(
        "A number below 11 could point at a person, so it is not shown, and neither is zero. Other numbers "
        "are hidden with it where it could be worked out from them. The rest are rounded to the nearest 5; "
        "11 to 17 are shown as 15. So rows may not add up."
    )
    yield words.say(
        "Whoever asked not even to be counted is in none of these numbers. Nothing here was used to decide "
        "about anybody."
    )


def _measure(paper: Paper, one: Series, words: Tongue) -> None:
    shown = figures.figure(one, words)
    paper.add_page()
    paper.head(legible(shown.title), 16)
    number, every = hidden([one])
    said = words.say(
        "%(hidden)s of the %(all)s numbers about this are hidden.",
        hidden=words.number(number),
        all=words.number(every),
    )
    paper.paragraphs([legible(shown.says), said, *([shown.noise] if shown.noise else [])])
    paper.ln(3)
    _heading(paper, shown.month)
    _bars(paper, shown, words)
    _table(paper, shown.course, words.say("Month"), words)
    for table in shown.whom:
        _table(paper, table, table.heading, words)


def _heading(paper: Paper, text: str) -> None:
    if paper.will_page_break(TOGETHER_MM):
        paper.add_page()
    paper.ln(2)
    paper.set_font(FAMILY, "B", 11)
    paper.multi_cell(0, 6, legible(text), new_x="LMARGIN", new_y="NEXT")


def _bars(paper: Paper, shown: Figure, words: Tongue) -> None:
    """The newest month, a bar for each kind, with its number beside it."""
    most = max((line.numbers[0] or 0 for line in shown.bars), default=0) or 1
    for line in shown.bars:
        if paper.will_page_break(7):
            paper.add_page()
        y = paper.get_y()
        paper.set_font(FAMILY, size=9)
        paper.cell(NAME_MM, 6, legible(line.words))
        n, x = line.numbers[0], paper.get_x()
        if n is not None:
            width = max(n / most * WIDE_MM, 1)
            with paper.local_context(fill_color=INK):
                paper.rect(x, y + (6 - BAR_MM) / 2, width, BAR_MM, style="F")
            paper.set_x(x + width + 2)
        paper.cell(0, 6, _said(n, words), new_x="LMARGIN", new_y="NEXT")


def _table(paper: Paper, table: Table, first: str, words: Tongue) -> None:
    _heading(paper, table.heading)
    if all(n is None for line in table.lines for n in line.numbers):
        paper.paragraphs([words.say("Every number of this table is hidden.")], 9, 5)
        return
    rows = [[line.words, *(_said(n, words) for n in line.numbers)] for line in table.lines]
    _rows(paper, [first, *table.columns], rows)


def _rows(paper: Paper, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    paper.set_font(FAMILY, size=8)
    style: Any = FontFace(emphasis="BOLD", fill_color=HEAD)
    shape: Any = {"text_align": "LEFT", "v_align": "TOP", "line_height": 4, "padding": 1}
    with paper.table(headings_style=style, **shape) as drawn:
        for one in (heads, *rows):
            line = drawn.row()
            for text in one:
                line.cell(legible(text))


def _fairness(paper: Paper, series: Sequence[Series], residents: Census | None, words: Tongue) -> None:
    """Every group against the largest one, as on the page; what the data cannot say, said."""
    sections = fairness.sections(series, residents, words)
    paper.add_page()
    paper.head(words.say("Is it fair?"), 16)
    paper.paragraphs(_ground(residents, words))
    for one in sections:
        _heading(paper, f"{one['title']} · {one['month']}")
        for each in one["comparisons"]:
            paper.paragraphs([legible(each["words"])], 10, 5)
            based = each["base"] != "none"
            heads = [words.say("Group"), words.say("People")]
            if based:
                heads += [each["of"], words.say("Of 1,000"), words.say("Ratio, and how sure")]
            names = ("group", "people", *(("of", "rate", "said") if based else ()))
            _rows(paper, heads, [[str(line[name]) for name in names] for line in each["lines"]])
        if one["silent"]:
            said = words.say(
                "About these the data cannot say anything, for every number is hidden: %(kinds)s.",
                kinds=one["silent"],
            )
            paper.paragraphs([legible(said)], 9, 5)
    _heading(paper, words.say("What the data cannot say"))
    paper.paragraphs(fairness.unsaid(residents, words), 10, 5)


def _ground(residents: Census | None, words: Tongue) -> Iterable[str]:
    yield words.say(
        "Who is reached, helped, or booked, by race and ethnicity as people state it. Each group is compared "
        "with the largest one."
    )
    if residents is None:
        yield words.say(
            "How many people of each group live here is not loaded. So only people who were referred can be "
            "compared. For the rest there are numbers, and no rates."
        )
    else:
        source = residents.source or words.say("not named")
        yield legible(words.say("Compared with how many people live here. Source: %(source)s", source=source))
    yield words.say("These are differences, not their reasons. A small program says little in one month.")


def _said(n: int | None, words: Tongue) -> str:
    return words.say("hidden") if n is None else words.number(n)
