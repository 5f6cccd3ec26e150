"""However many threads allocate, glibc keeps few heaps for them."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

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

pytestmark = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="others have no heap for each thread")


def heaps(folder: Path, **environment: str) -> int:
    told = folder / "heaps.xml"
    kept = {name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"}
    program = [sys.executable, "-c", PROGRAM, str(told)]
    subprocess.run(program, env=kept | environment, cwd=ROOT, check=True, timeout=120)
    return told.read_text().count("<heap nr=")


def test_threads_share_two_heaps(tmp_path: Path) -> None:
    assert heaps(tmp_path) == 2


def test_who_says_how_many_is_heard(tmp_path: Path) -> None:
    assert 3 <= heaps(tmp_path, MALLOC_ARENA_MAX="5") <= 5
