"""Software that is not ours checks our log: Go's notes and tiles, transparency-dev's proofs, and Tessera.

Skipped, out loud, where there is no Go, or one that is too old, or the modules cannot be had.
"""

import base64
import json
import os
import random
import re
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from hub.ledger import merkle, note
from hub.ledger.commitment import Recorded, commitment
from hub.ledger.merkle import Unproven, leaf_hash
from hub.ledger.note import Checkpoint, Signer, Verifier
from hub.ledger.proof import Proof
from hub.ledger.tiles import Folder, over
from hub.ledger.tree import Tree

PEERS = Path(__file__).parent / "peers"
GO_LEAST = {"auditor": (1, 23), "tessera": (1, 24)}
BUILD_S_MAX = 240
SIGNER = Signer("hub.example/log", b"\7" * 32)
WITNESS = Verifier("witness.example/w1", note.COSIGNATURE, Signer("w", b"\5" * 32).verifier.key)
SALT = b"\2" * 32
RECORDS = [Recorded("decisions", 0, number, f"decision {number}".encode(), "p-1") for number in range(700)]


def built(peer: str, folder: Path) -> Path:
    """One of the Go programs."""
    go = shutil.which("go") or shutil.which("go", path="/usr/local/go/bin")
    if go is None:
        pytest.skip("no Go: what other software says of the log is not seen")
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout
    numbers = re.match(r"go(\d+)\.(\d+)", version)
    if numbers is None or (int(numbers[1]), int(numbers[2])) < GO_LEAST[peer]:
        pytest.skip(f"Go is too old ({version.strip()}): what {peer} says of the log is not seen")
    env = os.environ | {"GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    fetched = subprocess.run(
        [go, "list", "-deps", "."],  # what it needs, and no more
        cwd=PEERS / peer,
        env=env,
        capture_output=True,
        check=False,
        timeout=BUILD_S_MAX,
    )
    if fetched.returncode:
        pytest.skip(f"the Go modules cannot be had: what {peer} says of the log is not seen")
    program = folder / peer
    subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=PEERS / peer, env=env, check=True, timeout=BUILD_S_MAX
    )
    return program


