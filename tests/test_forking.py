"""Models compute on threads while processes are started, as decoders are: neither may wait for the other for ever."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = """
import asyncio, os, threading
import app
import numpy as np
import uvloop

PROCESSES, SECONDS = 50, 60.0
done = 0

def multiply():
    global done
    left, right = np.ones((80, 201), np.float32), np.ones((201, 600), np.float32)
    while True:
        left @ right
        done += 1

async def main():
    threading.Thread(target=multiply, daemon=True).start()
    for _ in range(PROCESSES):
        process = await asyncio.create_subprocess_exec("true")
        await process.wait()
        before = done
        async with asyncio.timeout(SECONDS):
            while done == before:
                await asyncio.sleep(0.005)
    os._exit(0)

uvloop.run(main())
"""


def test_products_come_to_an_end_while_processes_are_started() -> None:
    assert subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, check=False, timeout=240).returncode == 0
