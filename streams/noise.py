"""Noise on published numbers, by OpenDP: an extra, off until a measure has an `epsilon`. And its budget.

The guarantee is that of differential privacy for one person (Dwork, McSherry, Nissim and Smith, 2006):
whether somebody is counted changes the chance of what is shown by a factor of e^epsilon at most.
`sensitivity` is in how many numbers of one publication a person can be; the discrete Laplace mechanism
(Ghosh, Roughgarden and Sundararajan, 2009) has the scale sensitivity / epsilon, and OpenDP is asked whether
that keeps epsilon.
Which numbers are shown at all is decided before, by true counts, and is no part of the guarantee.
"""

import math
from collections.abc import Iterable, Sequence
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from schemas.errors import Refused
from streams.cells import Noise

SURE: Final = 0.95
MISSING: Final = "noise needs `opendp` where the hub runs: pip install opendp"


class NoOpenDP(Refused):
    """What draws noise is not installed: nothing is published without it instead."""

    code = "noise-missing"


class OverBudget(Refused):
    """A publication would spend more than is left for its month."""

    code = "over-budget"


def spent(epsilons: Iterable[float]) -> Fraction:
    """What publications of one month have spent, exactly: epsilons add up (sequential composition)."""
    return sum((_exact(one) for one in epsilons), Fraction(0))


def afford(epsilons: Iterable[float], epsilon: float, budget: float | None) -> None:
    """Whether one more fits. In: what was spent, what it costs, a month's budget. Raises `OverBudget`."""
    if budget is None:
        raise OverBudget("a measure has an `epsilon`, and no `privacy_budget` is set")
    if spent(epsilons) + _exact(epsilon) > _exact(budget):
        raise OverBudget("the month's `privacy_budget` is spent")


def noise(epsilon: float, sensitivity: int) -> Noise:
    """What is drawn for that epsilon. Raises `NoOpenDP`."""
    dp = _opendp()
    scale = sensitivity / epsilon
    while _mechanism(dp, scale).map(d_in=sensitivity) > epsilon:
        scale = math.nextafter(scale, math.inf)
    within = math.ceil(dp.discrete_laplacian_scale_to_accuracy(scale=scale, alpha=1 - SURE))
    return Noise(epsilon, sensitivity, scale, within)


def drawn(counts: Sequence[int], of: Noise) -> list[int]:
    """The same counts with noise on each. Raises `NoOpenDP`."""
    return list(_mechanism(_opendp(), of.scale)(list(counts)))


def check() -> None:
    """Whether noise can be drawn here. Raises `NoOpenDP`."""
    _opendp()


def _mechanism(dp: Any, scale: float) -> Any:
    space = dp.vector_domain(dp.atom_domain(T=int)), dp.l1_distance(T=int)
    return dp.m.make_laplace(*space, scale=scale)


def _exact(epsilon: float) -> Fraction:
    return Fraction(Decimal(str(epsilon)))


def _opendp() -> Any:
    try:
        import opendp.prelude as dp  # noqa: PLC0415  an extra
    except ImportError:
        raise NoOpenDP(MISSING) from None
    dp.enable_features("contrib")
    return dp
