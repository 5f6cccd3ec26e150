"""The server's process and those it started, by what they do. Read from /proc; where there is none, nothing is told."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path
from typing import Literal, TypeAlias

Role: TypeAlias = Literal["server", "decoder", "recogniser", "other"]
Processes: TypeAlias = dict[Role, tuple[int, int]]
"""For each role resident bytes, and how many processes."""

_ROLES: tuple[tuple[bytes, Role], ...] = ((b"app.audio.", "decoder"), (b"app.engines.", "recogniser"))
"""What a process of ours is called with, and its role; those it starts have the same."""
_PARENT, _RESIDENT = 1, 21
"""Fields of /proc/PID/stat, counted from the one after the name."""


def read_processes(proc: Path = Path("/proc"), server: int | None = None) -> Processes:
    """What there is now; `server` is the process id it begins with, None this process's. Takes milliseconds."""
    below: defaultdict[int, list[int]] = defaultdict(list)
    resident: dict[int, int] = {}
    for folder in proc.glob("[0-9]*"):
        if (found := _stat(folder)) is not None:
            parent, pages = found
            below[parent].append(int(folder.name))
            resident[int(folder.name)] = pages * os.sysconf("SC_PAGE_SIZE")
    first = os.getpid() if server is None else server
    if first not in resident:
        return {}
    roles: dict[int, Role] = {first: "server"}
    ahead = [first]
    while ahead:
        parent = ahead.pop()
        for pid in below[parent]:
            roles[pid] = _role(proc / str(pid)) if parent == first else roles[parent]
            ahead.append(pid)
    result: Processes = {"server": (0, 0), "decoder": (0, 0), "recogniser": (0, 0), "other": (0, 0)}
    for pid, role in roles.items():
        memory, count = result[role]
        result[role] = memory + resident[pid], count + 1
    return result


def _stat(folder: Path) -> tuple[int, int] | None:
    """A process's parent, and its resident pages; None if it has just ended."""
    try:
        fields = (folder / "stat").read_bytes().rpartition(b")")[2].split()
        return int(fields[_PARENT]), int(fields[_RESIDENT])
    except (OSError, ValueError, IndexError):
        return None


def _role(folder: Path) -> Role:
    try:
        called = (folder / "cmdline").read_bytes()
    except OSError:
        return "other"
    for name, role in _ROLES:
        if name in called:
            return role
    return "other"
