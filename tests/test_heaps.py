"""However many threads allocate, glibc keeps few heaps for them; and what was freed in them goes back."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from app.service import heaps

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import app
import ctypes, sys, threading

THREADS = 12
together = threading.Barrier(THREADS)

def allocate():
    together.wait()
    kept = [bytes(30_000) for _ in range(200)]  # too large for Python's own allocator
    together.wait()

threads = [threading.Thread(target=allocate) for _ in range(THREADS)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()

libc = ctypes.CDLL(None)
libc.fopen.restype = ctypes.c_void_p
libc.fclose.argtypes = [ctypes.c_void_p]
libc.malloc_info.argtypes = [ctypes.c_int, ctypes.c_void_p]
told = libc.fopen(sys.argv[1].encode(), b"w")
libc.malloc_info(0, told)
libc.fclose(told)
"""

GIVEN_BACK = """
import app
from pathlib import Path
from app.service.heaps import trimming

def held():
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Anonymous:")) / 1024

taken = [bytes(3_000) for _ in range(60_000)]
last = bytes(3_000)  # the heap cannot end below it
del taken
before = held()
trimming()(0)
print(before - held())
"""

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no heap for each thread")


def heaps_of(folder: Path, **environment: str) -> int:
    told = folder / "heaps.xml"
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    program = [sys.executable, "-c", PROGRAM, str(told)]
    subprocess.run(program, env=kept | environment, cwd=ROOT, check=True, timeout=120)
    return told.read_text().count("<heap nr=")


def test_threads_share_two_heaps(tmp_path: Path) -> None:
    assert heaps_of(tmp_path) == 2


def test_who_says_how_many_is_heard(tmp_path: Path) -> None:
    assert 3 <= heaps_of(tmp_path, MALLOC_ARENA_MAX="5") <= 5


def test_what_was_freed_is_given_back() -> None:
    told = subprocess.run([sys.executable, "-c", GIVEN_BACK], cwd=ROOT, check=True, timeout=120, capture_output=True)
    assert float(told.stdout) > 100, "MiB"


def test_it_is_given_back_while_the_server_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(heaps, "GIVE_BACK_SECONDS", 0.01)
    monkeypatch.setattr(heaps, "trimming", lambda: asked.append)

    async def scenario() -> None:
        task = asyncio.create_task(heaps.give_back())
        async with asyncio.timeout(20):
            while len(asked) < 3:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
        task.cancel()

    asyncio.run(scenario())
    assert set(asked) == {0}
