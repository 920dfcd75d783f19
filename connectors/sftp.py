"""Files by SFTP, for each hour or day: CSV or JSON lines in a folder of the recipient's own server.

A file is noted, written under another name, and then renamed, so that nobody takes half of one. When a rename
gets no answer, the next try looks for the file first: it is there, and was delivered; or it is not, and
everything in it is decided and written again. The server is known by its host key, given beforehand, alone.
"""

import asyncio
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, NamedTuple, Protocol

import asyncssh

from connectors import age, tabular
from connectors.adapter import Outcome, Outgoing
from connectors.address import Forbidden, allowed
from connectors.drop import Drop, Unfit
from connectors.gathering import Gathering
from schemas import crash
from schemas.errors import Refused

ADAPTER: Final = "sftp"
RENAMED: Final = Outcome("delivered", "renamed")
FOUND: Final = Outcome("delivered", "found")
held_ms_max: Final = 600_000  # so long a file may be in the hands of another worker, many times over


class Note(NamedTuple):
    """A file that is about to be written as `part`, and then to get its name; None once it has it."""

    name: str
    part: str | None
    keys: frozenset[str]
    at: int


class Notes(Protocol):
    """Where files are noted, by recipient. All calls are idempotent."""

    def of(self, stakeholder: str) -> Sequence[Note]:
        """The newest ones, those that have their name for two days at least."""

    def note(self, stakeholder: str, note: Note) -> None:
        """Write one, in place of what was noted under its name."""

    def forget(self, stakeholder: str, name: str) -> None:
        """Nothing of that name was, or will be, delivered."""


class Keys(Protocol):
    """The hub's SSH keys, one for each recipient."""

    def ssh(self, stakeholder: str) -> str | None:
        """The private key, in OpenSSH's format."""


class Files:
    """The adapter."""

    def __init__(self, keys: Keys, notes: Notes, now: Callable[[], int], private: bool = False) -> None:
        """In: the hub's keys, what is noted, the time in epoch ms, whether private addresses are fine."""
        self._keys = keys
        self._notes = notes
        self._now = now
        self._private = private
        self._gathering = Gathering(self._send)
        self._turns: dict[str, asyncio.Lock] = {}

    async def deliver(self, outgoing: Outgoing) -> Outcome:
        """Put it into a file with what else is due, and wait until that has its name."""
        return await self._gathering.add(outgoing)

    async def _send(self, several: Sequence[Outgoing]) -> Mapping[str, Outcome]:
        who = several[0].stakeholder
        async with self._turns.setdefault(who, asyncio.Lock()):
            try:
                return await self._write(who, several, Drop.of(several[0].settings))
            except (Refused, OSError, asyncssh.Error) as error:
                failed = Outcome("failed", code_of(error))
                return {one.key: failed for one in several}

    async def _write(self, who: str, several: Sequence[Outgoing], to: Drop) -> Mapping[str, Outcome]:
        key = await asyncio.to_thread(self._keys.ssh, who)
        if key is None:
            raise Unfit("there is no key to sign in with", code="no-key")
        async with connected(to, key, self._private) as sftp:
            there = await self._looked(sftp, who, to, frozenset(one.key for one in several))
            rest = [one for one in several if one.key not in there]
            if rest:
                await self._put(sftp, who, to, rest)
        return {one.key: FOUND if one.key in there else RENAMED for one in several}

    async def _put(self, sftp: asyncssh.SFTPClient, who: str, to: Drop, several: Sequence[Outgoing]) -> None:
        name = name_of(several, self._now(), to.form)
        content = tabular.written(several, to.form)
        if to.age:
            name, content = name + age.SUFFIX, await asyncio.to_thread(age.encrypted, content, to.age)
        part, final = f"{to.path}/.{name}.part", f"{to.path}/{name}"
        note = Note(name, part, frozenset(one.key for one in several), self._now())
        await asyncio.to_thread(self._notes.note, who, note)
        await _written(sftp, part, content)
        crash.point("sftp.written")
        await sftp.rename(part, final)  # never over another file: SSH_FXP_RENAME of version 3
        crash.point("sftp.renamed")
        await asyncio.to_thread(self._notes.note, who, note._replace(part=None))

    async def _looked(
        self, sftp: asyncssh.SFTPClient, who: str, to: Drop, wanted: frozenset[str]
    ) -> frozenset[str]:
        """What was delivered by files that never got an answer. Leaves nothing of those that were not."""
        there: set[str] = set()
        for note in await asyncio.to_thread(self._notes.of, who):
            if note.part is not None:
                if not note.keys & wanted and self._now() - note.at < held_ms_max:
                    continue
                if not await sftp.exists(f"{to.path}/{note.name}"):
                    with contextlib.suppress(asyncssh.SFTPNoSuchFile):
                        await sftp.remove(note.part)
                    await asyncio.to_thread(self._notes.forget, who, note.name)
                    continue
                await asyncio.to_thread(self._notes.note, who, note._replace(part=None))
            there |= note.keys
        return frozenset(there)


