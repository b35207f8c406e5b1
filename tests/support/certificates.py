"""A private CA, and certificates of it, as files: made anew for each run of the tests."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from qdrant_dr.config import Tls


@dataclass(frozen=True)
class Certificates:
    """`server` and `client` are pairs of files, certificate and key; `locked` is a client's key
    under a password."""

    ca: Path
    server: tuple[Path, Path]
    client: tuple[Path, Path]
    locked: Path

    @property
    def trusting(self) -> Tls:
        return Tls(ca=str(self.ca))

    @property
    def known(self) -> Tls:
        certificate, key = map(str, self.client)
        return Tls(ca=str(self.ca), certificate=certificate, key=f"file:{key}")

    def of_server(self, *, mutual: bool = False) -> ssl.SSLContext:
        """What a server on loopback, or one named store.test, shows and wants."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self.server)
        if mutual:
            context.verify_mode = ssl.CERT_REQUIRED
            context.load_verify_locations(self.ca)
        return context


def make_certificates(folder: Path) -> Certificates:
    """A CA, a server and a client."""
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a private CA")])
    ca = _certificate(ca_name, ca_key, ca_name, ca_key, ca=True)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    pairs = {}
    for name in ("server", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = _certificate(subject, key, ca_name, ca_key, ca=False)
        pairs[name] = folder / f"{name}.pem", folder / f"{name}.key"
        pairs[name][0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
        pairs[name][1].write_bytes(_pem(key, serialization.NoEncryption()))
    locked = folder / "locked.key"
    locked.write_bytes(_pem(key, serialization.BestAvailableEncryption(b"password")))
    return Certificates(folder / "ca.pem", pairs["server"], pairs["client"], locked)


def _pem(
    key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption
) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )


def _certificate(
    subject: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Name,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    ca: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    hosts = [
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.DNSName("store.test"),
        x509.DNSName("acc.store.test"),
    ]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )
    if not ca:
        builder = builder.add_extension(x509.SubjectAlternativeName(hosts), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())
