"""One set of settings reaches the cluster by every client library, and says the same in each."""

from pathlib import Path
from typing import Any

import pytest
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth

from hub import clients, settings
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
