"""`start.py certificate`: a self-signed certificate for this machine, so that browsers give pages the microphone."""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import os
import socket
import tempfile
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from app.domain.errors import ConfigUnusable

if TYPE_CHECKING:
    from app.settings import Settings

_CERTIFICATE, _KEY = "certificate.pem", "key.pem"
_DAYS = 365
_EARLY = timedelta(minutes=5)  # for clients whose clocks are late
_LONGEST_NAME = 64
_OUTSIDE = (("192.0.2.1", socket.AF_INET), ("2001:db8::1", socket.AF_INET6))
"""Addresses that nobody has: nothing is sent there, but the system says from where it would be."""


def add_parser(commands: Any) -> None:
    """Add `certificate` to argparse's `commands`."""
    parser = commands.add_parser("certificate", help="make a self-signed certificate, for HTTPS")
    parser.add_argument("--out", type=Path, default=Path("certificate"), metavar="FOLDER", help="where to put it")
    parser.add_argument(
        "--name", action="append", default=[], help="one more name or address that clients use (may be repeated)"
    )
    parser.add_argument("--force", action="store_true", help="replace what is there")
    parser.set_defaults(run=run)


def run(_settings: Settings, arguments: argparse.Namespace) -> int:
    """Make it, and say what to do with it.

    Raises:
        ConfigUnusable: there is one already, a name is none, or the folder is none or cannot be written.
    """
    names = list(dict.fromkeys([*map(_checked, arguments.name), *own_names()]))
    folder: Path = arguments.out
    certificate, key = make(names)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (folder / _KEY, folder / _CERTIFICATE):
            if os.path.lexists(path) and not arguments.force:
                raise ConfigUnusable(f"{path} is there already; --force replaces it.")
        _write_both(folder, _pem_of(key), certificate.public_bytes(serialization.Encoding.PEM))
    except (FileExistsError, NotADirectoryError):
        raise ConfigUnusable(f"{folder} is no folder: --out takes one, which is made if it is not there.") from None
    except OSError as error:
        raise ConfigUnusable(f"{folder} cannot be written: {error.strerror}.") from error
    print(f"a certificate until {certificate.not_valid_after_utc:%Y-%m-%d} for {', '.join(names)}")
    print(f"SHA-256 fingerprint: {certificate.fingerprint(hashes.SHA256()).hex(':').upper()}")
    print("\nSet, in .env or the environment:")
    print(f"TLS_CERT_FILE={(folder / _CERTIFICATE).resolve()}\nTLS_KEY_FILE={(folder / _KEY).resolve()}")
    print("\nNo authority knows it: browsers will warn once, and show the fingerprint to compare.")
    return 0


def own_names() -> list[str]:
    """What this machine is called, and the addresses that others reach it at, as far as it knows."""
    addresses: list[str] = ["127.0.0.1", "::1"]
    hostname = socket.gethostname()
    with contextlib.suppress(OSError):
        addresses += [str(info[4][0]) for info in socket.getaddrinfo(hostname, None, type=socket.SOCK_STREAM)]
    for address, family in _OUTSIDE:
        with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
            addresses.append(str(probe.getsockname()[0]))
    names = [hostname] if _is_name(hostname) else []
    return list(dict.fromkeys([*names, "localhost", *(one.partition("%")[0] for one in addresses)]))


def make(names: Iterable[str]) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A certificate for these names and addresses, signed by itself, and its key."""
    called = list(names)
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, called[0][:_LONGEST_NAME])])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLY)
        .not_valid_after(now + timedelta(days=_DAYS))
        .add_extension(x509.SubjectAlternativeName(list(map(_alternative, called))), critical=False)
        # Not an authority's: who trusts it trusts this server, and no other that somebody signs with its key.
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    )
    return builder.sign(key, hashes.SHA256()), key


def _alternative(name: str) -> x509.GeneralName:
    with contextlib.suppress(ValueError):
        return x509.IPAddress(ipaddress.ip_address(name))
    return x509.DNSName(name)


def _checked(name: str) -> str:
    """Raises ConfigUnusable."""
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(name))
    if not _is_name(name):
        raise ConfigUnusable(f"--name {name}: that is no name of a machine, and no address.")
    return name


def _is_name(name: str) -> bool:
    parts = name.removeprefix("*.").split(".")
    return name.isascii() and all(part and part.replace("-", "").replace("_", "").isalnum() for part in parts)


def _pem_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write_both(folder: Path, key: bytes, certificate: bytes) -> None:
    """Where there is a pair, it stays until both new files are whole. Raises OSError."""
    with tempfile.TemporaryDirectory(prefix=".new-", dir=folder) as name:
        new = Path(name)
        _write(new / _KEY, key, 0o600)
        _write(new / _CERTIFICATE, certificate, 0o644)
        for file in (_KEY, _CERTIFICATE):
            (new / file).replace(folder / file)


def _write(path: Path, data: bytes, mode: int) -> None:
    """A new file, which nobody else may read from its first moment on, if `mode` says so. Raises OSError."""
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as stream:
        stream.write(data)
