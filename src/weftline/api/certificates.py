"""A certificate for this server: the one that is given, or a self-signed one made here and renewed before it ends."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from weftline.clock import Clock, from_micros

__all__ = ["Certificate", "fingerprint", "self_signed"]

LIFE = timedelta(days=397)
RENEW_BEFORE = timedelta(days=30)
Certificate = tuple[Path, Path]
"""Certificate and private key, PEM files."""


def self_signed(folder: Path, host: str, clock: Clock) -> Certificate:
    """Return the folder's own certificate for this host, made anew where it is missing, ends soon or lacks the name."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = _names(host)
    if certificate.exists() and key.exists():
        held = x509.load_pem_x509_certificate(certificate.read_bytes())
        fresh = held.not_valid_after_utc - RENEW_BEFORE > from_micros(clock.now())
        if fresh and set(names) <= set(held.extensions.get_extension_for_class(x509.SubjectAlternativeName).value):
            return certificate, key
    _make(certificate, key, names, clock)
    return certificate, key


def fingerprint(certificate: Path) -> str:
    """Return the SHA-256 fingerprint that a person compares with what the browser shows."""
    held = x509.load_pem_x509_certificate(certificate.read_bytes())
    return held.fingerprint(hashes.SHA256()).hex(":").upper()


def _names(host: str) -> list[x509.GeneralName]:
    hosts = [host, socket.gethostname(), "localhost", "127.0.0.1", "::1"]
    found: dict[x509.GeneralName, None] = {}
    for name in hosts:
        try:
            address = ipaddress.ip_address(name)
        except ValueError:
            found[x509.DNSName(name)] = None
        else:
            if not address.is_unspecified:
                found[x509.IPAddress(address)] = None
    return list(found)


def _make(certificate: Path, key: Path, names: Sequence[x509.GeneralName], clock: Clock) -> None:
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Weftline, self-signed")])
    now = from_micros(clock.now())
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(private, hashes.SHA256())
    )
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(key, pem)
    _write(certificate, made.public_bytes(serialization.Encoding.PEM))


def _write(path: Path, content: bytes) -> None:
    part = path.with_suffix(".part")
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
