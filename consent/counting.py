"""Whether somebody is counted: "not even counted" is a restriction like any other, and beats everything.

Counts go to everybody, so it is about restrictions that concern every recipient, for `program-evaluation`.
"""

from collections.abc import Sequence
from typing import Final

from consent.question import concerns
from consent.state import State
from consent.untyped import ALL, lineage

PURPOSE: Final = "program-evaluation"


def counted(category: str, labels: Sequence[str], state: State) -> bool:
    """Whether an event of this category and these labels may be counted, by its participant's directives."""
    if not state.restrictions:
        return True
    covering = lineage(category)
    return not any(
        ALL in one.recipients
        and (PURPOSE in one.purposes or ALL in one.purposes)
        and concerns(one, covering, labels)
        for one in state.restrictions
    )
