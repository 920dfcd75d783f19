"""Letting a way out wait, and go on again: records in `governance`, and in `access` who did it and why."""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from connectors.recheck import PAUSED
from hub import acts
from hub.appender import Appender
from hub.governance import Register, write

PAUSE: Final = "connector-paused"
RESUME: Final = "connector-resumed"


class Hold(NamedTuple):
    """Who let a way out wait, why, and since when (epoch milliseconds; None where it was not written)."""

    by: str
    why: str
    since: int | None

    @classmethod
    def of(cls, written: object) -> "Hold":
        """The hold that a subscription's settings tell of. Once they told the reason alone."""
        if isinstance(written, Mapping):
            return cls(str(written.get("by", "")), str(written.get("why", "")), written.get("at"))
        return cls("operator", str(written), None)


def held(register: Register) -> dict[tuple[str, str], Hold]:
    """The ways out that wait, by stakeholder and adapter."""
    return {
        (one["stakeholder"], one["adapter"]): Hold.of(one["settings"][PAUSED])
        for one in register.subscriptions.values()
        if PAUSED in one.get("settings", ())
    }


def pause(
    appender: Appender, register: Register, stakeholder: str, adapter: str, why: str, by: str, now_ms: int
) -> None:
    """Lets deliveries wait; what is under way ends. Raises `Unavailable` where the log takes nothing."""
    hold = {"why": why or "paused", "by": by, "at": now_ms}
    _change(appender, register, stakeholder, adapter, by, lambda kept: {**kept, PAUSED: hold})
    acts.access(appender, PAUSE, by, {"about": f"{stakeholder}/{adapter}", "reason": why})


def resume(appender: Appender, register: Register, stakeholder: str, adapter: str, by: str) -> None:
    """Lets them go on, each decided anew. Raises `Unavailable` where the log takes nothing."""
    _change(appender, register, stakeholder, adapter, by, _without)
    acts.access(appender, RESUME, by, {"about": f"{stakeholder}/{adapter}"})


def _without(kept: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in kept.items() if name != PAUSED}


def _change(
    appender: Appender,
    register: Register,
    stakeholder: str,
    adapter: str,
    by: str,
    change: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> None:
    """Writes every subscription of a way anew, with its settings changed."""
    for name, body in sorted(register.subscriptions.items()):
        if (body["stakeholder"], body["adapter"]) == (stakeholder, adapter):
            changed = {**body, "settings": change(body.get("settings", {}))}
            write(appender, "subscription", name, changed, by)
