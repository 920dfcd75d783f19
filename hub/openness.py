"""What `hub doctor` says of what everybody may see, and of who reads what everybody may write."""

from collections.abc import Sequence
from pathlib import Path

from hub import broker, equity, governance
from hub.errors import OperatorError
from hub.finding import Finding
from hub.settings import Settings
from schemas.errors import Invalid
from streams import measures, noise


def public(configured: Settings) -> Finding:
    """Measures and their noise, the census, and the desk that reads letters of the community."""
    try:
        rows = _measures(configured.measures)
        _noise(rows, configured.privacy_budget)
        says = f"{len(rows)} measures, {_census(configured.census)}"
        desk = _desk(configured)
    except OperatorError as error:
        return Finding("public", "wrong", error.what, error.mend)
    if desk is None:
        says += "; nobody reads what the community writes, so nothing is taken in"
        return Finding("public", "note", says, "Set `linking_desk` to the stakeholder that does.")
    return Finding("public", "ok", f"{says}; {desk} reads what the community writes")


def _measures(path: Path | None) -> Sequence[measures.Measure]:
    try:
        return measures.load(path).rows
    except Invalid as error:
        says = "; ".join(f"`{one.path}`: {one.detail}" for one in error.problems[:3])
        raise OperatorError(f"`measures`: {says}", "Correct it; see `streams/measures.toml`.") from None
    except (OSError, UnicodeDecodeError):
        raise OperatorError("`measures` cannot be read", "Name a file that the hub may read.") from None


def _noise(rows: Sequence[measures.Measure], budget: float | None) -> None:
    """Whether what has noise can be published, all of a month together."""
    newest = {row.id: row.epsilon for row in rows}
    costs = [one for one in newest.values() if one is not None]
    if not costs:
        return
    try:
        noise.check()
        noise.afford(costs[:-1], costs[-1], budget)
    except noise.NoOpenDP as error:
        mend = "Until then measures with an `epsilon` are not published."
        raise OperatorError(error.detail, mend) from None
    except noise.OverBudget:
        cost = float(noise.spent(costs))
        says = f"a month of all measures costs {cost:g} of epsilon, more than `privacy_budget`"
        raise OperatorError(says, "Raise `privacy_budget`, or lower an `epsilon`.") from None


def _census(path: Path | None) -> str:
    if path is None:
        return "no census"
    try:
        return f"a census of {len(equity.census(path.read_text('utf-8')).people)} groups"
    except Invalid as error:
        says = "; ".join(f"line {one.path.lstrip('/')}: {one.detail}" for one in error.problems[:3])
        raise OperatorError(f"`census`: {says}", "Correct it; see docs/public.md.") from None
    except (OSError, UnicodeDecodeError):
        raise OperatorError("`census` cannot be read", "Name a file that the hub may read.") from None


def _desk(configured: Settings) -> str | None:
    desk = configured.linking_desk
    if desk is not None:
        known = governance.read_once(configured.kafka(broker.address(configured)))
        if not known.registered(desk):
            says = f"`linking_desk`: no stakeholder is called `{desk}`"
            raise OperatorError(says, "Add it with `hub agency add`, or name another.")
    return desk
