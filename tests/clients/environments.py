"""Other people's clients, each in an environment of its own: they do not go together, nor with what serves.

Run as a program, it makes all of them.
"""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent
_ROOT = _HERE.parents[1] / ".venv-clients"


def interpreter(name: str) -> Path:
    """The Python of the environment that NAME.txt beside this file describes; made the first time, then kept."""
    wanted = _HERE / f"{name}.txt"
    folder = _ROOT / name
    python, stamp = folder / "bin" / "python", folder / ".made"
    state = hashlib.sha256(wanted.read_bytes() + sys.version.encode()).hexdigest()
    _ROOT.mkdir(exist_ok=True)
    with (_ROOT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.is_file() or stamp.read_text() != state:
            subprocess.run([sys.executable, "-m", "venv", "--clear", folder], check=True)
            install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*install, "-r", wanted], check=True)
            stamp.write_text(state)
    return python


if __name__ == "__main__":
    for description in sorted(_HERE.glob("*.txt")):
        interpreter(description.stem)
