"""Push and mail: they say that an alert waits and nothing more, once, to whom it concerns, and give up."""

import asyncio
import base64
import json
import secrets
import threading
from collections.abc import AsyncIterator
from typing import Any
from zoneinfo import ZoneInfo

import http_ece
import pytest
import sqlalchemy as sa
from aiosmtpd.controller import Controller
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from py_vapid import Vapid02

from connectors.http import HttpSettings
from hub.casetables import devices, notifications
from hub.devices import DEVICES_MAX, Devices
from hub.mail import Mail, MailSettings
from hub.notices import Notices
from hub.notifying import ATTEMPTS_MAX, CLAIM_MS, Notifier
from hub.preferences import Preferences
from hub.shown import ShownAlerts
from hub.store import Store, claim
from hub.tables import alerts
from hub.tables import secrets as kept
from hub.webpush import Push
from schemas.errors import Invalid
from tests import stores
from tests.office import HOUR, NOW, ORG, Office

ANGELES = ZoneInfo("America/Los_Angeles")
MINUTE = 60_000


class Browser:
    """A push service and the browser behind it: takes messages over HTTP and opens them."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = secrets.token_bytes(16)
        self.answers: list[tuple[int, str]] = []
        self.got: list[tuple[dict[str, str], bytes]] = []

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        lines = [line.partition(": ") for line in head.split("\r\n")[1:] if line]
        headers = {name.lower(): value for name, _, value in lines}
        self.got.append((headers, await reader.readexactly(int(headers["content-length"]))))
        status, more = self.answers.pop(0) if self.answers else (201, "")
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n".encode())
        await writer.drain()
        writer.close()

    def subscription(self, path: str = "one") -> dict[str, Any]:
        point = self.key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
        keys = {"p256dh": _text(point), "auth": _text(self.auth)}
        return {"endpoint": f"http://127.0.0.1:{self.port}/{path}", "expirationTime": None, "keys": keys}

    def opened(self) -> list[Any]:
        return [
            json.loads(
                http_ece.decrypt(body, private_key=self.key, auth_secret=self.auth, version="aes128gcm")
            )
            for _, body in self.got
        ]


class Box:
    """Takes mail, as a program's server would."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.port = 0
        self.says = "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802  aiosmtpd's name
        self.got.append(envelope.content)
        return self.says


class Server(Controller):
    """A mail server on any free port."""

    def _trigger_server(self) -> None:
        self.port = self.server.sockets[0].getsockname()[1]
        super()._trigger_server()


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Town(Office):
    """An office whose people are told by push and mail."""

    def __init__(self, store: Store, mail: Mail | None = None) -> None:
        super().__init__(store)
        self.devices = Devices(store, self.vault)
        self.wishes = Preferences(store, self.vault)
        self.mail = mail
        self.push = Push(self.devices, "mailto:hub@reach.example", HttpSettings(private=True, plain=True))
        self.notices = Notices(
            store, self.wishes, ANGELES, lambda: self.now, push=True, mail=mail is not None
        )
        self.notifier = Notifier(
            store, self.notices, self.wishes, self.devices, self.push, mail, lambda: self.now
        )

    def planned(self) -> list[tuple[str, str, str, int | None]]:
        query = sa.select(notifications).order_by(notifications.c.account, notifications.c.at)
        with self.store.read() as connection:
            return [(one.account, one.channel, one.kind, one.next_at) for one in connection.execute(query)]

    def outcomes(self) -> list[tuple[str, int]]:
        query = sa.select(notifications.c.outcome, notifications.c.attempts)
        with self.store.read() as connection:
            return [tuple(row) for row in connection.execute(query)]


@pytest.fixture
async def town(tmp_path: Any) -> AsyncIterator[Town]:
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        made = Town(store)
        yield made
        await made.push.aclose()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    made = Browser()
    await made.start()
    yield made
    await made.stop()


async def test_a_push_opens_in_the_browser_and_says_its_kind_and_nothing_more(
    town: Town, browser: Browser
) -> None:
    town.devices.add("ana", browser.subscription())
    town.alert("a", "p-1")
    assert await town.notifier.once() == 1
    assert browser.opened() == [{"kind": "urgent"}]
    (headers, body) = browser.got[0]
    assert (headers["content-encoding"], headers["urgency"], headers["topic"]) == (
        "aes128gcm",
        "high",
        "urgent",
    )
    assert int(headers["ttl"]) > 0
    token, key = headers["authorization"].removeprefix("vapid t=").split(",k=")
    assert key == town.devices.public_key()
    assert Vapid02.verify(f"vapid t={token},k={key}")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert (claims["aud"], claims["sub"]) == (f"http://127.0.0.1:{browser.port}", "mailto:hub@reach.example")
    for personal in (b"p-1", b"crisis", b"Person"):
        assert personal not in body + json.dumps(headers).encode()
    assert town.outcomes() == [("http-201", 1)]
    assert await town.notifier.once() == 0, "once"


