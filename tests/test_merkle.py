"""Trees and proofs: what is proven is so, and nothing else can be proven; beside the plain definition."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ledger import merkle, tiles
from hub.ledger.merkle import Unproven

LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(70)]
SIZES = st.integers(1, len(LEAVES))


def plain(leaves: list[bytes]) -> bytes:
    """The hash of a tree as RFC 9162, 2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    middle = 1
    while middle * 2 < len(leaves):
        middle *= 2
    return hashlib.sha256(b"\1" + plain(leaves[:middle]) + plain(leaves[middle:])).digest()


def nodes(level: int, index: int) -> bytes:
    assert (index + 1) << level <= len(LEAVES), "asked for what the tree does not have"
    return plain(LEAVES[index << level : (index + 1) << level])


def refuses(check: Callable[..., None], *arguments: object) -> bool:
    try:
        check(*arguments)
    except Unproven:
        return True
    return False


def test_hashes_are_those_of_the_rfc() -> None:
    """The vectors that every implementation of RFC 6962 carries."""
    leaves = [bytes.fromhex(leaf) for leaf in ("", "00", "10", "2021", "3031", "40414243")]
    leaves += [bytes.fromhex("5051525354555657"), bytes.fromhex("606162636465666768696a6b6c6d6e6f")]
    hashes = [merkle.leaf_hash(leaf) for leaf in leaves]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]

    def found(level: int, index: int) -> bytes:
        return plain(hashes[index << level : (index + 1) << level])

    assert [merkle.root(found, 0, size).hex() for size in range(1, 9)] == roots
    assert merkle.root(found, 0, 0) == merkle.EMPTY_ROOT


@given(SIZES)
def test_a_root_is_the_definitions(size: int) -> None:
    assert merkle.root(nodes, 0, size) == plain(LEAVES[:size])


@given(SIZES, st.data())
def test_inclusion_is_proven_of_the_leaf_that_is_there_and_of_no_other(
    size: int, data: st.DataObject
) -> None:
    index = data.draw(st.integers(0, size - 1))
    root, proof = plain(LEAVES[:size]), merkle.inclusion(nodes, index, size)
    merkle.check_inclusion(index, size, LEAVES[index], proof, root)
    for other in range(size):
        if other != index:
            assert refuses(merkle.check_inclusion, other, size, LEAVES[index], proof, root)
    assert refuses(merkle.check_inclusion, index, size, LEAVES[index], [*proof, root], root)
    assert refuses(merkle.check_inclusion, index, size, root, proof, root) or size == 1
    assert refuses(merkle.check_inclusion, size, size, LEAVES[index], proof, root)


@given(SIZES, SIZES, st.data())
def test_consistency_is_proven_of_what_a_tree_was_and_of_nothing_else(
    one: int, two: int, data: st.DataObject
) -> None:
    size, later = sorted((one, two))
    before, after = plain(LEAVES[:size]), plain(LEAVES[:later])
    proof = merkle.consistency(nodes, size, later)
    merkle.check_consistency(size, later, proof, before, after)
    forged = plain([*LEAVES[: size - 1], merkle.leaf_hash(b"another")])
    assert refuses(merkle.check_consistency, size, later, proof, forged, after)
    assert refuses(merkle.check_consistency, size, later, proof, before, forged)
    assert refuses(merkle.check_consistency, size, later, [*proof, after], before, after)
    if size < later:
        assert refuses(merkle.check_consistency, later, size, proof, after, before)
        assert refuses(merkle.check_consistency, size, later, proof[:-1], before, after)
        place = data.draw(st.integers(0, len(proof) - 1))
        bit = data.draw(st.integers(0, 255))
        flipped = (int.from_bytes(proof[place], "big") ^ (1 << bit)).to_bytes(32, "big")
        changed = [*proof[:place], flipped, *proof[place + 1 :]]
        assert refuses(merkle.check_consistency, size, later, changed, before, after)


@given(st.data())
def test_a_subtree_proves_its_leaves_and_its_place_in_a_later_tree(data: st.DataObject) -> None:
    level = data.draw(st.integers(0, 5))
    start = data.draw(st.integers(0, (len(LEAVES) - 1) >> level)) << level
    end = data.draw(st.integers(start + 1, min(start + (1 << level), len(LEAVES))))
    size = data.draw(st.integers(end, len(LEAVES)))
    index = data.draw(st.integers(start, end - 1))
    part, after = plain(LEAVES[start:end]), plain(LEAVES[:size])
    found = merkle.inclusion(
        lambda level, at: nodes(level, at + (start >> level)), index - start, end - start
    )
    merkle.check_inclusion(index, end, LEAVES[index], found, part, start)
    proof = _subtree_proof(start, end, 0, size)
    merkle.check_subtree(start, end, size, proof, part, after)
    forged = merkle.leaf_hash(part)
    assert refuses(merkle.check_subtree, start, end, size, proof, forged, after)
    assert refuses(merkle.check_subtree, start, end, size, proof, part, forged)


