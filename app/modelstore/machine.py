"""What this machine has: cores, instruction sets, memory, GPUs. Read from the system itself, without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from app.settings import available_cores

GIBIBYTE = 1024**3
_MEBIBYTE = 1024**2
_FEATURES = {  # ours -> the kernel's flags (x86) or features (arm64), any of which makes it
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "amx": ("amx_int8", "amx_bf16"),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
}
_NVIDIA_QUERY = ("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader,nounits")


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device; `memory` is its total in bytes."""

    name: str
    memory: int
    driver: str


@dataclass(frozen=True, slots=True)
class Machine:
    """Facts that decide which model it can hold. `memory` is bytes: the machine's, or its container's if less."""

    cores: int
    cpu: str
    features: tuple[str, ...]
    memory: int
    gpus: tuple[Gpu, ...] = ()

    @property
    def largest_gpu(self) -> Gpu | None:
        """The GPU with the most memory."""
        return max(self.gpus, key=lambda gpu: gpu.memory, default=None)


def read_machine() -> Machine:
    """This machine's facts. Takes milliseconds without a GPU, as long as nvidia-smi takes (at most 10 s) with one."""
    name, features = parse_cpuinfo(_read("/proc/cpuinfo"))
    return Machine(
        cores=available_cores(), cpu=name or platform.machine(), features=features, memory=_memory(), gpus=read_gpus()
    )


def parse_cpuinfo(text: str) -> tuple[str, tuple[str, ...]]:
    """The processor's name and those of its features that speed up recognition, from /proc/cpuinfo's text."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        fields.setdefault(key.strip().lower(), value.strip())
    flags = set(fields.get("flags", fields.get("features", "")).split())
    return fields.get("model name", ""), tuple(ours for ours, any_of in _FEATURES.items() if flags.intersection(any_of))


def read_gpus() -> tuple[Gpu, ...]:
    """CUDA devices that nvidia-smi lists; none when it is absent, fails, or CUDA_VISIBLE_DEVICES hides them all."""
    if os.environ.get("CUDA_VISIBLE_DEVICES", "unset").strip() in {"", "-1", "none"} or not shutil.which("nvidia-smi"):
        return ()
    try:
        result = subprocess.run(
            _NVIDIA_QUERY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs must not keep the service from starting
        return ()
    return parse_gpus(result.stdout) if result.returncode == 0 else ()


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """GPUs from nvidia-smi's CSV (name, MiB, driver); lines it could not fill ("[N/A]") are left out."""
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines()]
    return tuple(Gpu(row[0], int(row[1]) * _MEBIBYTE, row[2]) for row in rows if len(row) == 3 and row[1].isdigit())


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([total, *(int(limit) for limit in limits if limit.strip().isdigit())])


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
