"""Whether requests are traced: OpenTelemetry's packages are not there on every machine, and nothing needs them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from app.domain.errors import ConfigUnusable
from app.settings import Settings

if TYPE_CHECKING:
    from app.service.spans import Tracing

_NAME = "OTEL_EXPORTER_OTLP_ENDPOINT"


def tracing_of(settings: Settings) -> Tracing | None:
    """What traces requests, where that is wanted. To be closed.

    Raises:
        ConfigUnusable: the address is none, OpenTelemetry's packages are missing, or do not understand a variable.
    """
    endpoint = settings.otel_exporter_otlp_endpoint.strip()
    if not endpoint:
        return None
    if not _is_address(endpoint):
        raise ConfigUnusable(f"{_NAME} is no address: it is http:// or https://, a host, and mostly a port (4318).")
    try:
        from app.service.spans import Tracing  # noqa: PLC0415 - imports what may be missing

        return Tracing(endpoint)
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("opentelemetry"):
            raise
        told = f"{_NAME} is set, and OpenTelemetry is not installed: pip install -r requirements-otel.txt"
        raise ConfigUnusable(told) from error
    except ValueError as error:  # which names neither the variable nor, at best, its value
        names = ", ".join(sorted(name for name in os.environ if name.startswith("OTEL_")))
        told = f"OpenTelemetry does not understand one of its variables, which are: {names}."
        raise ConfigUnusable(told) from error


def _is_address(said: str) -> bool:
    try:
        parts = urlsplit(said)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
