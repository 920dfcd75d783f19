"""Files that are about to get their name at a recipient, or have had it for a short while."""

from collections.abc import Collection
from typing import Final

import sqlalchemy as sa

from connectors.sftp import Note
from hub.store import Store, upsert
from hub.tables import sent_files

KEPT_MS: Final = 2 * 24 * 3_600_000  # far longer than a delivery whose worker died waits for its next try
NOTES_MAX: Final = 2_000  # that are looked through


class SentFiles:
    """`connectors.sftp.Notes` over the store: names and keys of deliveries, and nothing of what they say."""

    def __init__(self, store: Store) -> None:
        """In: the store."""
        self._store = store

    def of(self, stakeholder: str) -> list[Note]:
        """See `Notes.of`."""
        query = (
            sa.select(sent_files)
            .where(sent_files.c.stakeholder == stakeholder)
            .order_by(sent_files.c.at.desc())
            .limit(NOTES_MAX)
        )
        with self._store.read() as connection:
            return [
                Note(row.name, row.part or None, frozenset(row.keys), row.at)
                for row in connection.execute(query)
            ]

    def note(self, stakeholder: str, note: Note) -> None:
        """See `Notes.note`."""
        mine = sent_files.c.stakeholder == stakeholder
        old = sa.and_(mine, sent_files.c.part == "", sent_files.c.at < note.at - KEPT_MS)
        row = {
            "stakeholder": stakeholder,
            "name": note.name,
            "part": note.part or "",
            "keys": sorted(note.keys),
            "at": note.at,
        }
        with self._store.write() as connection:
            connection.execute(sent_files.delete().where(old))
            upsert(connection, sent_files, [row], update=("part", "keys", "at"))

    def again(self, stakeholder: str, keys: Collection[str]) -> None:
        """These deliveries are wanted once more: no file that holds one of them is remembered as sent."""
        for note in self.of(stakeholder):
            if note.part is None and not note.keys.isdisjoint(keys):
                self.note(stakeholder, note._replace(keys=note.keys.difference(keys)))

    def forget(self, stakeholder: str, name: str) -> None:
        """See `Notes.forget`."""
        mine = sa.and_(sent_files.c.stakeholder == stakeholder, sent_files.c.name == name)
        with self._store.write() as connection:
            connection.execute(sent_files.delete().where(mine))
