"""Merkle trees of RFC 9162 (and RFC 6962) over SHA-256: hashes, proofs, and what checks proofs. Pure.

A tree over n leaves is split at the largest power of two below n. A *complete* subtree has 2**level leaves
and is called (level, index): it covers leaves index * 2**level up to (index + 1) * 2**level. Whoever makes
proofs brings a function that knows the hashes of complete subtrees; everything else follows from those.

Subtrees [start, end) of a larger tree are those of draft-ietf-plants-merkle-tree-certs: `start` is a multiple
of the smallest power of two that is at least their size. A whole tree is the one that starts at 0.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import reduce
from typing import Final

from schemas.errors import HubError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()

Nodes = Callable[[int, int], bytes]


class Unproven(HubError):
    """A proof does not prove what it should."""

    code = "unproven"


def leaf_hash(entry: bytes) -> bytes:
    """The hash of a leaf (RFC 9162, 2.1.1): 32 bytes."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node over its two children's hashes: 32 bytes."""
    return hashlib.sha256(b"\1" + left + right).digest()


def complete(start: int, end: int) -> Iterator[tuple[int, int]]:
    """The fewest complete subtrees that make up leaves `start` to `end`, from left to right."""
    while start < end:
        level = (end - start).bit_length() - 1
        if start:
            level = min(level, (start & -start).bit_length() - 1)
        yield level, start >> level
        start += 1 << level


def root(nodes: Nodes, start: int, end: int) -> bytes:
    """The hash over leaves `start` to `end`, which must be a subtree; of none, that of nothing."""
    hashes = [nodes(level, index) for level, index in complete(start, end)]
    return _chain_left(hashes[-1], hashes[-2::-1]) if hashes else EMPTY_ROOT


def inclusion(nodes: Nodes, index: int, size: int) -> list[bytes]:
    """The proof that leaf `index` is in the tree of `size` leaves (RFC 9162, 2.1.3.1), leaf's sibling first.

    Raises `ValueError` where there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError("there is no such leaf in the tree")
    start, end, path = 0, size, []
    while end - start > 1:
        middle = start + _half(end - start)
        if index < middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    return [root(nodes, *part) for part in reversed(path)]


def consistency(nodes: Nodes, size: int, later: int) -> list[bytes]:
    """The proof that the tree of `later` leaves begins with that of `size` leaves (RFC 9162, 2.1.4.1).

    Raises `ValueError` unless 0 < size <= later.
    """
    if not 0 < size <= later:
        raise ValueError("a tree is consistent with a smaller one that has leaves")
    start, end, path = 0, later, []
    while size != end:
        middle = start + _half(end - start)
        if size <= middle:
            path.append((middle, end))
            end = middle
        else:
            path.append((start, middle))
            start = middle
    if start:
        path.append((start, end))
    return [root(nodes, *part) for part in reversed(path)]


def check_inclusion(
    index: int, size: int, leaf: bytes, proof: Sequence[bytes], expected: bytes, start: int = 0
) -> None:
    """Raises `Unproven` unless `proof` shows the leaf of this hash at `index` under the root `expected`.

    In: the tree's size; or, with `start`, the end of the subtree of which `expected` is the hash.
    """
    _check_subtree(start, size)
    if not start <= index < size:
        raise Unproven("the leaf lies outside of the tree")
    index, size = index - start, size - start
    inner = (index ^ (size - 1)).bit_length()
    _check_hashes([leaf, *proof], 1 + inner + (index >> inner).bit_count())
    found = _chain_left(_chain(leaf, proof[:inner], index), proof[inner:])
    if found != expected:
        raise Unproven("the proof leads to another root")


def check_consistency(size: int, later: int, proof: Sequence[bytes], before: bytes, after: bytes) -> None:
    """Raises `Unproven` unless `proof` shows that the tree of `later` leaves and root `after` begins with the
    one of `size` leaves and root `before`.
    """
    if size == 0:
        raise Unproven("an empty tree proves nothing about a later one")
    check_subtree(0, size, later, proof, before, after)


def check_subtree(
    start: int, end: int, size: int, proof: Sequence[bytes], before: bytes, after: bytes
) -> None:
    """Raises `Unproven` unless `proof` shows that the tree of `size` leaves and root `after` holds, from leaf
    `start` to `end`, the subtree with the hash `before`.
    """
    _check_subtree(start, end)
    if end > size:
        raise Unproven("the later tree is the smaller one")
    if start == end:
        if proof or before != EMPTY_ROOT:
            raise Unproven("of a subtree without leaves there is nothing to prove")
        return
    if end == size:
        level = ((end - 1) ^ start).bit_length()
        _check_hashes(proof, (start >> level).bit_count())
        found = _chain_left(before, proof)
    else:
        found = _grown(start, end, size, proof, before)
    if found != after:
        raise Unproven("the proof leads to another later root")


def _grown(start: int, end: int, size: int, proof: Sequence[bytes], before: bytes) -> bytes:
    """The later root that a proof leads to; raises `Unproven` unless it leads to the earlier one, too.

    The paths to leaves `end` - 1 and `size` - 1 part at `fork`: below it a proof's hashes stand on either
    side, above it on the left alone. Those that stand on the left and inside the subtree make its hash.
    """
    last = end - 1
    fork = (last ^ (size - 1)).bit_length()
    border = (last >> fork).bit_count()
    shift = ((end - start) & -(end - start)).bit_length() - 1  # height of its last complete subtree
    inner = fork - shift
    whole = end - start == 1 << shift
    _check_hashes(proof, (0 if whole else 1) + inner + border)
    seed, rest = (before, proof) if whole else (proof[0], proof[1:])
    mask = last >> shift
    if not whole:
        height = (last ^ start).bit_length()
        inside = min(height, fork) - shift
        above = max(0, border - (last >> height).bit_count())
        left = [each for place, each in enumerate(rest[:inside]) if mask >> place & 1]
        if _chain_left(seed, [*left, *rest[inner : inner + above]]) != before:
            raise Unproven("the proof leads to another earlier root")
    return _chain_left(_chain(seed, rest[:inner], mask), rest[inner:])


def _half(size: int) -> int:
    """The largest power of two below `size`, which is at least 2."""
    return 1 << ((size - 1).bit_length() - 1)


def _chain(seed: bytes, proof: Iterable[bytes], index: int) -> bytes:
    for place, each in enumerate(proof):
        seed = node_hash(each, seed) if index >> place & 1 else node_hash(seed, each)
    return seed


def _chain_left(seed: bytes, proof: Iterable[bytes]) -> bytes:
    return reduce(lambda right, left: node_hash(left, right), proof, seed)


def _check_subtree(start: int, end: int) -> None:
    if not 0 <= start <= end or (end > start and start % (1 << (end - start - 1).bit_length())):
        raise Unproven("there is no such subtree")


def _check_hashes(hashes: Sequence[bytes], count: int) -> None:
    if len(hashes) != count:
        raise Unproven(f"the proof has {len(hashes)} hashes, not {count}")
    if any(len(each) != HASH_BYTES for each in hashes):
        raise Unproven("a hash has not 32 bytes")
