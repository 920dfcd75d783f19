"""The accounting of disclosures on paper: a PDF to hand over, which explains itself."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any, Final, Literal

from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.fonts import FontFace

from hub.accounting import Account
from hub.errors import OperatorError
from hub.governance import Register
from hub.language import Tongue
from hub.report import row, told

FONTS: Final = Path(__file__).parent / "pages" / "vendor" / "fonts"
FAMILY: Final = "DejaVu"
MARGIN_MM: Final = 18
WIDTHS: Final = (20, 22, 28, 18, 20, 14)


class NoLetter(OperatorError):
    """A text has characters that the paper's letters do not have."""


@cache
def _letters() -> frozenset[int]:
    with TTFont(FONTS / "DejaVuSans.ttf") as font:
        return frozenset(font.getBestCmap())


class Paper(FPDF):
    """Pages with their number at the foot, in letters that English and Spanish names need."""

    def __init__(self, words: Tongue, orientation: Literal["portrait", "landscape"] = "landscape") -> None:
        super().__init__(orientation=orientation, format="letter")
        self._words = words
        self.set_lang(words.language)
        self.add_font(FAMILY, "", FONTS / "DejaVuSans.ttf")
        self.add_font(FAMILY, "B", FONTS / "DejaVuSans-Bold.ttf")
        self.set_margin(MARGIN_MM)
        self.set_auto_page_break(True, MARGIN_MM)

    def footer(self) -> None:
        """The page's number."""
        self.set_y(-12)
        self.set_font(FAMILY, size=9)
        self.cell(0, 6, self._words.say("page %(page)s", page=self.page_no()), align="C")

    def head(self, title: str, points: int = 20) -> None:
        """The heading."""
        self.set_font(FAMILY, "B", points)
        self.multi_cell(0, points / 2, title, new_x="LMARGIN", new_y="NEXT")

    def paragraphs(self, texts: Iterable[str], points: int = 11, line_mm: int = 6) -> None:
        """Texts, one below the other."""
        self.set_font(FAMILY, size=points)
        for text in texts:
            self.ln(line_mm / 3)
            self.multi_cell(0, line_mm, text, align="L", new_x="LMARGIN", new_y="NEXT")


def handout(of: Account, register: Register, words: Tongue, now: int) -> bytes:
    """A PDF (letter, landscape) of an accounting, made at `now` in epoch milliseconds.

    Raises `NoLetter` where a name is written in letters that the fonts lack: CSV and JSON have them all.
    """
    rows = [told(one, row(one, of, register, words), words) for one in of.disclosures]
    check_letters(text for one in rows for text in one)
    paper = Paper(words)
    title = words.say("Who learned what about you")
    paper.set_title(title)
    paper.add_page()
    paper.head(title)
    paper.paragraphs(_introduction(of, words, now))
    paper.ln(4)
    if rows:
        _table(paper, rows, words)
    else:
        paper.set_font(FAMILY, "B", 13)
        paper.multi_cell(0, 8, words.say("Nothing was disclosed in this period."))
    return bytes(paper.output())


def _introduction(of: Account, words: Tongue, now: int) -> Iterable[str]:
    yield words.say(
        "Participant %(participant)s. From %(since)s to %(until)s. Made %(made)s.",
        participant=of.participant,
        since=words.day(of.since),
        until=words.day(of.until),
        made=words.exact(now),
    )
    yield words.say(
        "Below is every time this hub gave something about you to an organisation, newest first. "
        "You see when, to whom, what, for what, and what allowed it. In doubt means that a machine failed in "
        "the middle: it may have been read, so we count it."
    )
    yield words.say(
        "What organisations told each other in other ways is not known here. "
        "You may ask for this list again. You may ask us to correct what is wrong."
    )


def _table(paper: FPDF, rows: Iterable[tuple[str, ...]], words: Tongue) -> None:
    heads = (
        *(words.say("When"), words.say("To whom"), words.say("What"), words.say("For what")),
        *(words.say("By whose leave"), words.say("How sure")),
    )
    paper.set_font(FAMILY, size=10)
    style: Any = FontFace(emphasis="BOLD", fill_color=(235, 238, 242))
    shape: Any = {
        "col_widths": WIDTHS,
        "text_align": "LEFT",
        "v_align": "TOP",
        "line_height": 5,
        "padding": 1.5,
    }
    with paper.table(headings_style=style, **shape) as table:
        for one in (heads, *rows):
            line = table.row()
            for text in one:
                line.cell(text)


def legible(text: str) -> str:
    """A text with a question mark for every letter that the fonts cannot write."""
    letters = _letters()
    return "".join(one if ord(one) in letters or one == "\n" else "?" for one in text)


def check_letters(texts: Iterable[str]) -> None:
    """Raises `NoLetter` where the fonts cannot write one of these."""
    letters = _letters()
    if any(ord(letter) not in letters for text in texts for letter in text if letter != "\n"):
        raise NoLetter(
            "a name is written in letters that the paper does not have", "Take `--format csv` or `json`."
        )
