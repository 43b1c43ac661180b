"""A self-signed certificate for loopback, made anew for each emulator that serves https."""

from __future__ import annotations

import datetime as dt
import ipaddress
import ssl
import tempfile
from pathlib import Path

_LIFETIME = dt.timedelta(days=365)


def self_signed_context() -> tuple[ssl.SSLContext, str]:
    """Return a server's TLS context with a new certificate for 127.0.0.1, ::1 and localhost, and the certificate in PEM.

    Clients must not verify it, or trust it by name; the Cosmos SDK verifies nothing on localhost and 127.0.0.1, and the
    SDKs of Event Hubs and Service Bus take the file that ``connection_verify`` names.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    private, public = make_certificate()
    return server_context(private, public), public


def make_certificate() -> tuple[bytes, str]:
    """Return a new private key and its certificate, both in PEM.

    Raises:
        ImportError: The package cryptography is not installed.
    """
    from cryptography import x509  # noqa: PLC0415 - costs 40 ms, and https is asked for rarely
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415 - see above
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415 - see above

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "fastapi-azure-pool emulator")])
    now = dt.datetime.now(dt.UTC)
    alternatives = x509.SubjectAlternativeName(
        [
            x509.DNSName("localhost"),
            x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
            x509.IPAddress(ipaddress.ip_address("::1")),
        ]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + _LIFETIME)
        .add_extension(alternatives, critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM).decode()


def server_context(private: bytes, public: str) -> ssl.SSLContext:
    """Return a server's TLS context with this private key and certificate, both in PEM."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with tempfile.TemporaryDirectory() as directory:  # the ssl module reads certificates from files only
        file = Path(directory, "certificate.pem")
        file.touch(mode=0o600)
        file.write_bytes(private + public.encode())
        context.load_cert_chain(file)
    return context
