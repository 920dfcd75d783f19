"""One set of settings reaches the cluster by every client library, and says the same in each."""

import contextlib
import ssl
from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from hub import authority, clients, settings
from hub.settings import Settings

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
