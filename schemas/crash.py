"""Named points at which a test can freeze or kill this very process.

`HUB_CRASH_POINT=name[:freeze|kill][:n]` stops at the n-th time (first by default) that the point is passed;
several are parted by commas. Without the variable a point is one call that does nothing.
"""

import os
import signal
from collections.abc import Callable

_SIGNALS = {"kill": signal.SIGKILL, "freeze": signal.SIGSTOP}


def _armed(setting: str) -> dict[str, list[int]]:
    """`{name: [signal, passes left]}`. Raises `ValueError`, since a misspelt fault would prove nothing."""
    armed: dict[str, list[int]] = {}
    for part in filter(None, setting.split(",")):
        name, *rest = part.split(":")
        how = rest.pop(0) if rest and not rest[0].isdigit() else "kill"
        count = rest.pop(0) if rest else "1"
        if rest or how not in _SIGNALS or not count.isdigit() or count == "0":
            raise ValueError(f"HUB_CRASH_POINT: expected name[:freeze|kill][:n], got `{part}`")
        armed[name] = [_SIGNALS[how], int(count)]
    return armed


def arm(setting: str) -> Callable[[str], None]:
    """The function that `point` is, for one value of the variable."""
    armed = _armed(setting)

    def passing(name: str) -> None:
        entry = armed.get(name)
        if entry is None:
            return
        entry[1] -= 1
        if entry[1] == 0:
            os.kill(os.getpid(), entry[0])

    def nothing(name: str) -> None:
        return

    return passing if armed else nothing


point = arm(os.environ.get("HUB_CRASH_POINT", ""))
