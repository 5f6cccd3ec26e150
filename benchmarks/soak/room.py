"""A small disk for TEMP_DIR and DATA_DIR, which can be filled without harm to anybody: a tmpfs in a mount namespace of
its own, which goes when the command does."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

_MARK = "SOAK_IN_ITS_OWN_NAMESPACE"
SIZE_MIB = 64
_BLOCK = bytes(1 << 20)


def enter() -> None:
    """Start this command again where it may mount, if that can be had; else go on as it is."""
    if _MARK in os.environ:
        return
    for space in (["unshare", "--mount"], ["unshare", "--mount", "--user", "--map-root-user"]):
        trial = [*space, "sh", "-c", 'mount -t tmpfs -o size=1m soak "$0"', str(Path(__file__).parent)]
        try:
            possible = subprocess.run(trial, check=False, capture_output=True).returncode == 0
        except FileNotFoundError:
            return
        if possible:
            command = [*space, sys.executable, "-m", "benchmarks.soak", *sys.argv[1:]]
            os.execvpe(command[0], command, {**os.environ, _MARK: "1"})


class Room:
    """TEMP_DIR is `temp`, DATA_DIR `data`. `bounded`: they lie on a small disk, so that `fill` harms nobody."""

    def __init__(self, folder: Path) -> None:
        place = folder / "room"
        place.mkdir()
        self.bounded = _MARK in os.environ
        if self.bounded:
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "soak", str(place)], check=True)
        self.temp = place / "temp"
        self.temp.mkdir()
        self.data = place / "data"
        self._filler = place / "filler"

    def fill(self) -> None:
        """Take all there is; again, to take what was given back meanwhile."""
        if not self.bounded:
            raise RuntimeError("this disk is not only ours")
        size = len(_BLOCK)
        with self._filler.open("ab", buffering=0) as file:
            while size:
                try:
                    file.write(_BLOCK[:size])
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)

    def left(self) -> list[str]:
        """Names of what lies in TEMP_DIR."""
        return sorted(path.name for path in self.temp.iterdir())

    def close(self) -> None:
        """Take the disk away."""
        if self.bounded:
            subprocess.run(["umount", "--lazy", str(self.temp.parent)], check=False, capture_output=True)
