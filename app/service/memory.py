"""Whether another model fits into this machine's memory, and giving back what a freed one leaves behind."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from pathlib import Path

from app.domain.errors import NotEnoughMemory
from app.modelstore.catalog import CatalogEntry
from app.modelstore.disk import human_size, size_of
from app.modelstore.manifests import names_in

ROOM_FACTOR = 3.0
"""Bytes of memory wanted per byte of a model's files. Measured with pieces on all threads: Paraformer takes 2.5 times
its int8 file and 1.8 times its fp32 one, Whisper 1.4 times its file; the rest is for what else the machine does."""
_ROOT = Path("/")
_CGROUPS = (  # what a container may use, what it uses, and what of that is a cache the kernel takes back when it must
    ("sys/fs/cgroup/memory.max", "sys/fs/cgroup/memory.current", "sys/fs/cgroup/memory.stat", "inactive_file"),
    (
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "sys/fs/cgroup/memory/memory.usage_in_bytes",
        "sys/fs/cgroup/memory/memory.stat",
        "total_inactive_file",
    ),
)


def check_room(entry: CatalogEntry, folder: Path) -> None:
    """Refuse to load what would not fit beside what is in memory. What this system does not tell is not refused.

    Raises:
        NotEnoughMemory: it would not.
    """
    needed = round(ROOM_FACTOR * size_of_files(entry, folder))
    available = available_memory()
    if available is not None and needed > available:
        raise NotEnoughMemory(
            f"{entry.id} needs about {human_size(needed)} of memory; {human_size(available)} are available. "
            "Unload another model first."
        )


def size_of_files(entry: CatalogEntry, folder: Path) -> int:
    """Bytes of the entry's files in `folder`; of all files there, where they are called something else."""
    names = [file.path for file in entry.files] or names_in(entry, folder)
    named = sum(max(0, size_of(folder / name)) for name in names)
    return named or sum(max(0, size_of(path)) for path in folder.rglob("*"))


def available_memory(root: Path = _ROOT) -> int | None:
    """Bytes that can be had without swapping: the machine's, or its container's if less; None where nobody says.

    `root` is where /proc and /sys are.
    """
    said = _rows(root / "proc/meminfo").get("MemAvailable")
    free = [] if said is None else [said * 1024]
    for limit, used, stat, cache in _CGROUPS:
        most, taken = _number(root / limit), _number(root / used)
        if most is not None and taken is not None:
            free.append(max(0, most - taken + _rows(root / stat).get(cache, 0)))
    return min(free, default=None)


def give_back() -> None:
    """Return freed memory to the system. Blocking.

    The allocator keeps it otherwise: idle after its first recording, a server with Whisper base held 244 MB with this
    and 357 MB without; loaded and freed four times, 304 MB and 667 MB.
    """
    gc.collect()
    with suppress(OSError, AttributeError):  # glibc's own; other systems' allocators do it by themselves
        ctypes.CDLL(None).malloc_trim(0)


def _rows(path: Path) -> dict[str, int]:
    """Lines of a name and a number, as the kernel writes them."""
    with suppress(OSError):
        rows = (line.replace(":", " ").split() for line in path.read_text("utf-8", errors="replace").splitlines())
        return {row[0]: int(row[1]) for row in rows if len(row) > 1 and row[1].isdigit()}
    return {}


def _number(path: Path) -> int | None:
    """None where there is no such file, or it says "max"."""
    with suppress(OSError, ValueError):
        return int(path.read_text("utf-8"))
    return None
