"""What this machine has: cores, instruction sets, memory, GPUs. Read from the system itself, without torch."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.domain.errors import InvalidParameter
from app.settings import available_cores

GIBIBYTE = 1024**3
_MEBIBYTE = 1024**2
_FEATURES = {  # ours -> the kernel's flags (x86) or features (arm64), any of which makes it
    "avx2": ("avx2",),
    "avx512": ("avx512f",),
    "vnni": ("avx512_vnni", "avx_vnni"),
    "amx": ("amx_int8", "amx_bf16"),
    "bf16": ("avx512_bf16", "amx_bf16", "bf16"),
    "neon": ("asimd",),
    "dotprod": ("asimddp",),
    "i8mm": ("i8mm",),
}
_GPU_FIELDS = ("uuid", "name", "memory.total", "memory.free", "driver_version")
_NVIDIA_QUERY = ("nvidia-smi", f"--query-gpu={','.join(_GPU_FIELDS)}", "--format=csv,noheader,nounits")
_NONE_VISIBLE = frozenset({"", "-1", "none", "nodevfiles"})
"""Values of CUDA_VISIBLE_DEVICES (and of NVIDIA's containers) that hide every card."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One CUDA device. `index` is CUDA's number for it among the visible ones (cuda:0 is the first); `memory` and
    `free` are bytes, `free` as it was when the machine was read."""

    index: int
    uuid: str
    name: str
    memory: int
    free: int
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
        """The GPU with the most memory; of several the one with the most of it free."""
        return max(self.gpus, key=lambda gpu: (gpu.memory, gpu.free), default=None)

    def gpu(self, device: str) -> Gpu | None:
        """The GPU that DEVICE means: auto (None where there is none), cpu (None), cuda or cuda:N.

        Raises:
            InvalidParameter: there is no such card; the message names those there are.
        """
        if device == "cpu":
            return None
        if device in {"auto", "cuda"}:
            if device == "cuda" and not self.gpus:
                raise InvalidParameter("DEVICE=cuda: this machine shows no CUDA card (nvidia-smi lists none).")
            return self.largest_gpu
        wanted = int(device.partition(":")[2])
        found = next((gpu for gpu in self.gpus if gpu.index == wanted), None)
        if found is None:
            there = ", ".join(f"cuda:{gpu.index} ({gpu.name})" for gpu in self.gpus) or "none"
            raise InvalidParameter(f"DEVICE={device}: there is no such card. CUDA cards here: {there}.")
        return found


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


def read_gpus(timeout: float = 10.0) -> tuple[Gpu, ...]:
    """CUDA devices that nvidia-smi lists, those that CUDA_VISIBLE_DEVICES leaves and in its order.

    None when nvidia-smi is absent, fails or takes more than `timeout` seconds.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if (chosen is not None and chosen.strip().lower() in _NONE_VISIBLE) or not shutil.which("nvidia-smi"):
        return ()
    try:
        result = subprocess.run(
            _NVIDIA_QUERY, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired):  # a driver that hangs must not keep the service from starting
        return ()
    return visible_gpus(parse_gpus(result.stdout), chosen) if result.returncode == 0 else ()


def parse_gpus(text: str) -> tuple[Gpu, ...]:
    """GPUs from nvidia-smi's CSV (UUID, name, MiB in all, MiB free, driver), numbered in its order.

    A line it could not fill ("[N/A]") is left out and keeps its number. CUDA may number unlike cards in another order
    (CUDA_DEVICE_ORDER): an engine's process is shown its card by UUID.
    """
    rows = [[cell.strip() for cell in line.split(",")] for line in text.splitlines() if line.strip()]
    return tuple(
        Gpu(number, row[0], row[1], int(row[2]) * _MEBIBYTE, int(row[3]) * _MEBIBYTE, row[4])
        for number, row in enumerate(rows)
        if len(row) == len(_GPU_FIELDS) and row[2].isdigit() and row[3].isdigit()
    )


def visible_gpus(gpus: Sequence[Gpu], chosen: str | None) -> tuple[Gpu, ...]:
    """Those of a machine's GPUs that CUDA_VISIBLE_DEVICES (`chosen`; None where it is not set) leaves, renumbered.

    As CUDA reads it: numbers or beginnings of UUIDs, and nothing from the first one on that fits no card or more than
    one, or that was named before.
    """
    if chosen is None:
        return tuple(gpus)
    found: list[Gpu] = []
    for name in (part.strip() for part in chosen.split(",")):
        fitting = [gpu for gpu in gpus if _is_called(gpu, name)]
        if len(fitting) != 1:
            break
        if fitting[0] in found:  # CUDA then sees none at all
            return ()
        found += fitting
    return tuple(replace(gpu, index=number) for number, gpu in enumerate(found))


def _is_called(gpu: Gpu, name: str) -> bool:
    if name.isdigit():
        return gpu.index == int(name)
    return name.upper().startswith("GPU-") and gpu.uuid.upper().startswith(name.upper())


def _memory() -> int:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limits = [_read("/sys/fs/cgroup/memory.max"), _read("/sys/fs/cgroup/memory/memory.limit_in_bytes")]
    return min([total, *(int(limit) for limit in limits if limit.strip().isdigit())])


def _read(path: str) -> str:
    try:
        return Path(path).read_text("utf-8", errors="replace")
    except OSError:
        return ""
