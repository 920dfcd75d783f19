"""The tree in files: as the plain definition says, at any size, after any restart, and never half."""

import errno
import hmac
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.ledger import merkle, tiles
from hub.ledger.merkle import leaf_hash
from hub.ledger.places import Places
from hub.ledger.tiles import ENTRIES, Folder, over
from hub.ledger.tree import Tree
from streams.errors import Corrupt

PLACE = ("decisions", 3)
LEAVES = [hmac.digest(b"salt", str(number).encode(), "sha256") for number in range(70_000)]


def plain(size: int) -> bytes:
    """The root as RFC 9162 defines it, level by level."""
    row = [leaf_hash(leaf) for leaf in LEAVES[:size]]
    while len(row) > 1:
        paired = [merkle.node_hash(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
        row = paired + row[len(row) - len(row) % 2 :]
    return row[0] if row else merkle.EMPTY_ROOT


def grow(tree: Tree, until: int) -> None:
    at = tree.size
    if at < until:
        tree.add(PLACE, range(2 * at, 2 * until, 2), LEAVES[at:until], at)


def files(path: Path) -> dict[str, bytes]:
    """What anybody may fetch, less tiles that are kept for checkpoints of before."""
    return {
        str(file.relative_to(path)): file.read_bytes()
        for file in path.rglob("*")
        if file.is_file() and ".p/" not in str(file)
    }


@pytest.mark.parametrize("size", [0, 1, 2, 255, 256, 257, 1000, 65_535, 65_536, 65_537, 70_000])
def test_its_root_is_the_definitions_and_it_goes_on_where_it_was(tmp_path: Path, size: int) -> None:
    tree = Tree(tmp_path)
    grow(tree, size // 2)
    tree.save()
    again = Tree(tmp_path)
    grow(again, size)
    assert again.save() == again.root() == plain(size)
    resumed = Tree(tmp_path)
    assert (resumed.size, resumed.root()) == (size, plain(size))
    assert resumed.root_at(size // 2) == plain(size // 2)


@settings(max_examples=15)
@given(st.lists(st.integers(1, 700), min_size=1, max_size=3))
def test_however_it_grew_the_files_are_the_same(steps: list[int]) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        tree = Tree(Path(one))
        for step in steps:
            grow(tree, tree.size + step)
            tree.save()
            tree = Tree(Path(one))
        whole = Tree(Path(two))
        grow(whole, sum(steps))
        whole.save()
        assert files(Path(one)) == files(Path(two))
        assert tree.root() == whole.root() == plain(sum(steps))


def test_every_leaf_and_every_earlier_tree_is_proven_from_the_files(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for size in (3, 250, 256, 300, 70_000):
        grow(tree, size)
        tree.save()
    nodes = over(Folder(tmp_path).read, 70_000)
    root = plain(70_000)
    for index in (0, 255, 256, 65_535, 65_536, 69_999):
        proof = merkle.inclusion(nodes, index, 70_000)
        merkle.check_inclusion(index, 70_000, leaf_hash(LEAVES[index]), proof, root)
    for size in (1, 3, 250, 256, 300, 65_536, 69_999):
        merkle.check_consistency(size, 70_000, merkle.consistency(nodes, size, 70_000), plain(size), root)
    assert Folder(tmp_path).read(ENTRIES, 273, 112)[:34] == b"\0\x20" + LEAVES[273 * 256]


def test_a_tile_of_an_earlier_checkpoint_is_there_until_the_full_one_is(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    for size in (10, 200):
        grow(tree, size)
        tree.save()
    assert (tmp_path / "tile/0/000.p/10").is_file()
    assert (tmp_path / "tile/0/000.p/200").is_file()
    grow(tree, 256)
    tree.save()
    assert (tmp_path / "tile/0/000").is_file()
    assert not (tmp_path / "tile/0/000.p").exists()
    assert Folder(tmp_path).read(0, 0, 10) == b"".join(map(leaf_hash, LEAVES[:10]))
    grow(tree, 300)
    tree.save()
    tree.keep_for(270)  # what a checkpoint is shown for, though the tree was never saved at that size
    assert (tmp_path / "tile/0/001.p/14").read_bytes() == b"".join(map(leaf_hash, LEAVES[256:270]))
    assert (tmp_path / "tile/entries/001.p/14").stat().st_size == 14 * 34


def test_a_record_is_found_by_its_place(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tree.add(("decisions", 0), [0, 1, 5], LEAVES[:3], 0)
    tree.add(("consent", 2), [7], LEAVES[3:4], 3)
    tree.add(("decisions", 0), [6, 9], LEAVES[4:6], 4)
    tree.save()
    places = Places(tmp_path)
    found = {offset: places.find(("decisions", 0), offset) for offset in range(11)}
    assert {offset: leaf for offset, leaf in found.items() if leaf is not None} == {
        0: 0,
        1: 1,
        5: 2,
        6: 4,
        9: 5,
    }
    assert (places.find(("consent", 2), 7), places.find(("consent", 1), 7)) == (3, None)
    assert Tree(tmp_path).state.positions == {("decisions", 0): 10, ("consent", 2): 8}


@pytest.mark.parametrize(
    ("offsets", "first", "why"),
    [
        ([10], 4, "goes on at leaf 4"),
        ([10], 2, "goes on at leaf 2"),
        ([4], 3, "decisions/3/4"),
        ([8, 7], 3, "8/7|3/7"),
    ],
)
def test_leaves_out_of_order_are_refused(tmp_path: Path, offsets: list[int], first: int, why: str) -> None:
    tree = Tree(tmp_path)
    grow(tree, 3)
    with pytest.raises(Corrupt, match=why):
        tree.add(PLACE, offsets, LEAVES[: len(offsets)], first)


@pytest.mark.parametrize("file", ["tile/0/001.p/44", "tile/entries/001.p/44", "tile/1/000.p/1", "state.json"])
def test_a_flipped_bit_at_its_edge_stops_it(tmp_path: Path, file: str) -> None:
    tree = Tree(tmp_path)
    grow(tree, 300)
    tree.save()
    data = bytearray((tmp_path / file).read_bytes())
    data[9] ^= 1
    (tmp_path / file).write_bytes(data)
    with pytest.raises(Corrupt, match="move the folder `log` away"):
        Tree(tmp_path)


@pytest.mark.parametrize("file", ["tile/0/001.p/44", "tile/entries/001.p/44"])
def test_a_file_cut_short_or_gone_stops_it_and_is_named(tmp_path: Path, file: str) -> None:
    tree = Tree(tmp_path)
    grow(tree, 300)
    tree.save()
    path = tmp_path / file
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(Corrupt, match=rf"`{file}` has \d+ bytes"):
        Tree(tmp_path)
    path.unlink()
    with pytest.raises(Corrupt, match=rf"`{file}` is missing"):
        Tree(tmp_path)


def test_on_a_full_disk_it_stays_what_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever write is the first to fail, the files go on from the last save."""
    tree = Tree(tmp_path / "log")
    grow(tree, 300)
    tree.save()
    write, left = tiles.Folder.write, 0

    def full(self: Folder, where: str, data: bytes) -> None:
        nonlocal left
        if left == 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        left -= 1
        write(self, where, data)

    failed = 0
    while True:
        shutil.copytree(tmp_path / "log", tmp_path / "copy")
        left = failed
        with monkeypatch.context() as patched:
            patched.setattr(tiles.Folder, "write", full)
            broken = Tree(tmp_path / "copy")
            grow(broken, 1_100)
            try:
                broken.save()
                done = True
            except OSError:
                done = False
        resumed = Tree(tmp_path / "copy")
        size = 1_100 if done else 300
        assert (resumed.size, resumed.root()) == (size, plain(size))
        grow(resumed, 1_200)
        assert resumed.save() == plain(1_200)
        shutil.rmtree(tmp_path / "copy")
        if done:
            break
        failed += 1
    assert failed > 8
