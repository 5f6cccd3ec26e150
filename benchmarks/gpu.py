"""How busy the GPU is meanwhile, as nvidia-smi says."""

from __future__ import annotations

import shutil
import subprocess
import threading
from types import TracebackType
from typing import Self

_EVERY_SECONDS = 0.5
_QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits")


class GpuLoad:
    """A context manager that asks twice a second. `busy`: mean share of the busiest card's time, None without one."""

    def __init__(self) -> None:
        self._shares: list[float] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    @property
    def busy(self) -> float | None:
        """0 to 1."""
        return sum(self._shares) / len(self._shares) if self._shares else None

    def __enter__(self) -> Self:
        if shutil.which(_QUERY[0]):
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(_EVERY_SECONDS):
            said = subprocess.run(_QUERY, capture_output=True, text=True, check=False).stdout.split()
            if said:
                self._shares.append(max(map(float, said)) / 100)
