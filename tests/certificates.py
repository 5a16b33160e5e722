"""Certificates for tests: made when asked for, of one's own authority, in PEM files."""

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from attrs import frozen
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

NAME = "exchange.example"


@frozen
class Pair:
    """A certificate and its key, as files."""

    certificate: Path
    key: Path
    serial: int

    @property
    def paths(self) -> tuple[str, str]:
        """As the configuration has them."""
        return str(self.certificate), str(self.key)

    def trusted(self) -> ssl.SSLContext:
        """What a client has who trusts this certificate alone."""
        return ssl.create_default_context(cafile=str(self.certificate))


def make(
    folder: Path,
    name: str = "server",
    *,
    serial: int = 1,
    expires: datetime | None = None,
    passphrase: bytes | None = None,
) -> Pair:
    """A certificate of NAME that signs itself, good from long ago until it expires."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2020, 1, 1, tzinfo=UTC))
        .not_valid_after(expires or datetime(2100, 1, 1, tzinfo=UTC))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    locked: KeySerializationEncryption = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
    pair = Pair(folder / f"{name}.pem", folder / f"{name}.key", serial)
    pair.certificate.write_bytes(certificate.public_bytes(Encoding.PEM))
    pair.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, locked))
    return pair


LONG_AGO = datetime(2021, 1, 1, tzinfo=UTC) + timedelta(seconds=1)
