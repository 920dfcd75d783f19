"""How somebody wants to be told: quiet hours, a digest, an address, a language.

These are settings, not history: they stand in the store alone. The address is sealed.
"""

from email.errors import HeaderParseError
from email.headerregistry import Address
from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from hub.casetables import preferences
from hub.language import DEFAULT, LANGUAGES
from hub.store import Store, upsert
from hub.vault import Vault
from schemas.calendar import MINUTES_OF_DAY
from schemas.errors import Invalid

MAIL_CHARS_MAX: Final = 254  # RFC 5321, 4.5.3.1.3


class Preference(NamedTuple):
    """What one person wants. Times of day in minutes after midnight, by the clocks where the people are.

    `looked_at`, epoch milliseconds, is when they last looked; `digested_at` when the last digest was due.
    """

    quiet_from: int | None = None
    quiet_until: int | None = None
    digest_at: int | None = None
    aloud: bool = False
    language: str = DEFAULT
    mail: str | None = None
    looked_at: int | None = None
    digested_at: int | None = None


class Preferences:
    """Everybody's, in the store. In: the vault whose key `secrets` seals addresses."""

    def __init__(self, store: Store, vault: Vault) -> None:
        self._store = store
        self._sealer = vault.hub("secrets")

    def of(self, account: str) -> Preference:
        """What they want; what nobody chose is as it comes."""
        query = sa.select(preferences).where(preferences.c.account == account)
        with self._store.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return Preference()
        mail = None if row.mail is None else self._sealer.open(_aad(account), row.mail).decode()
        return Preference(
            row.quiet_from,
            row.quiet_until,
            row.digest_at,
            row.aloud,
            row.language,
            mail,
            row.looked_at,
            row.digested_at,
        )

    def set(self, account: str, **changes: Any) -> Preference:
        """Change some of it: names as in `Preference`. Out: all of it. Raises `Invalid`."""
        wanted = self.of(account)._replace(**changes)
        _check(wanted)
        self._write(account, wanted, [name for name in changes if name in _CHOSEN])
        return wanted

    def looked(self, account: str, now_ms: int) -> None:
        """They looked just now."""
        self._write(account, self.of(account)._replace(looked_at=now_ms), ["looked_at"])

    def _write(self, account: str, wanted: Preference, names: list[str]) -> None:
        mail = wanted.mail
        sealed = None if mail is None else self._sealer.seal(_aad(account), mail.encode())
        row = {**wanted._asdict(), "account": account, "mail": sealed}
        with self._store.write() as connection:
            upsert(connection, preferences, [row], update=names)


_CHOSEN: Final = frozenset(Preference._fields) - {"looked_at", "digested_at"}


def _check(wanted: Preference) -> None:
    for name in ("quiet_from", "quiet_until", "digest_at"):
        minute = getattr(wanted, name)
        if minute is not None and (type(minute) is not int or not 0 <= minute < MINUTES_OF_DAY):
            raise Invalid.one(f"/{name}", "time-of-day", "a time of day is 0 to 1439 minutes after midnight")
    if (wanted.quiet_from is None) != (wanted.quiet_until is None):
        raise Invalid.one("/quiet_until", "quiet-hours", "quiet hours have a beginning and an end")
    if wanted.language not in LANGUAGES:
        raise Invalid.one("/language", "language", f"the languages are {', '.join(LANGUAGES)}")
    if wanted.mail is not None and not _deliverable(wanted.mail):
        raise Invalid.one("/mail", "mail", "this is no e-mail address: for example `name@example.org`")


def _deliverable(text: str) -> bool:
    """Whether it has the form of an address (RFC 5322, addr-spec), in ASCII, with a domain."""
    if len(text) > MAIL_CHARS_MAX or not text.isascii() or not text.isprintable() or " " in text:
        return False
    try:
        address = Address(addr_spec=text)
    except (HeaderParseError, ValueError, IndexError):
        return False
    return bool(address.username) and "." in address.domain


def _aad(account: str) -> bytes:
    return f"preference\0{account}\0mail".encode()
