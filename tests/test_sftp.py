"""Files by SFTP, put on a real server of this machine: one that lives, and others that die, hang or lie."""

import asyncio
import csv
import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncssh
import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import deliveries, gathering, projection, sftp, tabular
from connectors.adapter import Outcome, Outgoing, Share
from connectors.schedule import HOUR_MS, MINUTE_MS, Schedule, awake_ms, first_at, together
from connectors.sender import Attempt, Sender
from connectors.sftp import FOUND, RENAMED, Files, Note
from hub.sent import KEPT_MS, SentFiles
from hub.store import Store
from tests.delivery_scene import Keys, Nobody, event, granted, outbound, revoked
from tests.test_engine import World

NOW = 1_790_000_000_000
PARTS = ("subject", "occurrence", "engagement")


class Kept:
    """What is noted, in memory, by the protocol's words."""

    def __init__(self) -> None:
        self.notes: dict[str, Note] = {}

    def of(self, stakeholder: str) -> Sequence[Note]:
        return list(self.notes.values())

    def note(self, stakeholder: str, note: Note) -> None:
        self.notes[note.name] = note

    def forget(self, stakeholder: str, name: str) -> None:
        self.notes.pop(name, None)


class Server(asyncssh.SFTPServer):
    """A folder of this machine, which fails as told."""

    how = "well"
    renames = 0
    opened: list[Any]

    def __init__(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        super().__init__(chan, chroot=str(self.folder).encode())

    folder: Path

    def open(self, path: bytes, pflags: int, attrs: asyncssh.SFTPAttrs) -> object:
        file: object = super().open(path, pflags, attrs)
        type(self).opened.append(file)
        return file

    async def write(self, file_obj: object, offset: int, data: bytes) -> int:
        if type(self).how == "hangs":
            await asyncio.sleep(60)
        if type(self).how == "loses":
            data = data[: len(data) // 2]
        return super().write(file_obj, offset, data)  # type: ignore[return-value]

    def rename(self, oldpath: bytes, newpath: bytes) -> None:
        type(self).renames += 1
        if type(self).how == "dies before":
            self.channel.get_connection().abort()
            raise asyncssh.SFTPFailure("gone")
        super().rename(oldpath, newpath)
        if type(self).how == "dies after":
            self.channel.get_connection().abort()


class Town:
    """A server, the hub's adapter, and what they know of each other."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.host_key = asyncssh.generate_private_key("ssh-ed25519")
        self.ours = asyncssh.generate_private_key("ssh-ed25519")
        self.kept = Kept()
        self.clock = NOW
        self.form = "csv"
        self.age: list[Any] = []
        self.port = 0
        self.server: type[Server] = type("Told", (Server,), {"folder": folder, "opened": []})

    def ssh(self, stakeholder: str) -> str | None:
        return self.ours.export_private_key().decode()

    def adapter(self, private: bool = True) -> Files:
        return Files(self, self.kept, lambda: self.clock, private)

    def settings(self) -> dict[str, Any]:
        return {
            "url": f"sftp://hub@127.0.0.1:{self.port}/in",
            "host_key": self.host_key.export_public_key().decode(),
            "every": "hour",
            "format": self.form,
            **({"age": self.age} if self.age else {}),
        }

    def outgoing(self, number: int, ms: int = 20_000, **fields: Any) -> Outgoing:
        made = event(number, f"p{number}", **fields)
        share = Share("s1", "care-coordination", "consent", ("c1/g1",), PARTS, ())
        seen = projection.seen(outbound(made, share.as_dict()), "reach", [share], [], Keys(), Nobody())
        return Outgoing(
            f"d-{number}",
            "reach",
            sftp.ADAPTER,
            1,
            self.settings(),
            seen.view,
            made["envelope"],
            (share,),
            seen.fields,
            awake_ms() + ms,
        )

    async def send(self, *several: Outgoing, adapter: Files | None = None) -> list[Outcome]:
        adapter = adapter or self.adapter()
        return await asyncio.gather(*(adapter.deliver(one) for one in several))

    def names(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "in").iterdir())

    def rows(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = []
        for name in self.names():
            text = (self.folder / "in" / name).read_bytes().decode()
            found += csv.DictReader(io.StringIO(text, newline=""))
        return found


@asynccontextmanager
async def listening(town: Town) -> AsyncIterator[Town]:
    server = await asyncssh.listen(
        "127.0.0.1",
        0,
        server_host_keys=[town.host_key],
        authorized_client_keys=asyncssh.import_authorized_keys(town.ours.export_public_key().decode()),
        sftp_factory=town.server,
    )
    town.port = server.sockets[0].getsockname()[1]
    yield town
    server.close()
    await server.wait_closed()
    for file in town.server.opened:  # which a connection that is cut leaves open
        file.close()


@pytest.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    (tmp_path / "in").mkdir()
    async with listening(Town(tmp_path)) as made:
        yield made


async def test_a_file_arrives_under_its_name_and_nothing_besides(town: Town) -> None:
    outcomes = await town.send(*(town.outgoing(number) for number in range(1, 6)))
    assert outcomes == [RENAMED] * 5
    [name] = town.names()
    assert name.startswith("contact-20260921T")
    assert name.endswith("Z-" + name[-12:-4] + ".csv")
    rows = town.rows()
    assert [row["id"] for row in rows] == [f"d-{number}" for number in range(1, 6)]
    assert rows[0]["subject.name"] == "Ana Invented"
    assert rows[0]["occurrence.facility"] == "North Hall"
    assert rows[0]["activity.staff"] == "", "not permitted"
    assert "sender-17" not in (town.folder / "in" / name).read_text()
    assert tuple(rows[0]) == tabular.columns("contact")


async def test_or_as_json_lines(town: Town) -> None:
    town.form = "jsonl"
    one, two = town.outgoing(1), town.outgoing(2)
    assert await town.send(one, two) == [RENAMED] * 2
    [name] = town.names()
    lines = (town.folder / "in" / name).read_text().splitlines()
    assert [json.loads(line) for line in lines] == [
        {"id": "d-1", "event": one.view},
        {"id": "d-2", "event": two.view},
    ]


async def test_a_file_encrypted_by_age_opens_for_each_of_its_keys_and_for_nobody_else(town: Town) -> None:
    ours, theirs, others = (pyrage.x25519.Identity.generate() for _ in range(3))
    town.age = [str(one.to_public()) for one in (ours, theirs)]
    assert await town.send(town.outgoing(1, name="Ana Invented")) == [RENAMED]
    (name,) = town.names()
    assert name.endswith(".csv.age")
    sealed = (town.folder / "in" / name).read_bytes()
    assert sealed.startswith(b"age-encryption.org/v1\n")
    for identity in (ours, theirs):
        (row,) = csv.DictReader(io.StringIO(pyrage.decrypt(sealed, [identity]).decode(), newline=""))
        assert (row["id"], row["subject.name"]) == ("d-1", "Ana Invented")
    with pytest.raises(pyrage.DecryptError):
        pyrage.decrypt(sealed, [others])


@pytest.mark.parametrize(
    ("key", "code"),
    [
        ("age1nonsense", "age-key"),
        ("AGE-SECRET-KEY-1", "age-key"),
        ("ssh-ed25519 AAAA", "age-key"),
        (7, "settings-unfit"),
    ],
)
async def test_without_a_good_key_nothing_is_written_in_the_clear_instead(
    town: Town, key: Any, code: str
) -> None:
    town.age = [key]
    assert await town.send(town.outgoing(1)) == [Outcome("failed", code)]
    assert town.names() == []


async def test_nor_without_what_encrypts(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    town.age = [str(pyrage.x25519.Identity.generate().to_public())]
    monkeypatch.setitem(sys.modules, "pyrage", None)  # as where the extra is not installed
    assert await town.send(town.outgoing(1)) == [Outcome("failed", "age-missing")]
    assert town.names() == []


@pytest.mark.parametrize("other_worker", [False, True])
@pytest.mark.parametrize(("dies", "then"), [("dies before", RENAMED), ("dies after", FOUND)])
async def test_what_dies_in_a_rename_is_taken_up_again_and_not_doubled(
    town: Town, dies: str, then: Outcome, other_worker: bool
) -> None:
    adapter = town.adapter()
    several = [town.outgoing(number) for number in (1, 2)]
    town.server.how = dies
    assert await town.send(*several, adapter=adapter) == [Outcome("failed", "connection")] * 2
    town.server.how = "well"
    town.clock += MINUTE_MS
    again = [*several, town.outgoing(3)]
    outcomes = await town.send(*again, adapter=town.adapter() if other_worker else adapter)
    assert outcomes == [then, then, RENAMED]
    assert sorted(row["id"] for row in town.rows()) == ["d-1", "d-2", "d-3"]
    assert [name for name in town.names() if not name.endswith(".csv")] == []


async def test_what_is_not_permitted_any_more_is_not_in_the_second_try(town: Town) -> None:
    town.server.how = "dies before"
    await town.send(town.outgoing(1), town.outgoing(2))
    town.server.how = "well"
    town.clock += MINUTE_MS
    assert await town.send(town.outgoing(2)) == [RENAMED]
    assert [row["id"] for row in town.rows()] == ["d-2"]
    assert len(town.names()) == 1, "nor does the first try lie about"


async def test_a_half_written_file_never_gets_its_name(town: Town) -> None:
    town.server.how = "loses"
    assert await town.send(town.outgoing(1)) == [Outcome("failed", "connect")]
    assert [name for name in town.names() if name.endswith(".csv")] == []
    town.server.how = "well"
    town.clock += MINUTE_MS
    assert await town.send(town.outgoing(1)) == [RENAMED]
    assert [row["id"] for row in town.rows()] == ["d-1"]


async def test_what_lies_about_of_others_is_cleared_away_in_time(town: Town) -> None:
    town.server.how = "dies before"
    await town.send(town.outgoing(1))
    town.server.how = "well"
    await town.send(town.outgoing(2))
    assert len(town.names()) == 2, "somebody else may be at it"
    town.clock += sftp.held_ms_max
    await town.send(town.outgoing(3))
    assert [name for name in town.names() if not name.endswith(".csv")] == []


async def test_a_server_that_hangs_is_left_at_the_deadline(town: Town) -> None:
    town.server.how = "hangs"
    began = awake_ms()
    assert await town.send(town.outgoing(1, ms=1_500)) == [Outcome("failed", "timeout")]
    assert awake_ms() - began < 30_000
    assert town.server.renames == 0


async def test_a_server_that_says_nothing_is_left_at_the_deadline(town: Town) -> None:
    heard = asyncio.Event()

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.set()
        await reader.read()  # until the hub hangs up
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    town.port = server.sockets[0].getsockname()[1]
    assert await town.send(town.outgoing(1, ms=1_500)) == [Outcome("failed", "timeout")]
    assert heard.is_set()
    server.close()
    await server.wait_closed()


async def test_a_delivery_that_is_cut_off_takes_its_file_along(town: Town) -> None:
    town.server.how = "hangs"
    adapter = town.adapter()
    one, two = (asyncio.ensure_future(adapter.deliver(town.outgoing(number))) for number in (1, 2))
    await asyncio.sleep(0.05)
    one.cancel()
    assert await two == Outcome("failed", "stopped")
    assert town.server.renames == 0


async def test_another_servers_key_is_not_spoken_to(town: Town) -> None:
    outgoing = town.outgoing(1)
    town.host_key = asyncssh.generate_private_key("ssh-ed25519")
    wrong = replace(outgoing, settings=town.settings())
    assert await town.send(wrong) == [Outcome("failed", "host-key")]
    assert town.names() == []


async def test_a_key_that_the_server_does_not_know_is_said(town: Town) -> None:
    town.ours = asyncssh.generate_private_key("ssh-ed25519")
    assert await town.send(town.outgoing(1)) == [Outcome("failed", "login")]


async def test_private_addresses_are_refused_unless_allowed(town: Town) -> None:
    adapter = town.adapter(private=False)
    assert await town.send(town.outgoing(1), adapter=adapter) == [Outcome("failed", "address-forbidden")]


async def test_a_folder_that_is_not_there_is_said(town: Town) -> None:
    (town.folder / "in").rmdir()
    assert await town.send(town.outgoing(1)) == [Outcome("failed", "sftp-2")]


@pytest.mark.parametrize(
    "change",
    [
        {"url": "https://hub@host/in"},
        {"url": "sftp://host/in"},
        {"url": "sftp://hub:password@host/in"},
        {"url": "sftp://hub@host:no/in"},
        {"host_key": "ssh-ed25519 nonsense"},
        {"host_key": None},
        {"format": "xlsx"},
    ],
)
async def test_settings_that_cannot_be_meant_are_refused(town: Town, change: dict[str, Any]) -> None:
    outgoing = replace(town.outgoing(1), settings=town.settings() | change)
    assert await town.send(outgoing) == [Outcome("failed", "settings-unfit")]


class Written:
    """A log of receipts in memory."""

    def __init__(self) -> None:
        self.receipts: list[Any] = []

    def append(self, topic: str, partition: int, key: bytes | None, value: bytes) -> None:
        self.receipts.append(deliveries.decode(value)["receipt"])

    def flush(self) -> None:
        return


async def test_what_the_sender_hands_over_together_is_one_file_with_a_receipt_each(
    town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "quiet_ms", 1_000)  # far longer than opening twenty takes anywhere
    monkeypatch.setattr(gathering, "gather_ms_max", 10_000)
    log = Written()
    sender = Sender({sftp.ADAPTER: town.adapter()}, Keys(), Nobody(), log, Schedule(), lambda: NOW)
    share = Share("s1", "care-coordination", "consent", ("c1/g1",), PARTS, ())
    attempts = [
        Attempt(
            f"d-{number}",
            "reach",
            sftp.ADAPTER,
            0,
            number,
            1,
            outbound(event(number, f"p{number}"), share.as_dict()),
            (share,),
            [],
            town.settings(),
            awake_ms() + 20_000,
        )
        for number in range(1, 21)
    ]
    sender.start()
    try:
        sender.submit(attempts)
        results = [await asyncio.to_thread(sender.results.get, timeout=30) for _ in attempts]
    finally:
        await asyncio.to_thread(sender.stop, 1_000)
    assert {one.outcome for one in results} == {RENAMED}
    assert len(town.names()) == 1
    assert len(town.rows()) == len(log.receipts) == 20


async def test_a_failed_file_is_tried_again_as_one(town: Town) -> None:
    log, clock = Written(), [NOW]
    sender = Sender({sftp.ADAPTER: town.adapter()}, Keys(), Nobody(), log, Schedule(), lambda: clock[0])
    town.host_key = asyncssh.generate_private_key("ssh-ed25519")
    share = Share("s1", "care-coordination", "consent", ("c1/g1",), PARTS, ())
    sender.start()
    try:
        for number in (1, 2, 3):
            made = outbound(event(number, f"p{number}"), share.as_dict())
            place = (sftp.ADAPTER, 0, number, 1, made, (share,), [], town.settings())
            sender.submit([Attempt(f"d-{number}", "reach", *place, awake_ms() + 20_000)])
        results = [await asyncio.to_thread(sender.results.get, timeout=30) for _ in range(3)]
    finally:
        await asyncio.to_thread(sender.stop, 1_000)
    assert {one.outcome.code for one in results} == {"host-key"}
    assert {one.next_at for one in results} == {together({"every": "hour"}, NOW + 1)}


async def test_a_file_is_bounded(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "in_flight_max", 2)
    await town.send(*(town.outgoing(number) for number in range(5)))
    assert len(town.names()) == 3
    assert len(town.rows()) == 5


# -- what is in a file


@pytest.mark.parametrize("start", tabular.FORMULA)
def test_no_cell_begins_a_formula(start: str) -> None:
    assert tabular.cell(f"{start}HYPERLINK(1)") == f"'{start}HYPERLINK(1)"


def test_cells() -> None:
    assert [
        tabular.cell(value) for value in (None, True, False, -122.33, ["a", "b"], [{"x": 1}], "plain")
    ] == [
        "",
        "true",
        "false",
        "-122.33",
        "a; b",
        '[{"x":1}]',
        "plain",
    ]
    assert tabular.cell(["=1", "b"]) == "'=1; b"


@given(st.text(max_size=20), st.text(max_size=20))
def test_whatever_is_said_comes_back_as_one_cell(name: str, facility: str) -> None:
    view = {
        "id": "e",
        "type": "contact",
        "participant": "p",
        "purposes": ["treatment"],
        "obligations": [],
        "notices": [],
        "consent_scope": [],
        "data": {"subject": {"name": name}, "occurrence": {"facility": facility, "place": {"district": "3"}}},
    }
    one = Outgoing("d", "reach", "sftp", 1, {}, view, {}, ())
    content = tabular.written([one, one], "csv").decode()
    [row, again] = csv.DictReader(io.StringIO(content, newline=""))
    assert row == again
    assert row["subject.name"] in (name, f"'{name}")
    assert not row["subject.name"].startswith(tabular.FORMULA)
    assert row["occurrence.facility"] in (facility, f"'{facility}")
    assert row["occurrence.place.district"] == "3"


@pytest.mark.parametrize("kind", tabular.RECORDS)
def test_columns_stay_and_never_name_the_senders_own_id(kind: str) -> None:
    columns = tabular.columns(kind)
    assert len(set(columns)) == len(columns)
    assert "subject.local_id" not in columns
    assert "occurrence.place.description" in columns


# -- when it leaves


def test_hours_and_days_end_at_full_ones() -> None:
    at = 5 * HOUR_MS + 1
    assert first_at({"every": "hour"}, at) == 6 * HOUR_MS
    assert first_at({"every": "hour"}, 6 * HOUR_MS) == 7 * HOUR_MS
    assert first_at({"every": "day"}, at) == 24 * HOUR_MS
    assert first_at({}, at) == 0
    assert together({"every": "day"}, 61_000) == together({"every": "day"}, 120_000) == 120_000
    assert together({}, 61_000) == 61_000


@pytest.fixture
def world() -> World:
    made = World()
    made.subscribe("reach", sftp.ADAPTER, settings={"every": "hour"})
    made.direct(granted())
    made.direct(granted(), "p2")
    return made


def test_an_hours_events_wait_for_its_end_and_leave_together(world: World) -> None:
    world.offer(1)
    world.wait(MINUTE_MS)
    world.offer(2, "p2")
    world.rounds()
    assert world.begun() == []
    assert len(world.left()) == 2, "as positions, for whoever owns them then"
    world.memory.now = first_at({"every": "hour"}, world.memory.now)
    world.round()
    assert world.begun() == ["e-1", "e-2"]


def test_what_is_taken_back_within_the_hour_is_never_in_the_file(world: World) -> None:
    world.offer(1)
    world.offer(2, "p2")
    world.rounds()
    world.direct(revoked())
    world.memory.now = first_at({"every": "hour"}, world.memory.now)
    world.rounds()
    assert world.begun() == ["e-2"]
    assert [one["event"] for one in world.memory.told("withheld")] == ["e-1"]


def test_a_new_owner_waits_for_the_same_end(world: World) -> None:
    world.offer(1)
    world.rounds()
    heir = World(world.memory)
    heir.rounds()
    assert heir.begun() == []
    heir.memory.now = first_at({"every": "hour"}, heir.memory.now)
    heir.rounds()
    assert heir.begun() == ["e-1"]


def test_more_leave_at_once_than_by_other_ways() -> None:
    world = World(in_flight_max=1)
    world.subscribe("reach", sftp.ADAPTER, settings={"every": "hour"})
    for number in (1, 2, 3):
        world.direct(granted(), f"p{number}")
        world.offer(number, f"p{number}")
    world.rounds()
    world.memory.now = first_at({"every": "hour"}, world.memory.now)
    world.round()
    assert len(world.begun()) == 3


# -- what is noted


def test_notes_are_kept_for_as_long_as_they_may_be_needed(store: Store) -> None:
    sent = SentFiles(store)
    write: Callable[[str, str | None, int], None] = lambda name, part, at: sent.note(  # noqa: E731
        "reach", Note(name, part, frozenset({f"d-{name}"}), at)
    )
    write("a", ".a.part", NOW)
    write("a", None, NOW)
    write("b", ".b.part", NOW)
    assert {(one.name, one.part, one.keys) for one in sent.of("reach")} == {
        ("a", None, frozenset({"d-a"})),
        ("b", ".b.part", frozenset({"d-b"})),
    }
    assert sent.of("shelter") == []
    write("c", None, NOW + KEPT_MS + 1)
    assert [one.name for one in sent.of("reach")] == ["c", "b"], "what is in doubt stays"
    sent.forget("reach", "b")
    assert [one.name for one in sent.of("reach")] == ["c"]
