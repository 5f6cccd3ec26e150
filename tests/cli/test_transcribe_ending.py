"""A run that is told to end does, although it is stuck."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from real.server import ROOT

PATIENCE = 30.0
_PROGRAM = """
import asyncio, os, signal, sys
from app.cli.transcribing.ending import ending

if sys.argv[2] == "deaf":
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # as in the background of a shell
source, target = os.pipe()
os.set_blocking(target, False)
try:
    while True:
        os.write(target, bytes(4096))
except BlockingIOError:
    os.set_blocking(target, True)

async def work():
    print("begun", flush=True)
    if sys.argv[1] == "stuck":
        os.write(target, bytes(4096))  # nobody ever reads it
    await asyncio.sleep(600)

async def run():
    running = asyncio.ensure_future(work())
    with ending(running, 130):
        await running

try:
    asyncio.run(run())
except asyncio.CancelledError:
    sys.exit(7)
"""


@pytest.mark.parametrize(
    ("how", "ears", "kind", "status"),
    [
        ("free", "open", signal.SIGINT, 7),
        ("free", "deaf", signal.SIGTERM, 7),
        ("stuck", "open", signal.SIGINT, 130),
        ("stuck", "open", signal.SIGTERM, 130),
    ],
)
def test_a_signal_ends_it(tmp_path: Path, how: str, ears: str, kind: signal.Signals, status: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(_PROGRAM)
    command = [sys.executable, str(program), how, ears]
    with subprocess.Popen(command, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE) as running:
        try:
            assert running.stdout is not None
            assert running.stdout.readline() == b"begun\n"
            running.send_signal(kind)
            assert running.wait(PATIENCE) == status
        finally:
            running.kill()
