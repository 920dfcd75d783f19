"""Products of dimensions and their differences, held against plain sets of disclosures."""

from itertools import product
from random import Random
from typing import Any

import pytest

from consent import Policy
from consent.scope import Inexpressible, Scope, covers, less, within
from consent.untyped import ALL, TREATING

CATEGORIES = ("contact", "service.housing.rent", "service.housing.shelter", "service.medical", "services")
LABELS = ("hiv", "part2")
PARTS = ("clinical", "subject")
POLICY = Policy.of({"categories": list(CATEGORIES), "labels": list(LABELS), "compartments": list(PARTS)})
DIMENSIONS: dict[str, tuple[str, ...]] = {
    "disclosers": ("a", "b"),
    "recipients": ("x", "y"),
    "purposes": ("p", "q"),
    "categories": (*CATEGORIES, "service", "service.housing"),
    "compartments": PARTS,
}
CARRIED = ((), ("hiv",), ("part2",), LABELS)
INSTANTS = (1, 2, 3, 4)
ATOMS = list(
    product(
        *(DIMENSIONS[one] for one in ("disclosers", "recipients", "purposes")),
        CATEGORIES,
        PARTS,
        CARRIED,
        INSTANTS,
    )
)


def holds(scope: Scope, atom: Any) -> bool:
    """Whether one disclosure is in a scope, read off plainly."""
    discloser, recipient, purpose, category, part, labels, at = atom
    return (
        (scope.disclosers is None or discloser in scope.disclosers)
        and (scope.recipients is None or recipient in scope.recipients)
        and (scope.purposes is None or purpose in scope.purposes)
        and (
            scope.categories is None or any(f"{category}.".startswith(f"{one}.") for one in scope.categories)
        )
        and (scope.compartments is None or part in scope.compartments)
        and not scope.without.intersection(labels)
        and (scope.label is None or scope.label in labels)
        and scope.since <= at <= scope.until
    )


def some(dice: Random, *, exception: bool) -> Scope:
    """A random scope: the whole of it named for a permission, a few dimensions of an exception."""
    named: dict[str, Any] = {}
    for dimension, names in DIMENSIONS.items():
        if not exception or dice.random() < 0.4:
            named[dimension] = frozenset(dice.sample(names, dice.randint(1, len(names))))
    if not exception and dice.random() < 0.5:
        named["compartments"] = None
    if exception and dice.random() < 0.4:
        named["label"] = dice.choice(LABELS)
    if not exception and dice.random() < 0.3:
        named["without"] = frozenset(dice.sample(LABELS, 1))
    if dice.random() < 0.4:
        named["since"] = dice.choice(INSTANTS)
    if dice.random() < 0.4:
        named["until"] = dice.choice(INSTANTS)
    return Scope(**named)


def test_both_and_less_are_those_of_sets() -> None:
    dice = Random(3)
    for _ in range(150):
        one, other = some(dice, exception=False), some(dice, exception=True)
        both, left = within(one, other), less(one, other, POLICY)
        assert both.empty or not any(piece.empty for piece in left)
        found = set()
        for atom in ATOMS:
            mine, theirs = holds(one, atom), holds(other, atom)
            assert holds(both, atom) == (mine and theirs), (one, other, atom)
            assert any(holds(piece, atom) for piece in left) == (mine and not theirs), (one, other, atom)
            if mine and theirs:
                found.add(atom)
        if both.empty:
            assert not found
            assert left == [one]


def test_what_is_named_nowhere_is_everything() -> None:
    everything = Scope()
    assert not everything.empty
    assert all(holds(everything, atom) for atom in ATOMS)
    narrow = Scope(frozenset("a"), frozenset("x"), frozenset("p"), frozenset({"contact"}), frozenset(PARTS))
    assert within(everything, narrow) == within(narrow, everything) == narrow
    assert less(narrow, everything, POLICY) == []


@pytest.mark.parametrize("dimension", DIMENSIONS)
def test_it_is_empty_where_a_dimension_names_nothing(dimension: str) -> None:
    assert Scope(**{dimension: frozenset()}).empty  # type: ignore[arg-type]
    assert Scope(since=2, until=1).empty
    assert not Scope(since=1, until=1).empty


