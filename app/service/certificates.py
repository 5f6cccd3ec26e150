"""The server's TLS certificate: what an operator set, looked at before anything listens."""

from __future__ import annotations

import logging
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509

from app.domain.errors import ConfigUnusable
from app.settings import Settings

_SOON = timedelta(days=14)
_MAKE = "`start.py certificate` makes both."
_logger = logging.getLogger(__name__)


def tls_of(settings: Settings) -> ssl.SSLContext | None:
    """What connections are encrypted with (TLS 1.2 at least); None where no certificate is set.

    Raises:
        ConfigUnusable: one of the files is not set, cannot be read or is none, they do not belong together, or the
            certificate is not valid today.
    """
    certificate, key = settings.tls_cert_file, settings.tls_key_file
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        missing = "TLS_CERT_FILE" if certificate is None else "TLS_KEY_FILE"
        raise ConfigUnusable(f"{missing} is not set: a certificate and its key are needed. {_MAKE}")
    _check_dates(certificate)
    _read("TLS_KEY_FILE", key)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(certificate, key, password=_no_password)
    except _PasswordNeededError:
        raise ConfigUnusable(f"TLS_KEY_FILE={key}: the key has a password; the server needs one without.") from None
    except ssl.SSLError as error:
        if error.reason in {"KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH"}:
            told = f"TLS_KEY_FILE={key} is not the key of TLS_CERT_FILE={certificate}."
            raise ConfigUnusable(told) from None
        raise ConfigUnusable(f"TLS_KEY_FILE={key} is no private key in PEM, or the server cannot use it.") from None
    return context


class _PasswordNeededError(Exception):
    """Asked for by OpenSSL, which would else ask at the terminal."""


def _no_password() -> str:
    raise _PasswordNeededError


def _read(setting: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigUnusable(f"{setting}={path} cannot be read: {error.strerror}.") from None


def _check_dates(path: Path) -> None:
    said = _read("TLS_CERT_FILE", path)
    try:
        certificate = x509.load_pem_x509_certificates(said)[0]
    except ValueError:
        raise ConfigUnusable(f"TLS_CERT_FILE={path} holds no certificate in PEM.") from None
    now = datetime.now(UTC)
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not begins <= now <= ends:
        told = f"is valid from {begins:%Y-%m-%d} to {ends:%Y-%m-%d} only, so that no client takes it today."
        raise ConfigUnusable(f"TLS_CERT_FILE={path} {told}")
    if ends - now < _SOON:
        _logger.warning("TLS_CERT_FILE expires on %s; put a new one there and restart", f"{ends:%Y-%m-%d}")
