"""Sends the published numbers to who wants them each month or quarter: once for each period, by mail or SFTP.

A loop beside the auditor's. What is to be sent is noted before it is sent, with the moment until which
published numbers are in it: a try after a restart sends the same bytes. A file by SFTP is there once. Of mail
a second copy can come where the process dies before it has noted the first; both have one Message-ID.
"""

import asyncio
import hashlib
import random
import threading
from collections.abc import Callable, Mapping
from email.message import EmailMessage
from typing import Any, Final, Protocol
from zoneinfo import ZoneInfo

import asyncssh
import sqlalchemy as sa
import structlog
from prometheus_client import Counter

from connectors import age, sftp
from connectors.drop import Drop
from connectors.schedule import Schedule
from hub import acts, figures, periods
from hub.appender import Appender
from hub.equity import Census
from hub.governance import Register
from hub.language import Tongue, tongue
from hub.mail import Mail
from hub.nudge import Sent
from hub.publictables import publications, reports
from hub.store import Store, claim, upsert
from hub.tables import acts as recorded
from schemas import crash, instant
from schemas.errors import Refused, Unavailable
from streams.measures import Measures

EVERY_MS: Final = 5_000
QUIET_MS: Final = 10_000  # so long nothing was published, for what is published together is sent together
CLAIM_MS: Final = 45_000  # longer than any try: who died in one is followed after it
SEND_S_MAX: Final = 30
AT_ONCE_MAX: Final = 4  # in one round, each claimed by itself
BY: Final = "auditor"
LISTED_MAX: Final = 1_000
COLUMNS: Final = ("stakeholder", "period", "state", "code", "attempts", "sent_at", "next_at")

log = structlog.get_logger(__name__)
_sent = Counter(
    "hub_reports_total", "Reports of published numbers, by what came of them", ["channel", "outcome"]
)


class Keys(Protocol):
    """The hub's SSH keys, one for each recipient."""

    def ssh(self, stakeholder: str) -> str | None:
        """The private key, in OpenSSH's format."""


