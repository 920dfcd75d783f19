"""What shows one record to somebody who is entitled to it: what was recorded, the salt, and the way to a
checkpoint. The text is c2sp.org/tlog-proof's, with the salt as its `extra`.
"""

import base64
import re
from pathlib import Path
from typing import Final, NamedTuple

from hub.ledger import merkle
from hub.ledger.commitment import SALT_BYTES, Recorded, Salts, commitment
from hub.ledger.merkle import Unproven, leaf_hash
from hub.ledger.note import Checkpoint, Verifier, split
from hub.ledger.places import Places
from hub.ledger.tiles import Folder, over
from hub.ledger.tree import CHECKPOINT
from schemas.errors import Erased

HEADER: Final = "c2sp.org/tlog-proof@v1"
PROOF_CHARS_MAX: Final = 100_000
_TEXT: Final = re.compile(
    rf"{re.escape(HEADER)}\nextra (?P<salt>[A-Za-z0-9+/=]+)\nindex (?P<index>0|[1-9][0-9]{{0,18}})\n"
    r"(?P<hashes>(?:[A-Za-z0-9+/=]+\n)*)\n(?P<note>.+)",
    re.DOTALL,
)


class Proof(NamedTuple):
    """A record's leaf, the hashes from there to the root, and the checkpoint with that root."""

    salt: bytes
    leaf: int
    hashes: list[bytes]
    note: str

    @property
    def text(self) -> str:
        """As files have it."""
        lines = [HEADER, f"extra {base64.b64encode(self.salt).decode()}", f"index {self.leaf}"]
        lines += [base64.b64encode(each).decode() for each in self.hashes]
        return "\n".join([*lines, "", self.note])

    @classmethod
    def of(cls, text: str) -> "Proof":
        """Reads what `text` gives. Raises `Unproven`."""
        found = _TEXT.fullmatch(text) if len(text) <= PROOF_CHARS_MAX else None
        if found is None:
            raise Unproven("this is no proof with a salt")
        try:
            hashes = [base64.b64decode(line, validate=True) for line in found["hashes"].split()]
            salt = base64.b64decode(found["salt"], validate=True)
        except ValueError:
            raise Unproven("a proof is base64") from None
        if len(salt) != SALT_BYTES:
            raise Unproven("a salt is 32 bytes")
        return cls(salt, int(found["index"]), hashes, found["note"])

    def check(self, statement: bytes, verifier: Verifier) -> Checkpoint:
        """The checkpoint under which this statement stands. Raises `Unproven`, `NoteInvalid`."""
        head = verifier.checkpoint(self.note)
        hashed = leaf_hash(commitment(self.salt, statement))
        merkle.check_inclusion(self.leaf, head.size, hashed, self.hashes, head.root)
        return head


class Unplaced(Unproven):
    """A record has no place under the published checkpoint yet."""

    code = "unplaced"


class Prover:
    """Makes proofs from a log's files, under the checkpoint that is published now."""

    def __init__(self, path: Path, salts: Salts) -> None:
        """In: the log's folder. Raises `Unplaced` where nothing was published yet, `NoteInvalid`."""
        try:
            self._note = (path / CHECKPOINT).read_text("utf-8")
        except FileNotFoundError:
            raise Unplaced("no checkpoint was published yet") from None
        self._size = Checkpoint.of(split(self._note)[0]).size
        self._nodes = over(Folder(path).read, self._size)
        self._places = Places(path)
        self._salts = salts

    def prove(self, record: Recorded) -> Proof:
        """The proof of one record.

        Raises `Unplaced` where it waits for the next checkpoint, `Erased` where its salt went with the
        participant's key, `Unproven` where its leaf is another record's, `Corrupt` where the log is damaged.
        """
        leaf = self._places.find((record.topic, record.partition), record.offset)
        if leaf is None or leaf >= self._size:
            raise Unplaced(f"`{record.name}` waits for the next checkpoint")
        try:
            salt, gone = self._salts.of(record), False
        except Erased:
            salt, gone = self._salts.own(record), True
        if leaf_hash(commitment(salt, record.statement)) != self._nodes(0, leaf):
            if gone:
                raise Erased("its salt went with the participant's key")
            raise Unproven(f"`{record.name}` is not what its leaf in the log says: run `hub audit verify`")
        return Proof(salt, leaf, merkle.inclusion(self._nodes, leaf, self._size), self._note)
