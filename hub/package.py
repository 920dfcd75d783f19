"""An export as files that check themselves: `SHA256SUMS` names the hash of every other file, and is signed.

Stock tools verify it: `sha256sum -c SHA256SUMS`, and OpenSSL for the Ed25519 signature (RFC 8032) beside it.
Proofs show that what led to each record stands in the transparency log (RFC 9162) without showing what that
says: it names other recipients too. Checking needs the export's key and, for the proofs, the log's.
"""

import hashlib
import json
import os
import zipfile
from base64 import b64decode, b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.errors import OperatorError
from hub.ledger import merkle
from hub.ledger.commitment import commitment
from hub.ledger.merkle import Unproven, leaf_hash
from hub.ledger.note import NoteInvalid, Verifier

SUMS: Final = "SHA256SUMS"
SIGNATURE: Final = "SHA256SUMS.sig"
MANIFEST: Final = "manifest.json"
RECORDS: Final = "records.json"
SUMMARY: Final = "summary.txt"
PROOFS: Final = "proofs.json"
NAMES: Final = (MANIFEST, PROOFS, RECORDS, SUMMARY)
FILE_BYTES_MAX: Final = 256 * 1024 * 1024
EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the earliest that a zip can say: the same files make the same bytes


class NotWhole(OperatorError):
    """A package is not what was signed."""


class Checked(NamedTuple):
    """What a check found: the manifest, how many proofs stand under the log's checkpoint, how many wait."""

    manifest: Mapping[str, Any]
    proven: int
    waiting: int


def as_json(value: object) -> bytes:
    """JSON as the files have it: sorted, indented, with a line's end."""
    return (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def sums(files: Mapping[str, bytes]) -> bytes:
    """The hashes of files as `sha256sum` writes and reads them."""
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files)).encode()


def public_pem(seed: bytes) -> str:
    """The key that verifies, in PEM (RFC 8410), as OpenSSL reads it."""
    key = Ed25519PrivateKey.from_private_bytes(seed).public_key()
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public_bytes(serialization.Encoding.PEM, form).decode()


def signed(files: Mapping[str, bytes], seed: bytes) -> dict[str, bytes]:
    """The files with their hashes and the signature over those."""
    listed = sums(files)
    return {**files, SUMS: listed, SIGNATURE: Ed25519PrivateKey.from_private_bytes(seed).sign(listed)}


def write(files: Mapping[str, bytes], to: Path) -> None:
    """Writes a zip, where the name ends so, else a folder; never over anything that is there.

    Only its owner may read it. Raises `FileExistsError`.
    """
    if to.suffix.lower() == ".zip":
        with (
            os.fdopen(os.open(to, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file,
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed,
        ):
            for name in sorted(files):
                packed.writestr(zipfile.ZipInfo(name, EPOCH), files[name], zipfile.ZIP_DEFLATED)
        return
    to.mkdir(mode=0o700, parents=True)
    for name in sorted(files):
        with os.fdopen(os.open(to / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(files[name])


def read(path: Path) -> dict[str, bytes]:
    """The files of a package. Raises `NotWhole` for what is none, or is too large."""
    wanted = (*NAMES, SUMS, SIGNATURE)
    try:
        if path.is_dir():
            found = sorted(each.name for each in path.iterdir())
            _exactly(found, wanted)
            return {name: _bounded((path / name).open("rb")) for name in wanted}
        with zipfile.ZipFile(path) as packed:
            _exactly(sorted(packed.namelist()), wanted)
            return {name: _bounded(packed.open(name)) for name in wanted}
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise NotWhole(f"this is no export: {type(error).__name__}") from None


def _exactly(found: list[str], wanted: tuple[str, ...]) -> None:
    if found != sorted(wanted):
        odd = sorted({*found} ^ {*wanted}) or ["a file that is there twice"]
        raise NotWhole(f"it should hold {len(wanted)} files, each once; it is about `{odd[0][:80]}`")


def _bounded(file: Any) -> bytes:
    with file:
        data: bytes = file.read(FILE_BYTES_MAX + 1)
    if len(data) > FILE_BYTES_MAX:
        raise NotWhole(f"a file in it is larger than {FILE_BYTES_MAX} bytes")
    return data


def check(files: Mapping[str, bytes], pem: bytes, log: Verifier | None) -> Checked:
    """Checks the signature, every hash, and every proof against its checkpoint.

    In: the files as `read` gives them, the export's key in PEM, the log's key where proofs are to be checked.
    Raises `NotWhole`, naming what differs.
    """
    try:
        key = serialization.load_pem_public_key(pem)
    except ValueError:
        raise NotWhole("the key is no public key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise NotWhole("the key is no Ed25519 key")
    try:
        key.verify(files[SIGNATURE], files[SUMS])
    except InvalidSignature:
        raise NotWhole(f"`{SIGNATURE}` is no signature of `{SUMS}` by this key") from None
    listed = dict(line.split("  ", 1)[::-1] for line in files[SUMS].decode().splitlines())
    for name in NAMES:
        if listed.get(name) != hashlib.sha256(files[name]).hexdigest():
            raise NotWhole(f"`{name}` is not what was signed")
    proofs = json.loads(files[PROOFS])
    proven = 0 if log is None else _proven(proofs, log)
    return Checked(json.loads(files[MANIFEST]), proven, len(proofs["waiting"]))


def _proven(proofs: Mapping[str, Any], log: Verifier) -> int:
    if proofs["checkpoint"] is None:
        return 0
    try:
        head = log.checkpoint(proofs["checkpoint"])
        for one in proofs["proofs"]:
            leaf = bytes.fromhex(one["commitment"])
            if "statement" in one:
                opened = commitment(bytes.fromhex(one["salt"]), bytes.fromhex(one["statement"]))
                if opened != leaf:
                    raise Unproven(f"the statement of leaf {one['leaf']} is not what its commitment says")
            hashes = [b64decode(each) for each in one["hashes"]]
            merkle.check_inclusion(one["leaf"], head.size, leaf_hash(leaf), hashes, head.root)
    except (Unproven, NoteInvalid) as error:
        raise NotWhole(f"`{PROOFS}`: {error.detail}") from None
    return len(proofs["proofs"])


def proof_of(leaf: int, committed: bytes, hashes: list[bytes]) -> dict[str, Any]:
    """One proof as the file has it."""
    return {
        "leaf": leaf,
        "commitment": committed.hex(),
        "hashes": [b64encode(one).decode() for one in hashes],
    }