class Reporter:
    """One worker. In: its parts; `zone` the name of a time zone; `now` in epoch milliseconds; whether private
    addresses are fine.
    """

    def __init__(
        self,
        store: Store,
        register: Callable[[], Register],
        appender: Appender,
        keys: Keys,
        mail: Mail | None,
        rows: Measures,
        census: Census | None,
        zone: str,
        now: Callable[[], int],
        private: bool = False,
        schedule: Schedule | None = None,
    ) -> None:
        self._store = store
        self._register = register
        self._appender = appender
        self._keys = keys
        self._mail = mail
        self._rows = rows
        self._census = census
        self._zone = zone
        self._now = now
        self._private = private
        self._schedule = schedule or Schedule()
        self._chance = random.Random()  # noqa: S311  spreads tries in time

    def run(self, stop: threading.Event) -> None:
        """Looks until `stop` is set. What fails is tried again."""
        while not stop.wait(EVERY_MS / 1000):
            try:
                self.look()
            except Exception as error:
                log.error("no reports sent", error=type(error).__name__)

    def look(self) -> int:
        """Sends what is due. Out: how many were tried. Raises `Unavailable`, and what the store raises."""
        register = self._register()
        self._note(register)
        tried = 0
        while tried < AT_ONCE_MAX and (claimed := claim(self._store, reports, self._now(), 1, CLAIM_MS)):
            self._try(claimed[0], register)
            tried += 1
        self._record()
        return tried

    # -- what is due

    def _note(self, register: Register) -> None:
        """Notes the last period's report of everybody who wants one, once something was published."""
        now = self._now()
        wanted = {name: body["report"] for name, body in register.stakeholders.items() if "report" in body}
        if not wanted:
            return
        zone = ZoneInfo(self._zone)
        due = [(name, periods.last(report["every"], now, zone)) for name, report in sorted(wanted.items())]
        about = [_about(*one) for one in due]
        with self._store.read() as connection:
            newest = connection.execute(sa.select(sa.func.max(publications.c.at))).scalar()
            noted = {
                tuple(row) for row in connection.execute(sa.select(reports.c.stakeholder, reports.c.period))
            }
            sent = sa.select(recorded.c.about).where(
                recorded.c.about.in_(about), recorded.c.what == acts.REPORT_SENT
            )
            before = set(connection.execute(sent).scalars())  # by a hub that lost its store, say
        if newest is None or newest > now - QUIET_MS:
            return
        rows = [
            {"stakeholder": name, "period": period, "until": now, "attempts": 0, "next_at": now}
            for name, period in due
            if (name, period) not in noted and _about(name, period) not in before
        ]
        with self._store.write() as connection:
            upsert(connection, reports, rows)

    # -- sending it

    def _try(self, row: Any, register: Register) -> None:
        body = register.stakeholders.get(row.stakeholder, {})
        report = body.get("report")
        digest = None
        if report is None or not self._agrees(register, row.stakeholder):
            sent, way = Sent(False, "not-wanted"), "none"
        else:
            way = "mail" if "mail" in report else "sftp"
            paper = self._paper(row, str(body.get("name") or row.stakeholder), report)
            digest = hashlib.sha256(paper).hexdigest()
            sent = self._send(row, report, paper)
        crash.point("reports.sent")
        now, attempts = self._now(), row.attempts + 1
        next_at = self._schedule.next_at(attempts, now, self._chance, sent.after_ms) if sent.again else None
        outcome = "sent" if sent.ok else "again" if next_at is not None else "abandoned"
        _sent.labels(way, outcome).inc()
        if not sent.ok:
            log.warning("report not taken", stakeholder=row.stakeholder, code=sent.code, outcome=outcome)
        values = {"next_at": next_at, "code": sent.code}
        if sent.ok:
            values |= {"sent_at": now, "digest": digest}
        with self._store.write() as connection:
            mine = sa.and_(_same(row), reports.c.attempts == attempts)
            connection.execute(reports.update().where(mine).values(values))

    def _agrees(self, register: Register, stakeholder: str) -> bool:
        found = register.at(register.offset).stakeholders.get(stakeholder)
        return found is not None and found.agrees(self._now())

    def _paper(self, row: Any, name: str, report: Mapping[str, Any]) -> bytes:
        from hub.bulletin import bulletin  # noqa: PLC0415  its library is slow to import

        series = figures.published(self._store, self._rows, until=row.until)
        words = tongue(report["language"], self._zone)
        return bulletin(series, self._census, name, row.period, row.until, words)

    def _send(self, row: Any, report: Mapping[str, Any], paper: bytes) -> Sent:
        if "mail" in report:
            if self._mail is None:
                return Sent(False, "no-mail", again=True)
            message = self._message(self._mail, row, report, paper)
            return self._mail.hand_in(message)
        try:
            done = asyncio.run(asyncio.wait_for(self._put(row, report["sftp"], paper), SEND_S_MAX))
        except TimeoutError:
            return Sent(False, "timeout", again=True)
        except (Refused, OSError, asyncssh.Error) as error:
            return Sent(False, sftp.code_of(error), again=True)
        return Sent(True, done)

    def _message(self, mail: Mail, row: Any, report: Mapping[str, Any], paper: bytes) -> EmailMessage:
        words = tongue(report["language"], self._zone)
        once = hashlib.sha256(_about(row.stakeholder, row.period).encode()).hexdigest()[:32]
        subject = words.say("Numbers about the program, %(period)s", period=words.period(row.period))
        message = mail.message(report["mail"], subject, _text(words), once)
        message.add_attachment(paper, maintype="application", subtype="pdf", filename=_name(row.period))
        return message

    async def _put(self, row: Any, settings: Mapping[str, Any], paper: bytes) -> str:
        to, name = Drop.of(settings), _name(row.period)
        key = await asyncio.to_thread(self._keys.ssh, row.stakeholder)
        if key is None:
            raise Refused("there is no key to sign in with", code="no-key")
        if to.age:
            name, paper = name + age.SUFFIX, await asyncio.to_thread(age.encrypted, paper, to.age)
        async with sftp.connected(to, key, self._private) as server:
            return (await sftp.put(server, to, name, paper)).code

    # -- that it was sent

    def _record(self) -> None:
        """Writes into the log what was sent, once more where that is not known to be there."""
        query = sa.select(reports).where(reports.c.sent_at.is_not(None), reports.c.recorded_at.is_(None))
        with self._store.read() as connection:
            rows = list(connection.execute(query).all())
        for row in rows:
            about = _about(row.stakeholder, row.period)
            body = {"about": about, "digest": row.digest, "until": row.until, "way": row.code}
            act = acts.did(acts.REPORT_SENT, BY, "", about, body, row.sent_at)
            try:
                acts.write(self._appender, act, row.stakeholder)
            except Unavailable:
                log.warning("a report that was sent is not recorded yet", stakeholder=row.stakeholder)
                return
            with self._store.write() as connection:
                connection.execute(reports.update().where(_same(row)).values(recorded_at=self._now()))


def listed(store: Store) -> list[dict[str, Any]]:
    """What became of every report, newest period first, by `COLUMNS`; times as RFC 3339."""
    query = sa.select(reports).order_by(reports.c.period.desc(), reports.c.stakeholder).limit(LISTED_MAX)
    with store.read() as connection:
        rows = connection.execute(query).all()
    return [
        {
            "stakeholder": row.stakeholder,
            "period": row.period,
            "state": "sent" if row.sent_at else "waiting" if row.next_at else "abandoned",
            "code": row.code,
            "attempts": row.attempts,
            "sent_at": instant.format(row.sent_at) if row.sent_at else None,
            "next_at": instant.format(row.next_at) if row.next_at else None,
        }
        for row in rows
    ]


def _text(words: Tongue) -> str:
    lines = (
        words.say("The published numbers about the program are attached, as PDF."),
        words.say(
            "They are about how many people, never about who. The report says how much of it is hidden."
        ),
        words.say("Nobody reads answers to this message."),
    )
    return "\n\n".join(lines) + "\n"


def _about(stakeholder: str, period: str) -> str:
    return f"report/{stakeholder}/{period}"


def _name(period: str) -> str:
    return f"numbers-{period}.pdf"


def _same(row: Any) -> sa.ColumnElement[bool]:
    return sa.and_(reports.c.stakeholder == row.stakeholder, reports.c.period == row.period)
