"""Certificates that no system trusts: a root of its own, and a server's for loopback signed by it."""

import ipaddress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import httpcore2
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def make_certificates(folder: Path) -> tuple[Path, dict[str, str]]:
    """The root's file, and uvicorn's options for a server that its clients must trust by that root."""
    root_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root = _signed("Test Root", root_key, "Test Root", root_key, authority=True)
    server = _signed("127.0.0.1", server_key, "Test Root", root_key, authority=False)
    files = {name: folder / f"{name}.pem" for name in ("root", "server", "key")}
    files["root"].write_bytes(root.public_bytes(serialization.Encoding.PEM))
    files["server"].write_bytes(server.public_bytes(serialization.Encoding.PEM))
    files["key"].write_bytes(
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files["root"], {"ssl_certfile": str(files["server"]), "ssl_keyfile": str(files["key"])}


def _signed(
    name: str, key: ec.EllipticCurvePrivateKey, by: str, by_key: ec.EllipticCurvePrivateKey, *, authority: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(name))
        .issuer_name(_name(by))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
    return builder.sign(by_key, hashes.SHA256())


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def read_once() -> None:
    """Have all HTTP clients of this process share the machine's certificates.

    Each would read them anew, which takes longer than most tests. None of the clients changes them.
    """
    httpcore2.default_ssl_context = cache(httpcore2.default_ssl_context)
