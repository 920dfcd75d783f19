"""One set of settings reaches the cluster by every client library, and says the same in each."""

import contextlib
import os
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from connectors import deliveries
from connectors.deliveries import Applied
from connectors.fence import Fence, Narrowing
from connectors.follower import Follower
from hub import authority, broker, clients, health, jvm, settings
from hub.settings import Settings
from streams import topology
from tests.streams_kit import until

PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
MECHANISMS = ("SCRAM-SHA-256", "SCRAM-SHA-512")


def secured(protocol: str, mechanism: str, **more: Any) -> Settings:
    named = {
        "kafka_sasl_mechanism": mechanism,
        "kafka_sasl_username": "hub",
        "kafka_sasl_password": "s3cret",
    }
    return settings.load(
        kafka_bootstrap="one:9093,two:9093",
        kafka_security_protocol=protocol,
        **(named if protocol.startswith("SASL") else {}),
        **more,
    )


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_every_client_is_told_the_same(protocol: str, mechanism: str) -> None:
    """Whatever the settings: Faust hands its own client exactly what ours are handed."""
    client = secured(protocol, mechanism).kafka()
    ours = clients.as_aiokafka(client)
    assert ours.pop("bootstrap_servers") == client["bootstrap.servers"] == "one:9093,two:9093"
    assert ours["security_protocol"] == client["security.protocol"] == protocol
    assert ("ssl_context" in ours) == ("SSL" in protocol.replace("SASL", ""))
    if protocol.startswith("SASL"):
        assert (ours["sasl_mechanism"], client["sasl.mechanism"]) == (mechanism, mechanism)
        assert (ours["sasl_plain_username"], ours["sasl_plain_password"]) == ("hub", "s3cret")
    fausts = dict(credentials_to_aiokafka_auth(clients.as_faust(client).get("broker_credentials")))
    contexts = [one.pop("ssl_context", None) for one in (ours, fausts)]
    assert (contexts[0] is None) == (contexts[1] is None)
    assert fausts == ours


@pytest.mark.parametrize("protocol", ["SSL", "SASL_SSL"])
def test_a_certificate_is_checked_against_the_named_authority_by_host_name(
    protocol: str, tmp_path: Path
) -> None:
    context = clients.as_aiokafka(secured(protocol, MECHANISMS[0]).kafka())["ssl_context"]
    assert context.check_hostname
    named = secured(protocol, MECHANISMS[0], kafka_ca=tmp_path / "missing.pem").kafka()
    with pytest.raises(FileNotFoundError):  # another than the named one is never taken instead
        clients.as_aiokafka(named)


def test_the_hubs_certificate_is_shown_by_every_client(tmp_path: Path) -> None:
    authority.prepare(tmp_path, "kafka.example.org")
    shown = secured(
        "SSL", MECHANISMS[0], kafka_ca=tmp_path / authority.CA, kafka_certificate=tmp_path / authority.HUB
    ).kafka()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / authority.BROKER)
    server.load_verify_locations(tmp_path / authority.CA)
    server.verify_mode = ssl.CERT_REQUIRED
    for context in (
        clients.as_aiokafka(shown)["ssl_context"],
        clients.as_faust(shown)["broker_credentials"].context,
    ):
        assert named_by(context, server) == "hub"
        with pytest.raises(ssl.SSLError):
            named_by(ssl.create_default_context(cafile=tmp_path / authority.CA), server)


def named_by(client: ssl.SSLContext, server: ssl.SSLContext) -> str:
    """Who the server says has come; without a network."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = client.wrap_bio(there, back, server_hostname="kafka.example.org")
    theirs = server.wrap_bio(back, there, server_side=True)
    for side in (ours, theirs, ours, theirs, ours):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    certificate = theirs.getpeercert()
    assert certificate is not None
    return dict(pair for part in certificate["subject"] for pair in part)["commonName"]


LISTENER = """
listeners=CLIENT://127.0.0.1:{port},SECURED://127.0.0.1:{secured},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENT://127.0.0.1:{port},SECURED://127.0.0.1:{secured}
listener.security.protocol.map=CLIENT:PLAINTEXT,SECURED:SASL_PLAINTEXT,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=SCRAM-SHA-512
listener.name.secured.scram-sha-512.sasl.jaas.config=\
org.apache.kafka.common.security.scram.ScramLoginModule required;
"""


@pytest.fixture
def guarded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, str]]:
    """A broker with a second listener that wants a password. Out: the open address, and its."""
    write, ports = jvm._properties, []

    def secure(configured: Settings, open_ports: jvm.Ports, data: Path) -> str:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            ports[:] = [found.getsockname()[1]]
        path = write(configured, open_ports, data)
        more = LISTENER.format(port=open_ports[0], controller=open_ports[1], secured=ports[0])
        Path(path).write_text(Path(path).read_text() + more)  # of a property given twice the last one counts
        return path

    monkeypatch.setattr(jvm, "_properties", secure)
    with broker.start(settings.load(data=tmp_path / "broker")) as started:
        admin = AdminClient({"bootstrap.servers": started.bootstrap})
        scram = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        asked = admin.alter_user_scram_credentials([UserScramCredentialUpsertion("hub", scram, b"s3cret")])
        asked["hub"].result()
        topology.ensure(admin, 1, 1)
        yield started.bootstrap, f"127.0.0.1:{ports[0]}"


@pytest.mark.broker
async def test_the_clock_and_the_fence_reach_a_cluster_that_wants_a_password(
    guarded: tuple[str, str], tmp_path: Path
) -> None:
    """By the settings that everything else goes by, the clock as the process that it is."""
    plain, address = guarded
    named = {
        "HUB_DATA": str(tmp_path / "hub"),
        "HUB_PARTITIONS": "1",
        "HUB_KAFKA_BOOTSTRAP": address,
        "HUB_KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "HUB_KAFKA_SASL_MECHANISM": "SCRAM-SHA-512",
        "HUB_KAFKA_SASL_USERNAME": "hub",
        "HUB_KAFKA_SASL_PASSWORD": "s3cret",
    }
    command = [sys.executable, "-P", "-m", "hub.cli", "run", "faust"]
    clock = subprocess.Popen(  # noqa: ASYNC220
        command, env={**os.environ, **named}, stderr=subprocess.DEVNULL
    )
    configured = settings.load(**{name[4:].lower(): value for name, value in named.items()})
    try:
        producer = Producer({"bootstrap.servers": plain})
        producer.produce(
            "deliveries", deliveries.acknowledgement(["reach"], 0, Applied(7, 0), 0, "w"), b"", 0
        )
        assert producer.flush(10) == 0
        follower = Follower(clients.as_aiokafka(configured.kafka()), Fence(1, 1_000), 1)
        await follower.start()
        try:
            taken = Narrowing(partition=0, consent_offset=7, participant="p-1")
            assert (await follower.wait(taken, ["reach"], 30_000)).state == "closed"
        finally:
            await follower.stop()
        until(
            lambda: any(beat.state == "running" for beat in health.read_all(configured.run_dir)),
            "the clock to run",
        )
    finally:
        clock.terminate()
        clock.wait(30)
