"""`start.py sample`: a real phone call to try the service with."""

from __future__ import annotations

import argparse
import shlex
import shutil
from pathlib import Path
from typing import Any

from app.domain.errors import ModelStoreError
from app.modelstore.catalog import PHONE_CALL
from app.modelstore.progress import console_progress
from app.modelstore.store import ModelStore
from app.settings import Settings

STEM = "phone_call"


def add_parser(commands: Any) -> None:
    """Add `sample` to argparse's `commands`."""
    parser = commands.add_parser("sample", help="fetch a real phone call (30 s, English, MIT) to try it with")
    parser.add_argument("--dir", type=Path, default=Path("samples"), help="folder to put it in (default: %(default)s)")
    parser.set_defaults(run=fetch_sample)


def fetch_sample(settings: Settings, arguments: argparse.Namespace) -> int:
    """Put phone_call.wav, .stm (words) and .rttm (speakers) into the folder; print a request to paste."""
    source = ModelStore(settings).ensure(PHONE_CALL.id, console_progress())
    folder: Path = arguments.dir
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in PHONE_CALL.files:
            shutil.copyfile(source / file.path, folder / f"{STEM}{Path(file.path).suffix}")
    except OSError as error:
        raise ModelStoreError(f"{folder} cannot be written: {error.strerror or error}.") from error
    recording = folder / f"{STEM}.wav"
    print(recording)
    key = ' -H "Authorization: Bearer $API_KEY"' if settings.keys else ""
    print(f"\nwith the server running:\n  curl http://localhost:{settings.port}/v1/audio/transcriptions{key} \\")
    print(f"    -F file=@{shlex.quote(str(recording))} -F response_format=verbose_json")
    return 0
