"""What `hub doctor` says of one thing that it looked at."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "note", "wrong"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, how it is, and the mend where something is to be done."""

    name: str
    state: State
    says: str
    mend: str = ""
