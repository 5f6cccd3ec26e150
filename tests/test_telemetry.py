"""What runs here is nobody else's affair: ONNX Runtime keeps no count of it for its makers."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PROGRAM = "{first}import onnxruntime, time; onnxruntime.SessionOptions(); time.sleep(1)"


def left_by(folder: Path, first: str) -> list[Path]:
    """The files that a process leaves in its home and temporary folders, having imported `first` and ONNX Runtime."""
    home, temp = folder / "home", folder / "temp"
    home.mkdir()
    temp.mkdir()
    environment = {name: value for name, value in os.environ.items() if name not in {"ORT_DISABLE_TELEMETRY", "CI"}}
    environment |= {"HOME": str(home), "TMPDIR": str(temp), "XDG_CACHE_HOME": "", "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-c", PROGRAM.format(first=first)]
    subprocess.run(program, env=environment, cwd=folder, check=True, timeout=120)
    return [path for path in folder.rglob("*") if path.is_file()]


def test_onnx_runtime_leaves_nothing_behind(tmp_path: Path) -> None:
    assert left_by(tmp_path, "import app; ") == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it keeps its files in other places")
def test_it_would_if_it_was_not_told(tmp_path: Path) -> None:
    """Should this fail after an update, what app/__init__.py says of it may be needed no more."""
    assert left_by(tmp_path, "") != []
