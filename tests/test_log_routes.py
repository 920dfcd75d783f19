"""The log over HTTP, as the specification of tiles has it; nothing else in its folder is to be had."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from hub.ledger import merkle
from hub.ledger.merkle import leaf_hash
from hub.ledger.note import Checkpoint, Signer
from hub.ledger.tiles import name
from hub.ledger.tree import Tree
from hub.parts import parts
from hub.routes import log

SIGNER = Signer("hub.example/log", b"\7" * 32)
LEAVES = [number.to_bytes(32, "big") for number in range(600)]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path / "log")
    for size in (5, 600):
        made.add(("decisions", 0), range(made.size, size), LEAVES[made.size : size], made.size)
        root = made.save()
    made.publish(SIGNER.sign(Checkpoint(SIGNER.verifier.name, 600, root).text))
    return made


@pytest.fixture
async def client(tree: Tree) -> Iterator[httpx.AsyncClient]:
    app = FastAPI()
    app.include_router(log.routes)
    settings = SimpleNamespace(log_dir=tree.folder.path)
    app.dependency_overrides[parts] = lambda: SimpleNamespace(settings=settings)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://hub") as made:
        yield made


async def test_somebody_else_computes_the_root_from_what_is_served(client: httpx.AsyncClient) -> None:
    answer = await client.get("/log/checkpoint")
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert answer.headers["cache-control"] == "private, max-age=2"
    origin, size, *_ = answer.text.split("\n")
    assert (origin, size) == ("hub.example/log", "600")
    hashes = b""
    for index, width in ((0, 256), (1, 256), (2, 88)):
        tile = await client.get(f"/log/{name(0, index, width)}")
        assert tile.headers["content-type"] == "application/octet-stream"
        assert "immutable" in tile.headers["cache-control"]
        bundle = (await client.get(f"/log/{name(-1, index, width)}")).content
        entries = [bundle[at + 2 : at + 34] for at in range(0, len(bundle), 34)]
        assert b"".join(map(leaf_hash, entries)) == tile.content
        hashes += tile.content

    def nodes(level: int, index: int) -> bytes:
        if level == 0:
            return hashes[32 * index : 32 * index + 32]
        return merkle.node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))

    assert Checkpoint.of(answer.text.partition("\n\n")[0] + "\n").root == merkle.root(nodes, 0, 600)
    upper = await client.get("/log/tile/1/000.p/2")
    assert upper.content == nodes(8, 0) + nodes(8, 1)


async def test_a_narrower_tile_of_an_earlier_checkpoint_is_still_served(client: httpx.AsyncClient) -> None:
    full = (await client.get("/log/tile/0/000")).content
    assert (await client.get("/log/tile/0/000.p/5")).content == full[: 5 * 32]
    assert (await client.get("/log/tile/0/002.p/40")).status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/log/tile/0/003",
        "/log/tile/0/002",
        "/log/tile/0/002.p/89",
        "/log/tile/0/002.p/0",
        "/log/tile/0/002.p/256",
        "/log/tile/0/002.p/088",
        "/log/tile/2/000.p/1",
        "/log/tile/8/000",
        "/log/tile/00/000",
        "/log/tile/0/0",
        "/log/tile/0/x000/000",
        "/log/tile/0/000/000",
        "/log/tile/entries/x000/x000/x000/x000/x000/x000/x000/000",
        "/log/tile/../state.json",
        "/log/tile/%2e%2e/state.json",
        "/log/tile/0/..%2f..%2f..%2fstate.json",
        "/log/tile/state.json",
        "/log/tile/",
        "/log/state.json",
        "/log/places/decisions-0",
        "/log/tile/0/.000.new",
    ],
)
async def test_nothing_else_is_served(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_before_the_first_checkpoint_there_is_none(client: httpx.AsyncClient, tree: Tree) -> None:
    (tree.folder.path / "checkpoint").unlink()
    assert (await client.get("/log/checkpoint")).status_code == 404
