"""A witness countersigns what continues what it has seen, and nothing is published without it."""

import base64
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hub.ledger import merkle, note
from hub.ledger.commitment import Salts
from hub.ledger.merkle import Unproven
from hub.ledger.note import Checkpoint, NoteInvalid, Signer, Verifier, opened
from hub.ledger.tree import Tree
from hub.ledger.witness import Witness
from hub.ledger.worker import Worker
from schemas.errors import Unavailable

SIGNER = Signer("hub.example/log", b"\7" * 32)
SEED = b"\5" * 32
WITNESS = Verifier("witness.example/w1", note.COSIGNATURE, Signer("w", SEED).verifier.key)
LEAVES = [number.to_bytes(32, "big") for number in range(900)]


class Tower(ThreadingHTTPServer):
    """A witness, by the letter of c2sp.org/tlog-witness: it keeps the last size and root that it signed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: tuple[int, bytes] = (0, merkle.EMPTY_ROOT)
        self.seed = SEED
        self.known = SIGNER.verifier
        self.spoil: bytes | None = None
        self.asked: list[int] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/w1/"

    def judge(self, body: bytes) -> tuple[int, str]:
        head, _, signed = body.decode().partition("\n\n")
        first, *lines = head.split("\n")
        old = int(first.removeprefix("old "))
        self.asked.append(old)
        try:
            text, _ = opened(signed, [self.known])
        except NoteInvalid:
            return 403, ""
        asked = Checkpoint.of(text)
        if old > asked.size:
            return 400, ""
        if old != self.seen[0]:
            return 409, f"{self.seen[0]}\n"
        proof = [base64.b64decode(line) for line in lines]
        try:
            if old:
                merkle.check_consistency(old, asked.size, proof, self.seen[1], asked.root)
        except Unproven:
            return 422, ""
        self.seen = (asked.size, asked.root)
        return 200, note.cosign(WITNESS.name, self.seed, text, 1_700_000_000)


class Handler(BaseHTTPRequestHandler):
    """The one address of a witness."""

    server: Tower

    def do_POST(self) -> None:
        status, text = 404, ""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/w1/add-checkpoint":
            status, text = self.server.judge(body)
        data = text.encode() if self.server.spoil is None else self.server.spoil
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def tower() -> Iterator[Tower]:
    server = Tower()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def grown(tree: Tree, size: int) -> str:
    """The log's own checkpoint at a size."""
    tree.add(("decisions", 0), range(tree.size, size), LEAVES[tree.size : size], tree.size)
    return SIGNER.sign(Checkpoint(SIGNER.verifier.name, size, tree.save()).text)


def test_each_checkpoint_is_countersigned_with_the_proof_that_it_continues_the_last(
    tower: Tower, tmp_path: Path
) -> None:
    tree, witness = Tree(tmp_path), Witness(tower.url, WITNESS)
    for size in (1, 300, 513, 900):
        signed = grown(tree, size)
        found = witness.cosign(signed, tree)
        assert found.startswith(signed)
        assert opened(found, [SIGNER.verifier, WITNESS])[1] == {SIGNER.verifier, WITNESS}
    assert tower.asked == [0, 1, 300, 513]
    tree.save()
    again = Tree(tmp_path)
    assert witness.cosign(signed, again) == found  # the same one, once more
    assert tower.asked[-1] == 900


def test_a_log_that_forgot_what_its_witness_has_seen_is_told(tower: Tower, tmp_path: Path) -> None:
    tree, witness = Tree(tmp_path), Witness(tower.url, WITNESS)
    witness.cosign(grown(tree, 300), tree)
    tree.state.cosigned = 0
    witness.cosign(grown(tree, 400), tree)
    assert tower.asked == [0, 0, 300]
    assert tree.state.cosigned == 400


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (b"", "a note is a text"),
        (b"rubbish\n", "a signature is"),
        (b"\xff\n", "does not answer"),
        (note.cosign("other.example", b"\6" * 32, "x\n", 1).encode(), "does not sign with the key"),
        (note.cosign(WITNESS.name, SEED, "hub.example/log\n1\nother\n", 1).encode(), "is not over this text"),
        (b"x" * 70_000, "too long"),
        (
            ("x\n\n" + note.cosign(WITNESS.name, SEED, "x\n", 1)).encode(),
            "is not over this text|a signature is",
        ),
    ],
)
def test_an_answer_that_is_no_signature_of_its_own_does_not_count(
    tower: Tower, tmp_path: Path, spoil: bytes, why: str
) -> None:
    tree = Tree(tmp_path)
    tower.spoil = spoil
    with pytest.raises(Unavailable, match=why):
        Witness(tower.url, WITNESS).cosign(grown(tree, 5), tree)
    assert tree.state.cosigned == 0


def test_a_witness_that_has_seen_another_history_signs_nothing(tower: Tower, tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    tower.seen = (3, bytes(32))
    with pytest.raises(Unavailable, match="does not continue what it has seen"):
        Witness(tower.url, WITNESS).cosign(grown(tree, 5), tree)
    tower.seen = (9, bytes(32))
    with pytest.raises(Unavailable, match="another size"):
        Witness(tower.url, WITNESS).cosign(grown(tree, 6), tree)
    tower.known = WITNESS
    with pytest.raises(Unavailable, match="does not know this log's key"):
        Witness(tower.url, WITNESS).cosign(grown(tree, 7), tree)
    with pytest.raises(Unavailable, match="does not know this log"):
        Witness(tower.url + "elsewhere", WITNESS).cosign(grown(tree, 8), tree)


def test_a_witness_that_is_away_is_unavailable(tmp_path: Path) -> None:
    tree = Tree(tmp_path)
    with pytest.raises(Unavailable, match="does not answer"):
        Witness("http://127.0.0.1:9", WITNESS).cosign(grown(tree, 5), tree)


class Away:
    """A witness that does not answer until it is told to."""

    back = False

    def cosign(self, signed: str, tree: Tree) -> str:
        if not self.back:
            raise Unavailable("the witness does not answer")
        text, _ = note.split(signed)
        return signed + note.cosign(WITNESS.name, SEED, text, 1_700_000_000)


def test_nothing_is_published_until_the_witness_has_signed(tmp_path: Path) -> None:
    nowhere = {"bootstrap.servers": "127.0.0.1:9", "log_level": 0}
    witness = Away()
    salts = Salts(None)  # type: ignore[arg-type]
    worker = Worker(nowhere, tmp_path, salts, SIGNER, interval_ms=100, witness=witness)
    tree = Tree(tmp_path)
    tree.state.note = grown(tree, 300)
    tree.state.signed = (300, tree.root())
    worker._publish(tree)
    assert (tree.published(), worker._unpublished) == ("", "the witness does not answer")
    grown(tree, 310)  # more records have come since
    witness.back = True
    worker._publish(tree)
    assert opened(tree.published(), [SIGNER.verifier, WITNESS])[1] == {SIGNER.verifier, WITNESS}
    assert worker._unpublished is None
    assert (tmp_path / "tile/0/001.p/44").is_file()  # what the checkpoint over 300 leaves needs
    worker._follower.close()
