"""The county's SFTP server: folders into which the hub puts files, and one from which it fetches a jail's.

A real server (asyncssh), with a host key made for the run. Each user is in a folder of its own and signs in
by key. What the hub has put there is read when it has its name, and stays where it is.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh

from examples.county import sheets
from examples.county.journal import write_whole
from examples.county.shelf import Arrival, Shelf

start_ms_max = 10_000
look_ms = 150


def private_key(path: Path) -> asyncssh.SSHKey:
    """The key in that file; made where there is none."""
    if not path.exists():
        made = asyncssh.generate_private_key("ssh-ed25519")
        write_whole(path, made.export_private_key("openssh").decode())
    return asyncssh.read_private_key(path)


class _Door(asyncssh.SSHServer):
    """Lets in who has the key that was registered for the user, and nobody else."""

    def __init__(self, keys: dict[str, str], connected: set[asyncssh.SSHServerConnection]) -> None:
        self.keys = keys
        self.connected = connected

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self.connection = conn
        self.connected.add(conn)

    def connection_lost(self, exc: Exception | None) -> None:
        self.connected.discard(self.connection)

    def begin_auth(self, username: str) -> bool:
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        registered = self.keys.get(username)
        return registered is not None and asyncssh.import_public_key(registered) == key


class Mailbox:
    """The server and its folders, in a thread of its own."""

    def __init__(self, folder: Path, port: int = 0) -> None:
        """In: where the users' folders are; the port, any free one where it is 0."""
        self.folder = folder
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.host_key = private_key(folder / "host-key")
        self.keys: dict[str, str] = {}
        self.socket = socket.create_server(("127.0.0.1", port), backlog=64)
        self.port = int(self.socket.getsockname()[1])
        self.loop = asyncio.new_event_loop()
        self.started = threading.Event()
        self.ended = asyncio.Event()
        self.thread = threading.Thread(target=self._serve, name="mailbox", daemon=True)

    @property
    def public_key(self) -> str:
        """The server's public key, one line."""
        return self.host_key.export_public_key("openssh").decode().strip()

    def trust(self, user: str, public_key: str) -> Path:
        """Lets a user in by a key; out: the folder that is all of the server for that user."""
        place = self.folder / user
        for name in ("in", "out"):
            (place / name).mkdir(mode=0o700, parents=True, exist_ok=True)
        self.keys[user] = public_key
        return place

    def drop(self, user: str) -> str:
        """Where the hub puts this user's files."""
        return f"sftp://{user}@127.0.0.1:{self.port}/in"

    def start(self) -> None:
        """Begins to listen. Raises `TimeoutError` where the server does not come up."""
        self.thread.start()
        if not self.started.wait(start_ms_max / 1000):
            raise TimeoutError("the county's SFTP server did not start")

    def stop(self) -> None:
        """Stops listening, and cuts off who is connected."""
        if self.started.is_set():
            self.loop.call_soon_threadsafe(self.ended.set)
            self.thread.join(start_ms_max / 1000)

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._listen())
        self.loop.close()

    async def _listen(self) -> None:
        def session(channel: asyncssh.SSHServerChannel[bytes]) -> asyncssh.SFTPServer:
            user = str(channel.get_extra_info("username"))
            return asyncssh.SFTPServer(channel, chroot=str(self.folder / user).encode())

        connected: set[asyncssh.SSHServerConnection] = set()
        server = await asyncssh.listen(
            sock=self.socket,
            server_factory=lambda: _Door(self.keys, connected),
            server_host_keys=[self.host_key],
            sftp_factory=session,
            allow_scp=False,
        )
        self.started.set()
        await self.ended.wait()
        server.close()
        for connection in tuple(connected):
            connection.abort()
        await server.wait_closed()


class Reader:
    """An organisation's import: takes what stands in its folder under its own name, each file once."""

    def __init__(self, shelf: Shelf, stakeholder: str, folder: Path) -> None:
        self.shelf = shelf
        self.stakeholder = stakeholder
        self.folder = folder
        self.had: set[str] = set()

    def look(self) -> None:
        """Reads the files that are new."""
        for path in sorted(self.folder.iterdir()):
            if path.name.startswith(".") or path.name in self.had:
                continue
            written_at = path.stat().st_mtime_ns // 1_000_000
            self.shelf.put(
                *(
                    Arrival(self.stakeholder, key, written_at, body, "sftp", path.name)
                    for key, body in _read(path)
                )
            )
            self.had.add(path.name)


def _read(path: Path) -> Iterator[tuple[str, dict[str, object]]]:
    text = path.read_bytes().decode("utf-8")
    if path.suffix == ".csv":
        yield from sheets.rows(path.name, text)
        return
    for line in text.splitlines():
        said = json.loads(line)
        yield said["id"], said["event"]


def follow(readers: list[Reader], stopping: Callable[[], bool]) -> None:
    """Looks again and again, until told to stop."""
    while not stopping():
        for reader in readers:
            reader.look()
        time.sleep(look_ms / 1000)
