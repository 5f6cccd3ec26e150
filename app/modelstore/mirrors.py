"""Reaching mirrors: where the hubs are, how long to wait for them, and how they fail."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self
from urllib.parse import urlsplit

from app.modelstore.catalog import HubMirror, ModelScopeMirror


class MirrorError(Exception):
    """A mirror did not give a file. `down`: there is no talking to it at all, so do not ask it for others either."""

    def __init__(self, reason: str, *, down: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.down = down


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the hubs are, without a trailing slash."""

    modelscope: str = "https://www.modelscope.cn"
    huggingface: str = "https://huggingface.co"

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The usual hubs; HF_ENDPOINT names another Hugging Face, as its own client reads it."""
        mirror = environment.get("HF_ENDPOINT", "").rstrip("/")
        return cls(huggingface=mirror) if mirror else cls()

    def of(self, mirror: HubMirror) -> str:
        """The hub that serves `mirror`."""
        return self.modelscope if isinstance(mirror, ModelScopeMirror) else self.huggingface


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds. `read` is the wait for the first byte and between any two; `stall` the same for pip, which is slower."""

    connect: float = 3.0
    read: float = 10.0
    stall: float = 90.0


def await_name(url: str, seconds: float) -> None:
    """Look the host of `url` up, for at most `seconds`.

    The system's resolver has no timeout of its own that a program could set: behind a firewall that drops DNS it takes
    half a minute to say so, which no connect timeout cuts short. Not asked where a proxy resolves names.

    Raises:
        MirrorError: the name is not known, or nobody answered in time.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme in urllib.request.getproxies() and not urllib.request.proxy_bypass(host):
        return
    failures: list[str] = [f"the name {host} could not be looked up within {seconds:g} s"]

    def look_up() -> None:
        try:
            socket.getaddrinfo(host, parts.port or 443)
            failures.clear()
        except (OSError, UnicodeError):
            failures[:] = [f"the name {host} is not known here (no network, or no DNS)"]

    thread = threading.Thread(target=look_up, daemon=True)  # a daemon: one that hangs must not hold up the exit
    thread.start()
    thread.join(seconds)
    if failures:
        raise MirrorError(failures[0], down=True)