def test_labels_of_two_exceptions() -> None:
    hiv, part2 = Scope(label="hiv"), Scope(label="part2")
    assert within(hiv, Scope()).label == within(Scope(), hiv).label == within(hiv, hiv).label == "hiv"
    with pytest.raises(Inexpressible, match=r"^securityLabel$"):
        within(hiv, part2)
    left_out = Scope(without=frozenset({"hiv"}), categories=frozenset({"contact"}))
    assert within(left_out, hiv).empty
    assert not within(left_out, part2).empty
    both = within(left_out, Scope(without=frozenset({"part2"})))
    assert both.without == frozenset(LABELS)


X, Y, CLASS = frozenset({"x"}), frozenset({"x", "y"}), frozenset({TREATING})
NAMED = Scope(frozenset("a"), X, frozenset("p"), frozenset({"contact"}), frozenset(PARTS))


@pytest.mark.parametrize(
    ("scope", "taken", "what"),
    [
        (NAMED._replace(recipients=CLASS), Scope(recipients=X), "actor"),
        (NAMED._replace(recipients=CLASS | X), Scope(recipients=X), "actor"),
        (NAMED._replace(recipients=CLASS | X), Scope(recipients=CLASS), "actor"),
        (NAMED, Scope(recipients=CLASS), "actor"),
        (NAMED, Scope(recipients=CLASS | X), "actor"),
        (NAMED._replace(recipients=None), Scope(recipients=CLASS), "actor"),
        (NAMED._replace(recipients=None), Scope(recipients=X), "actor"),
        (NAMED._replace(disclosers=None), Scope(disclosers=X), "actor"),
        (NAMED._replace(disclosers=frozenset({ALL, "a"})), Scope(disclosers=frozenset("a")), "actor"),
        (NAMED._replace(purposes=None), Scope(purposes=frozenset("p")), "purpose"),
        (NAMED._replace(categories=None), Scope(categories=frozenset({"contact"})), "code"),
    ],
)
def test_a_difference_that_no_grants_have_names_its_dimension(scope: Scope, taken: Scope, what: str) -> None:
    with pytest.raises(Inexpressible, match=f"^{what}$"):
        less(scope, taken, POLICY)


def test_a_class_is_compared_with_nothing_but_itself() -> None:
    treating = NAMED._replace(recipients=CLASS)
    assert within(treating, Scope()) == within(treating, Scope(recipients=CLASS)) == treating
    assert less(treating, Scope(recipients=CLASS), POLICY) == []
    for one, other in ((CLASS, X), (X, CLASS), (CLASS | X, X)):
        with pytest.raises(Inexpressible, match=r"^actor$"):
            within(Scope(recipients=one), Scope(recipients=other))
    elsewhere = Scope(recipients=X, purposes=frozenset("q"))
    with pytest.raises(Inexpressible):
        less(treating, elsewhere, POLICY)


def test_what_does_not_overlap_leaves_all() -> None:
    apart = Scope(purposes=frozenset("q"))
    assert less(NAMED, apart, POLICY) == [NAMED]
    assert less(NAMED._replace(disclosers=None), apart, POLICY) == [NAMED._replace(disclosers=None)]


def test_a_category_less_one_below_it_is_those_that_the_policy_has() -> None:
    (left,) = less(
        NAMED._replace(categories=frozenset({"service", "contact"})),
        Scope(categories=frozenset({"service.medical"})),
        POLICY,
    )
    assert left.categories == {"service.housing.rent", "service.housing.shelter", "contact"}
    assert less(NAMED, Scope(categories=frozenset({"contact", "service"})), POLICY) == []


def test_a_category_of_events_less_one_below_it_is_no_list_of_categories() -> None:
    """What names the one above covers the one below, so that a grant would share what was denied."""
    nested = Policy.of({"categories": ["service.medical", "service.medical.dental", "service.housing"]})
    for given in ("service", "service.medical"):
        with pytest.raises(Inexpressible, match=r"^code$"):
            less(
                NAMED._replace(categories=frozenset({given})),
                Scope(categories=frozenset({"service.medical.dental"})),
                nested,
            )
    (left,) = less(
        NAMED._replace(categories=frozenset({"service"})),
        Scope(categories=frozenset({"service.medical"})),
        nested,
    )
    assert left.categories == {"service.housing"}


@pytest.mark.parametrize(
    ("broad", "narrow", "does"),
    [("service", "service", True), ("service", "service.housing", True), ("serv", "service", False),
     ("service.housing", "service", False), ("service", "services", False)],
)  # fmt: skip
def test_a_category_covers_itself_and_those_below(broad: str, narrow: str, does: bool) -> None:
    assert covers(broad, narrow) is does
