"""An export in plain words, for whoever opens the package without a program."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from hub.exports import GONE, OTHER_GROUND, Answer, Piece, shown_ground
from hub.language import Tongue

WIDTH: Final = 78
PROCEEDINGS: Final = "proceedings"


def summary(answer: Answer, names: Mapping[str, str], words: Tongue) -> str:
    """The text. In: what is exported, what stakeholders are called, a language at a place."""
    return "\n".join([*_head(answer, names, words), *_pieces(answer, words)]) + "\n"


def _head(answer: Answer, names: Mapping[str, str], words: Tongue) -> Iterator[str]:
    scope = answer.scope
    yield words.say("What %(who)s may have", who=names.get(scope.recipient, scope.recipient))
    yield "=" * WIDTH
    yield words.say("For: %(purpose)s", purpose=words.term("purpose", scope.purpose))
    for basis in sorted({one.decision.basis or "" for one in answer.pieces}):
        yield words.say("By: %(basis)s", basis=words.term("basis", basis))
    if (ground := shown_ground(answer)) is not None:
        yield words.say("On the ground of: %(ground)s", ground=ground)
    if scope.since:
        yield words.say(
            "From %(since)s until %(until)s", since=words.day(scope.since), until=words.day(scope.until)
        )
    else:
        yield words.say("Until %(until)s", until=words.day(scope.until))
    if scope.categories or scope.types:
        kinds = [words.term("category", one) for one in scope.categories]
        yield words.say("Only: %(kinds)s", kinds=words.listed([*kinds, *scope.types]))
    yield words.say("Decided and made %(made)s", made=words.exact(answer.at))
    count = len(answer.pieces)
    yield words.say_for(count, "%(count)s record, the oldest first", "%(count)s records, the oldest first")
    if scope.purpose == PROCEEDINGS:
        for reason, left in answer.left_out.items():
            yield words.say_for(
                left,
                "%(count)s record was left out: %(reason)s",
                "%(count)s records were left out: %(reason)s",
                reason=_reason(reason, words),
            )
    yield words.say(
        "records.json has the same for programs; SHA256SUMS and its signature show that nothing was changed."
    )
    yield ""


def _reason(code: str, words: Tongue) -> str:
    if code == OTHER_GROUND:
        return words.say("it rests on something else")
    return words.say("it was erased") if code == GONE else words.term("reason", code)


def _pieces(answer: Answer, words: Tongue) -> Iterator[str]:
    for number, piece in enumerate(answer.pieces):
        yield "-" * WIDTH
        yield words.say("Record %(number)s: %(what)s", number=number, what=_named(piece, words))
        if "time" in piece.view:
            yield words.exact(piece.occurred_at)
        parts = [words.term("compartment", one) for one in piece.decision.compartments]
        yield words.say("Parts: %(parts)s", parts=words.listed(parts))
        for part, fields in piece.view["data"].items():
            yield f"  {words.term('compartment', part)}"
            for name, value in fields.items():
                yield f"    {name}: {_plain(value)}"
        for notice in piece.view["notices"]:
            yield f"  {notice['citation']}: {notice['text']}"


def _named(piece: Piece, words: Tongue) -> str:
    if "category" in piece.view:
        return words.term("category", str(piece.view["category"]))
    return words.term("category", str(piece.view["type"]))


def _plain(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(_plain(one) for one in value)
    return str(value)
