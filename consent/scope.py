"""Sets of disclosures as products of dimensions, and their exact differences: what nested exceptions come to.

A `Scope` is a grant without its name. An exception that is taken out of it leaves several scopes, one for
each dimension in which the exception is narrower; together they are the difference, no more and no less.
Where a dimension cannot be subtracted from (a class less one of its members, "anybody" less somebody), the
difference does not exist as grants, and saying so is the only right answer.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

from consent.policy import Policy
from consent.untyped import ALL, ALWAYS_MS, NEVER_MS, TREATING

scopes_max: Final = 100


class Inexpressible(Exception):
    """A difference that no grants have. The argument names the dimension."""


class Scope(NamedTuple):
    """One product. None is unconstrained; `label`, in exceptions only, is what the event must carry."""

    disclosers: frozenset[str] | None = None
    recipients: frozenset[str] | None = None
    purposes: frozenset[str] | None = None
    categories: frozenset[str] | None = None
    compartments: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    label: str | None = None
    since: int = ALWAYS_MS
    until: int = NEVER_MS

    @property
    def empty(self) -> bool:
        """Whether no disclosure is in it."""
        named = (self.disclosers, self.recipients, self.purposes, self.categories, self.compartments)
        return any(one is not None and not one for one in named) or self.since > self.until


def within(outer: Scope, inner: Scope) -> Scope:
    """What is in both. Raises `Inexpressible` where a class and a member of it would have to be compared."""
    if outer.label and inner.label and outer.label != inner.label:
        raise Inexpressible("securityLabel")
    label = inner.label or outer.label
    without = outer.without | inner.without
    if label in without:
        return inner._replace(categories=frozenset())
    return Scope(
        disclosers=_common(outer.disclosers, inner.disclosers),
        recipients=_parties(outer.recipients, inner.recipients),
        purposes=_common(outer.purposes, inner.purposes),
        categories=_categories(outer.categories, inner.categories),
        compartments=_common(outer.compartments, inner.compartments),
        without=without,
        label=label,
        since=max(outer.since, inner.since),
        until=min(outer.until, inner.until),
    )


def less(scope: Scope, taken: Scope, policy: Policy) -> list[Scope]:
    """The scopes that together hold what is in `scope` and not in `taken`. Raises `Inexpressible`."""
    try:
        if within(scope, taken).empty:
            return [scope]
    except Inexpressible:
        pass  # they may overlap: the dimension at fault decides below whether that can be told
    left: list[Scope] = []
    if taken.disclosers is not None:
        left.append(scope._replace(disclosers=_without(scope.disclosers, taken.disclosers, "actor")))
    if taken.recipients is not None:
        if TREATING in (scope.recipients or ()) and taken.recipients != frozenset({TREATING}):
            raise Inexpressible("actor")
        if TREATING in taken.recipients and scope.recipients != frozenset({TREATING}):
            raise Inexpressible("actor")
        left.append(scope._replace(recipients=_without(scope.recipients, taken.recipients, "actor")))
    if taken.purposes is not None:
        left.append(scope._replace(purposes=_without(scope.purposes, taken.purposes, "purpose")))
    if taken.categories is not None:
        left.append(scope._replace(categories=_narrowed(scope.categories, taken.categories, policy)))
    if taken.compartments is not None:
        mine = frozenset(policy.bits) if scope.compartments is None else scope.compartments
        left.append(scope._replace(compartments=mine - taken.compartments))
    if taken.label is not None:
        left.append(scope._replace(without=scope.without | {taken.label}))
    if taken.since > scope.since:
        left.append(scope._replace(until=min(scope.until, taken.since - 1)))
    if taken.until < scope.until:
        left.append(scope._replace(since=max(scope.since, taken.until + 1)))
    return [one for one in left if not one.empty]


def _common(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _parties(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is not None and other is not None and one != other and TREATING in one | other:
        raise Inexpressible("actor")
    return _common(one, other)


def covers(broad: str, narrow: str) -> bool:
    """Whether a category is another, or stands above it."""
    return narrow == broad or narrow.startswith(broad + ".")


def _categories(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return _common(one, other)
    both = {a if covers(b, a) else b for a in one for b in other if covers(a, b) or covers(b, a)}
    return frozenset(both)


def _without(mine: frozenset[str] | None, taken: frozenset[str], what: str) -> frozenset[str]:
    if mine is None or ALL in mine:
        raise Inexpressible(what)
    return mine - taken


def _narrowed(mine: frozenset[str] | None, taken: frozenset[str], policy: Policy) -> frozenset[str]:
    if mine is None:
        raise Inexpressible("code")
    left: set[str] = set()
    for one in mine:
        if any(covers(broad, one) for broad in taken):
            continue
        if any(covers(one, narrow) for narrow in taken):
            leaves: Sequence[str] = [leaf for leaf in policy.lineages if covers(one, leaf)]
            kept = [leaf for leaf in leaves if not any(covers(broad, leaf) for broad in taken)]
            if any(covers(leaf, narrow) for leaf in kept for narrow in taken):
                raise Inexpressible("code")
            left.update(kept)
        else:
            left.add(one)
    return frozenset(left)
