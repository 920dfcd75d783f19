"""The embedded broker's own certificate authority, where agencies reach that broker by TLS.

It says who the broker is, to everybody; and who the hub is, to the broker: whoever shows the hub's
certificate may do everything there. Keys are files that only the hub's own user can read.
"""

from __future__ import annotations

import ipaddress
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

CA: Final = "ca.pem"
BROKER: Final = "broker.pem"
HUB: Final = "hub.pem"
_ISSUER: Final = "authority.pem"  # the authority's key, and its certificate
AUTHORITY_DAYS: Final = 3_650
CERTIFICATE_DAYS: Final = 730  # made anew at each start of the broker
SKEW: Final = timedelta(minutes=5)  # between our clock and that of who connects

Key = ec.EllipticCurvePrivateKey


def prepare(folder: Path, host: str) -> None:
    """Make certificates for a broker that agencies call `host`, signed by an authority that stays.

    Out: in `folder`, `ca.pem` for everybody; `broker.pem` and `hub.pem`, each a private key (PKCS #8) and its
    certificate. Raises `OSError`, and `ValueError` where the authority's file is not what was written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = datetime.now(UTC)
    key, authority = _authority(folder / _ISSUER, now)
    _write(folder / CA, authority.public_bytes(serialization.Encoding.PEM), 0o644)
    names = dict.fromkeys(("localhost", "127.0.0.1", host))
    _issue(folder / BROKER, "broker", key, authority, now, list(names))
    _issue(folder / HUB, "hub", key, authority, now, [])


def days_left(folder: Path, now: datetime) -> int:
    """For how many days the certificates are good yet. Raises `OSError` where there are none."""
    return certificate_days(folder / BROKER, now)


def certificate_days(file: Path, now: datetime) -> int:
    """For how many days the first certificate of a file is good yet. Raises `OSError` or `ValueError`."""
    pem = file.read_bytes()
    return (x509.load_pem_x509_certificate(_certificate(pem)).not_valid_after_utc - now).days


def _certificate(pem: bytes) -> bytes:
    """Of a file that a private key begins."""
    return pem[pem.index(b"-----BEGIN CERTIFICATE") :]


def _authority(path: Path, now: datetime) -> tuple[Key, x509.Certificate]:
    if path.exists():
        pem = path.read_bytes()
        standing = serialization.load_pem_private_key(pem, None)
        certificate = x509.load_pem_x509_certificate(_certificate(pem))
        if not isinstance(standing, ec.EllipticCurvePrivateKey):
            raise ValueError("the authority's key is of another kind")
        # one that would end before its certificates is replaced
        if certificate.not_valid_after_utc > now + timedelta(days=CERTIFICATE_DAYS):
            return standing, certificate
    key = ec.generate_private_key(ec.SECP256R1())
    name = _named("diversion-hub broker authority")
    certificate = (
        _builder(name, name, key, now, AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    _write(path, _pem(key, certificate), 0o600)
    return key, certificate


def _issue(
    path: Path, name: str, issuer: Key, authority: x509.Certificate, now: datetime, hosts: list[str]
) -> None:
    """A new key with a certificate: for a server where there are hosts, and for a client in any case."""
    key = ec.generate_private_key(ec.SECP256R1())
    known = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    purposes = [ExtendedKeyUsageOID.CLIENT_AUTH, *([ExtendedKeyUsageOID.SERVER_AUTH] if hosts else [])]
    builder = (
        _builder(_named(name), authority.subject, key, now, CERTIFICATE_DAYS)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known), critical=False)
    )
    if hosts:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([_host(one) for one in hosts]), critical=False
        )
    _write(path, _pem(key, builder.sign(issuer, hashes.SHA256())), 0o600)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: Key, now: datetime, days: int
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: Key, certificate: x509.Certificate) -> bytes:
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private + certificate.public_bytes(serialization.Encoding.PEM)


def _write(path: Path, content: bytes, mode: int) -> None:
    """Replace a file whole; nobody can read a private one at any moment."""
    new = path.with_name(f".{path.name}.new")
    new.unlink(missing_ok=True)
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    new.replace(path)
