"""`oddasr [-c config.json]`: the command line under OddASR's name, on OddASR's ports."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from app.cli import main as command_line
from app.cli import odd_config
from app.cli.odd_config import OddConfig


def main(argv: Sequence[str] | None = None) -> int:
    """As `start.py`; without -c it serves with the config.json in the working folder, or else as OddASR does without
    one."""
    return command_line.main(argv, program="oddasr", configure=_configured)


def _configured(path: Path | None, serving: bool) -> OddConfig:
    """Raises ConfigUnusable."""
    if path is not None:
        return odd_config.read(path)
    here = Path(odd_config.NAME)
    if not serving or not here.is_file():
        return odd_config.defaults()
    print(f"settings: {here.absolute()}", file=sys.stderr)
    return odd_config.read(here)
