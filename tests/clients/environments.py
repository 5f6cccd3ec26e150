"""Other people's clients, each in an environment of its own: they do not go together, nor with what serves.

Run as a program, it makes all of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1] / ".venv-clients"


def interpreter(name: str) -> Path:
    """The Python of the environment that NAME.txt beside this file describes; made the first time, then kept."""
    wanted = _HERE / f"{name}.txt"
    folder = _ROOT / name
    python = folder / "bin" / "python"

    def make() -> None:
        subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*install, "-r", wanted], check=True)

    _once(folder, wanted.read_bytes() + sys.version.encode(), make)
    return python


def node_modules(name: str) -> Path:
    """The packages for Node that the folder NAME beside this file describes; fetched the first time, then kept."""
    descriptions = [_HERE / name / file for file in ("package.json", "package-lock.json")]
    folder = _ROOT / name

    def make() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for description in descriptions:
            shutil.copy(description, folder)
        quietly = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
        subprocess.run(["npm", "ci", *quietly], cwd=folder, check=True)

    _once(folder, b"".join(description.read_bytes() for description in descriptions), make)
    return folder / "node_modules"


def _once(folder: Path, wanted: bytes, make: Callable[[], None]) -> None:
    """Make `folder`, unless it is there as it is `wanted`."""
    stamp, state = folder / ".made", hashlib.sha256(wanted).hexdigest()
    _ROOT.mkdir(exist_ok=True)
    with (_ROOT / f"{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != state:
            make()
            stamp.write_text(state)


if __name__ == "__main__":
    for description in sorted(_HERE.glob("*.txt")):
        interpreter(description.stem)
    if shutil.which("npm"):
        for description in sorted(_HERE.glob("*/package.json")):
            node_modules(description.parent.name)
