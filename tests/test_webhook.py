"""Webhooks: signed as the specification says, and on their guard against whoever answers."""

import asyncio
import base64
import json
import re
import socket
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks.webhooks import Webhook

from connectors import address, http
from connectors.adapter import Outcome, Outgoing
from connectors.http import HttpSettings, outcome, shown
from connectors.webhook import Webhooks, signed
from hub import authority, settings, stages
from hub.errors import SettingsInvalid
from schemas.errors import Unsealable
from tests.conftest import CHECKOUT
from tests.delivery_scene import SECRET, Receiver, Secret

LOOPBACK = HttpSettings(private=True, plain=True)
VIEW = {"id": "x", "type": "contact", "data": {"subject": {"name": "Añá"}}}


def outgoing(url: Any, key: str = "d-1") -> Outgoing:
    return Outgoing(key, "reach", "webhook", 1, {"url": url}, VIEW, {}, ())


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@asynccontextmanager
async def hooks(
    settings: HttpSettings = LOOPBACK, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Webhooks]:
    made = Webhooks(Secret(), settings, tls)
    try:
        yield made
    finally:
        await made.aclose()


async def post(url: Any, settings: HttpSettings = LOOPBACK, tls: ssl.SSLContext | None = None) -> Outcome:
    async with hooks(settings, tls) as made:
        return await made.deliver(outgoing(url))


Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def peer(answer: Answer, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """A receiver that reads the request and then does as it likes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            await answer(writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}/in"
    finally:
        server.close()


def saying(text: str) -> Answer:
    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(text.encode())
        await writer.drain()

    return answer


async def test_a_receiver_verifies_with_the_reference_library(receiver: Receiver) -> None:
    assert await post(receiver.url) == Outcome("delivered", "http-204")
    [(_, key, body, headers)] = receiver.got
    assert (key, body) == ("d-1", VIEW)
    content = json.dumps(VIEW, separators=(",", ":"))
    assert Webhook(SECRET).verify(content, headers) == VIEW
    assert headers["content-type"] == "application/json"


def test_the_published_vector() -> None:
    """The example with which the specification's libraries are tested."""
    headers = signed(
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
        '{"test": 2432232314}',
        ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"],
    )
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_published_vector_of_the_asymmetric_signature() -> None:
    """The one with which the specification's own library that knows `v1a` is tested."""
    key = "whsk_VEVTVFNJR05JTkdLRVlET05PVFVTRVRISVNGT1JBTlk="
    headers = signed("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, '{"test": 2432232314}', [key])
    assert headers["webhook-signature"] == (
        "v1a,tQ9V2XOqn7jL/DQenEFpqIugdBVtiMmER5mhSkXBNwM0mkATuDe6KYYUuxqtaiHeYGb7KaaBRdM5WqyeFiL8Ag=="
    )


def test_a_key_pair_and_a_shared_secret_sign_beside_each_other_and_the_documentation_verifies() -> None:
    at = int(time.time())
    keys = [Ed25519PrivateKey.generate() for _ in range(3)]
    pairs = ["whsk_" + base64.b64encode(one.private_bytes_raw()).decode() for one in keys]
    headers = signed("d-1", at, "{}", [*pairs[:2], SECRET])
    Webhook(SECRET).verify("{}", headers)
    page = (CHECKOUT / "docs" / "connectors" / "webhook.md").read_text()
    documented: dict[str, Any] = {}
    exec(next(one for one in re.findall(r"```python\n(.*?)```", page, re.S) if "def " in one), documented)
    verified = documented["verified"]
    public = ["whpk_" + base64.b64encode(one.public_key().public_bytes_raw()).decode() for one in keys]
    assert verified(public[0], b"{}", headers) == verified(public[1], b"{}", headers) == {}
    old = signed("d-1", at - 301, "{}", pairs[:1])
    bad = ((public[2], b"{}", headers), (public[0], b"[]", headers), (public[0], b"{}", old))
    for arguments in (*bad, (public[0], b"{}", signed("d-1", at, "{}", [SECRET]))):
        with pytest.raises(InvalidSignature):
            verified(*arguments)


def test_every_secret_signs_while_they_are_rotated() -> None:
    new = "whsec_" + base64.b64encode(b"n" * 24).decode()
    at = int(time.time())
    headers = signed("d-1", at, "{}", [new, SECRET])
    for secret in (new, SECRET):
        Webhook(secret).verify("{}", headers)


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, Outcome("delivered", "http-200")),
        (204, Outcome("delivered", "http-204")),
        (302, Outcome("failed", "http-302")),
        (400, Outcome("refused", "http-400")),
        (401, Outcome("failed", "http-401")),
        (404, Outcome("failed", "http-404")),
        (410, Outcome("refused", "http-410", disable=True)),
        (422, Outcome("refused", "http-422")),
        (429, Outcome("failed", "http-429", 120_000)),
        (500, Outcome("failed", "http-500")),
        (503, Outcome("failed", "http-503", 120_000)),
    ],
)
def test_what_an_answer_means(status: int, expected: Outcome) -> None:
    assert outcome(status, "120", 0) == expected


