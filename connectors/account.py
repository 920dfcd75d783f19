"""An SFTP account that is looked into: files are brought here, taken as from a folder, and given back.

On the account as in a folder: what the hub reads lies in `taken`, what it has read in `done`, with its result
beside it. A file is renamed there before it is brought, and what is brought lies in a folder of the hub's own
until its result is back. So whatever ends at any moment, the next look goes on: it brings again what is in
`taken` and not here, and gives back again what is here and done.
"""

import asyncio
import os
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

import asyncssh

from connectors import folder
from connectors.folder import DONE, TAKEN, Folder, Settling, entries_max, result_of, waits
from connectors.results import Result, Results
from connectors.sources import Account
from connectors.taking import Taker
from schemas import crash
from schemas.errors import Unavailable

files_max: Final = 20  # that are brought at once
file_bytes_max: Final = 8 * 1024 * 1024 * 1024
connect_s_max: Final = 20
operation_s_max: Final = 60
transfer_s_max: Final = 3_600
_STAMPED: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{9}Z-[^/\0]+")
_REGULAR: Final = asyncssh.FILEXFER_TYPE_REGULAR


class Polled:
    """One account. In: a folder of the hub's own for it, that nobody else writes to; what takes files."""

    def __init__(self, account: Account, own: Folder, taker: Taker, settle_ms: int) -> None:
        self._account = account
        self._own = own
        self._taker = taker
        self._settling = Settling(settle_ms)
        self._next = 0.0

    async def once(self, stopping: Callable[[], bool]) -> bool:
        """Takes the next file that was brought; else looks into the account, when it is time to.

        Out: whether there is more to do. Raises `OSError`, and `Unavailable` where it cannot be used.
        """
        await asyncio.to_thread(self._prepare)
        file = await asyncio.to_thread(self._own.next)
        if file is not None:
            if not await self._taker.take(file, stopping):
                return False
            await asyncio.to_thread(self._own.finish, file)
            crash.point("files-finished")
            self._next = 0.0
            return True
        if time.monotonic() < self._next:
            return False
        try:
            async with self._connected() as sftp:
                await self._give_back(sftp)
                brought = await self._bring(sftp)
        except (asyncssh.Error, TimeoutError) as error:
            raise Unavailable("the account cannot be used", code=_code(error)) from None
        if not brought:
            self._next = time.monotonic() + self._account.every_ms / 1000
        return brought

    def _prepare(self) -> None:
        self._own.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own.prepare()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[asyncssh.SFTPClient]:
        account = self._account
        async with (
            asyncssh.connect(
                account.host,
                account.port,
                username=account.username,
                client_keys=[str(account.key)],
                known_hosts=([asyncssh.import_public_key(account.host_key)], [], []),
                preferred_auth="publickey",
                agent_path=None,
                config=None,
                connect_timeout=connect_s_max,
                login_timeout=connect_s_max,
                keepalive_interval=connect_s_max,
            ) as connection,
            connection.start_sftp_client() as sftp,
        ):
            async with asyncio.timeout(operation_s_max):
                await sftp.chdir(account.folder)
                for name in (TAKEN, DONE):
                    if not await sftp.isdir(name):
                        await sftp.mkdir(name)
            yield sftp

    async def _bring(self, sftp: asyncssh.SFTPClient) -> bool:
        """Brings what was begun and is not here, else the oldest files that are whole. Out: whether any."""
        begun = sorted(name for name in await _listed(sftp, TAKEN) if _STAMPED.fullmatch(name))
        for name in begun[:files_max]:
            await self._fetch(sftp, name)
        if begun:
            return True
        found = await _listed(sftp, ".")
        whole = self._settling.whole({name: look for name, look in found.items() if waits(name)})
        for name in sorted(whole, key=lambda one: (found[one][1], one))[:files_max]:
            target = folder.stamped(name, time.time_ns())
            async with asyncio.timeout(operation_s_max):
                await sftp.rename(name, f"{TAKEN}/{target}")
            crash.point("files-renamed")
            await self._fetch(sftp, target)
        return bool(whole)

    async def _fetch(self, sftp: asyncssh.SFTPClient, name: str) -> None:
        here = self._own.taken / name
        async with asyncio.timeout(operation_s_max):
            size = (await sftp.stat(f"{TAKEN}/{name}")).size or 0
        if size > file_bytes_max:
            await asyncio.to_thread(_refuse, self._own.done / name)
            return
        part = self._own.path / f".{name}.part"
        async with asyncio.timeout(transfer_s_max):
            await sftp.get(f"{TAKEN}/{name}", str(part))
        await asyncio.to_thread(_move, part, here)
        crash.point("files-brought")

    async def _give_back(self, sftp: asyncssh.SFTPClient) -> None:
        """Results, and the files beside them, of all that is done here."""
        for result in sorted(self._own.done.glob(f"*{folder.RESULT}")):
            name = result.name.removesuffix(folder.RESULT)
            async with asyncio.timeout(transfer_s_max):
                if not await sftp.exists(f"{DONE}/{result.name}"):
                    part = f"{DONE}/.{result.name}.part"
                    await sftp.put(str(result), part)
                    await sftp.rename(part, f"{DONE}/{result.name}")
            crash.point("files-told")
            async with asyncio.timeout(operation_s_max):
                if await sftp.exists(f"{TAKEN}/{name}"):
                    await sftp.rename(f"{TAKEN}/{name}", f"{DONE}/{name}")
            await asyncio.to_thread((self._own.done / name).unlink, missing_ok=True)
            await asyncio.to_thread(result.unlink)


async def _listed(sftp: asyncssh.SFTPClient, path: str) -> dict[str, tuple[int, int]]:
    """Size and time of the plain files of a folder, by name. What has no proper name is left out."""
    found: dict[str, tuple[int, int]] = {}
    async with asyncio.timeout(operation_s_max):
        async for entry in sftp.scandir(path):
            name = entry.filename
            if (
                isinstance(name, str)
                and "/" not in name
                and "\0" not in name
                and entry.attrs.type == _REGULAR
            ):
                found[name] = (entry.attrs.size or 0, int(entry.attrs.mtime or 0))
            if len(found) >= entries_max:
                break
    return found


def _move(part: Path, here: Path) -> None:
    """A file that was brought whole gets its name, and stays through a power cut."""
    descriptor = os.open(part, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(part, here)


def _refuse(done: Path) -> None:
    results = Results(result_of(done))
    with suppress(OSError):
        results.add([Result("", 0, "unreadable", codes="too-large")])
    results.close()


def _code(error: Exception) -> str:
    """`HostKeyNotVerifiable` as `host-key-not-verifiable`: says what is wrong, and nothing of the server."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
