"""Who is at the other end of a TLS connection, by their certificate: mutual TLS for programs.

Uvicorn verifies a client's certificate and then forgets it. Here it is put where the ASGI extension for TLS
has it (`scope["extensions"]["tls"]["client_cert_chain"]`), so that another server may do the same. Only a
certificate of the connection itself counts: no header is believed, since anybody can write one.
"""

import asyncio
import ssl
from typing import Final

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

CIPHERS: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"  # below TLS 1.3, whose own are all good (RFC 9325, 4.2)


class PeerProtocol(HttpToolsProtocol):
    """Uvicorn's protocol, with the peer's certificate in every request of the connection."""

    _tls: dict[object, object] | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Look at the connection once."""
        super().connection_made(transport)
        connection = transport.get_extra_info("ssl_object")
        if connection is not None:
            shown = connection.getpeercert(binary_form=True)
            chain = [ssl.DER_cert_to_PEM_cert(shown)] if shown else []
            self._tls = {"client_cert_chain": chain, "client_cert_error": None}

    def on_message_begin(self) -> None:
        """Put it into the scope of each request."""
        super().on_message_begin()
        if self._tls is not None:
            self.scope["extensions"] = {"tls": dict(self._tls)}


def certificate(scope: Scope) -> bytes | None:
    """The certificate that the other end showed and that was verified, in DER; None where there is none."""
    tls = (scope.get("extensions") or {}).get("tls") or {}
    chain = tls.get("client_cert_chain")
    if not chain or tls.get("client_cert_error"):
        return None
    return ssl.PEM_cert_to_DER_cert(chain[0])