@pytest.mark.parametrize(
    ("text", "pause"),
    [
        ("Thu, 01 Jan 1970 00:00:10 GMT", 9_000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("9" * 40, None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, pause: int | None) -> None:
    assert outcome(429, text, 1_000).retry_after_ms == pause


async def test_redirects_are_not_followed(receiver: Receiver) -> None:
    async with peer(
        saying(f"HTTP/1.1 307 X\r\nLocation: {receiver.url}\r\nContent-Length: 0\r\n\r\n")
    ) as url:
        assert await post(url) == Outcome("failed", "http-307")
    assert receiver.got == []


async def test_a_dripping_body_is_not_waited_for() -> None:
    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 60\r\n\r\n")
        for _ in range(60):
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(1)

    async with peer(drip) as url:
        began = time.monotonic()
        assert (await post(url)).state == "delivered"
        assert time.monotonic() - began < 5


@pytest.mark.parametrize("said", ["", "HTTP/1.1 200 O"])
async def test_who_hangs_or_drips_its_status_is_hung_up_on_at_the_deadline(said: str) -> None:
    gone = asyncio.Event()

    async def drip(writer: asyncio.StreamWriter) -> None:
        try:
            writer.write(said.encode())
            while True:
                writer.write(b"K" if said else b"")
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            gone.set()

    async with peer(drip) as url, hooks() as made:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await made.deliver(outgoing(url))
        if said:
            await asyncio.wait_for(gone.wait(), 30)  # a write to it fails: the hub has hung up


async def test_a_page_that_says_sorry_with_200_is_a_delivery_by_the_specification() -> None:
    """Standard Webhooks looks at the status alone. Who has a FHIR server is asked for more."""
    page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 5\r\n\r\nSorry"
    async with peer(saying(page)) as url:
        assert await post(url) == Outcome("delivered", "http-200")


async def test_an_endless_body_is_not_read() -> None:
    sent = 0

    async def flood(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while sent < 1_000_000_000:
            writer.write(b"x" * 65_536)
            await writer.drain()
            sent += 65_536

    async with peer(flood) as url:
        assert (await post(url)).state == "delivered"
    assert sent < 100_000_000


async def test_what_is_no_http_fails() -> None:
    async with peer(saying("SSH-2.0-OpenSSH\r\n")) as url:
        assert await post(url) == Outcome("failed", "connection")
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        assert await post(f"http://127.0.0.1:{nobody.getsockname()[1]}/") == Outcome("failed", "connect")


@pytest.mark.parametrize(
    "url",
    [
        None,
        7,
        "",
        "ftp://example.org/",
        "http://",
        "http://u:p@example.org/",
        "http://example.org:x/",
        "http:///x",
    ],
)
async def test_an_unfit_url_is_never_tried(url: Any) -> None:
    assert await post(url) == Outcome("failed", "url-unfit")


async def test_an_address_smuggles_no_header(receiver: Receiver) -> None:
    assert (await post(receiver.url + "/a b HTTP/1.1\r\nX-Other: 1\r\n\r\n")).state == "delivered"
    ((_, _, _, headers),) = receiver.got
    assert "x-other" not in headers


async def test_http_without_tls_has_to_be_allowed(receiver: Receiver) -> None:
    assert await post(receiver.url, HttpSettings(private=True)) == Outcome("failed", "url-unfit")
    assert receiver.got == []


async def test_private_addresses_are_refused_unless_allowed(receiver: Receiver) -> None:
    for url in (receiver.url, receiver.url.replace("127.0.0.1", "localhost")):
        assert await post(url, HttpSettings(plain=True)) == Outcome("failed", "address-forbidden")
    assert receiver.got == []


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "192.0.2.1",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "64:ff9b::a00:1",
        "2002:a00:1::",
        "no address",
    ],
)
def test_addresses_that_nothing_leaves_for(text: str) -> None:
    assert not address.allowed(text)


@pytest.mark.parametrize("text", ["8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"])
def test_addresses_that_are_public(text: str) -> None:
    assert address.allowed(text)


async def test_the_address_that_was_checked_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that resolves to a public address first and a private one later (rebinding) gains nothing."""
    asked, connected = [], []

    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        found = "93.184.216.34" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))]

    async def connect(_: socket.socket, to: tuple[str, int]) -> None:
        connected.append(to[0])
        raise OSError("not from here")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", connect)
    assert await post("http://rebinding.example/", HttpSettings(plain=True)) == Outcome("failed", "connect")
    assert (asked, connected) == (["rebinding.example"], ["93.184.216.34"])


async def test_one_private_address_among_public_ones_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(host: str, port: int, **_: Any) -> list[Any]:
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (found, port))
            for found in ("93.184.216.34", "10.0.0.1")
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    found = await post("http://both.example/", HttpSettings(plain=True))
    assert found == Outcome("failed", "address-forbidden")


def certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server's TLS with a certificate of its own, and a client's that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "pem"
    pem.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + made.public_bytes(serialization.Encoding.PEM)
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cadata=made.public_bytes(serialization.Encoding.PEM).decode())
    return server, client


async def test_tls_is_verified(tmp_path: Path) -> None:
    server, trusting = certificate(tmp_path)
    async with peer(saying("HTTP/1.1 204 X\r\n\r\n"), server) as url:
        assert await post(url, HttpSettings(private=True)) == Outcome("failed", "tls")
        assert await post(url, HttpSettings(private=True), trusting) == Outcome("delivered", "http-204")
        wrong_name = url.replace("127.0.0.1", "localhost")
        assert await post(wrong_name, HttpSettings(private=True), trusting) == Outcome("failed", "tls")


async def test_who_asks_who_sends_is_shown_the_hubs_certificate(tmp_path: Path) -> None:
    """Mutual TLS: by the file that the settings name, and only where they name one."""
    authority.prepare(tmp_path, "127.0.0.1")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / authority.BROKER)
    server.load_verify_locations(tmp_path / authority.CA)
    server.verify_mode = ssl.CERT_REQUIRED
    known, unknown = (shown(tmp_path / authority.HUB), ssl.create_default_context())
    for context in (known, unknown):
        context.load_verify_locations(tmp_path / authority.CA)
    async with peer(saying("HTTP/1.1 204 X\r\n\r\n"), server) as url:
        assert await post(url, HttpSettings(private=True), known) == Outcome("delivered", "http-204")
        assert (await post(url, HttpSettings(private=True), unknown)).state == "failed"


def test_a_certificate_that_is_none_stops_the_stage_in_words(tmp_path: Path) -> None:
    (tmp_path / "bad.pem").write_text("-----BEGIN CERTIFICATE-----\n")
    for name in ("bad.pem", "missing.pem"):
        with pytest.raises(SettingsInvalid, match="`webhook_certificate` cannot be used"):
            stages._shown(settings.load(webhook_certificate=tmp_path / name))
    assert stages._shown(settings.load()) is None


async def test_without_a_secret_nothing_is_sent(receiver: Receiver) -> None:
    class Nothing:
        def webhook(self, stakeholder: str) -> list[str]:
            return []

    made = Webhooks(Nothing(), LOOPBACK)
    assert await made.deliver(outgoing(receiver.url)) == Outcome("failed", "no-secret")
    await made.aclose()
    assert receiver.got == []


async def test_one_recipients_broken_secret_is_not_the_others_trouble(receiver: Receiver) -> None:
    class Some:
        def webhook(self, stakeholder: str) -> list[str]:
            if stakeholder == "broken":
                raise Unsealable("sealed elsewhere")
            return [SECRET]

    made = Webhooks(Some(), LOOPBACK)
    broken = replace(outgoing(receiver.url), stakeholder="broken")
    first, second = await asyncio.gather(
        made.deliver(broken), made.deliver(outgoing(receiver.url)), return_exceptions=True
    )
    await made.aclose()
    assert isinstance(first, Unsealable)
    assert second == Outcome("delivered", "http-204")


async def test_connections_are_used_again() -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        with suppress(asyncio.IncompleteReadError):
            while head := await reader.readuntil(b"\r\n\r\n"):
                await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
                writer.write(b"HTTP/1.1 204 X\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    async with hooks() as made:
        for _ in range(30):
            several = [made.deliver(outgoing(url, f"d-{number}")) for number in range(4)]
            assert {one.state for one in await asyncio.gather(*several)} == {"delivered"}
    server.close()
    assert 1 <= connections <= 4
    assert http.connections_max >= 4