@pytest.fixture(scope="module")
def auditor(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Go's own notes and tiles."""
    return built("auditor", tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def tessera(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tessera's client."""
    return built("tessera", tmp_path_factory.mktemp("go"))


def run(program: Path, *arguments: str, text: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [program, *arguments], input=text, capture_output=True, check=False, text=True, timeout=60
    )


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 700 records under a published checkpoint, countersigned by a witness."""
    path = tmp_path / "log"
    tree = Tree(path)
    leaves = [commitment(SALT, record.statement) for record in RECORDS]
    tree.add(("decisions", 0), range(len(leaves)), leaves, 0)
    head = Checkpoint(SIGNER.verifier.name, tree.size, tree.save())
    tree.publish(SIGNER.sign(head.text) + note.cosign(WITNESS.name, b"\5" * 32, head.text, 1_700_000_000))
    return path


def test_go_verifies_the_checkpoint_and_every_leaf_under_it(auditor: Path, log: Path) -> None:
    found = run(auditor, "tree", str(log), str(SIGNER.verifier), str(WITNESS))
    assert (found.stdout, found.stderr) == ("700 leaves under the checkpoint\n", "")
    other = Signer(SIGNER.verifier.name, b"\6" * 32).verifier
    assert run(auditor, "tree", str(log), str(other)).returncode == 1
    stranger = Verifier(WITNESS.name, note.COSIGNATURE, other.key)
    assert run(auditor, "tree", str(log), str(SIGNER.verifier), str(stranger)).returncode == 1


def flip(file: Path) -> None:
    """Turns one bit of a file around."""
    data = bytearray(file.read_bytes())
    data[20] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    "file", ["checkpoint", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/000"]
)
def test_go_sees_a_flipped_bit(auditor: Path, log: Path, file: str) -> None:
    flip(log / file)
    assert run(auditor, "tree", str(log), str(SIGNER.verifier)).returncode == 1


def test_tesseras_client_proves_every_leaf_from_plain_files_and_from_any_web_server(
    tessera: Path, log: Path
) -> None:
    found = run(tessera, str(log), str(SIGNER.verifier))
    assert (found.stdout, found.stderr) == ("700 leaves under the checkpoint\n", "")
    handler = partial(SimpleHTTPRequestHandler, directory=str(log))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/"
            assert run(tessera, address, str(SIGNER.verifier)).stdout == found.stdout
        finally:
            server.shutdown()
            serving.join()
    other = Signer(SIGNER.verifier.name, b"\6" * 32).verifier
    assert run(tessera, str(log), str(other)).returncode == 1


@pytest.mark.parametrize(
    "file", ["checkpoint", "tile/0/001", "tile/0/002.p/188", "tile/1/000.p/2", "tile/entries/001"]
)
def test_tesseras_client_sees_a_flipped_bit(tessera: Path, log: Path, file: str) -> None:
    flip(log / file)
    assert run(tessera, str(log), str(SIGNER.verifier)).returncode == 1


def test_tesseras_client_sees_a_log_that_was_cut_short(tessera: Path, log: Path) -> None:
    (log / "tile/0/002.p/188").unlink()
    assert run(tessera, str(log), str(SIGNER.verifier)).returncode == 1


def test_go_verifies_a_record_by_its_proof(auditor: Path, log: Path, tmp_path: Path) -> None:
    signed = (log / "checkpoint").read_text()
    nodes = over(Folder(log).read, len(RECORDS))
    for index in (0, 255, 256, 699):
        proof = Proof(SALT, index, merkle.inclusion(nodes, index, len(RECORDS)), signed)
        statement = tmp_path / f"{index}.statement"
        statement.write_bytes(RECORDS[index].statement)
        statement.with_suffix(".tlog-proof").write_text(proof.text)
        found = run(auditor, "proof", str(statement), str(SIGNER.verifier))
        assert found.stdout == f"leaf {index} of 700\n", found.stderr
        assert Proof.of(proof.text) == proof
        assert proof.check(RECORDS[index].statement, SIGNER.verifier).size == 700
        statement.write_bytes(RECORDS[index].statement + b" ")
        assert run(auditor, "proof", str(statement), str(SIGNER.verifier)).returncode == 1
        with pytest.raises(Unproven):
            proof.check(RECORDS[index].statement + b" ", SIGNER.verifier)


def test_openssl_makes_the_leaf_that_we_make(tmp_path: Path) -> None:
    (tmp_path / "statement").write_bytes(RECORDS[5].statement)
    made = subprocess.run(
        [
            "openssl",
            "dgst",
            "-sha256",
            "-mac",
            "HMAC",
            "-macopt",
            f"hexkey:{SALT.hex()}",
            "-binary",
            "statement",
        ],
        cwd=tmp_path,
        capture_output=True,
        check=True,
    ).stdout
    assert made == commitment(SALT, RECORDS[5].statement)


def refused(check: object, *arguments: object) -> bool:
    try:
        check(*arguments)  # type: ignore[operator]
    except Unproven:
        return True
    return False


def test_we_and_transparency_dev_judge_the_same_proofs_alike(auditor: Path) -> None:
    """Good ones, and some that were spoilt: another place, size, hash, length, order."""
    chance = random.Random(9162)
    leaves = [leaf_hash(bytes([number % 251])) for number in range(200)]

    def nodes(level: int, index: int) -> bytes:
        if level == 0:
            return leaves[index]
        return merkle.node_hash(nodes(level - 1, 2 * index), nodes(level - 1, 2 * index + 1))

    def root(size: int) -> bytes:
        return merkle.root(nodes, 0, size)

    def spoilt(proof: list[bytes]) -> list[bytes]:
        how = chance.randrange(10)
        if how == 0:
            return [*proof, chance.randbytes(32)]
        if how == 1:
            return proof[:-1]
        if how == 2:
            return proof[::-1]
        if how == 3 and proof:
            return [proof[0], *proof]
        if how == 4 and proof:
            at = chance.randrange(len(proof))
            return [*proof[:at], chance.randbytes(32), *proof[at + 1 :]]
        return proof

    moved = (0,) * 12 + (1, -1)
    cases, ours = [], []
    for _ in range(3_000):
        size, later = sorted((chance.randint(1, 200), chance.randint(1, 200)))
        if chance.random() < 0.5:
            index = chance.randrange(size)
            proof = spoilt(merkle.inclusion(nodes, index, size))
            told = (
                max(0, index + chance.choice(moved)),
                max(0, size + chance.choice(moved)),
            )
            case = {
                "Index": told[0],
                "Size": told[1],
                "Leaf": leaves[index],
                "Root": root(size),
                "Proof": proof,
            }
            ours.append(refused(merkle.check_inclusion, *told, leaves[index], proof, root(size)))
        else:
            proof = spoilt(merkle.consistency(nodes, size, later))
            told = (
                max(0, size + chance.choice(moved)),
                max(0, later + chance.choice(moved)),
            )
            case = {
                "Size": told[0],
                "Later": told[1],
                "Root": root(size),
                "After": root(later),
                "Proof": proof,
            }
            ours.append(refused(merkle.check_consistency, *told, proof, root(size), root(later)))
        cases.append(case)
    encoded = "\n".join(
        json.dumps(case, default=lambda data: base64.b64encode(data).decode()) for case in cases
    )
    theirs = [line == "refused" for line in run(auditor, "cases", text=encoded).stdout.splitlines()]
    assert theirs == ours
    assert 500 < sum(ours) < 2_500
