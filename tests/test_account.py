"""Files from an SFTP account: a real server on this machine, cut off at every moment that counts."""

import itertools
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncssh
import pytest
import structlog

from connectors import batch, folder, remote, taking
from connectors.account import Polled
from connectors.folder import Folder
from connectors.sources import Account, Source
from hub import journal, settings
from schemas import crash
from schemas.errors import Unavailable
from tests.files_worker import Keys, door
from tests.test_taking import Place, line


class Cut(BaseException):
    """The process ends here."""


class Server(asyncssh.SFTPServer):
    """A folder of this machine. `strange` names are listed besides."""

    folder: Path
    strange: tuple[bytes, ...] = ()

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(chan, chroot=str(self.folder).encode())

    async def scandir(self, path: bytes) -> AsyncIterator[asyncssh.SFTPName]:
        async for entry in super().scandir(path):
            yield entry
        for name in self.strange:
            plain = asyncssh.SFTPAttrs(size=1, permissions=0o100644, mtime=1, type=remote._REGULAR)
            yield asyncssh.SFTPName(name, b"", plain)


class Town(Place):
    """The agency's server and the hub beside each other."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.own = path / "own"
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.key = asyncssh.generate_private_key("ssh-ed25519")
        self.key_file = path / "key"
        self.key.write_private_key(str(self.key_file))
        self.server = type("Told", (Server,), {"folder": self.folder})
        self.port = 0

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        authorized = asyncssh.import_authorized_keys(self.key.export_public_key().decode())
        async with asyncssh.listen(
            "127.0.0.1",
            self.port,
            server_host_keys=[self.host_key],
            authorized_client_keys=authorized,
            sftp_factory=self.server,
        ) as server:
            self.port = server.get_port()
            yield

    def polled(self, settle_ms: int = 0, **more: object) -> Polled:
        told = {
            "host": "127.0.0.1",
            "port": self.port or 1,
            "username": "hub",
            "key": self.key_file,
            "host_key": self.host_key.export_public_key().decode(),
        }
        where = Account(**told | more)  # type: ignore[arg-type]
        source = Source(agency="reach", mappings={"*.csv": str(self.mapping)}, sftp=where)
        taker = taking.Taker(source, door(self.log), Keys().mac)
        return Polled(where, Folder(self.own, 0), taker, settle_ms)

    async def all_of(self, polled: Polled | None = None) -> None:
        polled = polled or self.polled()
        for _ in range(100):
            if not await polled.once(lambda: False):
                return
        raise AssertionError("it never came to an end")

    def left(self) -> list[str]:
        """What lies about in the hub's own folder."""
        return [name for _, _, names in os.walk(self.own) for name in names]


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return Town(tmp_path)


async def test_files_of_an_account_are_taken_in_order_and_given_back_with_their_results(town: Town) -> None:
    town.put("b.csv", line(1), line(2, day="soon"), at=1_000)
    town.put("a.csv", line(3), at=2_000)
    town.put("c.csv.part", line(4))
    async with town.serving():
        await town.all_of()
    assert town.ids() == ["1", "3"]
    assert town.done() == ["b.csv", "b.csv.result.csv", "a.csv", "a.csv.result.csv"]
    assert [one["status"] for one in town.result("b.csv")] == ["accepted", "unreadable"]
    assert sorted(os.listdir(town.folder)) == ["c.csv.part", "done", "taken"]
    assert os.listdir(town.folder / "taken") == []
    assert town.left() == []


async def test_no_log_names_a_file_for_its_name_may_be_somebodys(
    town: Town, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", root.handlers[:])
    monkeypatch.setattr(root, "level", root.level)
    journal.configure(settings.load(), "files")
    town.put("abernathy.csv", line(1))
    try:
        async with town.serving():
            await town.all_of()
    finally:
        logging.captureWarnings(False)
        structlog.reset_defaults()
    assert town.ids() == ["1"]
    assert "abernathy" not in capsys.readouterr().err


async def test_a_file_that_still_grows_is_left_until_two_looks_find_it_the_same(town: Town) -> None:
    file = town.put("a.csv", line(1), at=1_000)
    now = itertools.count(0, 10)
    async with town.serving():
        polled = town.polled(settle_ms=5_000, every_ms=1_000)
        polled._settling = folder.Settling(5_000, lambda: float(next(now)))
        await town.all_of(polled)
        with file.open("a", newline="") as more:
            more.write(line(2))
        for _ in range(2):
            assert town.ids() == []
            polled._next = 0.0
            await town.all_of(polled)
    assert town.ids() == ["1", "2"]


async def test_only_the_server_with_the_given_host_key_is_spoken_to(town: Town) -> None:
    town.put("a.csv", line(1))
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    async with town.serving():
        with pytest.raises(Unavailable) as caught:
            await town.polled(host_key=other).once(lambda: False)
    assert caught.value.code == "host-key-not-verifiable"
    assert sorted(os.listdir(town.folder)) == ["a.csv"]


async def test_a_server_that_is_away_or_lets_nobody_in_is_told_by_a_code(town: Town) -> None:
    with pytest.raises((Unavailable, OSError)):
        await town.polled(port=1).once(lambda: False)
    town.key = asyncssh.generate_private_key("ssh-ed25519")
    async with town.serving():
        with pytest.raises(Unavailable) as caught:
            await town.polled().once(lambda: False)
    assert caught.value.code == "permission-denied"


@pytest.mark.parametrize(
    "point", ["files-renamed", "files-brought", "files-stored", "files-noted", "files-moved", "files-told"]
)
async def test_cut_off_at_any_moment_the_next_look_goes_on(
    town: Town, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch, "rows_max", 2)
    town.put("a.csv", *(line(number) for number in range(5)), at=1_000)
    town.put("b.csv", line(5), at=2_000)

    def cut(name: str) -> None:
        if name == point:
            raise Cut

    async with town.serving():
        monkeypatch.setattr(crash, "point", cut)
        with pytest.raises(Cut):
            await town.all_of()
        monkeypatch.setattr(crash, "point", lambda name: None)
        await town.all_of()
    assert list(dict.fromkeys(town.ids())) == [str(number) for number in range(6)]
    assert len(town.ids()) <= 8
    assert town.done() == ["a.csv", "a.csv.result.csv", "b.csv", "b.csv.result.csv"]
    assert [one["line"] for one in town.result("a.csv")] == ["2", "3", "4", "5", "6"]
    assert town.left() == []


async def test_a_server_cannot_name_a_file_out_of_the_hubs_folder(town: Town) -> None:
    town.put("a.csv", line(1))
    bad = folder.stamped("../../out.csv", 1).encode()
    town.server.strange = (b"../../out.csv", b"/etc/out.csv", b".hidden.csv", bad)
    async with town.serving():
        await town.all_of()
    assert town.ids() == ["1"]
    assert not list(town.own.parent.glob("**/*out.csv"))


async def test_a_file_past_its_bound_is_not_brought_and_told(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "file_bytes_max", 100)
    town.put("a.csv", *(line(number) for number in range(9)), at=1_000)
    town.put("b.csv", line(9), at=2_000)
    async with town.serving():
        await town.all_of()
    assert town.ids() == ["9"]
    assert [one["codes"] for one in town.result("a.csv")] == ["too-large"]
    assert town.done() == ["a.csv", "a.csv.result.csv", "b.csv", "b.csv.result.csv"]


async def test_a_link_on_the_account_is_not_followed(town: Town, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(line(1))
    (town.folder / "link.csv").symlink_to(secret)
    async with town.serving():
        await town.all_of()
    assert town.ids() == []
