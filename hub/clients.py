"""The one place where settings for reaching the cluster become those of another client library.

Everything is put in librdkafka's words by `Settings.kafka`; these translate them.
"""

import ssl
from collections.abc import Mapping
from typing import Any


def as_aiokafka(client: Mapping[str, Any]) -> dict[str, Any]:
    """librdkafka's settings of a client in aiokafka's words. May carry a password: never log it."""
    found: dict[str, Any] = {
        "bootstrap_servers": client["bootstrap.servers"],
        "security_protocol": client.get("security.protocol", "PLAINTEXT"),
    }
    if "SSL" in found["security_protocol"]:
        found["ssl_context"] = ssl.create_default_context(cafile=client.get("ssl.ca.location"))
        if "ssl.certificate.location" in client:
            found["ssl_context"].load_cert_chain(
                client["ssl.certificate.location"], client["ssl.key.location"]
            )
    if "sasl.mechanism" in client:
        found |= {
            "sasl_mechanism": client["sasl.mechanism"],
            "sasl_plain_username": client["sasl.username"],
            "sasl_plain_password": client["sasl.password"],
        }
    return found


def as_faust(client: Mapping[str, Any]) -> dict[str, Any]:
    """librdkafka's settings of a client in Faust's words, the address left out.

    Out: settings of a Faust app; none for a cluster without any security. May carry a password.
    """
    from faust import auth  # noqa: PLC0415  slow to import

    found = as_aiokafka(client)
    context = found.get("ssl_context")
    if found["security_protocol"].startswith("SASL"):
        credentials: auth.Credentials = auth.SASLCredentials(
            username=found["sasl_plain_username"],
            password=found["sasl_plain_password"],
            mechanism=found["sasl_mechanism"],
            ssl_context=context,
        )
    elif context is not None:
        credentials = auth.SSLCredentials(context)
    else:
        return {}
    return {"broker_credentials": credentials}
