"""What memory a model may still take: what the kernel says of the machine, and of the container."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.domain.errors import NotEnoughMemory
from app.modelstore.catalog import FSMN_VAD, PARAFORMER_LARGE, WHISPER_BASE
from app.service.memory import available_memory, check_room, size_of_files

GIB = 1024**3
MEMINFO = f"""MemTotal:       {24 * GIB // 1024} kB
MemFree:            1024 kB
MemAvailable:   {6 * GIB // 1024} kB
HugePages_Total:       0
"""


def machine(root: Path, **files: str) -> Path:
    """/proc and /sys of a machine; double underscores part folders."""
    for name, content in {"proc__meminfo": MEMINFO, **files}.items():
        path = root / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return root


def test_this_machine_has_some() -> None:
    available = available_memory()
    assert available is not None
    assert 1e6 < available < 1e14


def test_the_machine_s(tmp_path: Path) -> None:
    assert available_memory(machine(tmp_path)) == 6 * GIB


@pytest.mark.parametrize(("limit", "available"), [(str(4 * GIB), 2 * GIB), (str(64 * GIB), 6 * GIB), ("max", 6 * GIB)])
def test_a_container_s_if_less(tmp_path: Path, limit: str, available: int) -> None:
    """What it uses counts, but for files that are only cached."""
    root = machine(
        tmp_path,
        sys__fs__cgroup__memory_DOT_max=f"{limit}\n",
        sys__fs__cgroup__memory_DOT_current=f"{3 * GIB}\n",
        sys__fs__cgroup__memory_DOT_stat=f"anon {2 * GIB}\ninactive_file {GIB}\nactive_file 77\n",
    )
    assert available_memory(root) == available


def test_an_older_container_s(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        sys__fs__cgroup__memory__memory_DOT_limit_in_bytes=str(4 * GIB),
        sys__fs__cgroup__memory__memory_DOT_usage_in_bytes=str(3 * GIB),
        sys__fs__cgroup__memory__memory_DOT_stat=f"inactive_file 5\ntotal_inactive_file {GIB}\n",
    )
    assert available_memory(root) == 2 * GIB


def test_one_that_is_full_has_none(tmp_path: Path) -> None:
    root = machine(
        tmp_path, sys__fs__cgroup__memory_DOT_max=str(GIB), sys__fs__cgroup__memory_DOT_current=str(GIB + 4096)
    )
    assert available_memory(root) == 0


def test_a_system_that_does_not_say(tmp_path: Path) -> None:
    assert available_memory(tmp_path) is None


def test_only_the_entry_s_files_count(tmp_path: Path) -> None:
    for name in ("config.yaml", "am.mvn", "model.onnx"):
        (tmp_path / name).write_bytes(b"x" * 10)
    (tmp_path / "model.pt").write_bytes(b"x" * 1000)
    assert size_of_files(FSMN_VAD, tmp_path) == 30


def test_files_by_other_names_count_all(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "model.onnx").write_bytes(b"x" * 10)
    assert size_of_files(PARAFORMER_LARGE, tmp_path) == 10
    assert size_of_files(WHISPER_BASE, tmp_path) == 10


def test_what_does_not_fit_is_told_in_figures(tmp_path: Path) -> None:
    with (tmp_path / "model.bin").open("wb") as stream:
        stream.truncate(2 * 1024**4)
    with pytest.raises(NotEnoughMemory, match=r"whisper-base needs about 6597\.. GB of memory") as told:
        check_room(WHISPER_BASE, tmp_path)
    assert "are available" in told.value.message
    check_room(FSMN_VAD, tmp_path / "nothing")
