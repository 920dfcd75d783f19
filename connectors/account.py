"""An SFTP account that is looked into: files are brought here, taken as from a folder, and given back."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

import asyncssh

from connectors.folder import Folder, Settling
from connectors.remote import Remote
from connectors.sources import Account
from connectors.taking import Taker
from schemas import crash
from schemas.errors import Unavailable

connect_s_max: Final = 20


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
            async with self._connected() as remote:
                await remote.give_back()
                brought = await remote.bring()
        except (asyncssh.Error, TimeoutError) as error:
            raise Unavailable("the account cannot be used", code=_code(error)) from None
        if not brought:
            self._next = time.monotonic() + self._account.every_ms / 1000
        return brought

    def _prepare(self) -> None:
        self._own.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._own.prepare()

    @asynccontextmanager
    async def _connected(self) -> AsyncIterator[Remote]:
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
            remote = Remote(sftp, self._own, self._settling)
            await remote.enter(account.folder)
            yield remote


def _code(error: Exception) -> str:
    """`HostKeyNotVerifiable` as `host-key-not-verifiable`: says what is wrong, and nothing of the server."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", type(error).__name__).lower()
