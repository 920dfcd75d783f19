"""Reports of the published numbers: once for each period, by a real mail server and a real SFTP server,
whatever is stopped, refused or lost on the way.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import sqlalchemy as sa
from pypdf import PdfReader

from connectors.schedule import Schedule
from hub import acts, bulletin, figures, periods, reporting
from hub.language import tongue
from hub.mail import Mail, MailSettings
from hub.projections import project, read
from hub.publictables import publications, reports
from hub.registration import described
from hub.reporting import CLAIM_MS, QUIET_MS, Reporter
from hub.store import Store, upsert
from schemas import instant
from schemas.errors import Invalid
from tests.counted import ROWS, published
from tests.desk import Desk, desk
from tests.test_notifying import Box, Server
from tests.test_sftp import Town, listening

NOW = instant.parse("2026-04-20T12:00:00Z")
MAY = instant.parse("2026-05-01T09:00:00Z")
ZONE = "America/Los_Angeles"


class Office:
    """A hub that has published a month, with a mail server and an SFTP server near it."""

    def __init__(self, made: Desk, box: Box, town: Town) -> None:
        self.desk, self.box, self.town, self.now = made, box, town, NOW
        self.mail = Mail(MailSettings("127.0.0.1", box.port, "hub@reach.example", "none"))

    def takes_part(self, **more: Any) -> None:
        report = {"every": "month", "language": "es", "mail": "board@chamber.example"}
        whole = {"id": "chamber", "name": "Chamber of Alder Street", "role": "business", "report": report}
        whole |= {"agreement": {"from": "2025-01-01T00:00:00Z", "until": "2026-12-31T00:00:00Z"}} | more
        self.desk.registration.register([described(whole)], "test")

    def started(self) -> Reporter:
        """As after a restart: nothing is known but what is stored."""
        of = self.desk
        return Reporter(
            of.store, of.register, of.log, self.town, self.mail, ROWS, None, ZONE, lambda: self.now, True,  # type: ignore[arg-type]
            Schedule(jitter=0),
        )  # fmt: skip

    async def look(self) -> int:
        return await asyncio.to_thread(self.started().look)

    def letters(self) -> list[EmailMessage]:
        return [message_from_bytes(one, policy=policy.default) for one in self.box.got]  # type: ignore[arg-type]

    def rows(self) -> list[Any]:
        with self.desk.store.read() as connection:
            return list(connection.execute(sa.select(reports).order_by(reports.c.period)).all())

    def recorded(self) -> list[dict[str, Any]]:
        return [one for one in self.desk.log.values("work") if one["kind"] == acts.REPORT_SENT]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """A month's publications, as rows."""
    store = Store(f"sqlite:///{tmp_path_factory.mktemp('told') / 'hub.db'}")
    store.migrate()
    published(store, ("black", "white", "纳西族"))
    with store.read() as connection:
        found = [dict(row._mapping) for row in connection.execute(sa.select(publications))]
    store.close()
    return found


@pytest.fixture
def box() -> Iterator[Box]:
    made = Box()
    server = Server(made, hostname="127.0.0.1", port=0)
    server.start()
    made.port = server.port
    yield made
    server.stop()


@pytest.fixture
async def office(tmp_path: Path, box: Box, told: list[dict[str, Any]]) -> AsyncIterator[Office]:
    made = desk(tmp_path)
    with made.store.write() as connection:
        upsert(connection, publications, told)
    (tmp_path / "in").mkdir()
    async with listening(Town(tmp_path)) as town:
        yield Office(made, box, town)
    made.store.close()


def paper(letter: EmailMessage) -> tuple[str, bytes]:
    """The attached PDF as text, and as bytes."""
    (attached,) = letter.iter_attachments()
    data = attached.get_content()
    assert attached.get_content_type() == "application/pdf"
    return text_of(data), data


def text_of(data: bytes) -> str:
    return " ".join(" ".join(page.extract_text() for page in PdfReader(io.BytesIO(data)).pages).split())


async def test_a_month_is_mailed_once_says_what_it_hides_and_is_recorded(office: Office) -> None:
    office.takes_part()
    assert await office.look() == 1
    assert await office.look() == 0
    (letter,) = office.letters()
    assert letter["to"] == "board@chamber.example"
    assert "marzo" in letter["subject"]
    text, data = paper(letter)
    hidden, every = bulletin.hidden(figures.published(office.desk.store, ROWS))
    assert 0 < hidden < every
    assert f"{hidden} de los {every} números" in text
    assert "Chamber of Alder Street" in text
    for row in ROWS.rows:
        assert row.title["es"] in text
    (act,) = office.recorded()
    assert hashlib.sha256(data).hexdigest().encode() in act["body"]
    office.now = MAY
    assert await office.look() == 1
    assert [row.period for row in office.rows()] == ["2026-03", "2026-04"]
    said = [tuple(one[name] for name in reporting.COLUMNS[:5]) for one in reporting.listed(office.desk.store)]
    assert said == [("chamber", month, "sent", "accepted", 1) for month in ("2026-04", "2026-03")]
    assert len(office.letters()) == 2


