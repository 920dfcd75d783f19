"""A witness: somebody else who signs a checkpoint after checking that it continues the one before
(c2sp.org/tlog-witness). A log that shows different people different histories finds no signature for them.
"""

import base64
import re
from typing import Final

import httpx

from hub.ledger import merkle
from hub.ledger.note import Checkpoint, NoteInvalid, Verifier, line, split
from hub.ledger.tiles import over
from hub.ledger.tree import Tree
from schemas.errors import Unavailable

ANSWER_S_MAX: Final = 5.0
ANSWER_BYTES_MAX: Final = 65_536
CONFLICT: Final = 409
REFUSALS: Final = {
    403: "the witness does not know this log's key",
    404: "the witness does not know this log",
    CONFLICT: "the witness has seen another size of this log than it says",
    422: "the witness says that this log does not continue what it has seen",
}
_SIZE: Final = re.compile(r"[0-9]{1,19}\n?")


class Witness:
    """One witness, by its address and its key for cosignatures."""

    def __init__(self, url: str, verifier: Verifier) -> None:
        """In: the prefix of its submission address; what verifies its signatures."""
        self._url = url.rstrip("/") + "/add-checkpoint"
        self._verifier = verifier

    def cosign(self, note: str, tree: Tree) -> str:
        """The checkpoint with the witness's signature below the log's.

        Raises `Unavailable` where it does not answer or does not sign: it may have seen another history.
        """
        text, _ = split(note)
        size, who = Checkpoint.of(text).size, self._verifier
        old = min(tree.state.cosigned, size)
        with httpx.Client(timeout=ANSWER_S_MAX, follow_redirects=False) as client:
            status, body = self._ask(client, note, old, size, tree)
            if status == CONFLICT and _SIZE.fullmatch(body) and int(body) <= size:
                status, body = self._ask(client, note, int(body), size, tree)
        if status != httpx.codes.OK:
            raise Unavailable(REFUSALS.get(status, f"the witness answers {status}"))
        try:
            _, signatures = split(f"{text}\n{body}")
            mine = [each for name, ident, each in signatures if (name, ident) == (who.name, who.id)]
            for each in mine:
                who.check(text, each)
        except NoteInvalid as error:
            raise Unavailable(f"the witness's signature does not count: {error.detail}") from None
        if not mine:
            raise Unavailable("the witness does not sign with the key that is set")
        tree.state.cosigned = size
        return note + line(who, mine[0])

    def _ask(self, client: httpx.Client, note: str, old: int, size: int, tree: Tree) -> tuple[int, str]:
        proof = merkle.consistency(over(tree.folder.read, size), old, size) if old else []
        lines = [f"old {old}", *(base64.b64encode(each).decode() for each in proof), "", note]
        try:
            with client.stream("POST", self._url, content="\n".join(lines).encode()) as answer:
                body = b""
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise Unavailable("the witness's answer is too long")
                return answer.status_code, body.decode("utf-8")
        except (httpx.HTTPError, UnicodeDecodeError):
            raise Unavailable("the witness does not answer") from None