@asynccontextmanager
async def connected(to: Drop, key: str, private: bool) -> AsyncIterator[asyncssh.SFTPClient]:
    """A recipient's server, signed in to. In: our key (OpenSSH), whether private addresses are fine.

    Raises `Forbidden`, `OSError`, `asyncssh.Error`.
    """
    connection = await asyncssh.connect(
        await _address(to, private),
        to.port,
        username=to.user,
        client_keys=[asyncssh.import_private_key(key)],
        known_hosts=([asyncssh.import_public_key(to.host_key)], [], []),
        preferred_auth="publickey",
        agent_path=None,
        config=None,
    )
    try:
        yield await connection.start_sftp_client()
    finally:
        connection.abort()  # all that counts was answered by now; whoever hangs is not waited for


async def put(sftp: asyncssh.SFTPClient, to: Drop, name: str, content: bytes) -> Outcome:
    """Put one file there under a name that stands for its content: once, however often it is tried.

    Raises `OSError`, `asyncssh.Error`.
    """
    part, final = f"{to.path}/.{name}.part", f"{to.path}/{name}"
    if await sftp.exists(final):
        return FOUND
    await _written(sftp, part, content)
    await sftp.rename(part, final)
    return RENAMED


async def _written(sftp: asyncssh.SFTPClient, part: str, content: bytes) -> None:
    file = await sftp.open(part, "wb")
    await file.write(content)
    await file.close()
    if await sftp.getsize(part) != len(content):
        raise OSError("not all of it arrived")


async def _address(to: Drop, private: bool) -> str:
    """The address of the host, checked, as it is then connected to. Raises `Forbidden`, `OSError`."""
    found = await asyncio.get_running_loop().getaddrinfo(to.host, to.port, type=socket.SOCK_STREAM)
    addresses = [str(entry[4][0]) for entry in found]
    if not private and not all(allowed(address) for address in addresses):
        raise Forbidden("the host has an address that is not public")
    return addresses[0]


def name_of(several: Sequence[Outgoing], now_ms: int, form: tabular.Format) -> str:
    """`contact-20261123T150000Z-1f0c62aa.csv`: type, time in UTC, what tells it from others by then."""
    when = datetime.fromtimestamp(now_ms / 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256("\0".join(one.key for one in several).encode()).hexdigest()[:8]
    return f"{several[0].view['type']}-{when}-{digest}.{form}"


def code_of(error: Exception) -> str:
    """Why a file did not arrive, as a constant."""
    if isinstance(error, Refused):
        return error.code
    if isinstance(error, asyncssh.HostKeyNotVerifiable):
        return "host-key"
    if isinstance(error, asyncssh.PermissionDenied):
        return "login"
    if isinstance(error, asyncssh.SFTPConnectionLost | asyncssh.ConnectionLost):
        return "connection"
    if isinstance(error, asyncssh.SFTPError):
        return f"sftp-{error.code}"
    return "connect" if isinstance(error, OSError) else "ssh"
