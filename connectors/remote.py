"""What lies on an account: files are brought from there into a folder of the hub's own, and given back.

On the account as in a folder: what the hub reads lies in `taken`, what it has read in `done`, with its result
beside it. A file is renamed there before it is brought, and what is brought lies in a folder of the hub's own
until its result is back. So whatever ends at any moment, the next look goes on: it brings again what is in
`taken` and not here, and gives back again what is here and done.
"""

import asyncio
import os
import re
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import asyncssh

from connectors import folder
from connectors.folder import DONE, TAKEN, Folder, Settling, entries_max, result_of, waits
from connectors.results import Result, Results
from schemas import crash

files_max: Final = 20  # that are brought at once
file_bytes_max: Final = 8 * 1024 * 1024 * 1024
operation_s_max: Final = 60
transfer_s_max: Final = 3_600
_STAMPED: Final = re.compile(r"[0-9]{8}T[0-9]{6}\.[0-9]{9}Z-[^/\0]+")
_REGULAR: Final = asyncssh.FILEXFER_TYPE_REGULAR


class Remote:
    """An account's folder, as long as the connection lasts. Every call raises `asyncssh.Error`, `OSError`, or
    `TimeoutError` where the server takes longer than its bound.
    """

    def __init__(self, sftp: asyncssh.SFTPClient, own: Folder, settling: Settling) -> None:
        """In: the connection; the hub's own folder; what was seen there by earlier looks."""
        self._sftp = sftp
        self._own = own
        self._settling = settling

    async def enter(self, path: str) -> None:
        """Goes to that folder of the account, and makes what is missing in it."""
        async with asyncio.timeout(operation_s_max):
            await self._sftp.chdir(path)
            for name in (TAKEN, DONE):
                if not await self._sftp.isdir(name):
                    await self._sftp.mkdir(name)

    async def bring(self) -> bool:
        """Brings what was begun and is not here, else the oldest files that are whole. Out: whether any."""
        begun = sorted(name for name in await _listed(self._sftp, TAKEN) if _STAMPED.fullmatch(name))
        for name in begun[:files_max]:
            await self._fetch(name)
        if begun:
            return True
        found = await _listed(self._sftp, ".")
        whole = self._settling.whole({name: look for name, look in found.items() if waits(name)})
        for name in sorted(whole, key=lambda one: (found[one][1], one))[:files_max]:
            target = folder.stamped(name, time.time_ns())
            async with asyncio.timeout(operation_s_max):
                await self._sftp.rename(name, f"{TAKEN}/{target}")
            crash.point("files-renamed")
            await self._fetch(target)
        return bool(whole)

    async def _fetch(self, name: str) -> None:
        here = self._own.taken / name
        async with asyncio.timeout(operation_s_max):
            size = (await self._sftp.stat(f"{TAKEN}/{name}")).size or 0
        if size > file_bytes_max:
            await asyncio.to_thread(_refuse, self._own.done / name)
            return
        part = self._own.path / f".{name}.part"
        async with asyncio.timeout(transfer_s_max):
            await self._sftp.get(f"{TAKEN}/{name}", str(part))
        await asyncio.to_thread(_move, part, here)
        crash.point("files-brought")

    async def give_back(self) -> None:
        """Results, and the files beside them, of all that is done here."""
        for result in sorted(self._own.done.glob(f"*{folder.RESULT}")):
            name = result.name.removesuffix(folder.RESULT)
            async with asyncio.timeout(transfer_s_max):
                if not await self._sftp.exists(f"{DONE}/{result.name}"):
                    part = f"{DONE}/.{result.name}.part"
                    await self._sftp.put(str(result), part)
                    await self._sftp.rename(part, f"{DONE}/{result.name}")
            crash.point("files-told")
            async with asyncio.timeout(operation_s_max):
                if await self._sftp.exists(f"{TAKEN}/{name}"):
                    await self._sftp.rename(f"{TAKEN}/{name}", f"{DONE}/{name}")
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