async def test_what_is_refused_for_now_comes_again_as_the_same_and_for_good_is_given_up(
    office: Office,
) -> None:
    office.takes_part()
    office.box.says = "451 try again"
    assert await office.look() == 1
    assert await office.look() == 0, "before it is due"
    office.box.says = "250 OK"
    office.now += 10_000
    assert await office.look() == 1
    first, second = office.letters()
    assert first["message-id"] == second["message-id"]
    assert paper(first)[1] == paper(second)[1]
    assert [(row.code, row.attempts, row.next_at) for row in office.rows()] == [("accepted", 2, None)]
    office.box.says, office.now = "550 no such user", MAY
    assert await office.look() == 1
    office.now += 10 * 86_400_000
    assert await office.look() == 0
    assert office.rows()[-1].code == "smtp-550"
    assert len(office.recorded()) == 1


async def test_a_process_that_dies_after_it_sent_sends_the_same_once_more(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    office.takes_part()

    def dies(_where: str) -> None:
        raise KeyboardInterrupt

    office.takes_part(id="guild", report={"every": "month", "language": "en", "mail": "guild@example.org"})
    with monkeypatch.context() as dying:
        dying.setattr(reporting.crash, "point", dies)
        with pytest.raises(KeyboardInterrupt):
            office.started().look()
    assert await office.look() == 1, "of the first, it may be sending still; the others do not wait for that"
    office.now += CLAIM_MS
    assert await office.look() == 1
    first, others, second = office.letters()
    assert others["to"] == "guild@example.org"
    assert first["message-id"] == second["message-id"]
    assert paper(first)[1] == paper(second)[1]


@pytest.mark.parametrize("how", ["well", "dies after", "dies before"])
async def test_a_file_is_there_once_however_the_server_behaves(office: Office, how: str) -> None:
    sftp = {name: office.town.settings()[name] for name in ("url", "host_key", "every", "format")}
    office.takes_part(report={"language": "en"}, sftp=sftp)
    office.town.server.how = how
    assert await office.look() == 1
    office.town.server.how = "well"
    office.now += 10_000
    assert await office.look() == (how != "well")
    assert office.town.names() == ["numbers-2026-03.pdf"]
    data = (office.town.folder / "in" / "numbers-2026-03.pdf").read_bytes()
    assert "???" in text_of(data), "letters that the fonts lack stop nothing"
    (act,) = office.recorded()
    assert hashlib.sha256(data).hexdigest().encode() in act["body"]
    assert not office.letters()


async def test_a_hub_that_lost_its_store_knows_from_the_log_what_it_sent(office: Office) -> None:
    office.takes_part()
    await office.look()
    with office.desk.store.write() as connection:
        connection.execute(reports.delete())
        records = [
            read(topic, partition, n, value)
            for (topic, partition), found in office.desk.log.records.items()
            if topic == "work"
            for n, (_, value) in enumerate(found)
        ]
        project(connection, records)
    assert await office.look() == 0
    assert len(office.letters()) == 1


async def test_nothing_is_sent_to_who_takes_part_no_longer_nor_before_anything_is_there(
    office: Office,
) -> None:
    office.takes_part(agreement={"from": "2025-01-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"})
    await office.look()
    assert [row.code for row in office.rows()] == ["not-wanted"]
    with office.desk.store.write() as connection:
        connection.execute(reports.delete())
        connection.execute(publications.update().values(at=office.now))
    office.takes_part()
    assert await office.look() == 0, "more is being published"
    office.now += QUIET_MS
    assert await office.look() == 1
    assert len(office.letters()) == 1


def test_a_report_needs_somewhere_to_go(tmp_path: Path) -> None:
    made = desk(tmp_path)
    whole = {
        "id": "chamber",
        "name": "Chamber",
        "role": "business",
        "agreement": {"from": "2025-01-01T00:00:00Z"},
    }
    try:
        with pytest.raises(Invalid, match="needs an address"):
            made.registration.register([described(whole | {"report": {}})], "test")
        made.registration._mail = False
        mailed = {"mail": "a@chamber.example"}
        with pytest.raises(Invalid, match="mail_host"):
            made.registration.register([described(whole | {"report": mailed})], "test")
    finally:
        made.store.close()
    for bad in (
        {"mail": "a@b.example, c@d.example"},
        {"mail": "a@b.example\nBcc: c@d.example"},
        {"every": "day"},
    ):
        with pytest.raises(Invalid):
            described(whole | {"report": bad})


@pytest.mark.parametrize(
    ("every", "now", "zone", "period"),
    [
        ("month", "2026-05-01T06:59:59Z", ZONE, "2026-03"),
        ("month", "2026-05-01T07:00:00Z", ZONE, "2026-04"),
        ("month", "2026-01-31T23:00:00Z", "UTC", "2025-12"),
        ("quarter", "2026-03-31T23:59:59Z", "UTC", "2025-Q4"),
        ("quarter", "2026-04-01T00:00:00Z", "UTC", "2026-Q1"),
    ],
)
def test_a_period_is_over_by_the_clocks_there(every: Any, now: str, zone: str, period: str) -> None:
    assert periods.last(every, instant.parse(now), ZoneInfo(zone)) == period
    assert "202" in tongue("es", "UTC").period(period)


def test_the_same_numbers_make_the_same_bytes(told: list[dict[str, Any]], tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'hub.db'}")
    store.migrate()
    with store.write() as connection:
        upsert(connection, publications, told[:1])
    series = figures.published(store, ROWS)
    store.close()
    words = tongue("en", "UTC")
    one, other = (bulletin.bulletin(series, None, "A", "2026-Q1", NOW, words) for _ in range(2))
    assert one == other
