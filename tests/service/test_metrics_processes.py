"""Memory by role: of real processes, and of a /proc as other systems and moments leave it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from app.service.metrics.processes import read_processes

PAGE = os.sysconf("SC_PAGE_SIZE")


def process(proc: Path, pid: int, parent: int, pages: int, *called: str, name: str = "python") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = ["S", str(parent), *["0"] * 19, str(pages), "0"]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
    (folder / "cmdline").write_bytes(b"\0".join(part.encode() for part in called))


def test_processes_are_told_apart_by_what_they_were_started_as(tmp_path: Path) -> None:
    process(tmp_path, 10, 1, 1000, "python", "start.py")
    process(tmp_path, 11, 10, 20, "python", "-P", "-m", "app.audio.worker")
    process(tmp_path, 12, 10, 30, "python", "-P", "-m", "app.audio.live_worker")
    process(tmp_path, 13, 10, 500, "python", "-m", "app.engines.qwen3.host", "7")
    process(tmp_path, 14, 13, 4000, "VLLM::EngineCore", name="VLLM) S 1 (odd")
    process(tmp_path, 15, 10, 5, "nvidia-smi")
    process(tmp_path, 99, 1, 77, "python", "-m", "app.audio.worker")
    (tmp_path / "16").mkdir()  # has just ended
    assert read_processes(tmp_path, 10) == {
        "server": (1000 * PAGE, 1),
        "decoder": (50 * PAGE, 2),
        "recogniser": (4500 * PAGE, 2),
        "other": (5 * PAGE, 1),
    }


def test_where_there_is_no_proc_nothing_is_told(tmp_path: Path) -> None:
    assert read_processes(tmp_path / "none", 1) == {}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="this system has no /proc")
def test_this_process_and_a_child_of_it() -> None:
    before = read_processes()
    resident, count = before["server"]
    assert count == 1
    assert resident > 10 * 1024 * 1024
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "app.audio.worker"])
    try:
        deadline = time.monotonic() + 10
        while (found := read_processes())["decoder"][1] <= before["decoder"][1] or not found["decoder"][0]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
    assert read_processes()["decoder"][1] == before["decoder"][1]