def _subtree_proof(start: int, end: int, low: int, high: int, known: bool = True) -> list[bytes]:
    """SUBTREE_SUBPROOF of draft-ietf-plants-merkle-tree-certs, word for word."""
    if (start, end) == (low, high):
        return [] if known else [plain(LEAVES[low:high])]
    middle = 1
    while middle * 2 < high - low:
        middle *= 2
    middle += low
    if end <= middle:
        return [*_subtree_proof(start, end, low, middle, known), plain(LEAVES[middle:high])]
    if start >= middle:
        return [*_subtree_proof(start, end, middle, high, known), plain(LEAVES[low:middle])]
    return [*_subtree_proof(middle, end, middle, high, False), plain(LEAVES[low:middle])]


@pytest.mark.parametrize(
    ("start", "end", "why"),
    [
        (3, 5, "no such subtree"),
        (4, 9, "no such subtree"),
        (-1, 0, "no such subtree"),
        (5, 4, "no such subtree"),
    ],
)
def test_what_is_no_subtree_is_refused(start: int, end: int, why: str) -> None:
    with pytest.raises(Unproven, match=why):
        merkle.check_subtree(start, end, 70, [], LEAVES[0], LEAVES[0])


def test_a_hash_of_another_length_is_refused() -> None:
    with pytest.raises(Unproven, match="32 bytes"):
        merkle.check_inclusion(0, 2, LEAVES[0], [LEAVES[1][:31]], plain(LEAVES[:2]))


def test_there_is_no_proof_of_what_is_not_there() -> None:
    for ask in (lambda: merkle.inclusion(nodes, 3, 3), lambda: merkle.inclusion(nodes, -1, 3)):
        with pytest.raises(ValueError, match="no such leaf"):
            ask()
    for size, later in ((0, 3), (4, 3)):
        with pytest.raises(ValueError, match="smaller one"):
            merkle.consistency(nodes, size, later)


def test_an_empty_tree_proves_nothing() -> None:
    with pytest.raises(Unproven):
        merkle.check_consistency(0, 3, [], merkle.EMPTY_ROOT, plain(LEAVES[:3]))
    merkle.check_subtree(0, 0, 3, [], merkle.EMPTY_ROOT, plain(LEAVES[:3]))


@pytest.mark.parametrize(
    ("level", "index", "width", "path"),
    [
        (0, 0, 256, "tile/0/000"),
        (1, 5, 3, "tile/1/005.p/3"),
        (0, 999, 256, "tile/0/999"),
        (0, 1000, 256, "tile/0/x001/000"),
        (2, 1_234_067, 256, "tile/2/x001/x234/067"),
        (tiles.ENTRIES, 70_000, 1, "tile/entries/x070/000.p/1"),
    ],
)
def test_a_tile_stands_where_the_specification_says(level: int, index: int, width: int, path: str) -> None:
    assert tiles.name(level, index, width) == path


def test_how_many_tiles_a_tree_has() -> None:
    """The specification's own example: 70,000 leaves."""
    assert [tiles.widths(level, 70_000) for level in range(4)] == [(273, 112), (1, 17), (0, 1), (0, 0)]
    assert [tiles.widths(level, 256) for level in range(3)] == [(1, 0), (0, 1), (0, 0)]


def test_the_cases_of_transparency_dev_hold() -> None:
    """All 518, of inclusion and consistency, of trees and of subtrees: what is wrong is refused."""
    cases = json.loads((Path(__file__).parent / "data" / "merkle.json").read_text())["cases"]
    judged: dict[str, list[bool]] = {}
    for case in cases:
        kind = case["case"].partition("/")[0]
        proof = [b64decode(one) for one in case["proof"] or ()]
        roots = [
            b64decode(case[name] or "") for name in ("root", "root1", "root2", "leafHash") if name in case
        ]
        if kind == "inclusion":
            asked: tuple[Any, ...] = case["leafIdx"], case["treeSize"], roots[1], proof, roots[0]
            wrong = refuses(merkle.check_inclusion, *asked)
        elif kind == "subtreeinclusion":
            asked = case["leafIdx"], case["end"], roots[1], proof, roots[0], case["start"]
            wrong = refuses(merkle.check_inclusion, *asked)
        elif kind == "consistency":
            wrong = refuses(merkle.check_consistency, case["size1"], case["size2"], proof, *roots)
        else:
            wrong = refuses(merkle.check_subtree, case["start"], case["end"], case["size"], proof, *roots)
        assert wrong == case["wantErr"], case["case"]
        judged.setdefault(kind, []).append(wrong)
    assert {kind: len(some) for kind, some in judged.items()} == {
        "consistency": 98,
        "inclusion": 98,
        "subtreeconsistency": 118,
        "subtreeinclusion": 204,
    }
    assert all(any(some) and not all(some) for some in judged.values())