async def test_only_whom_an_alert_concerns_is_told(town: Town, browser: Browser) -> None:
    for account in ("ana", "ben", "zoe"):
        town.devices.add(account, browser.subscription(account))
    town.caseloads.assign("person:lead", ORG, "p-1", "ana")
    town.alert("a", "p-1")
    town.notices.plan()
    assert town.planned() == [("ana", "push", "urgent", NOW)]
    town.now += 1
    town.alert("of-nobody", "p-2")
    town.notices.plan()
    assert [one[0] for one in town.planned()] == ["ana", "ana", "ben"]


async def test_a_burst_is_one_notice(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    for n in range(60):
        town.alert(f"a-{n}", f"p-{n}")
    await town.notifier.once()
    assert browser.opened() == [{"kind": "urgent"}]


async def test_what_is_not_urgent_taken_or_taken_back_is_not_pushed(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    town.alert("soon", urgency="soon")
    town.alert("gone")
    ShownAlerts(town.store).withdraw(["gone"])
    town.alert("ahead", "p-2", due_at=NOW + HOUR)
    await town.notifier.once()
    assert browser.got == []
    with town.store.write() as connection:
        connection.execute(alerts.update().where(alerts.c.id == "ahead").values(rung_at=NOW))
    await town.notifier.once()
    assert browser.opened() == [{"kind": "urgent"}]


async def test_a_subscription_that_ended_is_forgotten(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    browser.answers = [(410, "")]
    town.alert("a")
    await town.notifier.once()
    assert town.devices.of("ana") == []
    assert town.outcomes() == [("http-410", 1)]
    town.alert("b")
    assert await town.notifier.once() == 0


async def test_a_push_service_in_trouble_is_tried_again_and_given_up(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    browser.answers = [(503, "Retry-After: 120\r\n")] + [(500, "")] * 10
    town.alert("a")
    await town.notifier.once()
    assert town.planned()[0][3] == NOW + 120_000, "as long as it asked for"
    for _ in range(10):
        town.now += 5 * MINUTE
        await town.notifier.once()
    assert len(browser.got) == ATTEMPTS_MAX
    assert town.outcomes() == [("http-500", ATTEMPTS_MAX)]
    assert town.planned()[0][3] is None
    assert len(town.devices.of("ana")) == 1


async def test_who_dies_with_a_claim_in_hand_is_followed(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    town.alert("a")
    town.notices.plan()
    assert len(claim(town.store, notifications, town.now, 5, CLAIM_MS)) == 1
    assert await town.notifier.once() == 0, "claimed"
    town.now += CLAIM_MS
    assert await town.notifier.once() == 1
    assert browser.opened() == [{"kind": "urgent"}]


async def test_quiet_hours_put_it_off_but_never_keep_it_from_everybody(town: Town, browser: Browser) -> None:
    for account in ("ana", "ben"):
        town.devices.add(account, browser.subscription(account))
    town.caseloads.assign("person:lead", ORG, "p-1", "ana")
    start = (NOW // MINUTE) * MINUTE
    minute = _minute(town)
    town.wishes.set("ana", quiet_from=minute, quiet_until=(minute + 90) % 1440)
    town.alert("nobodys", "p-2")
    town.notices.plan()
    assert town.planned() == [
        ("ana", "push", "digest", start + 90 * MINUTE),
        ("ben", "push", "urgent", NOW),
    ]
    town.now += 1
    town.alert("hers", "p-1")
    town.notices.plan()
    assert ("ana", "push", "urgent", NOW + 1) in town.planned(), "her own people"
    town.wishes.set("ben", quiet_from=minute, quiet_until=(minute + 90) % 1440)
    town.now += 1
    town.alert("at-night", "p-3")
    town.notices.plan()
    told = [account for account, _, kind, at in town.planned() if (kind, at) == ("urgent", NOW + 2)]
    assert told == ["ana", "ben"], "else nobody would know until the morning"


def _minute(town: Town) -> int:
    from schemas.calendar import minute_of_day  # noqa: PLC0415

    return minute_of_day(town.now, ANGELES)


async def test_a_digest_comes_once_a_day_where_something_waits(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    town.wishes.set("ana", digest_at=_minute(town))
    await town.notifier.once()
    assert browser.got == [], "nothing waits"
    town.alert("a", urgency="soon")
    town.now += 24 * HOUR
    await town.notifier.once()
    town.now += MINUTE
    await town.notifier.once()
    assert browser.opened() == [{"kind": "digest"}]


async def test_what_escalated_is_told_again(town: Town, browser: Browser) -> None:
    town.devices.add("ben", browser.subscription())
    town.caseloads.assign("person:lead", ORG, "p-1", "ana")
    town.caseloads.join("person:admin", ORG, "night", "ana")
    town.caseloads.join("person:admin", ORG, "night", "ben", lead=True)
    town.alert("a", "p-1")
    assert await town.notifier.once() == 0
    with town.store.write() as connection:
        connection.execute(alerts.update().values(escalated_at=NOW))
    assert await town.notifier.once() == 1
    assert await town.notifier.once() == 0


def test_what_a_browser_gives_is_checked_and_kept_sealed(town: Town, browser: Browser) -> None:
    good = browser.subscription()
    point = {**good["keys"], "p256dh": _text(b"\4" + bytes(64))}
    for wrong in (
        None,
        {},
        {**good, "endpoint": ""},
        {**good, "endpoint": "x" * 3_000},
        {**good, "keys": {}},
        {**good, "keys": {**good["keys"], "auth": "!!"}},
        {**good, "keys": point},
    ):
        with pytest.raises(Invalid):
            town.devices.add("ana", wrong)
    name = town.devices.add("ana", good)
    assert town.devices.add("ana", good) == name, "the same device is one"
    for n in range(DEVICES_MAX + 3):
        town.devices.add("ana", browser.subscription(str(n)))
    assert len(town.devices.of("ana")) == DEVICES_MAX
    town.devices.public_key()
    with town.store.read() as connection:
        sealed = [*connection.execute(sa.select(devices.c.sealed)).scalars()]
        sealed += connection.execute(sa.select(kept.c.sealed)).scalars()
    assert len(sealed) > DEVICES_MAX
    assert not any(b"127.0.0.1" in one or b"\x04\x20" in one[:50] for one in sealed)
    assert Devices(town.store, town.vault).public_key() == town.devices.public_key(), "one key for ever"


async def test_a_device_at_a_private_address_is_not_called(town: Town, browser: Browser) -> None:
    """What a browser names as its push service is an address that somebody outside has chosen."""
    strict = Push(town.devices, "mailto:hub@reach.example", HttpSettings())
    device = town.devices.find(town.devices.add("ana", browser.subscription()))
    assert device is not None
    sent = await strict.send(device, "urgent")
    assert (sent.ok, sent.again, browser.got) == (False, False, [])
    secure = device._replace(endpoint=device.endpoint.replace("http:", "https:"))
    assert not (await strict.send(secure, "urgent")).ok
    assert browser.got == []
    await strict.aclose()


@pytest.fixture
def box() -> Any:
    made = Box()
    controller = Server(made, hostname="127.0.0.1", port=0)
    controller.start()
    made.port = controller.port
    yield made
    controller.stop()


async def test_mail_says_that_an_alert_waits_in_the_readers_language(tmp_path: Any, box: Any) -> None:
    mail = Mail(MailSettings("127.0.0.1", box.port, "hub@reach.example", "none"))
    with stores.opened(f"sqlite:///{tmp_path / 'hub.db'}") as store:
        town = Town(store, mail)
        town.wishes.set("ana", mail="ana@reach.example", language="es")
        town.alert("a", "p-1")
        assert await town.notifier.once() == 1
        (text,) = box.got
        assert b"Tiene una alerta urgente" in text
        assert b"Auto-Submitted: auto-generated" in text
        for personal in (b"p-1", b"Person", b"crisis", b"http"):
            assert personal not in text
        box.says = "451 later"
        town.alert("b", "p-2")
        town.now += 1
        await town.notifier.once()
        box.says = "250 OK"
        town.now += MINUTE
        await town.notifier.once()
        assert len(box.got) == 3
        assert sorted(town.outcomes()) == [("accepted", 1), ("accepted", 2)]
        await town.push.aclose()


def test_a_mail_server_that_is_away_or_without_tls_is_trouble_not_a_leak(box: Any) -> None:
    away = Mail(MailSettings("127.0.0.1", 1, "hub@reach.example", "none")).send(
        "ana@reach.example", "urgent", "en"
    )
    assert (away.ok, away.again) == (False, True)
    plain = Mail(MailSettings("127.0.0.1", box.port, "hub@reach.example", "starttls"))
    assert plain.send("ana@reach.example", "urgent", "en") == (False, "not-offered", True, None)
    assert box.got == []
    box.says = "550 no such user"
    refused = Mail(MailSettings("127.0.0.1", box.port, "hub@reach.example", "none"))
    assert refused.send("ana@reach.example", "urgent", "en") == (False, "smtp-550", False, None)


async def test_the_loop_goes_on_after_what_fails_and_ends_when_asked(town: Town, browser: Browser) -> None:
    town.devices.add("ana", browser.subscription())
    town.alert("a")
    stop, rounds = threading.Event(), []

    def trouble() -> None:
        rounds.append(1)
        if len(rounds) == 1:
            raise OSError("the store is away")
        stop.set()

    town.notifier._rounds = (trouble,)
    async with asyncio.timeout(30):
        await town.notifier.run(stop)
    assert browser.opened() == [{"kind": "urgent"}]
